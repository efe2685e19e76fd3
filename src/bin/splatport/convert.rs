//! `splatport convert`: a table in another format.

use std::fmt::{self, Display};
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use splatport::Table;

use crate::answer::Answer;
use crate::authors::{PhotoArgs, authors};
use crate::options::ending;

/// Endings of tables and of the authors' files.
const KNOWN: &[&str] = &["npz", "safetensors", "h5"];

/// Write Gaussians or a kernel in another format, with every bit.
#[derive(Args)]
pub struct Convert {
    /// A table, .npz or .safetensors; or Gaussians of the authors' code, .h5.
    input: PathBuf,
    /// Where to write it: .npz, .safetensors or, for the authors' code, Gaussians as .h5.
    #[arg(value_parser = ending(KNOWN))]
    output: PathBuf,
    #[command(flatten)]
    photo: PhotoArgs,
}

impl Convert {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let table = match self.photo.authors(&self.input)? {
            false => Table::open(&self.input)?,
            true => Table::Gaussians(self.photo.gaussians(&self.input)?),
        };
        match &table {
            Table::Gaussians(gaussians) if authors(&self.output) => gaussians.save_params(&self.output)?,
            Table::Kernel(_) if authors(&self.output) => {
                bail!("{}: a kernel has no such format, only Gaussians", self.output.display())
            }
            table => table.save(&self.output)?,
        }
        let kind = match table {
            Table::Gaussians(_) => "gaussians",
            Table::Kernel(_) => "kernel",
        };
        Answer::of(&Summary { kind, output: self.output })
    }
}

#[derive(Serialize)]
struct Summary {
    kind: &'static str,
    output: PathBuf,
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrote  {} ({})", self.output.display(), self.kind)
    }
}
