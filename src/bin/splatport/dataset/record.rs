//! What a run tells of every photo, a line each.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A line of a run's report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The photo.
    pub id: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Record {
    /// Reads a run's report.
    ///
    /// # Errors
    /// For a line that is none.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let place = |at| format!("{}: line {}", path.display(), at + 1);
        let lines = text.lines().enumerate();
        lines.map(|(at, line)| serde_json::from_str(line).with_context(|| place(at))).collect()
    }
}

/// What became of a photo.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Outcome {
    /// Its results were there already.
    Kept,
    /// Its results were written.
    Written {
        /// Steps of the fit.
        steps: u32,
        /// Reconstruction error at the end, if there was anything to fit.
        loss: Option<f64>,
        /// Points outside the photo.
        outside: usize,
        /// Points at the place of an earlier one.
        duplicates: usize,
    },
    /// It has no results, or older ones.
    Failed {
        /// Why.
        error: String,
    },
}
