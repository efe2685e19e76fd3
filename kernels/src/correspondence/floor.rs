//! What every cell surely reaches, whatever Gaussians are near.

use cubecl::prelude::*;

use super::Background;
use crate::{
    buffer::Buffer,
    device::Device,
    gaussian::{Frame, Frames},
    grid::{Count, Mosaic},
    real::{Precision, Quad, Real},
    reduce::{Reduction, reduce_images},
};

/// Minus a logit that every cell of an image reaches, `[images]`: where the nearest Gaussian's falls, the background's rises, and one
/// of them is where the two cross or above.
pub(super) fn background_floor<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    frames: &Frames<R, P::Real>,
    mosaic: &Mosaic<R, P::Real>,
    background: Background,
) -> Buffer<R, P::Real> {
    let crossings = device.uninit(frames.len());
    let (count, dim) = device.per_unit(frames.len());
    write_crossings::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        frames.packed.arg(),
        crossings.arg(),
        background,
    );
    reduce_images(device, mosaic, &crossings, Count::Gaussians, Reduction::Largest)
}

/// Minus the logit at which each Gaussian and its background cross.
#[cube(launch)]
fn write_crossings<F: Real>(frames: &Array<Quad<F>>, crossings: &mut Array<F>, #[comptime] rule: Background) {
    if ABSOLUTE_POS < crossings.len() {
        let frame = Frame::load(frames, ABSOLUTE_POS as u32);
        let mut crossing = frame.threshold / F::new(2.0);
        if comptime!(rule == Background::Reciprocal) {
            // Half of q where q / 2 = b / (v (v q + 1e-5)), with the small number left out, which makes it larger.
            crossing = (frame.threshold / F::new(2.0)).sqrt() * frame.inverse_area();
        }
        crossings[ABSOLUTE_POS] = crossing - frame.log_normaliser;
    }
}
