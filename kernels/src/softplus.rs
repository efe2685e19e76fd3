//! `ln(1 + exp(x))`, a smooth way to keep a density positive.

use cubecl::prelude::*;

use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    real::{Precision, Real},
};

/// `ln(1 + exp(raw_i))`, element by element.
pub fn softplus<R: Runtime, P: Precision>(device: &Device<R, P>, raw: &Buffer<R, P::Real>) -> Buffer<R, P::Real> {
    let density = device.uninit(raw.len());
    if !raw.is_empty() {
        let (count, dim) = device.per_unit(raw.len());
        forward::launch::<P::Real, R>(device.client(), count, dim, raw.arg(), density.arg());
    }
    density
}

/// `gradient_i sigmoid(raw_i)`: the derivative by `raw` of what [`softplus`] made.
///
/// # Errors
/// [`crate::Error::Length`] when the two disagree.
pub fn softplus_backward<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    raw: &Buffer<R, P::Real>,
    gradient: &Buffer<R, P::Real>,
) -> Result<Buffer<R, P::Real>> {
    gradient.expect("gradient", raw.len())?;
    let by_raw = device.uninit(raw.len());
    if !raw.is_empty() {
        let (count, dim) = device.per_unit(raw.len());
        backward::launch::<P::Real, R>(device.client(), count, dim, raw.arg(), gradient.arg(), by_raw.arg());
    }
    Ok(by_raw)
}

/// `max(x, 0) + ln(1 + exp(-|x|))` does not overflow.
#[cube]
pub(crate) fn softplus_of<F: Real>(x: F) -> F {
    max(x, F::new(0.0)) + (F::new(1.0) + (F::new(0.0) - x.abs()).exp()).ln()
}

#[cube(launch)]
fn forward<F: Real>(raw: &Array<F>, density: &mut Array<F>) {
    if ABSOLUTE_POS < raw.len() {
        density[ABSOLUTE_POS] = softplus_of::<F>(raw[ABSOLUTE_POS]);
    }
}

#[cube(launch)]
fn backward<F: Real>(raw: &Array<F>, gradient: &Array<F>, by_raw: &mut Array<F>) {
    if ABSOLUTE_POS < raw.len() {
        by_raw[ABSOLUTE_POS] = gradient[ABSOLUTE_POS] * sigmoid::<F>(raw[ABSOLUTE_POS]);
    }
}

/// `1 / (1 + exp(-x))`.
#[cube]
pub(crate) fn sigmoid<F: Real>(x: F) -> F {
    F::new(1.0) / (F::new(1.0) + (F::new(0.0) - x).exp())
}
