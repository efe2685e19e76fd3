//! `splatport merge`: folders of results, made on several machines, as one.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use splatport::write_whole;

use super::outputs::Outputs;
use super::record::{Outcome, Record};
use crate::answer::Answer;
use crate::folder::found;

/// Copy results and reports of several folders into one; the same name must have the same content.
#[derive(Args)]
pub struct Merge {
    /// Folders of results.
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Where to copy them; one of them may be there already.
    #[arg(short, long)]
    out: PathBuf,
}

impl Merge {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let mut summary = Summary { out: self.out.clone(), ..Summary::default() };
        let mut records = BTreeMap::new();
        // What is there already counts with the rest.
        for folder in self.folders.iter().chain(self.out.is_dir().then_some(&self.out)) {
            for path in found(folder, &is_report)?.files {
                collect(Record::read(&path)?, &mut records);
            }
        }
        for folder in &self.folders {
            for path in found(folder, &|path| Outputs::id(folder, path).is_some())?.files {
                let target = self.out.join(path.strip_prefix(folder)?);
                summary.copied += usize::from(copied(&path, &target)?);
                summary.files += 1;
            }
        }
        fs::create_dir_all(&self.out).with_context(|| format!("cannot write to {}", self.out.display()))?;
        write_whole(&self.out.join("report.jsonl"), |file| {
            for record in records.values() {
                serde_json::to_writer(&mut *file, record)?;
                writeln!(file)?;
            }
            Ok(())
        })?;
        summary.photos = records.len();
        summary.failed = records.values().filter(|record| matches!(record.outcome, Outcome::Failed { .. })).count();
        Ok(Answer::of(&summary)?.failed(summary.failed > 0))
    }
}

fn is_report(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    name.starts_with("report.") && name.ends_with(".jsonl")
}

/// Of one photo's lines that which says most: written, kept, failed.
fn collect(lines: Vec<Record>, records: &mut BTreeMap<String, Record>) {
    let rank = |record: &Record| match record.outcome {
        Outcome::Failed { .. } => 0,
        Outcome::Kept => 1,
        Outcome::Written { .. } => 2,
    };
    for record in lines {
        if records.get(&record.id).is_none_or(|known| rank(known) < rank(&record)) {
            records.insert(record.id.clone(), record);
        }
    }
}

/// Copies a file unless it is there; gives whether it had to.
fn copied(path: &Path, target: &Path) -> Result<bool> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if target.exists() {
        let there = fs::read(target).with_context(|| format!("cannot read {}", target.display()))?;
        ensure!(bytes == there, "{} and {} differ: one is of another run", path.display(), target.display());
        return Ok(false);
    }
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot write to {}", folder.display()))?;
    }
    write_whole(target, |file| Ok(file.write_all(&bytes)?))?;
    Ok(true)
}

#[derive(Default, Serialize)]
struct Summary {
    files: usize,
    copied: usize,
    photos: usize,
    failed: usize,
    out: PathBuf,
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, copied, photos, failed, out } = self;
        writeln!(f, "wrote  {}: {copied} of {files} files copied, the others were there", out.display())?;
        writeln!(f, "photos {photos} in the reports, {failed} failed")
    }
}
