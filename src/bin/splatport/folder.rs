//! The files in a folder.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What a folder holds.
#[derive(Default)]
pub struct Found {
    /// The wanted files, by name; links to files count.
    pub files: Vec<PathBuf>,
    /// Links to folders. What is behind them is left alone: it may be anywhere, here for example.
    pub links: Vec<PathBuf>,
}

/// All wanted files in a folder and the folders in it.
pub fn found(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<Found> {
    let mut found = Found::default();
    add(folder, wanted, &mut found)?;
    Ok(found)
}

fn add(folder: &Path, wanted: &dyn Fn(&Path) -> bool, found: &mut Found) -> Result<()> {
    let entry = |entry: io::Result<DirEntry>| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)));
    let entries = || fs::read_dir(folder)?.map(entry).collect::<io::Result<Vec<_>>>();
    let mut entries = entries().with_context(|| format!("cannot read {}", folder.display()))?;
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (path, kind) in entries {
        if kind.is_dir() {
            add(&path, wanted, found)?;
        } else if path.is_dir() {
            found.links.push(path);
        } else if wanted(&path) {
            found.files.push(path);
        }
    }
    Ok(())
}

/// Whether a name ends in one of these, in capitals or not.
pub fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    ending.as_ref().and_then(|ending| ending.to_str()).is_some_and(|ending| endings.contains(&ending))
}
