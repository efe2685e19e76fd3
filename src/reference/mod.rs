//! Gaussian Spatial Transport in plain host loops: the oracle that every device result is compared with.
//!
//! Each function is the shortest correct form of its formula: dense, no pruning, no tiles, generic over [`Scalar`] (run
//! it in `f64` as the oracle, or in `f32` to see what single precision costs). "Eq. n" is an equation of the paper,
//! Gaussian Spatial Transport. Wrong lengths panic with the name of the array; empty sets of gaussians are valid.
//!
//! | module | stage |
//! |---|---|
//! | [`gaussian`] | one gaussian: covariance, conic, Mahalanobis distance, log density |
//! | [`initial`], [`background_image`] | where a fit starts: scales from neighbors, the mask, the two background images |
//! | [`splat`], [`reconstruction`], [`shape`], [`alpha_over`], [`normal_matrix`], [`adam`] | render, losses and gradients of the fit, its two updates |
//! | [`scales`] | clean-up and clip of fitted scales |
//! | [`grid`], [`nearest`], [`kernel`] | cell centers; the rows of the transport kernel K |
//! | [`mixture`] | rows of annotations made up of several gaussians; derivatives of a loss with respect to a plan's parameters |
//! | [`loss`], [`cost`] | K'z, K v, the L1 loss, the transport cost |
//! | [`sinkhorn`], [`dm_count`] | entropic optimal transport, balanced and unbalanced; the DM-Count loss based on it |
//! | [`pseudo_density`], [`bayesian`], [`generalized`], [`heatmap`] | the other losses that the method is compared with |
//! | [`ownership`] | which annotation owns a cell, and its overlap with true masks |
//!
//! Points are `[x, y]` in pixels, x right, y down, the center of the top-left pixel at (0.5, 0.5). Images are
//! row-major with 1 or 3 interleaved channels. Rows of K are cells; its columns are the annotations, then the
//! background **last**.
//!
//! ```
//! use splatport::reference::gaussian::Gaussian;
//! use splatport::reference::grid::Grid;
//! use splatport::reference::{kernel, loss};
//!
//! // Two annotations in a 32 x 16 image, 4 px cells, each cell holding 1/4 of an object.
//! let gaussians = [Gaussian::<f64>::round([8.0, 8.0], 3.0), Gaussian::round([24.0, 8.0], 3.0)];
//! let centres = Grid::over(32, 16, 4.0).centres();
//! let background = kernel::Background::crossover(3.0, gaussians.len());
//! let rows = kernel::dense(&gaussians, &centres, &background);
//! let step = loss::l1(&rows, &vec![0.25; centres.len()], &[1.0, 1.0]);
//! assert!((step.mass.iter().sum::<f64>() - 8.0).abs() < 1e-12); // transport conserves mass
//! assert!(step.gradient.iter().all(|g| g.abs() <= 1.0 + 1e-15));
//! ```

use std::iter::Sum;

use num_traits::{Float, NumCast};

pub mod adam;
pub mod alpha_over;
pub mod background_image;
pub mod bayesian;
#[cfg(test)]
mod check;
pub mod cost;
pub mod discrepancy;
pub mod dm_count;
pub mod gaussian;
pub mod generalized;
pub mod grid;
pub mod heatmap;
pub mod initial;
pub mod kernel;
pub mod loss;
pub mod mixture;
pub mod nearest;
pub mod normal_matrix;
pub mod ownership;
pub mod pseudo_density;
pub mod reconstruction;
pub mod scales;
pub mod shape;
pub mod sinkhorn;
pub mod splat;

/// A float type that the reference can use: `f64` as the oracle, `f32` for comparison.
pub trait Scalar: Float + Sum + 'static {}

impl<T: Float + Sum + 'static> Scalar for T {}

/// The constant `value` in `T`; every literal of the reference passes through here.
fn real<T: Scalar>(value: f64) -> T {
    <T as NumCast>::from(value).unwrap_or_else(T::nan)
}

/// The count `value` in `T`.
fn count<T: Scalar>(value: usize) -> T {
    <T as NumCast>::from(value).unwrap_or_else(T::nan)
}

/// -1, 0 or 1; unlike [`Float::signum`] the sign of zero is 0, as the L1 subgradients need.
fn sign<T: Scalar>(value: T) -> T {
    if value > T::zero() {
        T::one()
    } else if value < T::zero() {
        -T::one()
    } else {
        T::zero()
    }
}

/// Squared distance of two points, px^2.
fn distance_sq<T: Scalar>(a: [T; 2], b: [T; 2]) -> T {
    let (dx, dy) = (a[0] - b[0], a[1] - b[1]);
    dx * dx + dy * dy
}

/// Every pixel of a `width` x `height` image, row by row: its index and its center in px.
fn pixels<T: Scalar>(width: usize, height: usize) -> impl Iterator<Item = (usize, [T; 2])> {
    let centre = |index| count::<T>(index) + real(0.5);
    (0..width * height).map(move |index| (index, [centre(index % width), centre(index / width)]))
}

/// Panics unless an image slice has `width * height * channels` entries and 1 or 3 channels.
fn assert_image<T>(what: &str, image: &[T], width: usize, height: usize, channels: usize) {
    assert!(channels == 1 || channels == 3, "channels must be 1 or 3, got {channels}");
    assert_eq!(image.len(), width * height * channels, "length of {what}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::gaussian::Gaussian;
    use super::kernel::{Background, dense};
    use crate::strategies;

    fn single(g: &Gaussian<f64>) -> Gaussian<f32> {
        let f = |v: f64| v as f32;
        Gaussian {
            mean: g.mean.map(f),
            scales: g.scales.map(f),
            rotation: f(g.rotation),
            color: g.color.map(f),
            opacity: f(g.opacity),
        }
    }

    proptest! {
        /// Spec section 3: row L1 of f32 against f64 <= (32 + 4 aspect) u (1 + q*), with inputs exact in both.
        #[test]
        fn single_precision_stays_within_its_bound(
            set in strategies::gaussians(8, 64, 48, 20.0), col in 0..64_u8, row in 0..48_u8,
        ) {
            let centre = [f64::from(col) + 0.5, f64::from(row) + 0.5];
            let rounded: Vec<Gaussian<f32>> = set.iter().map(single).collect();
            let exact = &dense(&set, &[centre], &Background::crossover(3.0, set.len()))[0];
            let rough = &dense(&rounded, &[centre.map(|v| v as f32)], &Background::crossover(3.0, set.len()))[0];
            let distance: f64 = exact.iter().zip(rough).map(|(a, &b)| (a - f64::from(b)).abs()).sum();
            let aspect = set.iter().map(super::shape::aspect).fold(1.0, f64::max);
            let q = super::nearest::nearest(&set, centre).map_or(0.0, |(_, q)| q);
            let bound = (32.0 + 4.0 * aspect) * f64::from(f32::EPSILON) / 2.0 * (1.0 + q);
            prop_assert!(distance <= bound, "{distance:e} {bound:e}");
        }
    }
}
