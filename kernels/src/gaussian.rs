//! The Gaussian as device functions see it: a mean and the matrix that whitens a displacement.
//!
//! With `R(theta) = [[c, -s], [s, c]]` and `Sigma = R diag(s0^2, s1^2) R'` the whitened displacement is
//! `v = diag(1/s0, 1/s1) R' (x - mean)`, so that the squared Mahalanobis distance is `v . v` and never negative. Expanding
//! the square instead loses every digit far from the origin.

use cubecl::prelude::*;

use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    real::{HostReal, Precision, Real, real},
};

/// Elements of one Gaussian in the packed array: mean (2), whitening matrix (4), log normaliser, background threshold.
pub(crate) const FRAME: u32 = 8;

/// Relative slack of every bound on a Mahalanobis distance, in units of roundoff: 8 times the largest aspect for which
/// results are specified (50).
const BOUND_SLACK: f64 = 400.0;

/// Parameters of one Gaussian before its colors: mean (2), scales (2), rotation, opacity.
pub const COLOR_AT: usize = 6;

/// The Gaussians of one image in device memory.
///
/// One row of `6 + channels` numbers each: mean x, mean y (px), scale 0, scale 1 (standard deviations, px), rotation of the
/// first axis (rad), opacity, colors. `channels` is 0 where nothing is drawn.
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

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// Numbers per Gaussian.
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
    pub(crate) packed: Buffer<R, F>,
    /// Per Gaussian: opacity times color for each channel, then the opacity.
    pub(crate) amplitudes: Buffer<R, F>,
    pub(crate) channels: u32,
}

impl<R: Runtime, F: Real> Frames<R, F> {
    /// How many Gaussians.
    pub fn len(&self) -> usize {
        self.packed.len() / FRAME as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }
}

/// What [`frames`] makes of the parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Framing {
    /// Constant part of the background's threshold `b`. The background's logit is `q*/2 - b - log|Sigma*|/2` (paper,
    /// Eq. 11; one rule for all of its readings).
    pub threshold: f64,
    /// `b` grows by this times `log|Sigma|`: ½ where the background's prefactor is the full determinant.
    pub threshold_per_log_det: f64,
    /// Scales are raised to at least this, px.
    pub least_scale: f64,
    /// Scales are lowered to at most this, px.
    pub largest_scale: f64,
    /// Replaces the Gaussian by a round one that covers all it may become.
    pub margin: Option<Margin>,
}

/// How far scales may grow: to `factor * scale + pixels`, whatever the rotation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margin {
    /// Factor of the larger scale.
    pub factor: f64,
    /// Added to it, px.
    pub pixels: f64,
}

impl Default for Framing {
    /// The Gaussians as they are, for drawing.
    fn default() -> Self {
        Self {
            threshold: 0.0,
            threshold_per_log_det: 0.0,
            least_scale: 0.0,
            largest_scale: f64::from(f32::MAX),
            margin: None,
        }
    }
}

/// Packs and whitens the first `first` Gaussians.
///
/// # Errors
/// [`crate::Error::Length`] when the parameters are no whole number of rows, or fewer than `first`.
pub fn frames<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    gaussians: &Gaussians<R, P::Real>,
    first: usize,
    framing: Framing,
) -> Result<Frames<R, P::Real>> {
    gaussians.check()?;
    if first > gaussians.len() {
        return Err(crate::Error::Length { what: "gaussians", expected: first, got: gaussians.len() });
    }
    let channels = gaussians.channels;
    let frames = Frames {
        packed: device.uninit(first * FRAME as usize),
        amplitudes: device.uninit(first * (channels as usize + 1)),
        channels,
    };
    if first > 0 {
        let (count, dim) = device.per_unit(first);
        pack::launch::<P::Real, R>(
            device.client(),
            count,
            dim,
            gaussians.parameters.arg(),
            frames.packed.arg(),
            frames.amplitudes.arg(),
            ShapingLaunch::new(
                real(framing.threshold),
                real(framing.threshold_per_log_det),
                real(framing.least_scale),
                real(framing.largest_scale),
                real(framing.margin.map_or(1.0, |m| m.factor)),
                real(framing.margin.map_or(0.0, |m| m.pixels)),
            ),
            channels,
            framing.margin.is_some(),
        );
    }
    Ok(frames)
}

#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Shaping<F: Real> {
    threshold: F,
    per_log_det: F,
    least: F,
    largest: F,
    growth: F,
    added: F,
}

#[cube(launch)]
fn pack<F: Real>(
    parameters: &Array<F>,
    packed: &mut Array<F>,
    amplitudes: &mut Array<F>,
    shaping: &Shaping<F>,
    #[comptime] channels: u32,
    #[comptime] round: bool,
) {
    let n = ABSOLUTE_POS;
    let channel_count = comptime!(channels as usize);
    let row = n * comptime!(channels as usize + COLOR_AT);
    if n * comptime!(FRAME as usize) < packed.len() {
        let mut s0 = clamp(parameters[row + 2], shaping.least, shaping.largest);
        let mut s1 = clamp(parameters[row + 3], shaping.least, shaping.largest);
        if comptime!(round) {
            s0 = max(s0, s1) * shaping.growth + shaping.added;
            s1 = s0;
        }
        let log_det = F::new(2.0) * (s0.ln() + s1.ln());
        let (c, s) = (parameters[row + 4].cos(), parameters[row + 4].sin());
        let at = n * 8;
        packed[at] = parameters[row];
        packed[at + 1] = parameters[row + 1];
        packed[at + 2] = c / s0;
        packed[at + 3] = s / s0;
        packed[at + 4] = F::new(0.0) - s / s1;
        packed[at + 5] = c / s1;
        packed[at + 6] = log_det / F::new(-2.0);
        packed[at + 7] = shaping.threshold + shaping.per_log_det * log_det;
        let to = n * comptime!(channels as usize + 1);
        #[unroll]
        for k in 0..channel_count {
            amplitudes[to + k] = parameters[row + 5] * parameters[row + COLOR_AT + k];
        }
        amplitudes[to + channel_count] = parameters[row + 5];
    }
}

/// A point or a displacement.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Point<F: Real> {
    pub x: F,
    pub y: F,
}

/// An axis-aligned box of points.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Area<F: Real> {
    pub low: Point<F>,
    pub high: Point<F>,
}

/// One Gaussian, loaded.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Frame<F: Real> {
    pub mean: Point<F>,
    pub w00: F,
    pub w01: F,
    pub w10: F,
    pub w11: F,
    /// `-log|Sigma|/2`; the factor `1/(2 pi)` is common to all and left out.
    pub log_normaliser: F,
    /// `b` of the background rule.
    pub threshold: F,
}

#[cube]
impl<F: Real> Frame<F> {
    pub fn load(packed: &Array<F>, n: u32) -> Frame<F> {
        let at = n as usize * 8;
        Frame::<F> {
            mean: Point::<F> { x: packed[at], y: packed[at + 1] },
            w00: packed[at + 2],
            w01: packed[at + 3],
            w10: packed[at + 4],
            w11: packed[at + 5],
            log_normaliser: packed[at + 6],
            threshold: packed[at + 7],
        }
    }

    /// Whitened displacement of the point from the mean.
    pub fn whiten(&self, point: Point<F>) -> Point<F> {
        let (dx, dy) = (point.x - self.mean.x, point.y - self.mean.y);
        Point::<F> { x: self.w00 * dx + self.w01 * dy, y: self.w10 * dx + self.w11 * dy }
    }

    /// Squared Mahalanobis distance of the point.
    pub fn mahalanobis_sq(&self, point: Point<F>) -> F {
        let v = self.whiten(point);
        v.x * v.x + v.y * v.y
    }

    /// Log density up to `ln 2 pi`.
    pub fn log_density(&self, point: Point<F>) -> F {
        self.log_normaliser - self.mahalanobis_sq(point) / F::new(2.0)
    }

    /// Least squared Mahalanobis distance over the box.
    ///
    /// The distance grows along every ray from the mean, so the nearest point of the box lies on a side that the mean
    /// sees: at most one vertical and one horizontal. On a side it is the vertex of a parabola, clamped.
    pub fn nearest_in(&self, area: Area<F>) -> F {
        let a = self.w00 * self.w00 + self.w10 * self.w10;
        let b = self.w00 * self.w01 + self.w10 * self.w11;
        let c = self.w01 * self.w01 + self.w11 * self.w11;
        let side_x = clamp(self.mean.x, area.low.x, area.high.x);
        let side_y = clamp(self.mean.y, area.low.y, area.high.y);
        let on_vertical =
            Point::<F> { x: side_x, y: clamp(self.mean.y - b / c * (side_x - self.mean.x), area.low.y, area.high.y) };
        let on_horizontal =
            Point::<F> { x: clamp(self.mean.x - b / a * (side_y - self.mean.y), area.low.x, area.high.x), y: side_y };
        min(self.mahalanobis_sq(on_vertical), self.mahalanobis_sq(on_horizontal))
    }

    /// Largest squared Mahalanobis distance over the box: convex, so at a corner.
    pub fn farthest_in(&self, area: Area<F>) -> F {
        let left =
            max(self.mahalanobis_sq(area.low), self.mahalanobis_sq(Point::<F> { x: area.low.x, y: area.high.y }));
        let right =
            max(self.mahalanobis_sq(area.high), self.mahalanobis_sq(Point::<F> { x: area.high.x, y: area.low.y }));
        max(left, right)
    }
}

/// Relative slack that makes a rounded bound a true one.
pub(crate) fn bound_slack<F: Real>() -> F {
    real(BOUND_SLACK * F::EPSILON.cast_to_f64() / 2.0)
}
