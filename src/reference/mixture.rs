//! Annotations made up of several gaussians, and the derivatives of a loss with respect to the gaussians.
//!
//! ```
//! use splatport::reference::gaussian::Gaussian;
//! use splatport::reference::kernel::{self, Background};
//! use splatport::reference::mixture::{self, Share};
//!
//! // One gaussian in two halves is that gaussian.
//! let g = Gaussian::<f64>::round([10.0, 10.0], 4.0);
//! let half = Share { annotation: 0, gaussian: 0, log_weight: 0.5_f64.ln() };
//! let other = Share { gaussian: 1, ..half };
//! let whole = kernel::row(&[g], [19.0, 10.0], &Background::crossover(3.0, 1));
//! let halves = mixture::row(&[g, g], &[half, other], 1, [19.0, 10.0], &Background::crossover(3.0, 2));
//! assert!((whole[0] - halves[0]).abs() < 1e-15);
//! ```

use super::gaussian::Gaussian;
use super::kernel::{Background, behind, softmax};
use super::{Scalar, distance_sq, real};

/// P(G|y) of one gaussian and one annotation (Eq. 7).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share<T> {
    /// The annotation.
    pub annotation: usize,
    /// The gaussian.
    pub gaussian: usize,
    /// ln P(G|y).
    pub log_weight: T,
}

/// One row at `point` (px), by shares: the posterior of each, then that of the background. Gaussians without a share do
/// not count. Without shares the row is `[1]`.
fn posterior<T: Scalar>(
    gaussians: &[Gaussian<T>],
    shares: &[Share<T>],
    point: [T; 2],
    background: &Background<T>,
) -> (Vec<T>, Option<usize>) {
    let q = |share: &Share<T>| gaussians[share.gaussian].mahalanobis_sq(point);
    let closer = |best: Option<usize>, at: usize| match best {
        Some(best) if q(&shares[best]) <= q(&shares[at]) => Some(best),
        _ => Some(at),
    };
    let Some(nearest) = (0..shares.len()).fold(None, closer) else { return (vec![T::one()], None) };
    let n = shares[nearest].gaussian;
    let Some(behind) = behind(&gaussians[n], q(&shares[nearest]), background, n) else {
        let mut row = vec![T::zero(); shares.len()];
        row.push(T::one());
        return (row, Some(nearest));
    };
    let logit = |share: &Share<T>| gaussians[share.gaussian].log_density(point) + share.log_weight;
    let mut logits: Vec<T> = shares.iter().map(logit).collect();
    logits.push(behind);
    (softmax(&logits), Some(nearest))
}

/// One row of K at `point` (px): an entry for each of `annotations`, then the background; they sum to 1.
///
/// The density of annotation n is sum_m P(G_m|y_n) P(x|G_m) (Eq. 7), and that of the background is the density of the
/// nearest gaussian that has a share, taken alone.
pub fn row<T: Scalar>(
    gaussians: &[Gaussian<T>],
    shares: &[Share<T>],
    annotations: usize,
    point: [T; 2],
    background: &Background<T>,
) -> Vec<T> {
    let (by_share, _) = posterior(gaussians, shares, point, background);
    let mut row = vec![T::zero(); annotations + 1];
    for (share, &weight) in shares.iter().zip(&by_share) {
        row[share.annotation] = row[share.annotation] + weight;
    }
    row[annotations] = by_share[shares.len()];
    row
}

/// Derivatives with respect to the parameters of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient<T> {
    /// With respect to mean x, mean y, the two scales (1/px) and the rotation (1/rad) of every gaussian.
    pub parameters: Vec<[T; 5]>,
    /// With respect to the log weight of every share, where the weights of an annotation are scaled to sum to 1.
    pub log_weights: Vec<T>,
}

/// Derivatives of sum_in z_i K_in (s_n + `price` C_in), for fixed slopes s (one for each annotation, then the
/// background's), with respect to the gaussians and the shares: the last step of the chain rule for every loss that has
/// these slopes with respect to the transported mass and this price of a transport cost, C_in = |centre_i - mean_n|^2,
/// 0 for the background (annotation n is bound to gaussian n).
///
/// With a_in = z_i K_in (s_n + `price` C_in - g_i), g_i = sum_n K_in (s_n + `price` C_in): the derivative with respect
/// to a logit of [`row`] is a. `b_per_log_det` is the derivative of the background's b with respect to log|S|.
pub fn gradient<T: Scalar>(
    (gaussians, shares): (&[Gaussian<T>], &[Share<T>]),
    (centres, density): (&[[T; 2]], &[T]),
    (background, b_per_log_det): (&Background<T>, T),
    (slopes, price): (&[T], T),
) -> Gradient<T> {
    let (half, two) = (real::<T>(0.5), real::<T>(2.0));
    let mut parameters = vec![[T::zero(); 5]; gaussians.len()];
    let mut by_share = vec![T::zero(); shares.len()];
    let mut by_place = vec![[T::zero(); 2]; slopes.len() - 1];
    // `by_q` and `by_log_det` are derivatives of a logit by the gaussian's q and log|S|.
    let mut add = |n: usize, point: [T; 2], a: T, by_q: T, by_log_det: T| {
        let (by_mean, by_scales, by_rotation) = gaussians[n].mahalanobis_sq_gradient(point);
        let own = &mut parameters[n];
        for k in 0..2 {
            own[k] = own[k] + a * by_q * by_mean[k];
            own[2 + k] = own[2 + k] + a * (by_q * by_scales[k] + by_log_det * two / gaussians[n].scales[k]);
        }
        own[4] = own[4] + a * by_q * by_rotation;
    };
    for (&point, &z) in centres.iter().zip(density) {
        let (row, nearest) = posterior(gaussians, shares, point, background);
        let columns = shares.iter().map(|share| share.annotation).chain([slopes.len() - 1]);
        let paid = |n: usize| match n + 1 == slopes.len() {
            true => slopes[n],
            false => slopes[n] + price * distance_sq(point, gaussians[n].mean),
        };
        let g: T = row.iter().zip(columns.clone()).map(|(&k, n)| k * paid(n)).sum();
        let a: Vec<T> = row.iter().zip(columns).map(|(&k, n)| z * k * (paid(n) - g)).collect();
        for (c, share) in shares.iter().enumerate() {
            by_share[c] = by_share[c] + a[c];
            add(share.gaussian, point, a[c], -half, -half);
            for k in 0..2 {
                let own = &mut by_place[share.annotation][k];
                *own = *own - two * price * z * row[c] * (point[k] - gaussians[share.annotation].mean[k]);
            }
        }
        let Some(nearest) = nearest.map(|at| shares[at].gaussian) else { continue };
        let behind = a[shares.len()];
        match *background {
            Background::Odds { .. } => add(nearest, point, behind, half, -half - b_per_log_det),
            Background::Reciprocal { strength } => {
                // Of -ln v - strength / (v (v q + 1e-5)), v = |S|^(1/2).
                let (q, v) = (gaussians[nearest].mahalanobis_sq(point), (gaussians[nearest].log_det() * half).exp());
                let d = v * q + real(1e-5);
                let by_log_v = -T::one() + strength / (v * d) + strength * q / (d * d);
                add(nearest, point, behind, strength / (d * d), half * by_log_v);
            }
            Background::None | Background::Hard { .. } => {}
        }
    }
    for (own, place) in parameters.iter_mut().zip(by_place) {
        (own[0], own[1]) = (own[0] + place[0], own[1] + place[1]);
    }
    let of =
        |n| shares.iter().zip(&by_share).filter(move |(share, _)| share.annotation == n).map(|(_, &a)| a).sum::<T>();
    let log_weights =
        shares.iter().zip(&by_share).map(|(share, &a)| a - share.log_weight.exp() * of(share.annotation)).collect();
    Gradient { parameters, log_weights }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{STEP, close, difference, example, trio};
    use crate::reference::kernel;

    const SLOPES: [f64; 3] = [0.7, -1.0, 0.4];

    /// Shares of two annotations in the trio, one gaussian in both, from weights that need not sum to 1.
    fn shares(weights: [f64; 4]) -> Vec<Share<f64>> {
        let pairs = [(0, 0), (0, 2), (1, 1), (1, 2)];
        let sums = [weights[0] + weights[1], weights[2] + weights[3]];
        pairs
            .iter()
            .zip(weights)
            .map(|(&(annotation, gaussian), w)| Share { annotation, gaussian, log_weight: (w / sums[annotation]).ln() })
            .collect()
    }

    const WEIGHTS: [f64; 4] = [0.6, 0.4, 1.5, 0.5];

    type Rule = fn(&[Gaussian<f64>]) -> Background<f64>;

    /// Rules, and how their b depends on log|S|.
    fn rules() -> [(Rule, f64); 5] {
        [
            (|_| Background::None, 0.0),
            (|_| Background::Hard { cut_off: 3.0 }, 0.0),
            (|set| Background::exponent(2.0, set.len()), 0.0),
            (|set| Background::ref_ratio(1.0, 0.7, set), 0.5),
            (|_| Background::Reciprocal { strength: 3.0 }, 0.0),
        ]
    }

    fn loss(set: &[Gaussian<f64>], shares: &[Share<f64>], rule: Rule, price: f64) -> f64 {
        let (_, centres, density) = example();
        let one = |(&centre, &z): (&[f64; 2], &f64)| {
            let row = row(set, shares, 2, centre, &rule(set));
            let costs = (0..2).map(|n| distance_sq(centre, set[n].mean)).chain([0.0]);
            z * row.iter().zip(SLOPES).zip(costs).map(|((k, s), c)| k * (s + price * c)).sum::<f64>()
        };
        centres.iter().zip(&density).map(one).sum()
    }

    /// Central differences of a sum of 20 terms below 1 with a step of 1e-6: roundoff 1e-9, curvature far below.
    #[test]
    fn gradients_match_differences() {
        let (_, centres, density) = example();
        for ((rule, per_log_det), price) in rules().into_iter().zip([0.0, 0.05, 0.05, 0.05, 0.05]) {
            let (set, parts) = (trio(), shares(WEIGHTS));
            let got = gradient((&set, &parts), (&centres, &density), (&rule(&set), per_log_det), (&SLOPES, price));
            for (m, by) in got.parameters.iter().enumerate() {
                for (k, &by) in by.iter().enumerate() {
                    close(by, difference(&set, m, k, |set| loss(set, &parts, rule, price)), 3e-8);
                }
            }
            for (c, &by) in got.log_weights.iter().enumerate() {
                let moved = |step: f64| {
                    let mut weights = WEIGHTS;
                    weights[c] *= step.exp();
                    loss(&set, &shares(weights), rule, price)
                };
                close(by, (moved(STEP) - moved(-STEP)) / (2.0 * STEP), 3e-8);
            }
        }
    }

    #[test]
    fn one_gaussian_each_is_the_plain_kernel() {
        let set = trio();
        let alone: Vec<_> = (0..3).map(|n| Share { annotation: n, gaussian: n, log_weight: 0.0 }).collect();
        for (rule, _) in rules() {
            for &centre in &example().1 {
                assert_eq!(row(&set, &alone, 3, centre, &rule(&set)), kernel::row(&set, centre, &rule(&set)));
            }
        }
        assert_eq!(row(&set, &[], 0, [1.0, 1.0], &Background::None), [1.0]);
    }
}
