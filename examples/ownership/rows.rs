//! Results: rows that outlive a run that is stopped, and the tables made of them.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{CUT_OFFS, PLANS};

/// A result: mean IoU of owned cells with true objects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub set: String,
    pub photo: String,
    pub plan: String,
    pub cut_off: Option<f64>,
    pub iou: f64,
}

/// Rows of an earlier run.
pub fn read(folder: &Path) -> Result<Vec<Row>> {
    let path = folder.join("rows.csv");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut reader = csv::Reader::from_path(&path)?;
    reader.deserialize().collect::<Result<_, _>>().with_context(|| path.display().to_string())
}

/// All rows, beside the file and moved there: a run that is stopped leaves whole rows.
pub fn write(folder: &Path, rows: &[Row]) -> Result<()> {
    let temporary = folder.join(".rows.csv");
    let mut writer = csv::Writer::from_path(&temporary)?;
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    writer.flush()?;
    drop(writer);
    Ok(fs::rename(temporary, folder.join("rows.csv"))?)
}

/// Means over the photos of a set: by cut-off, and of every plan's best.
pub fn table(rows: &[Row]) -> String {
    let mut sets: Vec<&str> = rows.iter().map(|row| row.set.as_str()).collect();
    sets.sort_unstable();
    sets.dedup();
    let mean = |set: &str, plan: &str, cut_off: Option<f64>| {
        let chosen = rows.iter().filter(|row| row.set == set && row.plan == plan && row.cut_off == cut_off);
        let values: Vec<f64> = chosen.map(|row| row.iou).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let cut_offs = || CUT_OFFS.into_iter().map(Some).chain([None]);
    let mut text = format!("| best over d | {} |\n|---|{}\n", sets.join(" | "), "---:|".repeat(sets.len()));
    for (plan, _) in PLANS {
        let best = |set: &&str| {
            let found = cut_offs().filter_map(|d| Some((mean(set, plan, d)?, d)));
            let (iou, d) = found.max_by(|a, b| a.0.total_cmp(&b.0))?;
            Some(d.map_or_else(|| format!("{iou:.3}"), |d| format!("{iou:.3} ({d})")))
        };
        let cells: Vec<String> = sets.iter().map(|set| best(set).unwrap_or_default()).collect();
        text += &format!("| {plan} | {} |\n", cells.join(" | "));
    }
    for set in sets {
        text +=
            &format!("\n| {set}, d | {} |\n|---|{}\n", CUT_OFFS.map(|d| d.to_string()).join(" | "), "---:|".repeat(7));
        for (plan, _) in PLANS.iter().filter(|(plan, _)| mean(set, plan, Some(CUT_OFFS[0])).is_some()) {
            let cells: Vec<String> =
                CUT_OFFS.iter().filter_map(|&d| Some(format!("{:.3}", mean(set, plan, Some(d))?))).collect();
            text += &format!("| {plan} | {} |\n", cells.join(" | "));
        }
    }
    text
}
