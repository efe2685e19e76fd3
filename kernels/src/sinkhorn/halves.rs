//! The two halves of a round: every potential of one side, best against the other side's.
//!
//! Both are `p_r = epsilon (offset_r - ln sum_c exp(charge_c - C_rc / epsilon)) / (1 + epsilon damping)`. A side's charge is
//! what the other side needs of it: `share ln(mass) + (1 / epsilon - less) p`. Costs are recomputed from coordinate
//! differences; nothing of the size of the plan is stored. One unit per row where units run one after the other. Else a row's
//! sum is kept in lanes, which are joined in a tree, and as many units share them as keep the device busy. Lanes and tree are the
//! same for any number of units, so an image has the same bits alone and among others.

use cubecl::prelude::*;

use super::{
    Ground, NOTHING, Problem, State,
    sides::{CUBE, LogSum, Round, Ruler, SCALE, Side, SideLaunch, cost, extend, join},
};
use crate::{
    device::{Device, Shape},
    gaussian::Point,
    grid::{Count, Plots},
    real::{Precision, Quad, Real, real},
};

/// Lanes per point and per cell: a sum runs over many cells, but sometimes over few points.
const POINT_LANES: u32 = 512;
const CELL_LANES: u32 = 16;
/// Units that keep the largest devices busy.
const BUSY: usize = 1 << 16;

/// One half of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Half {
    ground: Ground,
    /// Whether cells are updated, else points.
    cells: bool,
    /// Leaves potentials as they are and notes what they would become.
    probe: bool,
    lanes: u32,
    /// Per row; a divisor of the lanes.
    units: u32,
}

impl Half {
    fn rows(self) -> Count {
        if self.cells { Count::Cells } else { Count::Gaussians }
    }

    fn columns(self) -> Count {
        if self.cells { Count::Gaussians } else { Count::Cells }
    }

    /// Lanes of a unit.
    fn own(self) -> u32 {
        self.lanes / self.units
    }
}

impl<R: Runtime, P: Precision> Problem<R, P> {
    /// Every running image's points; a `probe` leaves them as they are and notes what they would become.
    pub(super) fn points_half(&self, device: &Device<R, P>, state: &State<R, P::Real>, round: usize, probe: bool) {
        if self.mosaic.total(Count::Gaussians) > 0 {
            self.half(device, state, [round; 2], false, probe);
        }
    }

    /// Every running image's cells.
    pub(super) fn cells_half(&self, device: &Device<R, P>, state: &State<R, P::Real>, rounds: [usize; 2]) {
        self.half(device, state, rounds, true, false);
    }

    fn half(&self, device: &Device<R, P>, state: &State<R, P::Real>, rounds: [usize; 2], cells: bool, probe: bool) {
        let (count, lanes) = if cells { (Count::Cells, CELL_LANES) } else { (Count::Gaussians, POINT_LANES) };
        let rows = self.mosaic.total(count);
        let (lanes, units) = match device.shape() {
            Shape::Tiled => (lanes, units(rows, lanes)),
            Shape::Gathered => (1, 1),
        };
        let (cubes, dim) = spread(device, rows, units);
        let (columns, rows, side) = match cells {
            true => (&state.points, &state.cells, self.cells_side()),
            false => (&state.cells, &state.points, self.points_side()),
        };
        update::launch::<P::Real, R>(
            device.client(),
            cubes,
            dim,
            self.mosaic.arg(),
            self.round(state, rounds),
            columns.arg(),
            rows.arg(),
            side,
            Half { ground: self.rules.ground, cells, probe, lanes, units },
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

/// Units per row: a power of two, as many as keep a device busy.
fn units(rows: usize, lanes: u32) -> u32 {
    let most = lanes.min(CUBE);
    1 << (BUSY / rows).clamp(1, most as usize).ilog2()
}

pub(super) fn spread<R: Runtime, P: Precision>(device: &Device<R, P>, rows: usize, units: u32) -> (CubeCount, CubeDim) {
    if units == 1 { device.per_unit(rows) } else { device.per_cube(rows * units as usize, CUBE) }
}

#[cube(launch)]
fn update<F: Real>(
    plots: &Plots<F>,
    round: &Round<F>,
    columns: &Array<Quad<F>>,
    rows: &mut Array<Quad<F>>,
    side: &Side<F>,
    #[comptime] half: Half,
) {
    let (of_rows, of_columns) = comptime!((half.rows(), half.columns()));
    let (r, unit) = (ABSOLUTE_POS as u32 / half.units, ABSOLUTE_POS as u32 % half.units);
    let all = plots.total(of_rows);
    let images = plots.images();
    let mut image = 0u32.runtime();
    let mut first = 0u32.runtime();
    let mut end = 0u32.runtime();
    if r < all {
        image = plots.holding(r, of_rows);
        if round.runs(image, images) {
            first = plots.before(image, of_columns);
            end = plots.before(image + 1u32, of_columns);
        }
    }
    let epsilon = round.epsilon(image, images);
    let sharpness = round.constant(image, images, SCALE) / epsilon;
    let mut place = Point::<F> { x: F::new(0.0), y: F::new(0.0) };
    if first < end {
        place.x = rows[r as usize][0];
        place.y = rows[r as usize][1];
    }
    let ruler = round.ruler(image, images);
    let sum = sum_of::<F>(columns, first + unit, end, &Row::<F> { place, sharpness, ruler }, half);
    let total = join::<F>(sum, half.units);
    // A row without columns keeps what it started with.
    if first < end {
        if unit == 0u32 {
            let mut near = rows[r as usize];
            let mut far = rows[(all + r) as usize];
            let potential = side.potential(total, far[1], epsilon);
            if comptime!(half.probe) {
                far[2] = potential;
                far[3] = select(total > F::new(NOTHING) / F::new(8.0), F::new(1.0), F::new(0.0));
            } else {
                far[2] = far[0];
                far[0] = potential;
                near[2] = side.charge(potential, far[1], round.next_epsilon(image, images));
                rows[r as usize] = near;
            }
            rows[(all + r) as usize] = far;
        }
    }
}

/// What a row's exponents are made of.
#[derive(CubeType, Clone, Copy)]
struct Row<F: Real> {
    place: Point<F>,
    sharpness: F,
    ruler: Ruler<F>,
}

/// `ln sum_c exp(charge_c - C_rc / epsilon)` over a unit's lanes: every `units`-th column from `first` on, below `end`.
#[cube]
fn sum_of<F: Real>(columns: &Array<Quad<F>>, first: u32, end: u32, row: &Row<F>, #[comptime] half: Half) -> LogSum<F> {
    let own = comptime!(half.own() as usize);
    let mut largest = Array::<F>::new(own);
    let mut sums = Array::<F>::new(own);
    #[unroll]
    for lane in 0..own {
        largest[lane] = F::new(NOTHING);
        sums[lane] = F::new(0.0);
    }
    let mut at = first;
    // Lanes do not wait for each other: their loads and exponentials overlap.
    while at + comptime!(half.lanes - half.units) < end {
        #[unroll]
        for lane in 0..own {
            let column = columns[(at + lane as u32 * half.units) as usize];
            grow::<F>(&mut largest, &mut sums, lane, exponent::<F>(row, column, half.ground), F::new(1.0));
        }
        at += half.lanes;
    }
    if comptime!(own > 1) {
        #[unroll]
        for lane in 0..own {
            let column = at + lane as u32 * half.units;
            if column < end {
                let exponent = exponent::<F>(row, columns[column as usize], half.ground);
                grow::<F>(&mut largest, &mut sums, lane, exponent, F::new(1.0));
            }
        }
        fold::<F>(&mut largest, &mut sums, comptime!(own / 2));
    }
    LogSum::<F> { largest: largest[0], sum: sums[0] }
}

#[cube]
fn exponent<F: Real>(row: &Row<F>, column: Quad<F>, #[comptime] ground: Ground) -> F {
    column[2] - cost::<F>(&row.place, column[0], column[1], &row.ruler, ground) * row.sharpness
}

/// Adds `exp(exponent) times` to a lane.
#[cube]
fn grow<F: Real>(largest: &mut Array<F>, sums: &mut Array<F>, lane: usize, exponent: F, times: F) {
    let grown = extend::<F>(LogSum::<F> { largest: largest[lane], sum: sums[lane] }, exponent, times);
    largest[lane] = grown.largest;
    sums[lane] = grown.sum;
}

/// Joins a unit's lanes into the first, in the order of the tree.
#[cube]
fn fold<F: Real>(largest: &mut Array<F>, sums: &mut Array<F>, #[comptime] half: usize) {
    #[unroll]
    for lane in 0..half {
        let (other, times) = (largest[lane + half], sums[lane + half]);
        grow::<F>(largest, sums, lane, other, times);
    }
    if comptime!(half > 1) {
        fold::<F>(largest, sums, comptime!(half / 2));
    }
}
