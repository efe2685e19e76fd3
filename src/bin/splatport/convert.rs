//! `splatport convert`: a table in another format.

use std::fmt::{self, Display};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use splatport::Table;

use crate::answer::Answer;
use crate::options::{TABLES, ending};

/// Write Gaussians or a kernel in another format, with every bit.
#[derive(Args)]
pub struct Convert {
    /// A table: .npz or .safetensors.
    input: PathBuf,
    /// Where to write it: .npz or .safetensors.
    #[arg(value_parser = ending(TABLES))]
    output: PathBuf,
}

impl Convert {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let table = Table::open(&self.input)?;
        table.save(&self.output)?;
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
