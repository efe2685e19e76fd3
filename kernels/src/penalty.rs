//! How residuals count, and what they come to.

use cubecl::prelude::*;

use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    real::{Precision, Real},
    reduce::{Reduction, reduce_into},
};

/// How a residual counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Penalty {
    /// Its square.
    Squared,
    /// Its absolute value.
    Absolute,
}

/// Sum over pixels and channels of the residual's penalty, written to element `at` of `target`.
///
/// # Errors
/// [`crate::Error::Length`] when `target` has no such element.
pub fn penalty<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    residual: &Buffer<R, P::Real>,
    penalty: Penalty,
    target: &Buffer<R, P::Real>,
    at: usize,
) -> Result<()> {
    if at >= target.len() {
        return Err(crate::Error::Length { what: "penalties", expected: at + 1, got: target.len() });
    }
    let partial = device.uninit(residual.len().div_ceil(PENALTY_CHUNK as usize));
    let (count, dim) = device.per_unit(partial.len());
    add_penalties::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        residual.arg(),
        partial.arg(),
        residual.len() as u32,
        penalty,
    );
    reduce_into(device, &partial, Reduction::Sum, target, at);
    Ok(())
}

const PENALTY_CHUNK: u32 = 64;

#[cube(launch)]
fn add_penalties<F: Real>(residual: &Array<F>, partial: &mut Array<F>, length: u32, #[comptime] penalty: Penalty) {
    if ABSOLUTE_POS < partial.len() {
        let first = ABSOLUTE_POS as u32 * PENALTY_CHUNK;
        let mut sum = F::new(0.0);
        for i in first..u32::min(first + PENALTY_CHUNK, length) {
            let e = residual[i as usize];
            sum += match comptime!(penalty) {
                Penalty::Squared => e * e,
                Penalty::Absolute => e.abs(),
            };
        }
        partial[ABSOLUTE_POS] = sum;
    }
}
