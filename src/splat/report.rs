//! What a fit tells while it runs and when it is done.

use serde::{Deserialize, Serialize};

/// A step of a running fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done, from 1.
    pub step: u32,
    /// Steps at most.
    pub steps: u32,
    /// Reconstruction error before the step, averaged as the options say, and over the images of a batch.
    pub loss: f64,
    /// Times that the tile lists were made again so far, because a Gaussian had left them. Images that are fitted together
    /// share their lists, so no image has a number of its own.
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
    /// The loss was no finite number at this step; the splat is an earlier one, and its loss the last that is reported.
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
    /// Steps done.
    pub steps: u32,
    /// Why there was no further one.
    pub end: End,
    /// Largest ratio of a Gaussian's longer to its shorter scale, at the end.
    pub largest_aspect: f64,
    /// Steps of single Gaussians that were not finite and were left out.
    pub repairs: u64,
    /// Annotations that lie outside the photo.
    pub outside: usize,
    /// Annotations at the same place as an earlier one.
    pub duplicates: usize,
}

impl Report {
    /// Reconstruction error at the end, if there was anything to fit.
    pub fn loss(&self) -> Option<f64> {
        self.losses.last().copied()
    }
}
