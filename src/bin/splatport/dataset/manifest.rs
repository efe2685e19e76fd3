//! A data set as a file: one JSON object a line for every photo.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use splatport::write_whole;

/// The version of the format; a reader refuses any other.
pub const VERSION: u32 = 1;

/// One photo and its points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The version of the format.
    pub version: u32,
    /// The name of its results: a relative path without an ending.
    pub id: String,
    /// The photo's file, from the manifest's folder.
    pub photo: PathBuf,
    /// The points' file, from the manifest's folder.
    pub points: PathBuf,
    /// Columns of the photo, px.
    pub width: u32,
    /// Rows of the photo, px.
    pub height: u32,
    /// Number of points.
    pub count: usize,
    /// SHA-256 of the photo's file.
    pub photo_sha256: String,
    /// SHA-256 of the points' file.
    pub points_sha256: String,
}

impl Entry {
    /// Pixels of the photo.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// A data set.
pub struct Manifest {
    /// Where the entries' paths start.
    folder: PathBuf,
    /// The photos, in the file's order; ids are distinct.
    pub entries: Vec<Entry>,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// For a line that is none or of another version, an id that is no relative path, and ids that come twice.
    pub fn open(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut known = HashSet::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let mut add = || {
                let entry: Entry = serde_json::from_str(line)?;
                check(&entry, &mut known)?;
                Ok::<Entry, anyhow::Error>(entry)
            };
            entries.push(add().with_context(|| format!("{}: line {}", path.display(), at + 1))?);
        }
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { folder, entries })
    }

    /// Writes entries, whole or not at all.
    ///
    /// # Errors
    /// For ids that [`open`](Self::open) refuses.
    pub fn write(path: &Path, entries: &[Entry]) -> Result<()> {
        let mut known = HashSet::new();
        entries.iter().try_for_each(|entry| check(entry, &mut known))?;
        write_whole(path, |file| {
            for entry in entries {
                serde_json::to_writer(&mut *file, entry)?;
                writeln!(file)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// A path of an entry from where the program is.
    pub fn locate(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }
}

fn check(entry: &Entry, known: &mut HashSet<String>) -> Result<()> {
    ensure!(entry.version == VERSION, "version {}, this program reads {VERSION}", entry.version);
    let named = |part: Component<'_>| matches!(part, Component::Normal(_));
    let id = Path::new(&entry.id);
    ensure!(
        !entry.id.is_empty() && id.components().all(named) && !entry.id.ends_with('/'),
        "the id `{}` is no relative path: it names the files of the results",
        entry.id
    );
    ensure!(known.insert(entry.id.clone()), "the id `{}` comes twice: give each photo its own", entry.id);
    Ok(())
}
