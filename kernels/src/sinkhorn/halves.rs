//! The two halves of a round: every potential of one side, best against the other side's.
//!
//! Both are `p_r = epsilon (offset_r - ln sum_c exp(charge_c - C_rc / epsilon)) / (1 + epsilon damping)`. A side's charge is
//! what the other side needs of it: `share ln(mass) + (1 / epsilon - less) p`. Costs are recomputed from coordinate
//! differences; nothing of the size of the plan is stored. One unit per row where units run one after the other, else
//! several units per row, whose sums are joined in a tree. Lanes do not depend on the batch, so an image has the same
//! bits alone and among others.

use cubecl::prelude::*;

use super::{
    Ground, NOTHING, Problem, State,
    sides::{CUBE, LogSum, Round, SCALE, Side, SideLaunch, cost, extend, join_lanes},
};
use crate::{
    device::{Device, Shape},
    gaussian::Point,
    grid::{Count, Plots},
    real::{Precision, Quad, Real, real},
};

/// Units per cell: few, because there are many cells and sometimes few points.
const CELL_LANES: u32 = 16;

impl<R: Runtime, P: Precision> Problem<R, P> {
    /// Every running image's points; a `probe` leaves them as they are and notes what they would become.
    pub(super) fn points_half(&self, device: &Device<R, P>, state: &State<R, P::Real>, round: usize, probe: bool) {
        if self.mosaic.total(Count::Gaussians) == 0 {
            return;
        }
        let lanes = if device.shape() == Shape::Tiled { CUBE } else { 1 };
        let (cubes, dim) = spread(device, self.mosaic.total(Count::Gaussians), lanes);
        to_points::launch::<P::Real, R>(
            device.client(),
            cubes,
            dim,
            self.mosaic.arg(),
            self.round(state, [round, round]),
            state.cells.arg(),
            state.points.arg(),
            self.points_side(),
            self.rules.ground,
            lanes,
            probe,
        );
    }

    /// Every running image's cells.
    pub(super) fn cells_half(&self, device: &Device<R, P>, state: &State<R, P::Real>, [round, next]: [usize; 2]) {
        let lanes = if device.shape() == Shape::Tiled { CELL_LANES } else { 1 };
        let (cubes, dim) = spread(device, self.mosaic.total(Count::Cells), lanes);
        to_cells::launch::<P::Real, R>(
            device.client(),
            cubes,
            dim,
            self.mosaic.arg(),
            self.round(state, [round, next]),
            state.points.arg(),
            state.cells.arg(),
            self.cells_side(),
            self.rules.ground,
            lanes,
        );
    }

    pub(super) fn points_side(&self) -> SideLaunch<P::Real, R> {
        let share = if self.rules.offsets_points() { 0.0 } else { 1.0 };
        SideLaunch::new(real(self.rules.of_points.softness()), real(0.0), real(share), real(self.rules.log_floor()))
    }

    pub(super) fn cells_side(&self) -> SideLaunch<P::Real, R> {
        let share = if self.rules.offsets_cells() { 0.0 } else { 1.0 };
        let (damping, less) = self.rules.cell_softness();
        SideLaunch::new(real(damping), real(less), real(share), real(self.rules.log_floor()))
    }
}

pub(super) fn spread<R: Runtime, P: Precision>(device: &Device<R, P>, rows: usize, lanes: u32) -> (CubeCount, CubeDim) {
    if lanes == 1 { device.per_unit(rows) } else { device.per_cube(rows * lanes as usize, CUBE) }
}

#[cube(launch)]
fn to_points<F: Real>(
    plots: &Plots<F>,
    round: &Round<F>,
    cells: &Array<F>,
    points: &mut Array<Quad<F>>,
    side: &Side<F>,
    #[comptime] ground: Ground,
    #[comptime] lanes: u32,
    #[comptime] probe: bool,
) {
    let (n, lane) = (ABSOLUTE_POS as u32 / lanes, ABSOLUTE_POS as u32 % lanes);
    let all = plots.total(Count::Gaussians);
    let images = plots.images();
    let mut image = 0u32.runtime();
    let mut runs = false.runtime();
    if n < all {
        image = plots.holding(n, Count::Gaussians);
        runs = round.runs(image);
    }
    let lattice = plots.lattice(image);
    let first = plots.before(image, Count::Cells);
    let epsilon = round.epsilon(image, images);
    let sharpness = round.constant(image, images, SCALE) / epsilon;
    let ruler = round.ruler(image, images);
    let mut place = Point::<F> { x: F::new(0.0), y: F::new(0.0) };
    let mut log_sum = LogSum::<F> { largest: F::new(NOTHING), sum: F::new(0.0) };
    if runs {
        let near = points[n as usize];
        place.x = near[0];
        place.y = near[1];
        // Steps through the cells without a division each.
        let (steps, rows) = (lanes % lattice.columns, lanes / lattice.columns);
        let mut column = lane % lattice.columns;
        let mut row = lane / lattice.columns;
        let mut largest = F::new(NOTHING);
        let mut sum = F::new(0.0);
        while row < lattice.rows {
            let centre = lattice.centre(column, row);
            let charge = cells[(first + row * lattice.columns + column) as usize];
            let exponent = charge - cost::<F>(&place, centre.x, centre.y, &ruler, ground) * sharpness;
            let grown = extend::<F>(LogSum::<F> { largest, sum }, exponent, F::new(1.0));
            largest = grown.largest;
            sum = grown.sum;
            column += steps;
            row += rows;
            if column >= lattice.columns {
                column -= lattice.columns;
                row += 1u32;
            }
        }
        log_sum.largest = largest;
        log_sum.sum = sum;
    }
    let total = join_lanes::<F>(log_sum, lanes);
    if runs {
        if lane == 0u32 {
            let mut near = points[n as usize];
            let mut far = points[(all + n) as usize];
            let potential = side.potential(total, far[1], epsilon);
            if comptime!(probe) {
                far[2] = potential;
                far[3] = select(total > F::new(NOTHING) / F::new(8.0), F::new(1.0), F::new(0.0));
            } else {
                far[0] = potential;
                near[2] = side.charge(potential, far[1], epsilon);
                points[n as usize] = near;
            }
            points[(all + n) as usize] = far;
        }
    }
}

#[cube(launch)]
fn to_cells<F: Real>(
    plots: &Plots<F>,
    round: &Round<F>,
    points: &Array<Quad<F>>,
    cells: &mut Array<F>,
    side: &Side<F>,
    #[comptime] ground: Ground,
    #[comptime] lanes: u32,
) {
    let (i, lane) = (ABSOLUTE_POS as u32 / lanes, ABSOLUTE_POS as u32 % lanes);
    let all = plots.total(Count::Cells);
    let images = plots.images();
    let mut image = 0u32.runtime();
    let mut end = 0u32.runtime();
    let mut at = 0u32.runtime();
    if i < all {
        image = plots.holding(i, Count::Cells);
        if round.runs(image) {
            at = plots.before(image, Count::Gaussians);
            end = plots.before(image + 1u32, Count::Gaussians);
        }
    }
    // A cell without points keeps what it started with.
    let writes = at < end && lane == 0u32;
    let lattice = plots.lattice(image);
    let local = i - plots.before(image, Count::Cells);
    let centre = lattice.centre(local % lattice.columns, local / lattice.columns);
    let epsilon = round.epsilon(image, images);
    let sharpness = round.constant(image, images, SCALE) / epsilon;
    let ruler = round.ruler(image, images);
    let mut largest = F::new(NOTHING);
    let mut sum = F::new(0.0);
    at += lane;
    while at < end {
        let near = points[at as usize];
        let exponent = near[2] - cost::<F>(&centre, near[0], near[1], &ruler, ground) * sharpness;
        let grown = extend::<F>(LogSum::<F> { largest, sum }, exponent, F::new(1.0));
        largest = grown.largest;
        sum = grown.sum;
        at += lanes;
    }
    let total = join_lanes::<F>(LogSum::<F> { largest, sum }, lanes);
    if writes {
        let log_mass = cells[(2u32 * all + i) as usize];
        let potential = side.potential(total, log_mass, epsilon);
        let next = round.next_epsilon(image, images);
        cells[(3u32 * all + i) as usize] = cells[(all + i) as usize];
        cells[(all + i) as usize] = potential;
        cells[i as usize] = side.charge(potential, log_mass, next);
    }
}
