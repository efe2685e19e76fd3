//! The transport cost (paper, Eq. 2) on a fixed kernel.

use cubecl::prelude::*;

use crate::{
    buffer::Buffer,
    correspondence::Correspondence,
    device::Device,
    gaussian::{Frame, Frames},
    grid::Plots,
    real::{Precision, Quad, Real, Storage, weight_of},
};

/// Cost of one unit of mass at every cell: `c_i = sum_n K_in |x_i - mean_n|^2`, px²; the background costs nothing. So
/// `W(diag(z) K) = <z, c>`, and its gradient is `c`.
pub fn cell_costs<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    frames: &Frames<R, P::Real>,
) -> Buffer<R, P::Real> {
    let costs = device.uninit(kernel.cells());
    let (count, dim) = device.per_unit(kernel.cells());
    expected_distance::launch::<P::Real, P::Weight, R>(
        device.client(),
        count,
        dim,
        kernel.row_starts.arg(),
        kernel.columns.arg(),
        kernel.weights.arg(),
        frames.packed.arg(),
        kernel.mosaic.arg(),
        costs.arg(),
    );
    costs
}

#[cube(launch)]
fn expected_distance<F: Real, W: Storage>(
    row_starts: &Array<u32>,
    columns: &Array<u32>,
    weights: &Array<W>,
    frames: &Array<Quad<F>>,
    plots: &Plots<F>,
    costs: &mut Array<F>,
) {
    let row = ABSOLUTE_POS;
    if row < costs.len() {
        let centre = plots.centre(row as u32);
        let mut sum = F::new(0.0);
        for entry in row_starts[row]..row_starts[row + 1] {
            let mean = Frame::load(frames, columns[entry as usize]).mean;
            let (dx, dy) = (centre.x - mean.x, centre.y - mean.y);
            sum += weight_of::<F, W>(weights[entry as usize]) * (dx * dx + dy * dy);
        }
        costs[row] = sum;
    }
}
