//! `splatport gc`: what is left over in a folder of results.

use std::collections::HashSet;
use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::manifest::Manifest;
use super::outputs::Outputs;
use crate::answer::Answer;
use crate::folder::found;

/// List, or delete, what killed runs left unfinished, and results of photos that are not in the manifest.
#[derive(Args)]
pub struct Gc {
    /// A folder of results.
    folder: PathBuf,
    /// The manifest; results of other photos are listed.
    #[arg(short, long)]
    manifest: Option<PathBuf>,
    /// Delete what is listed.
    #[arg(long)]
    delete: bool,
    /// Seconds without a write after which an unfinished file counts as left. A run writes to its report after every
    /// batch: give more than a batch takes.
    #[arg(long, default_value_t = 3600)]
    older: u64,
}

impl Gc {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let ids: Option<HashSet<String>> = match &self.manifest {
            None => None,
            Some(path) => Some(Manifest::open(path)?.entries.into_iter().map(|entry| entry.id).collect()),
        };
        let foreign = |path: &Path| {
            let id = Outputs::id(&self.folder, path);
            ids.as_ref().zip(id).is_some_and(|(ids, id)| !ids.contains(&id))
        };
        let files = found(&self.folder, &|path| self.unfinished(path) || foreign(path))?.files;
        if self.delete {
            for path in &files {
                fs::remove_file(path).with_context(|| format!("cannot delete {}", path.display()))?;
            }
        }
        Answer::of(&Summary { files, deleted: self.delete })
    }

    /// Whether a file was being written, and has not been for so long that its process must be gone.
    fn unfinished(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let age = || fs::metadata(path).ok()?.modified().ok()?.elapsed().ok();
        let old = || age().is_some_and(|age| age >= Duration::from_secs(self.older));
        name.starts_with(".splatport-") && name.ends_with(".tmp") && old()
    }
}

#[derive(Serialize)]
struct Summary {
    files: Vec<PathBuf>,
    deleted: bool,
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.iter().try_for_each(|path| writeln!(f, "{}", path.display()))?;
        match (self.deleted, self.files.len()) {
            (_, 0) => writeln!(f, "nothing is left over"),
            (true, count) => writeln!(f, "deleted {count} files"),
            (false, count) => writeln!(f, "{count} files: --delete removes them"),
        }
    }
}
