//! What a solution gives on demand: potentials and the cost of its plan.

use cubecl::prelude::*;

use super::{
    Ground, Problem, Solution,
    rows::{Rows, share_of_plan},
    sides::{Round, SCALE},
};
use crate::{
    buffer::Buffer,
    device::Device,
    grid::{Count, Counts},
    real::{Precision, Quad, Real},
    totals::totals,
};

impl<R: Runtime, P: Precision> Problem<R, P> {
    /// The two sides' last potentials, `[cells]` and `[points]`, in the unit of the costs. In the floored form the cells' are those that
    /// follow the points'; what published code ends with is the slope of the [`Outcome`](super::Outcome).
    pub fn potentials(
        &self,
        device: &Device<R, P>,
        solution: &Solution<R, P::Real>,
    ) -> (Buffer<R, P::Real>, Buffer<R, P::Real>) {
        let state = &solution.state;
        let (cells, points) = (self.mosaic.total(Count::Cells), self.mosaic.total(Count::Gaussians));
        (pick(device, &state.cells, 4 * cells, 4, cells), pick(device, &state.points, 4 * points, 4, points))
    }

    /// `<C, P>` of every image, `[images, 4]`, in the first of four numbers; the second is the plan's mass.
    pub fn cost(&self, device: &Device<R, P>, solution: &Solution<R, P::Real>) -> Buffer<R, P::Real> {
        let cells = self.mosaic.total(Count::Cells);
        let costs = device.uninit(4 * cells);
        let (cubes, dim) = device.per_unit(cells);
        cell_costs::launch::<P::Real, R>(
            device.client(),
            cubes,
            dim,
            self.mosaic.counts(),
            self.round(&solution.state, [self.stages; 2]),
            self.rows(solution),
            costs.arg(),
            self.rules.ground,
        );
        totals(device, &self.mosaic, &costs, Count::Cells)
    }
}

/// `len` elements, every `step`-th from `first` on.
pub(super) fn pick<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    from: &Buffer<R, P::Real>,
    first: usize,
    step: usize,
    len: usize,
) -> Buffer<R, P::Real> {
    let picked = device.uninit(len);
    if len > 0 {
        let (cubes, dim) = device.per_unit(len);
        let (first, step) = (first as u32, step as u32);
        pick_every::launch::<P::Real, R>(device.client(), cubes, dim, from.arg(), picked.arg(), first, step);
    }
    picked
}

#[cube(launch)]
fn pick_every<F: Real>(from: &Array<F>, picked: &mut Array<F>, first: u32, step: u32) {
    if ABSOLUTE_POS < picked.len() {
        picked[ABSOLUTE_POS] = from[(first + ABSOLUTE_POS as u32 * step) as usize];
    }
}

#[cube(launch)]
fn cell_costs<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    rows: &Rows<F>,
    costs: &mut Array<Quad<F>>,
    #[comptime] ground: Ground,
) {
    let i = ABSOLUTE_POS as u32;
    if i < counts.total(Count::Cells) {
        let image = counts.holding(i, Count::Cells);
        let scale = round.constant(image, counts.images(), SCALE);
        let row = rows.row(counts, round, i);
        let mut sum = F::new(0.0);
        let mut mass = F::new(0.0);
        for n in counts.before(image, Count::Gaussians)..counts.before(image + 1u32, Count::Gaussians) {
            let near = rows.points[n as usize];
            let (moved, distance) = share_of_plan::<F>(&row, near, ground);
            sum += moved * scale * distance;
            mass += moved;
        }
        let mut cost = Quad::<F>::new(F::new(0.0));
        cost[0] = sum;
        cost[1] = mass;
        costs[i as usize] = cost;
    }
}
