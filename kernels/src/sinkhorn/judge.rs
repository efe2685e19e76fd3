//! How far a solver still is from its optimum, and whether it goes on.

use cubecl::prelude::*;

use super::{NOTHING, Problem, State, rules::Criterion, sides, sides::Round, sides::Side};
use crate::{
    device::Device,
    grid::{Count, Plots},
    real::{Precision, Quad, Real, real},
    totals::totals,
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
    /// Writes every image's error and residual, and whether it goes on.
    pub(super) fn judge(&self, device: &Device<R, P>, state: &State<R, P::Real>, made: usize) {
        let points = self.mosaic.total(Count::Gaussians);
        let errors = device.uninit(4 * points);
        if points > 0 {
            let (cubes, dim) = device.per_unit(points);
            point_errors::launch::<P::Real, R>(
                device.client(),
                cubes,
                dim,
                self.mosaic.arg(),
                self.round(state, [made, made]),
                state.points.arg(),
                errors.arg(),
                self.points_side(),
            );
        }
        let of_points = totals(device, &self.mosaic, &errors, Count::Gaussians);
        let of_cells = match self.rules.criterion() {
            Criterion::Squares => self.squares(device, state, made),
            _ => of_points.clone(),
        };
        let images = self.mosaic.images().len();
        let (cubes, dim) = device.per_unit(images);
        decide::launch::<P::Real, R>(
            device.client(),
            cubes,
            dim,
            self.table.arg(),
            of_points.arg(),
            of_cells.arg(),
            state.status.arg(),
            VerdictLaunch::new(
                images as u32,
                self.stages as u32,
                real(made as f64),
                real(self.stop.limit as f64),
                real(self.stop.tolerance),
            ),
            self.rules.criterion(),
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
            self.mosaic.arg(),
            self.round(state, [made, made]),
            state.cells.arg(),
            errors.arg(),
            self.cells_side(),
        );
        totals(device, &self.mosaic, &errors, Count::Cells)
    }
}

/// Per point: distance from what it should receive, the latter, what it receives, and how far it would move.
#[cube(launch)]
fn point_errors<F: Real>(
    plots: &Plots<F>,
    round: &Round<F>,
    points: &Array<Quad<F>>,
    errors: &mut Array<Quad<F>>,
    side: &Side<F>,
) {
    let n = ABSOLUTE_POS as u32;
    let all = plots.total(Count::Gaussians);
    if n < all {
        let epsilon = round.epsilon(plots.holding(n, Count::Gaussians), plots.images());
        let far = points[(all + n) as usize];
        let (mass, due) = received::<F>(points[n as usize], far, side, epsilon);
        let mut error = Quad::<F>::new(F::new(0.0));
        error[0] = (mass - due).abs();
        error[1] = due;
        error[2] = mass;
        error[3] = (far[2] - far[0]).abs();
        errors[n as usize] = error;
    }
}

/// `(b_i - (P1)_i)²` of the cells' last potentials but one against the points' last, as published code measures it.
#[cube(launch)]
fn cell_squares<F: Real>(
    plots: &Plots<F>,
    round: &Round<F>,
    cells: &Array<F>,
    errors: &mut Array<Quad<F>>,
    side: &Side<F>,
) {
    let i = ABSOLUTE_POS as u32;
    let all = plots.total(Count::Cells);
    if i < all {
        let epsilon = round.epsilon(plots.holding(i, Count::Cells), plots.images());
        let mass = cells[(4u32 * all + i) as usize];
        let (before, after) = (cells[(3u32 * all + i) as usize], cells[(all + i) as usize]);
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
    images: u32,
    constants: u32,
    made: F,
    limit: F,
    tolerance: F,
}

#[cube(launch)]
fn decide<F: Real>(
    table: &Array<F>,
    of_points: &Array<Quad<F>>,
    of_cells: &Array<Quad<F>>,
    status: &mut Array<Quad<F>>,
    verdict: &Verdict<F>,
    #[comptime] criterion: Criterion,
) {
    let image = ABSOLUTE_POS as u32;
    if image < verdict.images {
        let mut now = status[image as usize];
        if now[0] > F::new(0.5) {
            let errors = of_points[image as usize];
            let mut residual = F::new(0.0);
            if errors[1] > F::new(0.0) {
                residual = errors[0] / errors[1];
            }
            let error = match comptime!(criterion) {
                Criterion::Residual => residual,
                Criterion::Squares => of_cells[image as usize][0],
                Criterion::Contraction => {
                    let bound = table[((verdict.constants + sides::BOUND) * verdict.images + image) as usize];
                    // Where no factor is known, what is seen counts.
                    select(bound < F::new(0.0), residual, bound * errors[3])
                }
            };
            let stages = table[((verdict.constants + sides::STAGES) * verdict.images + image) as usize];
            let ends = error <= verdict.tolerance || verdict.made >= verdict.limit;
            now[0] = select(ends && verdict.made >= stages, F::new(0.0), F::new(1.0));
            now[1] = verdict.made;
            now[2] = error;
            now[3] = residual;
            status[image as usize] = now;
        }
    }
}
