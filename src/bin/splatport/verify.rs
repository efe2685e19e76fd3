//! `splatport verify`: whether files are whole and what they say holds.

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use splatport::Table;

use crate::answer::Answer;
use crate::options::TABLES;

/// Check tables: check sums, shapes, ranges, and that a kernel is one that keeps its certificate.
#[derive(Args)]
pub struct Verify {
    /// Files, or folders whose .npz and .safetensors files are checked.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

impl Verify {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let mut files = Vec::new();
        for path in &self.paths {
            match path.is_dir() {
                true => tables(path, &mut files)?,
                false => files.push(path.clone()),
            }
        }
        let mut summary = Summary { checked: files.len(), wrong: Vec::new() };
        for path in files {
            if let Err(error) = check(&path) {
                summary.wrong.push(Wrong { path, error: format!("{error:#}") });
            }
        }
        Ok(Answer::of(&summary)?.failed(!summary.wrong.is_empty()))
    }
}

/// Opens a table and checks what it promises.
pub fn check(path: &Path) -> Result<Table> {
    let table = Table::open(path)?;
    if let Table::Kernel(kernel) = &table {
        kernel.check_kernel().with_context(|| path.display().to_string())?;
        let (bound, tau) = (kernel.bound, kernel.tau);
        // An infinite bound says that there is none.
        ensure!(
            bound.is_infinite() || 2.0 * bound <= tau,
            "{}: bound {bound} is not kept by tau {tau}",
            path.display()
        );
    }
    Ok(table)
}

/// All tables in a folder and the folders in it, by name.
pub fn tables(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let context = || format!("cannot read {}", folder.display());
    let entries = fs::read_dir(folder).with_context(context)?.collect::<std::io::Result<Vec<_>>>();
    let mut paths: Vec<PathBuf> = entries.with_context(context)?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            tables(&path, files)?;
        } else if path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| TABLES.contains(&ending)) {
            files.push(path);
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Summary {
    checked: usize,
    wrong: Vec<Wrong>,
}

#[derive(Serialize)]
struct Wrong {
    path: PathBuf,
    error: String,
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "wrong    {}", wrong.error))?;
        writeln!(f, "checked  {} files, {} wrong", self.checked, self.wrong.len())
    }
}
