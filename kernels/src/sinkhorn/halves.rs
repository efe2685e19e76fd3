//! The two halves of a round: every potential of one side, best against the other side's.
//!
//! Both are `p_r = epsilon (offset_r - ln sum_c exp(charge_c - C_rc / epsilon)) / (1 + epsilon damping)`. A side's charge is
//! what the other side needs of it: `share ln(mass) + (1 / epsilon - less) p`. Costs are recomputed from coordinate
//! differences; nothing of the size of the plan is stored.
//!
//! On a GPU a row's sum is kept in lanes, which are joined in a tree, and as many units share them as keep the device busy. Lanes and
//! tree are the same for any number of rows and units, so an image has the same bits alone and among others.

use cubecl::prelude::*;

use super::{
    Ground, NOTHING, Problem, State,
    sides::{LogSum, Round, Side, SideLaunch, extend, join},
    spread::{Spots, Spread, reach_of, spots_of},
};
use crate::{
    device::Device,
    grid::{Count, Counts},
    real::{Precision, Quad, Real, real},
};

/// Lanes per point and per cell: a sum runs over many cells, but sometimes over few points.
pub(super) const POINT_LANES: u32 = 256;
pub(super) const CELL_LANES: u32 = 32;
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
        let spread = Spread::shared(device, &self.mosaic, cells, if cells { CELL_LANES } else { POINT_LANES });
        let (cubes, dim) = spread.launch(device, &self.mosaic);
        let (columns, rows, side) = match cells {
            true => (&state.points, &state.cells, self.cells_side()),
            false => (&state.cells, &state.points, self.points_side()),
        };
        update::launch::<P::Real, R>(
            device.client(),
            cubes,
            dim,
            self.mosaic.counts(),
            self.round(state, rounds),
            columns.arg(),
            rows.arg(),
            side,
            self.rules.ground,
            spread,
            probe,
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

#[cube(launch)]
fn update<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    columns: &Array<Quad<F>>,
    rows: &mut Array<Quad<F>>,
    side: &Side<F>,
    #[comptime] ground: Ground,
    #[comptime] spread: Spread,
    #[comptime] probe: bool,
) {
    let (all, images) = (counts.total(comptime!(spread.of_rows())), counts.images());
    let reach = reach_of::<F>(counts, round, spread);
    let epsilon = round.epsilon(reach.image, images);
    let count = comptime!(spread.own_lanes() * spread.rows as usize);
    let mut sums = Sums::<F> { largest: Array::new(count), sums: Array::new(count) };
    let spots = spots_of::<F>(rows, &reach, round, images, spread);
    add_columns::<F>(&mut sums, columns, reach.columns + reach.unit, reach.columns_end, &spots, ground, spread);
    #[unroll]
    for k in 0..comptime!(spread.rows as usize) {
        let r = reach.first + k as u32;
        let total = join::<F>(LogSum::<F> { largest: sums.largest[k], sum: sums.sums[k] }, spread.units);
        if r < reach.end {
            if reach.unit == 0u32 {
                let mut near = rows[r as usize];
                let mut far = rows[(all + r) as usize];
                let potential = side.potential(total, far[1], epsilon);
                if comptime!(probe) {
                    far[2] = potential;
                    far[3] = select(total > F::new(NOTHING) / F::new(8.0), F::new(1.0), F::new(0.0));
                } else {
                    far[2] = far[0];
                    far[0] = potential;
                    near[2] = side.charge(potential, far[1], round.next_epsilon(reach.image, images));
                    rows[r as usize] = near;
                }
                rows[(all + r) as usize] = far;
            }
        }
    }
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
    #[comptime] ground: Ground,
    #[comptime] spread: Spread,
) {
    let own = comptime!(spread.own_lanes());
    #[unroll]
    for at in 0..comptime!(own * spread.rows as usize) {
        sums.largest[at] = F::new(NOTHING);
        sums.sums[at] = F::new(0.0);
    }
    let mut at = first;
    // Lanes and rows do not wait for each other: their loads and exponentials overlap.
    while at + comptime!(spread.lanes - spread.units) < end {
        #[unroll]
        for lane in 0..own {
            add_column::<F>(sums, lane, columns[(at + lane as u32 * spread.units) as usize], spots, ground, spread);
        }
        at += spread.lanes;
    }
    if comptime!(own > 1) {
        #[unroll]
        for lane in 0..own {
            if at + lane as u32 * spread.units < end {
                add_column::<F>(sums, lane, columns[(at + lane as u32 * spread.units) as usize], spots, ground, spread);
            }
        }
        fold::<F>(sums, comptime!(own * spread.rows as usize / 2), spread.rows);
    }
}

#[cube]
fn add_column<F: Real>(
    sums: &mut Sums<F>,
    lane: usize,
    column: Quad<F>,
    spots: &Spots<F>,
    #[comptime] ground: Ground,
    #[comptime] spread: Spread,
) {
    let rows = comptime!(spread.rows as usize);
    #[unroll]
    for k in 0..rows {
        sums.grow(lane * rows + k, spots.exponent(k, column, ground), F::new(1.0));
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
