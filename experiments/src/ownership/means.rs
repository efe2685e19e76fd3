//! Means over the photos of a set, as a table and as plots.

use std::{fmt::Write as _, path::Path};

use serde::Serialize;

use super::{CUT_OFFS, Outcome};
use crate::{
    kept,
    plot::{self, Dot, Series},
    table::spread,
};

/// A plan at a distance of the background, over the photos of a set.
#[derive(Debug, Clone, Serialize)]
struct Mean<'a> {
    set: &'a str,
    plan: &'a str,
    cut_off: Option<f64>,
    photos: usize,
    iou: f64,
    /// Standard deviation over the photos, if they are several.
    deviation: Option<f64>,
}

impl Mean<'_> {
    fn text(&self) -> String {
        let deviation = self.deviation.map_or_else(String::new, |deviation| format!(" ± {deviation:.3}"));
        format!("{:.3}{deviation}", self.iou)
    }
}

/// Writes all rows as `ownership.csv`, means and standard deviations over the photos of every set as `means.csv`, and
/// these by cut-off as `<set>.svg`; gives the best of every plan and all cut-offs as text.
pub fn write(rows: &[Outcome], folder: &Path) -> anyhow::Result<String> {
    let means = means(rows);
    kept::write(&folder.join("ownership.csv"), rows)?;
    kept::write(&folder.join("means.csv"), &means)?;
    let sets: Vec<_> = means.chunk_by(|a, b| a.set == b.set).collect();
    for set in &sets {
        let path = folder.join(format!("{}.svg", set[0].set));
        let of_plan: Vec<_> = set.chunk_by(|a, b| a.plan == b.plan).map(series).collect();
        kept::write_text(&path, &plot::svg(&of_plan, ["d", "mean IoU"], 0.8..3.8)?)?;
    }

    let mut text = String::new();
    for set in sets {
        let distances = CUT_OFFS.map(|d| d.to_string()).join(" | ");
        writeln!(text, "| {}, d | best (d) | {distances} |\n|---|{}", set[0].set, "---:|".repeat(1 + CUT_OFFS.len()))?;
        for of_plan in set.chunk_by(|a, b| a.plan == b.plan) {
            let best = of_plan.iter().max_by(|a, b| a.iou.total_cmp(&b.iou)).map_or_else(String::new, |best| {
                best.text() + &best.cut_off.map_or_else(String::new, |d| format!(" ({d})"))
            });
            let by_cut_off: Vec<_> = of_plan.iter().filter(|mean| mean.cut_off.is_some()).map(Mean::text).collect();
            writeln!(text, "| {} | {best} | {} |", of_plan[0].plan, by_cut_off.join(" | "))?;
        }
        text.push('\n');
    }
    Ok(text)
}

/// By set, then by plan, then by cut-off, each in the order of the rows.
fn means(rows: &[Outcome]) -> Vec<Mean<'_>> {
    let mut found: Vec<(_, Vec<f64>)> = Vec::new();
    for row in rows {
        let key = (row.set.as_str(), row.plan.as_str(), row.cut_off);
        match found.iter_mut().find(|(known, _)| *known == key) {
            Some((_, ious)) => ious.push(row.iou),
            None => found.push((key, vec![row.iou])),
        }
    }
    let mean = |((set, plan, cut_off), ious): (_, Vec<f64>)| {
        let (iou, deviation) = spread(&ious);
        Mean { set, plan, cut_off, photos: ious.len(), iou, deviation: (ious.len() > 1).then_some(deviation) }
    };
    found.into_iter().map(mean).collect()
}

/// What has no cut-off is the same at all of them.
fn series(of_plan: &[Mean<'_>]) -> Series {
    let dots = of_plan.iter().flat_map(|mean| {
        let across = mean.cut_off.map_or_else(|| CUT_OFFS.to_vec(), |d| vec![d]);
        across.into_iter().map(|d| Dot { at: (d, mean.iou), deviation: mean.deviation.unwrap_or_default() })
    });
    Series { name: of_plan[0].plan.to_owned(), dots: dots.collect(), is_joined: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_over_the_photos_of_a_set() {
        let row = |photo: &str, plan: &str, cut_off, iou| Outcome {
            set: "frames".into(),
            photo: photo.into(),
            plan: plan.into(),
            cut_off,
            iou,
        };
        let rows = [
            row("a", "true", Some(1.0), 0.5),
            row("a", "true", Some(1.5), 0.75),
            row("a", "transport", None, 0.25),
            row("b", "true", Some(1.0), 0.25),
            row("b", "true", Some(1.5), 0.75),
            row("b", "transport", None, 0.25),
        ];
        let means = means(&rows);
        let found: Vec<_> = means.iter().map(|mean| (mean.plan, mean.cut_off, mean.photos, mean.iou)).collect();
        let wanted = [("true", Some(1.0), 2, 0.375), ("true", Some(1.5), 2, 0.75), ("transport", None, 2, 0.25)];
        assert_eq!(found, wanted);
        assert_eq!(means[0].text(), "0.375 ± 0.177");
        assert_eq!(super::means(&rows[..1])[0].text(), "0.500");
    }
}
