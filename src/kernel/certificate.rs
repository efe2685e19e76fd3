//! What a kernel left out.

use splatport_kernels::{
    Precision,
    correspondence::{Dropped, Part},
    cubecl::Runtime,
};

use super::Kernel;
use crate::Result;

/// How much mass a kernel left out, and how much its weights were rounded for storage.
///
/// A row has three sources of error: the mass that was dropped, bounded by [`tau`](Self::tau) and more closely by
/// [`bound`](Self::bound); the rounding of its weights to the type that stores them, bounded by
/// [`storage`](Self::storage); and the rounding of the posterior itself, which is computed in `f32`.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Certificate {
    /// Tolerated L1 error of a row.
    pub tau: f64,
    /// Largest mass that any row was seen to drop, before the rest of the row was scaled up to 1 again.
    pub worst_dropped: f64,
    /// Largest mass that any row can have dropped, including Gaussians that a bound excluded without evaluating them. A
    /// row's L1 error is twice its dropped mass, so `2 bound <= tau`, up to the rounding of a sum with one term per
    /// annotation.
    pub bound: f64,
    /// Upper bound on how much storage changed any one weight: 2^-23 in `f32`, 2^-10 in `f16` and 2^-7 in `bf16`, each
    /// times the weight (below 2^-14, `f16` adds up to 2^-25); in [`Fixed`](crate::Fixed) 1/65535, whatever the weight. In a
    /// mixture, whose weights are sums, it holds for each Gaussian's part.
    pub storage: f64,
    /// Number of stored weights, not counting those of the background.
    pub entries: usize,
    /// Device memory that the kernel takes, in both orders.
    pub bytes: usize,
}

impl<R: Runtime, P: Precision> Kernel<R, P> {
    /// What was left out. For a kernel of many images, the errors are the worst of any image.
    pub fn certificate(&self) -> Certificate {
        let largest = |of: fn(&Dropped) -> f64| self.entries.dropped.iter().map(of).fold(0.0, f64::max);
        Certificate {
            tau: self.tau,
            worst_dropped: largest(|dropped| dropped.worst),
            bound: largest(|dropped| dropped.bound),
            storage: self.storage,
            entries: self.entries.columns.len(),
            bytes: self.entries.bytes(),
        }
    }

    /// What was left out, image by image, each as if its kernel had been built alone. (If one image is a
    /// [mixture](crate::Splat::mixed), the memory of all is counted as that of mixtures.)
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    pub fn certificates(&self) -> Result<Vec<Certificate>> {
        let parts = self.entries.parts(&self.device)?;
        let certificate = |(part, dropped): (_, &Dropped)| {
            let Part { entries, bytes } = part;
            let Dropped { worst, bound } = *dropped;
            Certificate { tau: self.tau, worst_dropped: worst, bound, storage: self.storage, entries, bytes }
        };
        Ok(parts.into_iter().zip(&self.entries.dropped).map(certificate).collect())
    }
}
