//! The start of a fit: scales from neighbor distances.
//!
//! ```
//! use splatport::reference::initial::{self, InitialScale};
//!
//! let points = [[20.0, 20.0], [44.0, 20.0]];
//! let distances = initial::neighbour_distances(&points);
//! assert_eq!(distances, [24.0_f64, 24.0]);
//! let scales = initial::initial_scales(&distances, InitialScale::KnnFraction { divisor: 6.0 }, 640, 480);
//! assert_eq!(scales, [4.0, 4.0]);
//! ```

use super::{Scalar, count, distance_sq, real};

/// The number of neighbors over which a point's distance is taken.
pub const NEIGHBOURS: usize = 3;
/// The distance of a point without neighbors, px.
pub const LONE_DISTANCE: f64 = 8.0;

/// Root mean square distance of every point to its 3 nearest neighbors, px.
///
/// Two or three points use the 1 or 2 neighbors that exist, and a single point gets [`LONE_DISTANCE`]. Duplicates count
/// as neighbors at distance 0.
pub fn neighbour_distances<T: Scalar>(points: &[[T; 2]]) -> Vec<T> {
    let neighbours = NEIGHBOURS.min(points.len().saturating_sub(1));
    let one = |n: usize| {
        if neighbours == 0 {
            return real(LONE_DISTANCE);
        }
        let others = points.iter().enumerate().filter(|&(m, _)| m != n);
        let mut squares: Vec<T> = others.map(|(_, &p)| distance_sq(p, points[n])).collect();
        // NaN has no order, so the rank of a NaN distance is undefined; the result is NaN either way.
        squares.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        (squares[..neighbours].iter().copied().sum::<T>() / count(neighbours)).sqrt()
    };
    (0..points.len()).map(one).collect()
}

/// How a gaussian's first scale follows from its neighbor distance d (`InitialScale`; the paper is silent).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InitialScale<T> {
    /// max(ln d, 2) + 1 px, as in the authors' code.
    RefLogKnn,
    /// clamp(d / `divisor`, 2, 0.015 max(width, height)) px; where the limits cross (images below 134 px), 2 wins.
    KnnFraction {
        /// 6 by default, no unit.
        divisor: T,
    },
}

/// The first scale of every gaussian, px, for both axes, from its [`neighbour_distances`] entry in a `width` x `height`
/// image.
pub fn initial_scales<T: Scalar>(distances: &[T], rule: InitialScale<T>, width: usize, height: usize) -> Vec<T> {
    let floor = real::<T>(2.0);
    let ceiling = real::<T>(0.015) * count(width.max(height));
    let scale = |&distance: &T| match rule {
        InitialScale::RefLogKnn => distance.ln().max(floor) + T::one(),
        InitialScale::KnnFraction { divisor } => (distance / divisor).min(ceiling).max(floor),
    };
    distances.iter().map(scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::close;

    #[test]
    fn few_points_and_duplicates() {
        assert!(neighbour_distances::<f64>(&[]).is_empty());
        assert_eq!(neighbour_distances(&[[3.0, 4.0]]), [8.0_f64]);
        let three = neighbour_distances(&[[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]);
        [13.0_f64, 21.5, 9.5].iter().zip(&three).for_each(|(sq, &d)| close(d, sq.sqrt(), 1e-15));
        let five = neighbour_distances(&[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [100.0_f64, 0.0]]);
        close(five[0], (14.0_f64 / 3.0).sqrt(), 1e-15);
        assert_eq!(neighbour_distances(&[[7.0_f64, 7.0]; 4]), [0.0; 4]);
    }

    #[test]
    fn both_scale_rules() {
        let distances = [0.0, 8.0, 60.0, 5000.0];
        let reference = initial_scales(&distances, InitialScale::RefLogKnn, 1024, 768);
        let expected = [3.0, 8.0_f64.ln() + 1.0, 60.0_f64.ln() + 1.0, 5000.0_f64.ln() + 1.0];
        reference.iter().zip(expected).for_each(|(&a, b)| close(a, b, 1e-15));
        let fraction = InitialScale::KnnFraction { divisor: 6.0 };
        let clamped = initial_scales(&distances, fraction, 1024, 768);
        clamped.iter().zip([2.0, 2.0, 10.0, 15.36]).for_each(|(&a, b)| close(a, b, 1e-14));
        assert_eq!(initial_scales(&[60.0], fraction, 40, 30), [2.0]); // 0.015 * 40 < 2
    }
}
