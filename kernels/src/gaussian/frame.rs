//! One Gaussian as device functions hold it: its whitening matrix, packed and unpacked, and exact bounds of its distance over a box.

use cubecl::prelude::*;

use super::COLOR_AT;
use crate::real::{Quad, Real, quad};

/// Elements of one Gaussian in the packed array, three quads: mean (2), whitening matrix (3), log normaliser, background
/// threshold, nothing; opacity times color for three channels, opacity.
pub(crate) const FRAME: usize = 12;

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

/// The whitened displacements of points below one another. One coordinate is the same for all.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Line<F: Real> {
    pub across: F,
    first: F,
    next: F,
}

#[cube]
impl<F: Real> Line<F> {
    /// The other coordinate of point `i`.
    pub fn down(&self, i: F) -> F {
        self.first + i * self.next
    }

    /// Squared Mahalanobis distance of a point at `down`.
    pub fn mahalanobis_sq(&self, down: F) -> F {
        self.across * self.across + down * down
    }
}

/// One Gaussian, loaded.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Frame<F: Real> {
    pub mean: Point<F>,
    pub w00: F,
    pub w10: F,
    pub w11: F,
    /// `-log|Sigma|/2`; the factor `1/(2 pi)` is common to all and left out.
    pub log_normaliser: F,
    /// `b` of the background rule.
    pub threshold: F,
}

#[cube]
impl<F: Real> Frame<F> {
    pub fn load(packed: &Array<Quad<F>>, n: u32) -> Frame<F> {
        let at = n as usize * 3;
        Frame::unpack(packed[at], packed[at + 1])
    }

    /// From the two quads that it is packed in.
    pub fn unpack(a: Quad<F>, b: Quad<F>) -> Frame<F> {
        Frame::<F> {
            mean: Point::<F> { x: a[0], y: a[1] },
            w00: a[2],
            w10: a[3],
            w11: b[0],
            log_normaliser: b[1],
            threshold: b[2],
        }
    }

    /// Whitened displacement of the point from the mean.
    pub fn whiten(&self, point: Point<F>) -> Point<F> {
        let (dx, dy) = (point.x - self.mean.x, point.y - self.mean.y);
        Point::<F> { x: self.w00 * dx, y: self.w10 * dx + self.w11 * dy }
    }

    /// The displacements of points below `top`, with `stride` between them.
    pub fn line(&self, top: Point<F>, stride: F) -> Line<F> {
        let first = self.whiten(top);
        Line::<F> { across: first.x, first: first.y, next: self.w11 * stride }
    }

    /// Squared Mahalanobis distance of the point.
    pub fn mahalanobis_sq(&self, point: Point<F>) -> F {
        let v = self.whiten(point);
        v.x * v.x + v.y * v.y
    }

    /// `|Sigma|^(-1/2)`, whatever share the log normaliser counts.
    pub fn inverse_area(&self) -> F {
        self.w00 * self.w11
    }

    /// Log density up to `ln 2 pi`.
    pub fn log_density(&self, point: Point<F>) -> F {
        self.log_normaliser - self.mahalanobis_sq(point) / F::new(2.0)
    }

    /// How far the ellipse of squared Mahalanobis distance `limit` extends to the sides and up and down.
    pub fn half_extent(&self, limit: F) -> Point<F> {
        let x = limit.sqrt() / self.w00;
        let slope = self.w10 / self.w00;
        Point::<F> { x, y: (limit * (F::new(1.0) + slope * slope)).sqrt() / self.w11 }
    }

    /// Least squared Mahalanobis distance over the box.
    ///
    /// The distance grows along every ray from the mean, so the nearest point of the box lies on a side that the mean
    /// sees: at most one vertical and one horizontal. On a side it is the vertex of a parabola, clamped.
    pub fn nearest_in(&self, area: Area<F>) -> F {
        let a = self.w00 * self.w00 + self.w10 * self.w10;
        let b = self.w10 * self.w11;
        let c = self.w11 * self.w11;
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

/// Writes Gaussian `n` with these scales; `logit` is its log normaliser and threshold.
#[cube]
pub(crate) fn write_frame<F: Real>(
    packed: &mut Array<Quad<F>>,
    n: u32,
    parameters: &Array<F>,
    row: usize,
    scales: Point<F>,
    logit: Point<F>,
    #[comptime] channels: u32,
) {
    let rotation = parameters[row + 4];
    let deviation = deviation_along_x::<F>(scales, rotation);
    let lean = rotation.cos() * rotation.sin() * twist::<F>(scales) / deviation;
    let zero = F::new(0.0);
    let opacity = parameters[row + 5];
    let mut color = quad::<F>(zero, zero, zero, opacity);
    #[unroll]
    for k in 0..comptime!(channels as usize) {
        color[k] = opacity * parameters[row + COLOR_AT + k];
    }
    let at = n as usize * 3;
    packed[at] = quad::<F>(parameters[row], parameters[row + 1], F::new(1.0) / deviation, zero - lean);
    packed[at + 1] = quad::<F>(deviation / scales.x / scales.y, logit.x, logit.y, zero);
    packed[at + 2] = color;
}

/// `sqrt(Sigma00)`. The larger scale is taken out, so that no square is too large or too small.
#[cube]
fn deviation_along_x<F: Real>(scales: Point<F>, rotation: F) -> F {
    let largest = max(scales.x, scales.y);
    let (x, y) = (scales.x / largest * rotation.cos(), scales.y / largest * rotation.sin());
    largest * (x * x + y * y).sqrt()
}

/// `s0 / s1 - s1 / s0`: minus the derivative of `q` by the rotation over `2 v0 v1`, along the Gaussian's own axes.
#[cube]
pub(crate) fn twist<F: Real>(scales: Point<F>) -> F {
    scales.x / scales.y - scales.y / scales.x
}

/// Cosine and sine of the turn from the whitened displacement to the one along the Gaussian's own axes.
#[cube]
pub(crate) fn own_axes<F: Real>(scales: Point<F>, rotation: F) -> Point<F> {
    let deviation = deviation_along_x::<F>(scales, rotation);
    Point::<F> { x: scales.x / deviation * rotation.cos(), y: scales.y / deviation * rotation.sin() }
}
