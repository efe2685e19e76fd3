//! `splatport verify`: whether files are whole and what they say holds.

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use splatport::{GaussianTable, Table};

use crate::answer::Answer;
use crate::authors::authors;
use crate::dataset::{self, Manifest};
use crate::folder::{found, has_ending};
use crate::options::{TABLES, wrong_usage};
use crate::origin::Origin;

/// Check tables: check sums, shapes, ranges, that Gaussians are some, and that a kernel is one that keeps its certificate.
#[derive(Args)]
pub struct Verify {
    /// Files, also .h5 of the authors' code, or folders whose .npz and .safetensors files are checked.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The manifest whose results the one folder must hold: no Gaussians missing, no kernel where some have one, nothing of other photos
    /// or points.
    #[arg(short, long)]
    manifest: Option<PathBuf>,
}

impl Verify {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let manifest = match (&self.manifest, &self.paths[..]) {
            (None, _) => None,
            (Some(path), [folder]) if folder.is_dir() => Some((Manifest::open(path)?, folder)),
            _ => return Err(wrong_usage("--manifest goes with one folder of results").into()),
        };
        let mut summary = Summary::default();
        let mut files = Vec::new();
        for path in &self.paths {
            if !path.is_dir() {
                files.push(path.clone());
                continue;
            }
            let found = found(path, &|file| has_ending(file, TABLES))?.files;
            if found.is_empty() && manifest.is_none() {
                summary.wrong.push(format!("{}: no tables", path.display()));
            }
            files.extend(found);
        }
        summary.checked = files.len();
        let mut whole = Vec::new();
        for path in files {
            match check(&path) {
                Ok(origin) => whole.push((path, origin)),
                Err(error) => summary.wrong.push(format!("{error:#}")),
            }
        }
        if let Some((manifest, folder)) = manifest {
            summary.wrong.extend(dataset::incomplete(&manifest, folder, &whole));
        }
        Ok(Answer::of(&summary)?.failed(!summary.wrong.is_empty()))
    }
}

/// Opens a table and checks what it promises; gives what it was made from.
fn check(path: &Path) -> Result<Option<Origin>> {
    // A name without an ending would be wrong for that, though there may be no file.
    fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    // The authors' files lack the size of their photo, on which nothing that is checked depends.
    let table = match authors(path) {
        true => Table::Gaussians(GaussianTable::from_params(path, [1, 1])?),
        false => Table::open(path)?,
    };
    let wrong = || path.display().to_string();
    match &table {
        Table::Gaussians(gaussians) => gaussians.check_splat().with_context(wrong)?,
        Table::Kernel(kernel) => {
            kernel.check_kernel().with_context(wrong)?;
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
    }
    Ok(Origin::read(table.origin()))
}

#[derive(Default, Serialize)]
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
