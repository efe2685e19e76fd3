//! `splatport verify`: whether files are whole and what they say holds.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Serialize;
use splatport::{GaussianTable, Table};

use crate::answer::Answer;
use crate::authors::authors;
use crate::dataset::{self, Manifest};
use crate::folder::{found, has_ending};
use crate::options::TABLES;

/// Check tables: check sums, shapes, ranges, and that a kernel is one that keeps its certificate.
#[derive(Args)]
pub struct Verify {
    /// Files, also .h5 of the authors' code, or folders whose .npz and .safetensors files are checked.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The manifest whose results the one folder must hold: none missing, none of other photos or points.
    #[arg(short, long)]
    manifest: Option<PathBuf>,
}

impl Verify {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let mut files = Vec::new();
        for path in &self.paths {
            match path.is_dir() {
                true => files.extend(found(path, &|file| has_ending(file, TABLES))?),
                false => files.push(path.clone()),
            }
        }
        let mut summary = Summary { checked: files.len(), wrong: Vec::new() };
        summary.wrong.extend(files.iter().filter_map(|path| check(path).err()).map(|error| format!("{error:#}")));
        if let Some(manifest) = &self.manifest {
            let [folder] = self.paths.as_slice() else { bail!("--manifest goes with one folder of results") };
            summary.wrong.extend(dataset::incomplete(&Manifest::open(manifest)?, folder));
        }
        Ok(Answer::of(&summary)?.failed(!summary.wrong.is_empty()))
    }
}

/// Opens a table and checks what it promises.
fn check(path: &Path) -> Result<()> {
    if authors(path) {
        // It lacks the size of its photo, on which nothing that is checked depends.
        GaussianTable::from_params(path, [1, 1])?;
        return Ok(());
    }
    if let Table::Kernel(kernel) = Table::open(path)? {
        kernel.check_kernel().with_context(|| path.display().to_string())?;
        let (bound, tau) = (kernel.bound, kernel.tau);
        // What a row drops is a sum of at most as many `f32` as there are columns, none negative; to as many roundings it is known.
        let rounding = f64::from(f32::EPSILON) * kernel.cols as f64;
        // An infinite bound says that there is none.
        ensure!(
            bound.is_infinite() || 2.0 * bound <= tau * (1.0 + rounding),
            "{}: bound {bound} is not kept by tau {tau}",
            path.display()
        );
    }
    Ok(())
}

#[derive(Serialize)]
struct Summary {
    checked: usize,
    wrong: Vec<String>,
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "wrong    {wrong}"))?;
        writeln!(f, "checked  {} files, {} wrong", self.checked, self.wrong.len())
    }
}
