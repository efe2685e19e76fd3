//! The shape loss that keeps gaussians from becoming needles.
//!
//! ```
//! use splatport::reference::gaussian::Gaussian;
//! use splatport::reference::shape;
//!
//! let needle = Gaussian { scales: [1.0, 4.0], ..Gaussian::<f64>::round([0.0, 0.0], 1.0) };
//! assert_eq!(shape::shape_loss(&[needle], 1.5), 2.5);
//! ```

use super::Scalar;
use super::gaussian::Gaussian;

/// Shape loss max_m max(long_m / short_m - `limit`, 0) of the activated scales (Eq. 10, `limit` = 1.5); 0 for no
/// gaussian.
pub fn shape_loss<T: Scalar>(gaussians: &[Gaussian<T>], limit: T) -> T {
    worst(gaussians, limit).map_or(T::zero(), |(_, excess)| excess)
}

/// A subgradient of [`shape_loss`] with respect to the scales of every gaussian, 1/px.
///
/// Only the gaussian with the largest ratio (lowest index on ties) gets one: 1/short on the long axis, -long/short^2 on
/// the short one; all 0 where no ratio exceeds `limit` (Eq. 10 differentiated).
pub fn shape_gradient<T: Scalar>(gaussians: &[Gaussian<T>], limit: T) -> Vec<[T; 2]> {
    let mut gradient = vec![[T::zero(); 2]; gaussians.len()];
    if let Some((m, _)) = worst(gaussians, limit) {
        let [s0, s1] = gaussians[m].scales;
        gradient[m] = if s0 >= s1 { [s1.recip(), -s0 / (s1 * s1)] } else { [-s1 / (s0 * s0), s0.recip()] };
    }
    gradient
}

/// Long axis over short axis, >= 1.
pub fn aspect<T: Scalar>(gaussian: &Gaussian<T>) -> T {
    let [s0, s1] = gaussian.scales;
    s0.max(s1) / s0.min(s1)
}

/// The gaussian whose aspect exceeds `limit` most, and by how much.
fn worst<T: Scalar>(gaussians: &[Gaussian<T>], limit: T) -> Option<(usize, T)> {
    let mut worst = None;
    for (m, gaussian) in gaussians.iter().enumerate() {
        let excess = aspect(gaussian) - limit;
        if excess > worst.map_or(T::zero(), |(_, largest)| largest) {
            worst = Some((m, excess));
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{close, difference, trio};

    fn with_scales(scales: [f64; 2]) -> Gaussian<f64> {
        Gaussian { scales, ..Gaussian::round([0.0; 2], 1.0) }
    }

    #[test]
    fn only_the_lowest_worst_is_reached() {
        let set = [with_scales([1.0, 2.0]), with_scales([6.0, 2.0]), with_scales([1.0, 3.0])];
        assert_eq!(shape_loss(&set, 1.5), 1.5);
        assert_eq!(shape_gradient(&set, 1.5), [[0.0; 2], [0.5, -1.5], [0.0; 2]]);
        assert_eq!(shape_gradient(&set[2..], 1.5), [[-3.0, 1.0]]);
    }

    #[test]
    fn round_enough_and_empty_are_free() {
        let set = [with_scales([1.5, 1.0])];
        assert_eq!(shape_loss(&set, 1.5), 0.0);
        assert_eq!(shape_gradient(&set, 1.5), [[0.0; 2]]);
        assert_eq!(shape_loss::<f64>(&[], 1.5), 0.0);
    }

    #[test]
    fn matches_differences() {
        for (m, analytic) in shape_gradient(&trio(), 1.5).into_iter().enumerate() {
            for (k, entry) in analytic.into_iter().enumerate() {
                close(entry, difference(&trio(), m, 2 + k, |set| shape_loss(set, 1.5)), 1e-8);
            }
        }
    }
}
