//! One step of the Adam optimizer.
//!
//! ```
//! use splatport::reference::adam::{Adam, adam_step};
//!
//! let (mut parameters, mut first, mut second) = ([1.0_f64], [0.0], [0.0]);
//! adam_step(&mut parameters, &[3.0], &mut first, &mut second, 1, &Adam::default());
//! assert!((parameters[0] - 0.99).abs() < 1e-9); // the first step has the length of the rate
//! ```

use super::{Scalar, real};

/// Constants of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam<T> {
    /// Learning rate, units of the parameter per step.
    pub rate: T,
    /// Decay of the first moment, 0..1.
    pub beta1: T,
    /// Decay of the second moment, 0..1.
    pub beta2: T,
    /// Added to the root of the second moment.
    pub epsilon: T,
}

impl<T: Scalar> Default for Adam<T> {
    /// Rate 0.01 (the paper's fit), 0.9, 0.999, 1e-8 (Kingma and Ba 2015).
    fn default() -> Self {
        Self { rate: real(0.01), beta1: real(0.9), beta2: real(0.999), epsilon: real(1e-8) }
    }
}

/// Step `t` = 1, 2, .. of Adam, in place (Kingma and Ba 2015, Algorithm 1).
///
/// m <- b1 m + (1-b1) g, v <- b2 v + (1-b2) g^2, p <- p - rate (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps). All slices
/// have one entry per parameter; `first` (m) and `second` (v) start at 0.
///
/// # Panics
/// If the lengths differ or `t` is 0.
pub fn adam_step<T: Scalar>(
    parameters: &mut [T],
    gradient: &[T],
    first: &mut [T],
    second: &mut [T],
    t: i32,
    adam: &Adam<T>,
) {
    assert_eq!(gradient.len(), parameters.len(), "length of gradient");
    assert_eq!(first.len(), parameters.len(), "length of first");
    assert_eq!(second.len(), parameters.len(), "length of second");
    assert!(t >= 1, "steps count from 1, got {t}");
    let one = T::one();
    let (bias1, bias2) = (one - adam.beta1.powi(t), one - adam.beta2.powi(t));
    for (k, &g) in gradient.iter().enumerate() {
        first[k] = adam.beta1 * first[k] + (one - adam.beta1) * g;
        second[k] = adam.beta2 * second[k] + (one - adam.beta2) * g * g;
        let (mean, root) = (first[k] / bias1, (second[k] / bias2).sqrt());
        parameters[k] = parameters[k] - adam.rate * mean / (root + adam.epsilon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::close;

    #[test]
    fn two_steps_by_hand() {
        let adam = Adam { rate: 0.1, beta1: 0.5, beta2: 0.75, epsilon: 0.0 };
        let (mut p, mut m, mut v) = ([0.0, 5.0], [0.0; 2], [0.0; 2]);
        adam_step(&mut p, &[2.0, -1.0], &mut m, &mut v, 1, &adam);
        assert_eq!((m, v), ([1.0, -0.5], [1.0, 0.25]));
        close(p[0], -0.1, 1e-16);
        close(p[1], 5.1, 1e-15);
        adam_step(&mut p, &[0.0, -1.0], &mut m, &mut v, 2, &adam);
        assert_eq!((m, v), ([0.5, -0.75], [0.75, 0.4375]));
        close(p[0], -0.1 - 0.1 * (0.5 / 0.75) / (0.75_f64 / 0.4375).sqrt(), 1e-16);
        close(p[1], 5.2, 1e-15);
    }

    #[test]
    fn minimises_a_parabola() {
        let (mut p, mut m, mut v) = ([3.0], [0.0], [0.0]);
        for t in 1..=4000 {
            let slope = [2.0 * (p[0] - 1.0)];
            adam_step(&mut p, &slope, &mut m, &mut v, t, &Adam::default());
        }
        close(p[0], 1.0, 1e-6);
    }
}
