//! How long tile lists hold: while every Gaussian stays inside the ellipse that they were made for.

use cubecl::prelude::*;

use crate::{
    Result,
    bins::{Bins, Room, Rule, bins_of_batch},
    device::Device,
    gaussian::{Frame, Frames, Framing, Gaussians, Point, frames},
    grid::Mosaic,
    real::{Precision, Quad, Real, real},
};

/// How far Gaussians may go before lists must be made again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margin {
    /// Factor of both scales, at least 1.
    pub growth: f64,
    /// Of the mean in either direction, px.
    pub shift: f64,
}

/// Tile lists, and the Gaussians that they were made for.
#[derive(Debug)]
pub struct Listed<R: Runtime, F: Real> {
    /// The lists.
    pub bins: Bins<R, F>,
    frames: Frames<R, F>,
    shift: f64,
}

impl<R: Runtime, F: Real> Listed<R, F> {
    /// Makes lists for Gaussians that are zero beyond the squared Mahalanobis distance `support`. `room` is kept from one build
    /// to the next.
    ///
    /// # Errors
    /// [`crate::Error::Length`] when the mosaic counts other Gaussians; [`crate::Error::TooLarge`] when there are more pairs
    /// than a 32-bit index can address.
    pub fn new<P: Precision<Real = F>>(
        device: &Device<R, P>,
        gaussians: &Gaussians<R, F>,
        mosaic: &Mosaic<R, F>,
        support: f64,
        margin: Margin,
        room: &mut Room,
    ) -> Result<Self> {
        let framing = Framing { growth: margin.growth, ..Framing::default() };
        let frames = frames(device, gaussians, gaussians.len(), framing)?;
        let bins = bins_of_batch(device, &frames, mosaic, (Rule::Within(support), margin.shift), room)?;
        Ok(Self { bins, frames, shift: margin.shift })
    }

    pub(crate) fn arg(&self) -> EllipsesLaunch<F, R> {
        EllipsesLaunch::new(self.frames.packed.arg(), real(self.shift))
    }
}

/// The ellipses that lists were made for.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Ellipses<F: Real> {
    frames: Array<Quad<F>>,
    shift: F,
}

#[cube]
impl<F: Real> Ellipses<F> {
    /// Whether the Gaussian with these parameters is inside ellipse `n`: with its axes, whitened, as columns `a` and `b`, the
    /// largest eigenvalue of `[a b] [a b]'` is at most 1.
    pub fn hold(&self, n: u32, parameters: &Array<F>, row: usize) -> bool {
        let frame = Frame::load(&self.frames, n);
        let (c, s) = (parameters[row + 4].cos(), parameters[row + 4].sin());
        let (s0, s1) = (parameters[row + 2], parameters[row + 3]);
        let a = Point::<F> { x: s0 * frame.w00 * c, y: s0 * (frame.w10 * c + frame.w11 * s) };
        let b = Point::<F> { x: F::new(0.0) - s1 * frame.w00 * s, y: s1 * (frame.w11 * c - frame.w10 * s) };
        let (aa, bb, ab) = (a.x * a.x + a.y * a.y, b.x * b.x + b.y * b.y, a.x * b.x + a.y * b.y);
        let half = (aa - bb) / F::new(2.0);
        let largest = (aa + bb) / F::new(2.0) + (half * half + ab * ab).sqrt();
        let (dx, dy) = (parameters[row] - frame.mean.x, parameters[row + 1] - frame.mean.y);
        largest <= F::new(1.0) && max(dx.abs(), dy.abs()) <= self.shift
    }
}
