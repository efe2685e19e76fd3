//! How far a solver still is from its optimum, and whether it goes on.

use cubecl::prelude::*;

use super::{
    NOTHING, Problem, State,
    rules::Criterion,
    sides::{BOUND, CUBE, ERROR, MADE, RESIDUAL, RUNS, Round, STAGES, Side, share_of, total_lanes},
    spread::per_image,
};
use crate::{
    device::{Device, Shape},
    grid::{Count, Counts},
    real::{Precision, Quad, Real, quad, real},
    totals::{add_totals, totals},
};

/// Largest exponent: its exponential, 2e17, times masses and epsilons up to 1e9 stays in `f32`.
const LARGEST: f32 = 40.0;

/// `exp(x)`, finite.
#[cube]
pub(super) fn bounded_exp<F: Real>(x: F) -> F {
    clamp(x, F::new(-1e18), F::new(LARGEST)).exp()
}

/// What a point receives, and what it should: `(P'1)_n` and `t_n exp(-g_n / rho)`, from the update that a probe noted.
#[cube]
pub(super) fn received<F: Real>(near: Quad<F>, far: Quad<F>, side: &Side<F>, epsilon: F) -> (F, F) {
    let due = near[3] * bounded_exp::<F>(-side.damping * far[0]);
    let change = (far[0] - far[2]) * (F::new(1.0) + epsilon * side.damping) / epsilon;
    // With a floor the potentials belong to the cells' last but one, against which they are the best.
    let ratio = select(side.floor > F::new(NOTHING), F::new(0.0), change);
    let floor = bounded_exp::<F>(far[0] / epsilon + side.floor);
    // Where there is no mass at all, none arrives.
    (far[3] * (due * bounded_exp::<F>(ratio) - floor), due)
}

impl<R: Runtime, P: Precision> Problem<R, P> {
    /// Writes every image's error and residual, and whether it goes on: one launch, except for the published criterion.
    pub(super) fn judge(&self, device: &Device<R, P>, state: &State<R, P::Real>, made: usize) {
        let lanes = if device.shape() == Shape::Tiled { CUBE } else { 1 };
        let of_cells = match self.rules.criterion() {
            Criterion::Squares => self.squares(device, state, made),
            // Of them it is only looked at whether there is any mass.
            _ => state.sums.clone(),
        };
        let (cubes, dim) = per_image(device, self.mosaic.images().len(), lanes);
        decide::launch::<P::Real, R>(
            device.client(),
            cubes,
            dim,
            self.mosaic.counts(),
            self.round(state, [made, made]),
            state.points.arg(),
            of_cells.arg(),
            VerdictLaunch::new(
                self.points_side(),
                real(made as f64),
                real((made + state.skipped) as f64),
                real(self.stop.limit as f64),
                real(self.stop.tolerance),
            ),
            self.rules.criterion(),
            lanes,
        );
    }

    fn squares(
        &self,
        device: &Device<R, P>,
        state: &State<R, P::Real>,
        made: usize,
    ) -> crate::buffer::Buffer<R, P::Real> {
        let cells = self.mosaic.total(Count::Cells);
        let errors = device.uninit(4 * cells);
        let (cubes, dim) = device.per_unit(cells);
        cell_squares::launch::<P::Real, R>(
            device.client(),
            cubes,
            dim,
            self.mosaic.counts(),
            self.round(state, [made, made]),
            state.cells.arg(),
            errors.arg(),
            self.cells_side(),
        );
        totals(device, &self.mosaic, &errors, Count::Cells)
    }
}

/// `(b_i - (P1)_i)²` of the cells' last potentials but one against the points' last, as published code measures it.
#[cube(launch)]
fn cell_squares<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    cells: &Array<Quad<F>>,
    errors: &mut Array<Quad<F>>,
    side: &Side<F>,
) {
    let i = ABSOLUTE_POS as u32;
    let all = counts.total(Count::Cells);
    if i < all {
        let epsilon = round.epsilon(counts.holding(i, Count::Cells), counts.images());
        let (mass, far) = (cells[i as usize][3], cells[(all + i) as usize]);
        let (before, after) = (far[2], far[0]);
        let mut error = Quad::<F>::new(F::new(0.0));
        if mass > F::new(0.0) {
            let floor = bounded_exp::<F>(before / epsilon + side.floor);
            let off = mass - (mass * bounded_exp::<F>((before - after) / epsilon) - floor);
            error[0] = off * off;
        }
        errors[i as usize] = error;
    }
}

#[derive(CubeType, CubeLaunch)]
struct Verdict<F: Real> {
    /// Of the points.
    side: Side<F>,
    made: F,
    /// The same with stages that were left out.
    behind: F,
    limit: F,
    tolerance: F,
}

#[cube(launch)]
fn decide<F: Real>(
    counts: &Counts,
    round: &mut Round<F>,
    points: &Array<Quad<F>>,
    of_cells: &Array<Quad<F>>,
    verdict: &Verdict<F>,
    #[comptime] criterion: Criterion,
    #[comptime] lanes: u32,
) {
    let share = share_of::<F>(counts, round, lanes);
    let (image, images, all) = (share.image, counts.images(), counts.total(Count::Gaussians));
    let epsilon = round.epsilon(image, images);
    // Distance from what points should receive, the latter, and how far one would move.
    let mut errors = Quad::<F>::new(F::new(0.0));
    let mut n = share.first;
    while n < share.end {
        let far = points[(all + n) as usize];
        let (mass, due) = received::<F>(points[n as usize], far, &verdict.side, epsilon);
        errors = add_totals::<F>(errors, quad::<F>((mass - due).abs(), due, F::new(0.0), (far[2] - far[0]).abs()));
        n += lanes;
    }
    let errors = total_lanes::<F>(errors, lanes);
    if share.runs {
        if share.lane == 0u32 {
            let mut residual = F::new(0.0);
            if errors[1] > F::new(0.0) {
                residual = errors[0] / errors[1];
            }
            let error = match comptime!(criterion) {
                Criterion::Residual => residual,
                Criterion::Squares => of_cells[image as usize][0],
                Criterion::Contraction => {
                    let bound = round.constant(image, images, BOUND);
                    // Where no factor is known, what is seen counts.
                    select(bound < F::new(0.0), residual, bound * errors[3])
                }
            };
            let ends = error <= verdict.tolerance || verdict.made >= verdict.limit;
            let mut stops = ends && verdict.behind >= round.constant(image, images, STAGES);
            // No round brings mass where there is none.
            if comptime!(criterion != Criterion::Squares) {
                stops = stops || of_cells[image as usize][0] <= F::new(0.0);
            }
            round.note(image, images, RUNS, select(stops, F::new(0.0), F::new(1.0)));
            round.note(image, images, MADE, verdict.made);
            round.note(image, images, ERROR, error);
            round.note(image, images, RESIDUAL, residual);
        }
    }
}
