//! The nearest gaussian to a point by Mahalanobis distance, found by brute force.
//!
//! ```
//! use splatport::reference::gaussian::Gaussian;
//! use splatport::reference::nearest::nearest;
//!
//! let gaussians = [Gaussian::<f64>::round([0.0, 0.0], 1.0), Gaussian::round([10.0, 0.0], 4.0)];
//! assert_eq!(nearest(&gaussians, [4.0, 0.0]), Some((1, 2.25))); // nearer in scales, not in px
//! ```

use super::Scalar;
use super::gaussian::Gaussian;

/// The gaussian with the least Mahalanobis distance to `point` (px), and its squared distance q\*; the lowest index on
/// ties.
///
/// `None` if there is no gaussian (or every distance is NaN). Eq. 11: G\* = argmin_n d_M(x, G_n).
pub fn nearest<T: Scalar>(gaussians: &[Gaussian<T>], point: [T; 2]) -> Option<(usize, T)> {
    let mut best: Option<(usize, T)> = None;
    for (n, gaussian) in gaussians.iter().enumerate() {
        let q = gaussian.mahalanobis_sq(point);
        if !q.is_nan() && best.is_none_or(|(_, least)| q < least) {
            best = Some((n, q));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_takes_the_lowest_index() {
        let a = Gaussian::round([0.0, 0.0], 1.0);
        let b = Gaussian::round([10.0, 0.0], 9.0);
        assert_eq!(nearest::<f64>(&[], [0.0, 0.0]), None);
        assert_eq!(nearest(&[a, b, a], [0.0, 0.0]), Some((0, 0.0)));
        assert_eq!(nearest(&[a, b, b], [1.0, 0.0]), Some((0, 1.0))); // all three have q = 1
        assert_eq!(nearest(&[a, b], [2.0, 0.0]).map(|(n, _)| n), Some(1)); // nearer in scales, not in px
    }
}
