//! The transport kernel K, row by row: which annotation, or the background, a cell's density belongs to.
//!
//! ```
//! use splatport::reference::gaussian::Gaussian;
//! use splatport::reference::kernel::{self, Background};
//!
//! let gaussians = [Gaussian::<f64>::round([10.0, 10.0], 4.0)];
//! // With `crossover` the background takes half at exactly `cut_off` standard deviations.
//! let row = kernel::row(&gaussians, [22.0, 10.0], &Background::crossover(3.0, 1));
//! assert!((row[0] - 0.5).abs() < 1e-14 && (row[1] - 0.5).abs() < 1e-14);
//! ```

use super::gaussian::Gaussian;
use super::nearest::nearest;
use super::{Scalar, real};

/// The rule for the last column of K, the background.
#[derive(Clone, Debug, PartialEq)]
pub enum Background<T> {
    /// No background: the column stays, filled with 0 (with 1 if there is no gaussian).
    None,
    /// Odds against the nearest gaussian n\* of exp(q\* - b\[n\*\]): log weight q\*/2 - b - log|S\*|/2 (Eq. 11).
    Odds {
        /// One constant per gaussian, no unit.
        b: Vec<T>,
    },
    /// Log weight -`strength` / (v (v q\* + 1e-5)) - log v with v = |S\*|^(1/2), as in Bayesian loss, where v q\* is
    /// the squared distance in px and `strength` half the squared distance that mirrors the background (Ma et al.
    /// 2019).
    Reciprocal {
        /// px^4.
        strength: T,
    },
    /// It takes everything where q\* > `cut_off`^2, and nothing elsewhere (the paper's text above Eq. 11).
    Hard {
        /// In standard deviations.
        cut_off: T,
    },
}

impl<T: Scalar> Background<T> {
    /// Eq. 11 as printed, b = cut_off^2 / 2, for `n` gaussians: half at `cut_off`/sqrt 2 standard deviations.
    pub fn exponent(cut_off: T, n: usize) -> Self {
        Self::Odds { b: vec![cut_off * cut_off / real(2.0); n] }
    }

    /// b = cut_off^2 for `n` gaussians: half at exactly `cut_off` standard deviations (`CutOff`).
    pub fn crossover(cut_off: T, n: usize) -> Self {
        Self::Odds { b: vec![cut_off * cut_off; n] }
    }

    /// The authors' code: b_n = cut_off^2 / 2 + log|S_n| / 2 - ln `kappa`, `kappa` in px^2, 0.015.
    pub fn ref_ratio(cut_off: T, kappa: T, gaussians: &[Gaussian<T>]) -> Self {
        let two = real::<T>(2.0);
        let b = |g: &Gaussian<T>| (cut_off * cut_off + g.log_det()) / two - kappa.ln();
        Self::Odds { b: gaussians.iter().map(b).collect() }
    }
}

/// One row of K at `point` (px): N annotation entries, then the background; they sum to 1.
///
/// Softmax over n of the log densities -q_n/2 - log|S_n|/2 and the background's log weight, shifted by its maximum
/// (Theorem 1 with Eqs. 7, 9, 11, 12, equal priors, one gaussian per annotation). Without gaussians the row is `[1]`.
///
/// # Panics
/// If [`Background::Odds`] does not have one constant per gaussian.
pub fn row<T: Scalar>(gaussians: &[Gaussian<T>], point: [T; 2], background: &Background<T>) -> Vec<T> {
    if let Background::Odds { b } = background {
        assert_eq!(b.len(), gaussians.len(), "length of b");
    }
    let Some((n, q)) = nearest(gaussians, point) else {
        // Without a gaussian, all is background. With only NaN distances the row is NaN rather than a guess.
        return if gaussians.is_empty() { vec![T::one()] } else { vec![T::nan(); gaussians.len() + 1] };
    };
    let Some(behind) = behind(&gaussians[n], q, background, n) else {
        let mut entries = vec![T::zero(); gaussians.len()];
        entries.push(T::one());
        return entries;
    };
    let mut logits: Vec<T> = gaussians.iter().map(|g| g.log_density(point)).collect();
    logits.push(behind);
    softmax(&logits)
}

/// The background's log weight where the nearest gaussian, the `n`-th, is at squared distance `q`; `None` where
/// everything is background.
pub(super) fn behind<T: Scalar>(nearest: &Gaussian<T>, q: T, background: &Background<T>, n: usize) -> Option<T> {
    match background {
        Background::None => Some(T::neg_infinity()),
        Background::Odds { b } => Some((q - nearest.log_det()) / real(2.0) - b[n]),
        Background::Reciprocal { strength } => {
            let log_variance = nearest.log_det() / real(2.0);
            let variance = log_variance.exp();
            Some(-log_variance - *strength / (variance * (variance * q + real(1e-5))))
        }
        Background::Hard { cut_off } => (q <= *cut_off * *cut_off).then(T::neg_infinity),
    }
}

/// The whole kernel: [`row`] at each of `centres` (px), I rows of N + 1 entries.
///
/// # Panics
/// If [`Background::Odds`] does not have one constant per gaussian.
pub fn dense<T: Scalar>(gaussians: &[Gaussian<T>], centres: &[[T; 2]], background: &Background<T>) -> Vec<Vec<T>> {
    centres.iter().map(|&centre| row(gaussians, centre, background)).collect()
}

/// exp(l - max) / sum; far cells have logits in the thousands, so the shift is needed even in f64.
pub(super) fn softmax<T: Scalar>(logits: &[T]) -> Vec<T> {
    let largest = logits.iter().copied().fold(T::neg_infinity(), T::max);
    let weights: Vec<T> = logits.iter().map(|&logit| (logit - largest).exp()).collect();
    let sum: T = weights.iter().copied().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::close;
    use crate::strategies;
    use proptest::prelude::*;

    const U: f64 = f64::EPSILON / 2.0;

    #[test]
    fn no_gaussian_is_all_background() {
        for background in [Background::None, Background::Odds { b: vec![] }, Background::Hard { cut_off: 3.0 }] {
            assert_eq!(row::<f64>(&[], [1.0, 2.0], &background), [1.0]);
        }
    }

    #[test]
    fn published_boundaries_and_leakage() {
        // Spec 1.3: half at 2.121 (Eq. 11, d = 3), at 3.586 and 3.833 scales (code, 8 and 20 px).
        for scale in [8.0_f64, 20.0] {
            let g = [Gaussian::round([0.0, 0.0], scale)];
            let reference = Background::ref_ratio(3.0, 0.015, &g);
            let Background::Odds { b } = &reference else { unreachable!() };
            close(b[0].sqrt(), if scale == 8.0 { 3.586 } else { 3.833 }, 5e-4);
            for (rule, boundary) in [(Background::exponent(3.0, 1), 4.5_f64.sqrt()), (reference.clone(), b[0].sqrt())] {
                close(row(&g, [boundary * scale, 0.0], &rule)[1], 0.5, 1e-14);
            }
            close(row(&g, [0.0, 0.0], &Background::exponent(3.0, 1))[1], 1.0 / (1.0 + 4.5_f64.exp()), 1e-15);
            if scale == 8.0 {
                close(row(&g, [0.0, 0.0], &reference)[1], 2.6e-6, 5e-8);
            }
        }
    }

    #[test]
    fn hard_cut_and_far_cells() {
        let set = [Gaussian::round([0.0, 0.0], 2.0), Gaussian::round([4.0, 0.0], 2.0)];
        let hard = Background::Hard { cut_off: 3.0 };
        assert_eq!(row(&set, [-6.0, 0.0], &hard)[2], 0.0); // q* = 9 is inside
        assert_eq!(row(&set, [-6.1, 0.0], &hard), [0.0, 0.0, 1.0]);
        assert_eq!(row(&set, [1e6, 0.0], &Background::exponent(3.0, 2)), [0.0, 0.0, 1.0]);
        assert_eq!(row(&set, [1e6, 0.0], &Background::None), [0.0, 1.0, 0.0]);
    }

    proptest! {
        #[test]
        fn rows_sum_to_one_with_the_odds_of_the_rule(
            set in strategies::gaussians(12, 64, 48, 20.0), x in 0.0..64.0, y in 0.0..48.0, d in 0.5..4.0,
        ) {
            for rule in [Background::None, Background::Hard { cut_off: d }, Background::exponent(d, set.len()),
                         Background::crossover(d, set.len()), Background::ref_ratio(d, 0.015, &set)] {
                let entries = row(&set, [x, y], &rule);
                prop_assert_eq!(entries.len(), set.len() + 1);
                prop_assert!((entries.iter().sum::<f64>() - 1.0).abs() <= 2.0 * (set.len() as f64 + 4.0) * U);
                let (Background::Odds { b }, Some((n, q))) = (&rule, nearest(&set, [x, y])) else { continue };
                let (front, behind) = (entries[n], entries[set.len()]);
                if front > 1e-300 && behind > 1e-300 {
                    prop_assert!(((behind / front).ln() - (q - b[n])).abs() <= 64.0 * U * (1.0 + q + b[n].abs()));
                }
            }
        }

        #[test]
        fn one_gaussian_is_a_sigmoid(g in strategies::gaussian(64, 48, 20.0), x in 0.0..64.0, y in 0.0..48.0) {
            let q = g.mahalanobis_sq([x, y]);
            let entries = row(&[g], [x, y], &Background::exponent(3.0, 1));
            let sigmoid = 1.0 / (1.0 + (4.5 - q).exp());
            prop_assert!((entries[1] - sigmoid).abs() <= 8.0 * U * (1.0 + q));
        }

        /// The Bayesian loss's kernel: equal round gaussians, no background.
        #[test]
        fn equal_round_gaussians_are_a_plain_softmax(
            points in strategies::points(9, 64, 48), scale in 1.0..20.0, x in 0.0..64.0, y in 0.0..48.0,
        ) {
            let set: Vec<_> = points.iter().map(|&p| Gaussian::round(p, scale)).collect();
            let entries = row(&set, [x, y], &Background::None);
            let sq: Vec<f64> = points.iter().map(|p| (x - p[0]).powi(2) + (y - p[1]).powi(2)).collect();
            let least = sq.iter().copied().fold(f64::INFINITY, f64::min);
            let weights: Vec<f64> = sq.iter().map(|s| ((least - s) / (2.0 * scale * scale)).exp()).collect();
            for (n, weight) in weights.iter().enumerate() {
                let expected = weight / weights.iter().sum::<f64>();
                let tolerance = 32.0 * U * (1.0 + sq[n] / (scale * scale));
                prop_assert!((entries[n] - expected).abs() <= tolerance, "{} {expected}", entries[n]);
            }
        }
    }
}
