//! What a fit reports while it runs and when it is done.

use serde::{Deserialize, Serialize};

/// A step of a running fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Number of steps done, from 1.
    pub step: u32,
    /// Largest number of steps.
    pub steps: u32,
    /// Reconstruction error before the step, averaged as the options say, and over the images of a batch.
    pub loss: f64,
    /// How often the tile lists have been rebuilt so far, because a Gaussian had left them. Images that are fitted
    /// together share their lists, so this is not counted per image.
    pub rebuilds: u32,
}

/// Why a fit ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum End {
    /// There was nothing to fit, or further steps were not worth it.
    #[default]
    Settled,
    /// All steps were done.
    Steps,
    /// The callback asked for it.
    Asked,
    /// The loss was NaN or infinite at this step. The splat is that of an earlier step, and its loss is the last one
    /// reported.
    NotFinite {
        /// The step, from 0.
        step: u32,
    },
}

/// What a fit did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Reconstruction error before every step, and after the last.
    pub losses: Vec<f64>,
    /// Number of steps done.
    pub steps: u32,
    /// Why the fit ended.
    pub end: End,
    /// Largest ratio of a Gaussian's longer to its shorter scale, at the end.
    pub largest_aspect: f64,
    /// Number of steps of single Gaussians that were skipped because they were not finite.
    pub repairs: u64,
    /// Number of annotations that lie outside the photo.
    pub outside: usize,
    /// Number of annotations at the same place as an earlier one.
    pub duplicates: usize,
}

impl Report {
    /// Reconstruction error at the end, if there was anything to fit.
    pub fn loss(&self) -> Option<f64> {
        self.losses.last().copied()
    }
}
