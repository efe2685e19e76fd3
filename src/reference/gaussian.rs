//! One 2-D gaussian: covariance, conic, Mahalanobis distance, log density, and their derivatives.
//!
//! ```
//! use splatport::reference::gaussian::Gaussian;
//!
//! let tilted = Gaussian { scales: [4.0, 2.0], rotation: 0.3, ..Gaussian::<f64>::round([10.0, 5.0], 1.0) };
//! // One standard deviation along the first axis.
//! let point = [10.0 + 4.0 * 0.3_f64.cos(), 5.0 + 4.0 * 0.3_f64.sin()];
//! assert!((tilted.mahalanobis_sq(point) - 1.0).abs() < 1e-14);
//! ```

use super::{Scalar, real};

/// One gaussian of a splat: S = R(rotation) diag(scales^2) R(rotation)^T around `mean`.
///
/// R(t) = [[cos t, -sin t], [sin t, cos t]], so `scales[0]` lies along (cos t, sin t) (x right, y down). Scales must be
/// positive and finite. This is not checked here; a bad scale gives NaN or infinity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaussian<T> {
    /// Center (x, y), px.
    pub mean: [T; 2],
    /// Standard deviations along the two principal axes, px, positive, in any order.
    pub scales: [T; 2],
    /// Angle of the first principal axis, rad.
    pub rotation: T,
    /// Color per channel; a gray image uses `color[0]`. It may be negative over a background image.
    pub color: [T; 3],
    /// Opacity, 0..1; peak amplitude = opacity * color.
    pub opacity: T,
}

impl<T: Scalar> Gaussian<T> {
    /// A round, white, opaque gaussian of standard deviation `scale` px at `mean` px.
    pub fn round(mean: [T; 2], scale: T) -> Self {
        Self { mean, scales: [scale; 2], rotation: T::zero(), color: [T::one(); 3], opacity: T::one() }
    }

    /// Covariance S = R diag(s0^2, s1^2) R^T as (xx, xy, yy), px^2 (paper, below Eq. 8).
    pub fn covariance(&self) -> [T; 3] {
        let (sin, cos) = self.rotation.sin_cos();
        let [v0, v1] = self.variances();
        [cos * cos * v0 + sin * sin * v1, sin * cos * (v0 - v1), sin * sin * v0 + cos * cos * v1]
    }

    /// Conic: the inverse of the covariance as (xx, xy, yy), 1/px^2, by the adjugate over s0^2 s1^2.
    pub fn conic(&self) -> [T; 3] {
        let [xx, xy, yy] = self.covariance();
        let [v0, v1] = self.variances();
        let det = v0 * v1;
        [yy / det, -xy / det, xx / det]
    }

    /// Squared Mahalanobis distance q = d^T S^-1 d, d = point - mean (paper, below Eq. 8); no unit.
    ///
    /// By the Cholesky factor S = L L^T, q = |L^-1 d|^2 with L = [[a, 0], [b, s0 s1 / a]], a = sqrt(xx), b = xy / a:
    /// not the route of the device (u0/s0)^2 + (u1/s1)^2, but a sum of squares. Its relative error grows with the
    /// aspect, whereas that of the expanded quadratic form in the conic grows with the aspect squared.
    pub fn mahalanobis_sq(&self, point: [T; 2]) -> T {
        let [xx, xy, _] = self.covariance();
        let a = xx.sqrt();
        let z0 = (point[0] - self.mean[0]) / a;
        let z1 = (point[1] - self.mean[1] - xy / a * z0) * a / (self.scales[0] * self.scales[1]);
        z0 * z0 + z1 * z1
    }

    /// log |S| = 2 ln s0 + 2 ln s1 (log px^4).
    pub fn log_det(&self) -> T {
        real::<T>(2.0) * (self.scales[0].ln() + self.scales[1].ln())
    }

    /// Log density -q/2 - log|S|/2 of Eq. 9 at `point`, without -ln 2 pi, which all columns of K share.
    pub fn log_density(&self, point: [T; 2]) -> T {
        -(self.mahalanobis_sq(point) + self.log_det()) / real(2.0)
    }

    /// exp(-q/2) at `point` (Eq. 8), or `None` beyond the support q > `q_max`.
    pub fn weight(&self, point: [T; 2], q_max: T) -> Option<T> {
        let q = self.mahalanobis_sq(point);
        (q <= q_max).then(|| (-q / real(2.0)).exp())
    }

    /// Peak amplitude opacity * color per channel (Eq. 8).
    pub fn amplitude(&self) -> [T; 3] {
        self.color.map(|c| self.opacity * c)
    }

    /// Derivatives of q at `point` with respect to (mean, 1/px; scales, 1/px; rotation, 1/rad).
    ///
    /// With u = R^T (point - mean): dq/dmean = -2 S^-1 (point - mean), dq/ds_k = -2 u_k^2 / s_k^3,
    /// dq/drotation = 2 u0 u1 (1/s0^2 - 1/s1^2).
    pub fn mahalanobis_sq_gradient(&self, point: [T; 2]) -> ([T; 2], [T; 2], T) {
        let two = real::<T>(2.0);
        let (sin, cos) = self.rotation.sin_cos();
        let [dx, dy] = [point[0] - self.mean[0], point[1] - self.mean[1]];
        let [u0, u1] = [cos * dx + sin * dy, cos * dy - sin * dx];
        let [s0, s1] = self.scales;
        let [v0, v1] = self.variances();
        let by_mean = [-two * (u0 / v0 * cos - u1 / v1 * sin), -two * (u0 / v0 * sin + u1 / v1 * cos)];
        let by_scales = [-two * u0 * u0 / (v0 * s0), -two * u1 * u1 / (v1 * s1)];
        (by_mean, by_scales, two * u0 * u1 * (T::one() / v0 - T::one() / v1))
    }

    /// Squared scales, px^2.
    fn variances(&self) -> [T; 2] {
        self.scales.map(|s| s * s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{close, difference, trio};
    use crate::strategies;
    use proptest::prelude::*;

    #[test]
    fn axis_aligned_by_hand() {
        let g = Gaussian { scales: [2.0, 4.0], ..Gaussian::round([1.0, 1.0], 1.0) };
        assert_eq!(g.covariance(), [4.0, 0.0, 16.0]);
        assert_eq!(g.conic(), [0.25, 0.0, 0.0625]);
        assert_eq!(g.mahalanobis_sq([5.0, 9.0]), 8.0);
        close(g.log_det(), 64.0_f64.ln(), 1e-14);
        close(g.log_density([5.0, 9.0]), -4.0 - 8.0_f64.ln(), 1e-14);
        assert_eq!(g.weight([5.0, 9.0], 7.9), None);
        assert_eq!(g.weight([5.0, 9.0], 8.0), Some((-4.0_f64).exp()));
    }

    #[test]
    fn first_axis_points_right_and_down() {
        let g =
            Gaussian { scales: [3.0, 1.0], rotation: std::f64::consts::FRAC_PI_4, ..Gaussian::round([0.0; 2], 1.0) };
        for (entry, expected) in g.covariance().into_iter().zip([5.0, 4.0, 5.0]) {
            close(entry, expected, 1e-14);
        }
    }

    #[test]
    fn derivatives_of_q_match_differences() {
        let set = trio();
        let point = [4.5, 1.5];
        for (m, g) in set.iter().enumerate() {
            let (mean, scales, rotation) = g.mahalanobis_sq_gradient(point);
            for (k, analytic) in [mean[0], mean[1], scales[0], scales[1], rotation].into_iter().enumerate() {
                let numeric = difference(&set, m, k, |set| set[m].mahalanobis_sq(point));
                close(analytic, numeric, 1e-8 * (1.0 + analytic.abs()));
            }
        }
    }

    proptest! {
        /// The Cholesky route equals (u0/s0)^2 + (u1/s1)^2 up to aspect 50; the bound is spec section 3's with both
        /// sides in f64.
        #[test]
        fn two_routes_agree(set in strategies::gaussians(4, 200, 100, 50.0), x in -50.0..250.0, y in -50.0..150.0) {
            for g in set {
                let (sin, cos) = f64::sin_cos(g.rotation);
                let (dx, dy) = (x - g.mean[0], y - g.mean[1]);
                let (a, b) = ((cos * dx + sin * dy) / g.scales[0], (cos * dy - sin * dx) / g.scales[1]);
                let axes = a * a + b * b;
                let q = g.mahalanobis_sq([x, y]);
                prop_assert!((q - axes).abs() <= 2.0 * (6.0 * 50.0 + 8.0) * f64::EPSILON * axes, "{q} {axes}");
            }
        }

        #[test]
        fn relabelled_axes_are_the_same_gaussian(set in strategies::gaussians(3, 64, 64, 20.0)) {
            for g in set {
                let turned = Gaussian { rotation: g.rotation + std::f64::consts::PI, ..g };
                let swapped = Gaussian {
                    scales: [g.scales[1], g.scales[0]],
                    rotation: g.rotation + std::f64::consts::FRAC_PI_2,
                    ..g
                };
                let q = g.mahalanobis_sq([31.5, 7.5]);
                for other in [turned, swapped] {
                    prop_assert!((other.mahalanobis_sq([31.5, 7.5]) - q).abs() <= 1e-12 * (1.0 + q));
                }
            }
        }
    }
}
