//! One COCO file of many photos as a file of points for each.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use csv::Writer;
use splatport::{Annotations, data::Dataset, write_whole};

/// Writes the marked joints of every photo that has some to `place(photo)`: so a run reads, and compares the digest of, what one
/// photo needs, not a file that may have hundreds of megabytes.
pub fn spread(file: &Path, photos: &Path, place: impl Fn(&Path) -> Result<PathBuf>) -> Result<()> {
    let set = Dataset::coco(photos, file)?;
    for index in 0..set.len() {
        let points = set.annotations(index)?;
        if points.is_empty() {
            continue;
        }
        let (target, bytes) = (place(set.photo(index)?)?, csv(&points)?);
        if target.exists() {
            let there = fs::read(&target).with_context(|| format!("cannot read {}", target.display()))?;
            ensure!(there == bytes, "{} is there and holds other points: give another --points", target.display());
            continue;
        }
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot write to {}", folder.display()))?;
        }
        write_whole(&target, |output| Ok(output.write_all(&bytes)?))?;
    }
    Ok(())
}

/// Points and their columns as [`Annotations::from_csv`] reads them.
fn csv(points: &Annotations) -> Result<Vec<u8>> {
    let mut writer = Writer::from_writer(Vec::new());
    let columns = points.columns();
    writer.write_record(["x", "y"].into_iter().chain(columns.iter().map(|column| column.name())))?;
    for (row, [x, y]) in points.points().iter().enumerate() {
        writer.serialize((x, y, columns.iter().map(|column| &column.values()[row]).collect::<Vec<_>>()))?;
    }
    Ok(writer.into_inner()?)
}
