//! How transported mass and target are compared.

use super::Scalar;

/// The rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Discrepancy<T = f64> {
    /// `|m - t|`.
    L1,
    /// `(m - t)^2`.
    L2,
    /// Square up to a residual of `width`, straight beyond.
    Huber {
        /// Where it turns.
        width: T,
    },
    /// Kullback-Leibler divergence of Poisson counts, masses raised to `least`.
    PoissonKl {
        /// Least mass.
        least: T,
    },
}

/// A discrepancy and its derivative by the mass.
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
            let raised = m.max(least);
            let divergence = if t > zero { t * (t / raised).ln() } else { zero };
            Compared { value: divergence - t + m, slope: one - t / raised }
        }
    }
}
