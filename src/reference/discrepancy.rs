//! Compares transported mass with its target.

use super::Scalar;

/// The rule of comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Discrepancy<T = f64> {
    /// `|m - t|`.
    L1,
    /// `(m - t)^2`.
    L2,
    /// Quadratic up to a residual of `width`, linear beyond.
    Huber {
        /// The residual at which it turns.
        width: T,
    },
    /// Kullback-Leibler divergence of Poisson counts; below a mass of `least`, its tangent there.
    PoissonKl {
        /// Least mass.
        least: T,
    },
}

/// A discrepancy and its derivative with respect to the mass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared<T> {
    /// The discrepancy.
    pub value: T,
    /// Its derivative.
    pub slope: T,
}

/// Compares mass `m` with target `t`.
///
/// ```
/// use splatport::reference::discrepancy::{Discrepancy, discrepancy};
///
/// let huber = discrepancy(Discrepancy::Huber { width: 1.0 }, 5.0, 2.0);
/// assert_eq!((huber.value, huber.slope), (2.5, 1.0));
/// assert_eq!(discrepancy(Discrepancy::L1, 2.0, 2.0).slope, 0.0);
/// ```
pub fn discrepancy<T: Scalar>(rule: Discrepancy<T>, m: T, t: T) -> Compared<T> {
    let (zero, one) = (T::zero(), T::one());
    let two = one + one;
    let r = m - t;
    match rule {
        Discrepancy::L1 if r == zero => Compared { value: zero, slope: zero },
        Discrepancy::L1 => Compared { value: r.abs(), slope: r.signum() },
        Discrepancy::L2 => Compared { value: r * r, slope: two * r },
        Discrepancy::Huber { width } if r.abs() <= width => Compared { value: r * r / two, slope: r },
        Discrepancy::Huber { width } => Compared { value: width * (r.abs() - width / two), slope: width * r.signum() },
        Discrepancy::PoissonKl { least } => {
            let (counts, floored) = (t > zero, m < least);
            let at = if floored { least } else { m };
            let slope = if counts { one - t / at } else { one };
            let there = if counts { at - t + t * (t.ln() - at.ln()) } else { at - t };
            Compared { value: there + slope * (m - at), slope }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Central differences. Away from where a rule has no second derivative they are off by a third derivative's
        /// share, which is at most `2 t / least^3` (Poisson's), times `h^2 / 6`; rounding of values of up to 1e4 adds
        /// `1e4 * 2^-52 / h`.
        #[test]
        fn slopes_are_those_of_the_values(m in -2.0..8.0_f64, t in -1.0..6.0_f64, least in 0.2..2.0_f64) {
            let h = 1e-5;
            let rules = [
                (Discrepancy::L1, t),
                (Discrepancy::L2, f64::INFINITY),
                (Discrepancy::Huber { width: least }, t + least),
                (Discrepancy::Huber { width: least }, t - least),
                (Discrepancy::PoissonKl { least }, least),
            ];
            for (rule, corner) in rules {
                prop_assume!((m - corner).abs() > 2.0 * h);
                let value = |m| discrepancy(rule, m, t).value;
                let difference = (value(m + h) - value(m - h)) / (2.0 * h);
                let tolerance = 2.0 * 6.0 / 0.2_f64.powi(3) * h * h / 6.0 + 1e4 * f64::EPSILON / h;
                prop_assert!((discrepancy(rule, m, t).slope - difference).abs() <= tolerance, "{rule:?}");
            }
        }

        /// Nothing jumps where a rule turns.
        #[test]
        fn values_and_slopes_are_continuous(t in -1.0..6.0_f64, least in 0.2..2.0_f64) {
            let h = 1e-9;
            for (rule, corner) in [
                (Discrepancy::Huber { width: least }, t + least),
                (Discrepancy::PoissonKl { least }, least),
            ] {
                let [below, above] = [-h, h].map(|step| discrepancy(rule, corner + step, t));
                // Slopes of at most 31 over 2 h, curvatures of at most 6 / 0.04.
                prop_assert!((above.value - below.value).abs() <= 62.0 * h);
                prop_assert!((above.slope - below.slope).abs() <= 300.0 * h + 1e-14);
            }
        }
    }
}
