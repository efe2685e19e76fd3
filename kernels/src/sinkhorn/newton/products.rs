//! The Hessian times a direction: a pass over the cells, then one over the points.

use cubecl::prelude::*;

use crate::{
    gaussian::Point,
    grid::{Count, Plots},
    real::{Quad, Real},
    sinkhorn::{
        Ground,
        sides::{Round, SCALE, cost, sum_lanes},
    },
};

/// Conjugate gradients end where the preconditioned residual has fallen by this, squared.
const ENOUGH: f32 = 0.01;

/// Whether an image's residual has not fallen far enough yet.
#[cube]
pub(super) fn goes_on<F: Real>(squares: Quad<F>) -> bool {
    squares[0] > F::new(ENOUGH) * squares[1]
}

/// What of a mass of 1 at most goes to a point: never more than 1, whatever an extreme epsilon makes of rounding.
#[cube]
fn portion<F: Real>(exponent: F) -> F {
    min(exponent, F::new(0.0)).exp()
}

/// The mean of the direction over the points that a cell's mass goes to.
#[cube(launch)]
pub(super) fn average<F: Real>(
    plots: &Plots<F>,
    round: &Round<F>,
    cells: &Array<Quad<F>>,
    points: &Array<Quad<F>>,
    vectors: &Array<Quad<F>>,
    squares: &Array<Quad<F>>,
    means: &mut Array<F>,
    #[comptime] ground: Ground,
) {
    let i = ABSOLUTE_POS as u32;
    let all = plots.total(Count::Cells);
    if i < all {
        let image = plots.holding(i, Count::Cells);
        if round.runs(image, plots.images()) && goes_on::<F>(squares[image as usize]) {
            let epsilon = round.epsilon(image, plots.images());
            let sharpness = round.constant(image, plots.images(), SCALE) / epsilon;
            let ruler = round.ruler(image, plots.images());
            let cell = cells[i as usize];
            let centre = Point::<F> { x: cell[0], y: cell[1] };
            let potential = cells[(all + i) as usize][0] / epsilon;
            let mut sum = F::new(0.0);
            for n in plots.before(image, Count::Gaussians)..plots.before(image + 1u32, Count::Gaussians) {
                let near = points[n as usize];
                let distance = cost::<F>(&centre, near[0], near[1], &ruler, ground);
                sum += portion::<F>(near[2] + potential - distance * sharpness) * vectors[n as usize][2];
            }
            means[i as usize] = sum;
        }
    }
}

/// `m_n p_n - sum_i P_in u_i`, with the cells' means `u`.
#[cube(launch)]
pub(super) fn multiply<F: Real>(
    plots: &Plots<F>,
    round: &Round<F>,
    cells: &Array<Quad<F>>,
    points: &Array<Quad<F>>,
    means: &Array<F>,
    masses: &Array<F>,
    squares: &Array<Quad<F>>,
    vectors: &mut Array<Quad<F>>,
    #[comptime] ground: Ground,
    #[comptime] lanes: u32,
) {
    let (n, lane) = (ABSOLUTE_POS as u32 / lanes, ABSOLUTE_POS as u32 % lanes);
    let images = plots.images();
    let mut image = 0u32.runtime();
    let mut runs = false.runtime();
    if n < plots.total(Count::Gaussians) {
        image = plots.holding(n, Count::Gaussians);
        runs = round.runs(image, plots.images()) && goes_on::<F>(squares[image as usize]);
    }
    let mut sum = F::new(0.0);
    if runs {
        let sharpness = round.constant(image, images, SCALE) / round.epsilon(image, images);
        let ruler = round.ruler(image, images);
        let near = points[n as usize];
        let place = Point::<F> { x: near[0], y: near[1] };
        let mut i = plots.before(image, Count::Cells) + lane;
        while i < plots.before(image + 1u32, Count::Cells) {
            let cell = cells[i as usize];
            let distance = cost::<F>(&place, cell[0], cell[1], &ruler, ground);
            sum += portion::<F>(near[2] + cell[2] - distance * sharpness) * means[i as usize];
            i += lanes;
        }
    }
    let sum = sum_lanes::<F>(sum, lanes);
    if runs {
        if lane == 0u32 {
            let mut vector = vectors[n as usize];
            vector[3] = masses[n as usize] * vector[2] - sum;
            vectors[n as usize] = vector;
        }
    }
}
