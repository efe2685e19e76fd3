//! Sum, largest and index of the largest element, in a fixed order: the same bits every time.

use cubecl::prelude::*;

use crate::{
    buffer::Buffer,
    device::Device,
    real::{Precision, Real},
};

/// Elements per unit and level.
const CHUNK: u32 = 64;

/// How two elements become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// `a + b`; of nothing: 0.
    Sum,
    /// The larger; of nothing: the least finite value.
    Largest,
}

/// Reduces `values` to one element on the device.
pub fn reduce<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    values: &Buffer<R, P::Real>,
    reduction: Reduction,
) -> Buffer<R, P::Real> {
    let reduced = device.uninit(1);
    reduce_into(device, values, reduction, &reduced, 0);
    reduced
}

/// Reduces `values` to element `at` of `target`.
pub fn reduce_into<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    values: &Buffer<R, P::Real>,
    reduction: Reduction,
    target: &Buffer<R, P::Real>,
    at: usize,
) {
    let chunks = values.len().div_ceil(CHUNK as usize).max(1);
    let partial = if chunks == 1 { target.clone() } else { device.uninit(chunks) };
    let (count, dim) = device.per_unit(chunks);
    reduce_chunk::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        values.arg(),
        partial.arg(),
        values.len() as u32,
        chunks as u32,
        if chunks == 1 { at as u32 } else { 0 },
        reduction,
    );
    if chunks > 1 {
        reduce_into(device, &partial, reduction, target, at);
    }
}

#[cube(launch)]
fn reduce_chunk<F: Real>(
    values: &Array<F>,
    reduced: &mut Array<F>,
    length: u32,
    chunks: u32,
    to: u32,
    #[comptime] reduction: Reduction,
) {
    if ABSOLUTE_POS < chunks as usize {
        let first = ABSOLUTE_POS as u32 * CHUNK;
        let mut result = match comptime!(reduction) {
            Reduction::Sum => F::new(0.0),
            Reduction::Largest => F::min_value(),
        };
        for i in first..u32::min(first + CHUNK, length) {
            let value = values[i as usize];
            result = match comptime!(reduction) {
                Reduction::Sum => result + value,
                Reduction::Largest => max(result, value),
            };
        }
        reduced[to as usize + ABSOLUTE_POS] = result;
    }
}
