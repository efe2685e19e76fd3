//! One COCO file of many photos as a file of points for each.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use splatport::{data::Dataset, write_whole};

/// Writes the marked joints of every photo that has some to `place(photo)`: so a run reads, and compares the digest of, what one
/// photo needs, not a file that may have hundreds of megabytes.
pub fn spread(file: &Path, photos: &Path, place: impl Fn(&Path) -> Result<PathBuf>) -> Result<()> {
    let set = Dataset::coco(photos, file)?;
    for index in 0..set.len() {
        let points = set.annotations(index)?;
        let (target, mut bytes) = (place(set.photo(index)?)?, Vec::new());
        points.write_csv(&mut bytes)?;
        if target.exists() {
            let there = fs::read(&target).with_context(|| format!("cannot read {}", target.display()))?;
            ensure!(there == bytes, "{} is there and holds other points: give another --points", target.display());
        } else if !points.is_empty() {
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder).with_context(|| format!("cannot write to {}", folder.display()))?;
            }
            write_whole(&target, |output| Ok(output.write_all(&bytes)?))?;
        }
    }
    Ok(())
}
