//! The background of Bayesian loss: its logit falls with the distance from a place mirrored behind the nearest Gaussian.

use cubecl::prelude::*;

use crate::real::Real;

/// `b / (v D)` with `D = v q + 1e-5`, `v` the square root of the nearest Gaussian's `|Sigma|` and `q` its squared Mahalanobis
/// distance. The logit is `-ln v` less this.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Mirrored<F: Real> {
    pub exponent: F,
    distance_sq: F,
}

#[cube]
impl<F: Real> Mirrored<F> {
    pub fn of(q: F, threshold: F, inverse_area: F) -> Mirrored<F> {
        let distance_sq = q / inverse_area + F::new(1.0e-5);
        Mirrored::<F> { exponent: threshold * inverse_area / distance_sq, distance_sq }
    }

    /// Derivative of the logit by `q`, `b / D^2`. That by `ln v` is the exponent and `q` times this, less 1.
    pub fn by_q(&self, threshold: F) -> F {
        threshold / self.distance_sq / self.distance_sq
    }
}
