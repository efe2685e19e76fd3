//! The transport cost (paper, Eq. 2) on a fixed kernel.

use cubecl::prelude::*;

use crate::{
    buffer::Buffer,
    correspondence::Correspondence,
    device::Device,
    gaussian::Gaussians,
    grid::Lattice,
    real::{Precision, Real},
};

/// Cost of one unit of mass at every cell: `c_i = sum_n K_in |x_i - mean_n|^2`, px²; the background costs nothing. So
/// `W(diag(z) K) = <z, c>`, and its gradient is `c`.
pub fn cell_costs<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    gaussians: &Gaussians<R, P::Real>,
) -> Buffer<R, P::Real> {
    let costs = device.uninit(kernel.cells.len());
    let (count, dim) = device.per_unit(kernel.cells.len());
    expected_distance::launch::<P::Real, P::Weight, R>(
        device.client(),
        count,
        dim,
        kernel.row_starts.arg(),
        kernel.columns.arg(),
        kernel.weights.arg(),
        gaussians.parameters.arg(),
        kernel.cells.launch(),
        costs.arg(),
        gaussians.stride() as u32,
    );
    costs
}

#[cube(launch)]
fn expected_distance<F: Real, W: Real>(
    row_starts: &Array<u32>,
    columns: &Array<u32>,
    weights: &Array<W>,
    parameters: &Array<F>,
    lattice: &Lattice<F>,
    costs: &mut Array<F>,
    stride: u32,
) {
    let row = ABSOLUTE_POS;
    if row < costs.len() {
        let centre = lattice.centre(row as u32 % lattice.columns, row as u32 / lattice.columns);
        let mut sum = F::new(0.0);
        for entry in row_starts[row]..row_starts[row + 1] {
            let row_of_n = (columns[entry as usize] * stride) as usize;
            let (dx, dy) = (centre.x - parameters[row_of_n], centre.y - parameters[row_of_n + 1]);
            sum += F::cast_from(weights[entry as usize]) * (dx * dx + dy * dy);
        }
        costs[row] = sum;
    }
}
