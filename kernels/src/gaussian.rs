//! Gaussians as device functions see them: a mean and the matrix that whitens a displacement.
//!
//! With `R(theta) = [[c, -s], [s, c]]` and `Sigma = R diag(s0^2, s1^2) R'` the whitened displacement is
//! `v = W (x - mean)`, where `W' W` is the inverse of `Sigma`: the squared Mahalanobis distance is `v . v` and never
//! negative. Expanding the square instead would lose every digit far from the origin. Of all such matrices, `W` is the
//! one with a zero in its upper right corner, `[[1, 0], [-Sigma01 / (s0 s1), Sigma00 / (s0 s1)]] / sqrt(Sigma00)`, so
//! that down a column of pixels only one coordinate changes. It differs from the one along the Gaussian's own axes,
//! `diag(1/s0, 1/s1) R'`, by a rotation (`own_axes`).

mod frame;
mod pack;

use cubecl::prelude::*;

pub(crate) use self::frame::{Area, FRAME, Frame, Line, Point, own_axes, twist, write_frame};
pub use self::pack::{Part, frames, frames_of_batch};
use crate::{
    Result,
    buffer::Buffer,
    real::{HostReal, Real, real},
};

/// Relative slack of every bound on a Mahalanobis distance, in units of roundoff: 8 times the largest aspect for which
/// results are specified (50). For longer needles, a list may leave out what only rounding would bring in.
const BOUND_SLACK: f64 = 400.0;

/// The number of parameters before the colors of a Gaussian: mean (2), scales (2), rotation, opacity.
pub const COLOR_AT: usize = 6;

/// The Gaussians of one image in device memory.
///
/// Each has one row of `6 + channels` numbers: mean x, mean y (px), scale 0, scale 1 (standard deviations, px),
/// rotation of the first axis (rad), opacity, colors. `channels` is 0 if nothing is drawn.
#[derive(Debug)]
pub struct Gaussians<R: Runtime, F: Real> {
    /// `[n, 6 + channels]`.
    pub parameters: Buffer<R, F>,
    /// Colors per Gaussian: 0, 1 or 3.
    pub channels: u32,
}

impl<R: Runtime, F: Real> Clone for Gaussians<R, F> {
    fn clone(&self) -> Self {
        Self { parameters: self.parameters.clone(), channels: self.channels }
    }
}

impl<R: Runtime, F: Real> Gaussians<R, F> {
    /// How many.
    pub fn len(&self) -> usize {
        self.parameters.len() / self.stride()
    }

    /// Whether there are no Gaussians.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// The number of values per Gaussian.
    pub fn stride(&self) -> usize {
        COLOR_AT + self.channels as usize
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.parameters.expect("gaussian parameters", self.len() * self.stride())
    }
}

/// Whitened Gaussians and their amplitudes (opacity times color), made from [`Gaussians`] by [`frames`].
#[derive(Debug)]
pub struct Frames<R: Runtime, F: Real> {
    /// `[n, FRAME]`.
    pub(crate) packed: Buffer<R, F>,
    pub(crate) channels: u32,
}

impl<R: Runtime, F: Real> Clone for Frames<R, F> {
    fn clone(&self) -> Self {
        Self { packed: self.packed.clone(), channels: self.channels }
    }
}

impl<R: Runtime, F: Real> Frames<R, F> {
    /// The number of Gaussians.
    pub fn len(&self) -> usize {
        self.packed.len() / FRAME
    }

    /// Whether there are no Gaussians.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }
}

/// How [`frames`] converts the parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Framing {
    /// The constant part of the background's threshold `b`. The background's logit is `q*/2 - b - log|Sigma*|/2`
    /// (paper, Eq. 11; this one rule covers all of its readings).
    pub threshold: f64,
    /// `b` grows by this times `log|Sigma|`: ½ where the background's prefactor is the full determinant.
    pub threshold_per_log_det: f64,
    /// `b` grows by this times the logarithm of a component's share: 1 where the background has odds against the
    /// nearest Gaussian, whose density is then that of the Gaussian alone, whatever its share of an annotation.
    pub threshold_per_log_weight: f64,
    /// Scales are raised to at least this, px.
    pub least_scale: f64,
    /// Scales are lowered to at most this, px.
    pub largest_scale: f64,
    /// Factor of both scales: above 1 for lists that must remain valid while Gaussians grow.
    pub growth: f64,
}

impl Default for Framing {
    /// Leaves the Gaussians as they are, for drawing.
    fn default() -> Self {
        Self {
            threshold: 0.0,
            threshold_per_log_det: 0.0,
            threshold_per_log_weight: 0.0,
            least_scale: 0.0,
            largest_scale: f64::from(f32::MAX),
            growth: 1.0,
        }
    }
}

/// Relative slack that makes a rounded bound a true one.
pub(crate) fn bound_slack<F: Real>() -> F {
    real(BOUND_SLACK * F::EPSILON.cast_to_f64() / 2.0)
}
