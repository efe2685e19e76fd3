//! The two halves of a round: every potential of one side, best against the other side's.
//!
//! Both are `p_r = epsilon (offset_r - ln sum_c exp(charge_c - C_rc / epsilon)) / (1 + epsilon damping)`. A side's charge is
//! what the other side needs of it: `share ln(mass) + (1 / epsilon - less) p`. Costs are recomputed from coordinate
//! differences; nothing of the size of the plan is stored.
//!
//! Where units run one after the other a unit has four rows, and loads every column once for all of them. On a GPU a row's sum is
//! kept in lanes, which are joined in a tree, and as many units share them as keep the device busy. Lanes and tree are the same for
//! any number of rows and units, so an image has the same bits alone and among others.

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
/// Units that keep the largest GPUs busy.
const BUSY: usize = 1 << 16;
/// Rows of a unit, and units of a cube, where they run one after the other: eight fill a vector register of software Vulkan.
const ROWS: u32 = 4;
const FEW: u32 = 8;

/// One half of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Half {
    ground: Ground,
    /// Whether cells are updated, else points.
    cells: bool,
    /// Leaves potentials as they are and notes what they would become.
    probe: bool,
    lanes: u32,
    /// Per row; a divisor of the lanes. 1 where a unit has several rows.
    units: u32,
    /// Of a unit.
    rows: u32,
}

impl Half {
    fn of_rows(self) -> Count {
        if self.cells { Count::Cells } else { Count::Gaussians }
    }

    fn of_columns(self) -> Count {
        if self.cells { Count::Gaussians } else { Count::Cells }
    }

    /// Sums of a unit: its lanes of every row.
    fn sums(self) -> usize {
        (self.lanes / self.units * self.rows) as usize
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
        let total = self.mosaic.total(count);
        let one = Half { ground: self.rules.ground, cells, probe, lanes: 1, units: 1, rows: 1 };
        let (half, cube) = match device.shape() {
            Shape::Tiled => (Half { lanes, units: units(total, lanes), ..one }, CUBE),
            Shape::Gathered if total < (ROWS * FEW) as usize => (one, FEW),
            Shape::Gathered => (Half { rows: ROWS, ..one }, FEW),
        };
        // See `Plots::groups_before`.
        let groups = total / half.rows as usize + self.mosaic.images().len();
        let (cubes, dim) = device.per_cube(groups * half.units as usize, cube);
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
            half,
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
    let (all, images) = (plots.total(comptime!(half.of_rows())), plots.images());
    let unit = ABSOLUTE_POS as u32 % half.units;
    let reach = reach_of::<F>(plots, round, half);
    let (image, first, end) = (reach.image, reach.first, reach.end);
    let epsilon = round.epsilon(image, images);
    let sharpness = round.constant(image, images, SCALE) / epsilon;
    let ruler = round.ruler(image, images);
    let mut x = Array::<F>::new(comptime!(half.rows as usize));
    let mut y = Array::<F>::new(comptime!(half.rows as usize));
    #[unroll]
    for k in 0..comptime!(half.rows as usize) {
        let r = first + k as u32;
        x[k] = F::new(0.0);
        y[k] = F::new(0.0);
        if r < end {
            x[k] = rows[r as usize][0];
            y[k] = rows[r as usize][1];
        }
    }
    let mut sums = Sums::<F> { largest: Array::new(comptime!(half.sums())), sums: Array::new(comptime!(half.sums())) };
    let spots = Spots::<F> { x, y, sharpness, ruler };
    add_columns::<F>(&mut sums, columns, reach.columns + unit, reach.columns_end, &spots, half);
    #[unroll]
    for k in 0..comptime!(half.rows as usize) {
        let r = first + k as u32;
        let total = join::<F>(LogSum::<F> { largest: sums.largest[k], sum: sums.sums[k] }, half.units);
        if r < end {
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
}

/// Rows of a unit and their columns; none of either where the image has stopped or has no columns: rows then stay as they are.
#[derive(CubeType, Clone, Copy)]
struct Reach {
    image: u32,
    first: u32,
    /// Behind the last row of the image.
    end: u32,
    columns: u32,
    columns_end: u32,
}

#[cube]
fn reach_of<F: Real>(plots: &Plots<F>, round: &Round<F>, #[comptime] half: Half) -> Reach {
    let (of_rows, of_columns) = comptime!((half.of_rows(), half.of_columns()));
    let group = ABSOLUTE_POS as u32 / half.units;
    let image = plots.holding_group(group, of_rows, half.rows);
    let in_image = group - plots.groups_before(image, of_rows, half.rows);
    let first = plots.before(image, of_rows) + in_image * half.rows;
    let last = plots.before(image + 1u32, of_rows);
    let columns = plots.before(image, of_columns);
    let mut columns_end = columns;
    if first < last {
        if round.runs(image, plots.images()) {
            columns_end = plots.before(image + 1u32, of_columns);
        }
    }
    Reach { image, first, end: select(columns < columns_end, last, 0u32), columns, columns_end }
}

/// Where the rows of a unit are, and what a cost is in an exponent.
#[derive(CubeType)]
struct Spots<F: Real> {
    x: Array<F>,
    y: Array<F>,
    sharpness: F,
    ruler: Ruler<F>,
}

/// `sum_c exp(charge_c - C_rc / epsilon)` for a unit's lanes and its rows `r`, of which all have lane 0, then all lane 1.
#[derive(CubeType)]
struct Sums<F: Real> {
    largest: Array<F>,
    sums: Array<F>,
}

#[cube]
impl<F: Real> Sums<F> {
    /// Adds `exp(exponent) times`.
    fn grow(&mut self, at: usize, exponent: F, times: F) {
        let grown = extend::<F>(LogSum::<F> { largest: self.largest[at], sum: self.sums[at] }, exponent, times);
        self.largest[at] = grown.largest;
        self.sums[at] = grown.sum;
    }
}

/// Over every `units`-th column from `first` on, below `end`; the lanes of a row are joined into the first.
#[cube]
fn add_columns<F: Real>(
    sums: &mut Sums<F>,
    columns: &Array<Quad<F>>,
    first: u32,
    end: u32,
    spots: &Spots<F>,
    #[comptime] half: Half,
) {
    let own = comptime!((half.lanes / half.units) as usize);
    #[unroll]
    for at in 0..comptime!(half.sums()) {
        sums.largest[at] = F::new(NOTHING);
        sums.sums[at] = F::new(0.0);
    }
    let mut at = first;
    // Lanes and rows do not wait for each other: their loads and exponentials overlap.
    while at + comptime!(half.lanes - half.units) < end {
        #[unroll]
        for lane in 0..own {
            add_column::<F>(sums, lane, columns[(at + lane as u32 * half.units) as usize], spots, half);
        }
        at += half.lanes;
    }
    if comptime!(own > 1) {
        #[unroll]
        for lane in 0..own {
            if at + lane as u32 * half.units < end {
                add_column::<F>(sums, lane, columns[(at + lane as u32 * half.units) as usize], spots, half);
            }
        }
        fold::<F>(sums, comptime!(half.sums() / 2), half.rows);
    }
}

#[cube]
fn add_column<F: Real>(sums: &mut Sums<F>, lane: usize, column: Quad<F>, spots: &Spots<F>, #[comptime] half: Half) {
    let rows = comptime!(half.rows as usize);
    #[unroll]
    for k in 0..rows {
        let place = Point::<F> { x: spots.x[k], y: spots.y[k] };
        let cost = cost::<F>(&place, column[0], column[1], &spots.ruler, half.ground);
        sums.grow(lane * rows + k, column[2] - cost * spots.sharpness, F::new(1.0));
    }
}

/// Joins lanes pair by pair, in the order of the tree.
#[cube]
fn fold<F: Real>(sums: &mut Sums<F>, #[comptime] half: usize, #[comptime] rows: u32) {
    #[unroll]
    for at in 0..half {
        let (other, times) = (sums.largest[at + half], sums.sums[at + half]);
        sums.grow(at, other, times);
    }
    if comptime!(half > rows as usize) {
        fold::<F>(sums, comptime!(half / 2), rows);
    }
}
