//! Rectified linear: maps that may be negative as densities.

use cubecl::prelude::*;

use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    real::{Precision, Real},
};

/// `max(x, 0)`; a NaN stays one.
pub fn relu<R: Runtime, P: Precision>(device: &Device<R, P>, values: &Buffer<R, P::Real>) -> Buffer<R, P::Real> {
    let rectified = device.uninit(values.len());
    gate(device, [values, values], &rectified);
    rectified
}

/// `slope` where `values` are not negative, else 0: at 0 the derivative from above.
///
/// # Errors
/// [`crate::Error::Length`] when the two disagree.
pub fn relu_backward<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    values: &Buffer<R, P::Real>,
    slope: &Buffer<R, P::Real>,
) -> Result<Buffer<R, P::Real>> {
    slope.expect("slope", values.len())?;
    let gated = device.uninit(values.len());
    gate(device, [values, slope], &gated);
    Ok(gated)
}

fn gate<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    [values, slope]: [&Buffer<R, P::Real>; 2],
    gated: &Buffer<R, P::Real>,
) {
    if !values.is_empty() {
        let (cubes, dim) = device.per_unit(values.len());
        rectify::launch::<P::Real, R>(device.client(), cubes, dim, values.arg(), slope.arg(), gated.arg());
    }
}

#[cube(launch)]
fn rectify<F: Real>(values: &Array<F>, slope: &Array<F>, gated: &mut Array<F>) {
    if ABSOLUTE_POS < gated.len() {
        let mut passed = slope[ABSOLUTE_POS];
        if values[ABSOLUTE_POS] < F::new(0.0) {
            passed = F::new(0.0);
        }
        gated[ABSOLUTE_POS] = passed;
    }
}
