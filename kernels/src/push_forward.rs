//! Carries a density to the annotations.

use cubecl::prelude::*;

use crate::{
    Result,
    arithmetic::weigh,
    buffer::Buffer,
    correspondence::Correspondence,
    device::Device,
    real::{Precision, Real},
    reduce::{Reduction, reduce},
};

/// Carries a density to the annotations: `(K' z)_n`, `[annotations + 1]`, the background last.
///
/// One unit per (tile, annotation) slot, then one per annotation, adding in order.
///
/// # Errors
/// [`crate::Error::Length`] when the density has not one element per cell.
pub fn push_forward<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    density: &Buffer<R, P::Real>,
) -> Result<Buffer<R, P::Real>> {
    density.expect("density", kernel.cells.len())?;
    let transposed = &kernel.transposed;
    let slots = transposed.entry_starts.len() - 1;
    let partial = device.uninit::<P::Real>(slots);
    if slots > 0 {
        let (count, dim) = device.per_unit(slots);
        sum_entries::launch::<P::Real, P::Weight, R>(
            device.client(),
            count,
            dim,
            transposed.entry_starts.arg(),
            transposed.rows.arg(),
            transposed.weights.arg(),
            density.arg(),
            partial.arg(),
        );
    }
    let products = device.uninit::<P::Real>(kernel.cells.len());
    let (count, dim) = device.per_unit(kernel.cells.len());
    weigh::launch::<P::Real, P::Weight, R>(
        device.client(),
        count,
        dim,
        kernel.background.arg(),
        density.arg(),
        products.arg(),
    );
    let background = reduce(device, &products, Reduction::Sum);
    let annotations = transposed.slot_starts.len() - 1;
    let mass = device.uninit(annotations + 1);
    let (count, dim) = device.per_unit(annotations + 1);
    sum_slots::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        transposed.slot_starts.arg(),
        partial.arg(),
        background.arg(),
        mass.arg(),
    );
    Ok(mass)
}

#[cube(launch)]
fn sum_entries<F: Real, W: Real>(
    entry_starts: &Array<u32>,
    rows: &Array<u32>,
    weights: &Array<W>,
    density: &Array<F>,
    partial: &mut Array<F>,
) {
    let slot = ABSOLUTE_POS;
    if slot < partial.len() {
        let mut sum = F::new(0.0);
        for entry in entry_starts[slot]..entry_starts[slot + 1] {
            sum += F::cast_from(weights[entry as usize]) * density[rows[entry as usize] as usize];
        }
        partial[slot] = sum;
    }
}

#[cube(launch)]
fn sum_slots<F: Real>(slot_starts: &Array<u32>, partial: &Array<F>, background: &Array<F>, mass: &mut Array<F>) {
    let n = ABSOLUTE_POS;
    if n < mass.len() - 1 {
        let mut sum = F::new(0.0);
        for slot in slot_starts[n]..slot_starts[n + 1] {
            sum += partial[slot as usize];
        }
        mass[n] = sum;
    }
    if n == mass.len() - 1 {
        mass[n] = background[0];
    }
}
