//! What a run tells of every photo, a line each.

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
