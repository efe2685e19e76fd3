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
    /// For a line that is none or of another version, an id that is no relative path in its shortest form, and ids that come twice.
    pub fn open(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let entries = parsed(&text).with_context(|| path.display().to_string())?;
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

fn parsed(text: &str) -> Result<Vec<Entry>> {
    let mut known = HashSet::new();
    let mut entry = |line: &str| {
        let entry = serde_json::from_str(line)?;
        check(&entry, &mut known)?;
        Ok::<Entry, anyhow::Error>(entry)
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(at, line)| entry(line).with_context(|| format!("line {}", at + 1))).collect()
}

/// A relative path as an id: the same on every system, and one id for one path; none for other paths and for names that are no text.
pub fn id(path: &Path) -> Option<String> {
    let name = |part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    };
    Some(path.components().map(name).collect::<Option<Vec<_>>>()?.join("/")).filter(|id| !id.is_empty())
}

fn check(entry: &Entry, known: &mut HashSet<String>) -> Result<()> {
    ensure!(entry.version == VERSION, "version {}, this program reads {VERSION}", entry.version);
    // `a//b` and `a/./b` would be other ids for the files of `a/b`.
    ensure!(
        id(Path::new(&entry.id)).as_ref() == Some(&entry.id),
        "the id `{}` is no relative path in its shortest form: it names the files of the results",
        entry.id
    );
    ensure!(known.insert(entry.id.clone()), "the id `{}` comes twice: give each photo its own", entry.id);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn lines() -> String {
        let entry = |id: &str| Entry {
            version: VERSION,
            id: id.to_owned(),
            photo: format!("photos/{id}.png").into(),
            points: format!("photos/{id}.csv").into(),
            width: 640,
            height: 480,
            count: 3,
            photo_sha256: "5f".repeat(32),
            points_sha256: "07".repeat(32),
        };
        let line = |id| serde_json::to_string(&entry(id)).expect("JSON") + "\n";
        ["a", "Straße 7/3", "b c"].map(line).concat()
    }

    #[test]
    fn a_path_has_one_id() {
        let id = |path: &str| id(Path::new(path));
        for path in ["a/b", "a//b", "a/./b", "a/b/"] {
            assert_eq!(id(path).as_deref(), Some("a/b"), "{path}");
        }
        for path in ["", ".", "..", "/a", "../a", "a/../b"] {
            assert_eq!(id(path), None, "{path}");
        }
        // A character of names but on Windows, where it is the one between them.
        assert_eq!(id(r"a\b").as_deref(), Some(if cfg!(windows) { "a/b" } else { r"a\b" }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn damaged_manifests_are_errors_or_sound(
            damages in prop::collection::vec((any::<Index>(), 0_usize..12, "[ -~\n]{0,8}"), 1..4),
        ) {
            let mut characters: Vec<char> = lines().chars().collect();
            for (at, removed, inserted) in damages {
                let at = at.index(characters.len() + 1);
                let end = (at + removed).min(characters.len());
                characters.splice(at..end, inserted.chars());
            }
            let text: String = characters.into_iter().collect();
            match parsed(&text) {
                Err(error) => {
                    let told = format!("{error:#}");
                    prop_assert!(told.starts_with("line ") && !told.contains('\n'), "{}", told);
                }
                Ok(entries) => {
                    let again: Vec<String> =
                        entries.iter().map(|entry| serde_json::to_string(entry).expect("JSON")).collect();
                    prop_assert_eq!(parsed(&again.join("\n")).expect("what was read"), entries);
                }
            }
        }
    }
}
