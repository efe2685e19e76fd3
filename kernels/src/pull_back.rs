//! Carries values on the annotations back to the cells.

use cubecl::prelude::*;

use crate::{
    Result,
    buffer::Buffer,
    correspondence::Correspondence,
    device::Device,
    real::{Precision, Real},
};

/// Carries values on the annotations back to the cells: `(K v)_i`, `[cells]`; `values` is `[annotations + 1]`, background
/// last.
///
/// # Errors
/// [`crate::Error::Length`] when there is not one value per column.
pub fn pull_back<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    values: &Buffer<R, P::Real>,
) -> Result<Buffer<R, P::Real>> {
    values.expect("values", kernel.transposed.slot_starts.len())?;
    let pulled = device.uninit(kernel.cells.len());
    let (count, dim) = device.per_unit(kernel.cells.len());
    gather::launch::<P::Real, P::Weight, R>(
        device.client(),
        count,
        dim,
        kernel.row_starts.arg(),
        kernel.columns.arg(),
        kernel.weights.arg(),
        kernel.background.arg(),
        values.arg(),
        pulled.arg(),
    );
    Ok(pulled)
}

#[cube(launch)]
fn gather<F: Real, W: Real>(
    row_starts: &Array<u32>,
    columns: &Array<u32>,
    weights: &Array<W>,
    background: &Array<W>,
    values: &Array<F>,
    pulled: &mut Array<F>,
) {
    let row = ABSOLUTE_POS;
    if row < pulled.len() {
        let mut sum = F::cast_from(background[row]) * values[values.len() - 1];
        for entry in row_starts[row]..row_starts[row + 1] {
            sum += F::cast_from(weights[entry as usize]) * values[columns[entry as usize] as usize];
        }
        pulled[row] = sum;
    }
}
