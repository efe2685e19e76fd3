//! Derivatives of the reconstruction error by every parameter of every Gaussian.
//!
//! One unit per Gaussian adds its slots' sums and turns them into derivatives.

use cubecl::prelude::*;

use crate::{
    bins::Bins,
    buffer::Buffer,
    device::Device,
    evaluate::Look,
    gaussian::{COLOR_AT, Gaussians, Point, own_axes, twist},
    moments::{Sums, along, total},
    real::{Precision, Quad, Real, real},
};

/// Derivatives of `norm * penalty` by every parameter: `[n, 6 + channels]` like the parameters themselves.
pub fn gradient<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    gaussians: &Gaussians<R, P::Real>,
    bins: &Bins<R, P::Real>,
    look: &Look<R, P::Real>,
    norm: f64,
) -> Buffer<R, P::Real> {
    let gradient = device.uninit(gaussians.parameters.len());
    if !gaussians.is_empty() {
        let (count, dim) = device.per_unit(gaussians.len());
        write_gradient::launch::<P::Real, R>(
            device.client(),
            count,
            dim,
            look.partial.arg(),
            bins.slot_starts.arg(),
            gaussians.parameters.arg(),
            gradient.arg(),
            real(norm),
            look.sums,
        );
    }
    gradient
}

/// Derivatives of one Gaussian, from its total sums.
#[cube]
pub(crate) fn derivatives<F: Real>(
    sum: &Array<F>,
    parameters: &Array<F>,
    row: usize,
    norm: F,
    #[comptime] sums: Sums,
) -> Array<F> {
    let channels = comptime!(sums.channels as usize);
    let mut out = Array::<F>::new(comptime!(channels + COLOR_AT));
    let (s0, s1, opacity) = (parameters[row + 2], parameters[row + 3], parameters[row + 5]);
    let scales = Point::<F> { x: s0, y: s1 };
    let sum = along::<F>(sum, &own_axes::<F>(scales, parameters[row + 4]), sums);
    let scale = match comptime!(sums.penalty) {
        crate::penalty::Penalty::Squared => F::new(2.0) * norm,
        crate::penalty::Penalty::Absolute => norm,
    };
    let at = comptime!(sums.shape_at() as usize);
    out[0] = F::new(0.0);
    out[1] = F::new(0.0);
    if comptime!(sums.means) {
        let mean_at = comptime!(sums.mean_at() as usize);
        let first = Point::<F> { x: sum[mean_at] / s0, y: sum[mean_at + 1] / s1 };
        let by_mean = turned::<F>(first, parameters[row + 4]);
        out[0] = scale * by_mean.x;
        out[1] = scale * by_mean.y;
    }
    out[2] = scale * sum[at] / s0;
    out[3] = scale * sum[at + 2] / s1;
    out[4] = scale * sum[at + 1] * twist::<F>(scales);
    let mut by_opacity = F::new(0.0);
    #[unroll]
    for c in 0..channels {
        by_opacity += sum[c] * parameters[row + COLOR_AT + c];
        out[COLOR_AT + c] = scale * opacity * sum[c];
    }
    if comptime!(sums.over) {
        by_opacity = F::new(0.0);
        if opacity > F::new(0.0) {
            by_opacity = sum[comptime!(sums.opacity_at() as usize)] / opacity;
        }
    }
    out[5] = scale * by_opacity;
    out
}

/// From the axes of a Gaussian to the image's.
#[cube]
pub(crate) fn turned<F: Real>(v: Point<F>, rotation: F) -> Point<F> {
    let (c, s) = (rotation.cos(), rotation.sin());
    Point::<F> { x: c * v.x - s * v.y, y: s * v.x + c * v.y }
}

#[cube(launch)]
fn write_gradient<F: Real>(
    partial: &Array<Quad<F>>,
    slot_starts: &Array<u32>,
    parameters: &Array<F>,
    gradient: &mut Array<F>,
    norm: F,
    #[comptime] sums: Sums,
) {
    let stride = comptime!(sums.channels as usize + COLOR_AT);
    let row = ABSOLUTE_POS * stride;
    if row < parameters.len() {
        let sum = total(partial, slot_starts, ABSOLUTE_POS as u32, sums);
        let by = derivatives::<F>(&sum, parameters, row, norm, sums);
        #[unroll]
        for k in 0..stride {
            gradient[row + k] = by[k];
        }
    }
}
