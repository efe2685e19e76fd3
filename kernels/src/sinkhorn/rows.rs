//! The plan on demand, as sparse rows: one unit per cell, which first adds up its row, then keeps what counts.

use cubecl::prelude::*;

use super::{
    Ground, Problem, Solution,
    judge::bounded_exp,
    sides::{Round, Ruler, SCALE, cost},
};
use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    gaussian::Point,
    grid::{Count, Counts},
    real::{Precision, Quad, Real, real},
    scan,
};

/// A plan as sparse rows; rows are the cells of all images.
#[derive(Debug)]
pub struct PlanRows<R: Runtime, F: Real> {
    /// Entries of row `i`: `row_starts[i] .. row_starts[i + 1]`, `[cells + 1]`.
    pub row_starts: Buffer<R, u32>,
    /// Point of each entry, numbered within its image, ascending within a row.
    pub columns: Buffer<R, u32>,
    /// Mass of each entry.
    pub masses: Buffer<R, F>,
    /// Mass of each row, entries that are left out included, `[cells]`.
    pub totals: Buffer<R, F>,
}

/// Potentials as the plan is made of.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Rows<F: Real> {
    pub points: Array<Quad<F>>,
    cells: Array<Quad<F>>,
    less: F,
    /// 0 where the points' last potentials answered the cells' last but one.
    share: F,
}

/// A cell's part in its entries.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Row<F: Real> {
    centre: Point<F>,
    mass: F,
    exponent: F,
    sharpness: F,
    ruler: Ruler<F>,
}

#[cube]
impl<F: Real> Rows<F> {
    pub fn row(&self, counts: &Counts, round: &Round<F>, i: u32) -> Row<F> {
        let all = counts.total(Count::Cells);
        let image = counts.holding(i, Count::Cells);
        let epsilon = round.epsilon(image, counts.images());
        let (near, far) = (self.cells[i as usize], self.cells[(all + i) as usize]);
        let potential = select(self.share > F::new(0.5), far[0], far[2]);
        let mass = near[3];
        Row::<F> {
            centre: Point::<F> { x: near[0], y: near[1] },
            // An empty cell has a row of zeros in every form.
            mass: select(
                mass > F::new(0.0),
                select(self.share > F::new(0.5), mass * bounded_exp::<F>(-self.less * potential), F::new(1.0)),
                F::new(0.0),
            ),
            exponent: potential / epsilon,
            sharpness: round.constant(image, counts.images(), SCALE) / epsilon,
            ruler: round.ruler(image, counts.images()),
        }
    }
}

/// Mass that the plan carries from a row to a point, and the cost per unit, not scaled.
#[cube]
pub(super) fn share_of_plan<F: Real>(row: &Row<F>, near: Quad<F>, #[comptime] ground: Ground) -> (F, F) {
    let distance = cost::<F>(&row.centre, near[0], near[1], &row.ruler, ground);
    (row.mass * bounded_exp::<F>(near[2] + row.exponent - distance * row.sharpness), distance)
}

impl<R: Runtime, P: Precision> Problem<R, P> {
    pub(super) fn rows(&self, solution: &Solution<R, P::Real>) -> RowsLaunch<P::Real, R> {
        let share = if self.rules.offsets_cells() { 0.0 } else { 1.0 };
        let state = &solution.state;
        let less = self.rules.cell_softness().1;
        RowsLaunch::new(state.points.arg(), state.cells.arg(), real(less), real(share))
    }

    /// The plan without entries below `tau / points` of their row's mass: a row loses at most `tau` of its mass.
    ///
    /// # Errors
    /// [`crate::Error::Count`], [`crate::Error::TooLarge`], [`crate::Error::NoRoom`], [`crate::Error::Device`].
    pub fn plan(
        &self,
        device: &Device<R, P>,
        solution: &Solution<R, P::Real>,
        tau: f64,
    ) -> Result<PlanRows<R, P::Real>> {
        let most = self.images().iter().map(|(_, points)| *points).max().unwrap_or(0);
        device.check_rounds("points of an image, twice over", 2 * most as u32)?;
        let cells = self.mosaic.total(Count::Cells);
        let (lengths, totals) = (device.uninit(cells), device.uninit::<P::Real>(cells));
        let round = || self.round(&solution.state, [self.stages; 2]);
        let (cubes, dim) = device.per_unit(cells);
        count_entries::launch::<P::Real, R>(
            device.client(),
            cubes,
            dim,
            self.mosaic.counts(),
            round(),
            self.rows(solution),
            lengths.arg(),
            totals.arg(),
            real(tau),
            self.rules.ground,
        );
        let starts = scan::starts(device, &lengths);
        let entries = starts.total("plan")?;
        let (columns, masses) = (device.room("plan", entries)?, device.room("plan", entries)?);
        let (cubes, dim) = device.per_unit(cells);
        fill_entries::launch::<P::Real, R>(
            device.client(),
            cubes,
            dim,
            self.mosaic.counts(),
            round(),
            self.rows(solution),
            starts.starts.arg(),
            totals.arg(),
            columns.arg(),
            masses.arg(),
            real(tau),
            self.rules.ground,
        );
        Ok(PlanRows { row_starts: starts.starts, columns, masses, totals })
    }
}

/// The least mass of an entry of a row.
#[cube]
fn least_entry<F: Real>(total: F, tau: F, points: u32) -> F {
    tau * total / F::cast_from(u32::max(points, 1u32))
}

#[cube(launch)]
fn count_entries<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    rows: &Rows<F>,
    lengths: &mut Array<u32>,
    totals: &mut Array<F>,
    tau: F,
    #[comptime] ground: Ground,
) {
    let i = ABSOLUTE_POS as u32;
    if i < counts.total(Count::Cells) {
        let image = counts.holding(i, Count::Cells);
        let (first, end) = (counts.before(image, Count::Gaussians), counts.before(image + 1u32, Count::Gaussians));
        let row = rows.row(counts, round, i);
        let mut total = F::new(0.0);
        for n in first..end {
            let (moved, _distance) = share_of_plan::<F>(&row, rows.points[n as usize], ground);
            total += moved;
        }
        let cut = least_entry::<F>(total, tau, end - first);
        let mut count = 0u32;
        for n in first..end {
            let (moved, _distance) = share_of_plan::<F>(&row, rows.points[n as usize], ground);
            if moved > F::new(0.0) && moved >= cut {
                count += 1u32;
            }
        }
        lengths[i as usize] = count;
        totals[i as usize] = total;
    }
}

#[cube(launch)]
fn fill_entries<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    rows: &Rows<F>,
    starts: &Array<u32>,
    totals: &Array<F>,
    columns: &mut Array<u32>,
    masses: &mut Array<F>,
    tau: F,
    #[comptime] ground: Ground,
) {
    let i = ABSOLUTE_POS as u32;
    if i < counts.total(Count::Cells) {
        let image = counts.holding(i, Count::Cells);
        let (first, last) = (counts.before(image, Count::Gaussians), counts.before(image + 1u32, Count::Gaussians));
        let row = rows.row(counts, round, i);
        let cut = least_entry::<F>(totals[i as usize], tau, last - first);
        let mut at = starts[i as usize];
        let end = starts[i as usize + 1];
        for n in first..last {
            let (moved, _distance) = share_of_plan::<F>(&row, rows.points[n as usize], ground);
            if moved > F::new(0.0) && moved >= cut {
                // The compiler may round a little differently here than in the count.
                if at < end {
                    columns[at as usize] = n - first;
                    masses[at as usize] = moved;
                    at += 1u32;
                }
            }
        }
        // Entries that were counted and are not there weigh nothing.
        while at < end {
            columns[at as usize] = 0u32;
            masses[at as usize] = F::new(0.0);
            at += 1u32;
        }
    }
}
