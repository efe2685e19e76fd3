//! The posteriors of Bayesian loss, from squared distances (Ma et al. 2019).
//!
//! ```
//! use splatport::reference::bayesian::posterior;
//!
//! // Half way between two annotations, the background far behind.
//! let row = posterior(&[[10.0_f64, 0.0], [30.0, 0.0]], [20.0, 0.0], 8.0, Some(512.0));
//! assert!((row[0] - 0.5).abs() < 1e-8 && row[0] == row[1]); // the background has e^-20 of it
//! ```

use super::{Scalar, distance_sq, real};

/// Posterior of every annotation, then of the background, at `centre`. The entries sum to 1.
///
/// The likelihood of an annotation is `exp(-|x - y|^2 / (2 scale^2))`. That of the background, if `reach` says how far
/// it is mirrored (px; published: the image's shorter side), is the same at the squared distance
/// `reach^2 / (least + 1e-5)`, where `least` is the least squared distance to an annotation.
pub fn posterior<T: Scalar>(points: &[[T; 2]], centre: [T; 2], scale: T, reach: Option<T>) -> Vec<T> {
    if points.is_empty() {
        return vec![T::one()];
    }
    let mut squares: Vec<T> = points.iter().map(|&point| distance_sq(centre, point)).collect();
    let least = squares.iter().copied().fold(T::infinity(), T::min);
    squares.push(reach.map_or(T::infinity(), |reach| reach / (least + real(1e-5)) * reach));
    let nearest = squares.iter().copied().fold(T::infinity(), T::min);
    let likelihoods: Vec<T> =
        squares.iter().map(|&square| ((nearest - square) / (real::<T>(2.0) * scale * scale)).exp()).collect();
    let total: T = likelihoods.iter().copied().sum();
    likelihoods.into_iter().map(|likelihood| likelihood / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::close;
    use crate::reference::gaussian::Gaussian;
    use crate::reference::kernel::{self, Background};

    /// The method's kernel with equal round Gaussians, read off its own formula.
    #[test]
    fn it_is_the_kernel_of_equal_round_gaussians() {
        let points = [[3.0, 4.0], [20.0, 9.0], [20.0, 9.0], [-30.0, 50.0]];
        let set = points.map(|point| Gaussian::round(point, 8.0));
        for x in [-40.0, 0.0, 3.0, 11.0, 300.0] {
            for (reach, rule) in [
                (None, Background::None),
                (Some(60.0), Background::Reciprocal { strength: 60.0 * 60.0 / 2.0 }),
                (Some(0.5), Background::Reciprocal { strength: 0.125 }),
            ] {
                let (own, other) = (posterior(&points, [x, 7.0], 8.0, reach), kernel::row(&set, [x, 7.0], &rule));
                own.iter().zip(&other).for_each(|(&a, &b)| close(a, b, 1e-12));
            }
        }
        assert_eq!(posterior(&[], [1.0, 2.0], 8.0, Some(9.0)), [1.0]);
    }
}
