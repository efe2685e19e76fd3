//! Which column owns a cell.

use cubecl::prelude::*;

use crate::{
    buffer::Buffer,
    correspondence::Correspondence,
    device::Device,
    real::{Precision, Real, Storage, weight_of},
};

/// Who owns each cell: the column with the largest weight (ties: background, then the lowest index), and that weight.
pub struct Ownership<R: Runtime, F: Real> {
    /// Annotation (numbered through the batch), or `u32::MAX` for the background, `[cells]`.
    pub owner: Buffer<R, u32>,
    /// Its weight, `[cells]`.
    pub weight: Buffer<R, F>,
}

/// Finds every cell's owner.
pub fn ownership<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
) -> Ownership<R, P::Real> {
    let cells = kernel.cells();
    let result = Ownership { owner: device.uninit(cells), weight: device.uninit(cells) };
    let (count, dim) = device.per_unit(cells);
    find_owner::launch::<P::Real, P::Weight, R>(
        device.client(),
        count,
        dim,
        kernel.row_starts.arg(),
        kernel.columns.arg(),
        kernel.weights.arg(),
        kernel.background.arg(),
        result.owner.arg(),
        result.weight.arg(),
    );
    result
}

#[cube(launch)]
fn find_owner<F: Real, W: Storage>(
    row_starts: &Array<u32>,
    columns: &Array<u32>,
    weights: &Array<W>,
    background: &Array<W>,
    owner: &mut Array<u32>,
    weight: &mut Array<F>,
) {
    let row = ABSOLUTE_POS;
    if row < owner.len() {
        let mut best = weight_of::<F, W>(background[row]);
        let mut found = 4294967295u32.runtime();
        // The entries of a mixture's annotation follow one another.
        let mut held = F::new(0.0);
        let mut last = 4294967295u32.runtime();
        for entry in row_starts[row]..row_starts[row + 1] {
            let column = columns[entry as usize];
            if column != last {
                held = F::new(0.0);
            }
            held += weight_of::<F, W>(weights[entry as usize]);
            last = column;
            if held > best {
                best = held;
                found = column;
            }
        }
        owner[row] = found;
        weight[row] = best;
    }
}
