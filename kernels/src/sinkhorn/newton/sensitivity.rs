//! How the cost of a plan, `<C, P>` without the entropy, changes with the density.
//!
//! A plan has rows `P_in = p_i k_in` with `sum_n k_in = 1`, mean costs `c_i = sum_n k_in C_in`, and the marginals
//! `p_i = a_i exp(-f_i / rho_a)` and `m_n = t_n exp(-g_n / rho_t)`; `1 / rho` is 0 where a marginal is exact. Where the points'
//! potentials move by `dg`, the cells' follow by `-s sum_n k_in dg_n` in what their entries become, with
//! `s = 1 / (1 + epsilon / rho_a)` in the joint form and `s = 1 - epsilon / rho_a` in the conditional one. Both marginals then stay
//! what they have to be for `H dg = -epsilon sum_i P_in d ln a_i`, `H = (1 + epsilon / rho_t) diag(m) - s P' diag(1 / p) P`,
//! and with `H w = b`, `b_n = sum_i P_in (C_in - s c_i)`, the derivative by the mass `a_i` is
//! `exp(-f_i / rho_a) (c_i - sum_n k_in w_n)`: one system, for which Newton's conjugate gradients go on until little is left. It is
//! divided by `1 + epsilon / rho_t`, so that prices far below epsilon leave it in range.

use cubecl::prelude::*;

use super::{
    products::{ENOUGH, average, multiply},
    steps::{preconditioned, turn},
};
use crate::{
    Error, Result,
    buffer::Buffer,
    device::{Device, Shape},
    gaussian::Point,
    grid::{Count, Counts},
    real::{HostReal, Precision, Quad, Real, quad, real},
    sinkhorn::{
        Ground, Problem, Solution,
        halves::CELL_LANES,
        judge::bounded_exp,
        rules::Form,
        sides::{CUBE, Round, RoundLaunch, SCALE, STATUS, Side, cost},
        spread::{Spread, per_image},
    },
    totals::totals,
};

/// What of the system's residual may be left: `f32` solves it little better.
const LEFT: f64 = 1e-4;
/// Conjugate gradients between two read-backs, and at most. In exact arithmetic as many as points do; the number does not depend on
/// the batch, so that an image that never comes to an end has its own bits too.
const BUNCH: usize = 20;
const MOST: usize = 500;

/// Derivative of the cost of every image's plan.
#[derive(Debug)]
pub struct CostGradient<R: Runtime, F: Real> {
    /// By the density, `[cells]`.
    pub gradient: Buffer<R, F>,
    /// What is left of the residual of every image's system, as a share: at most 1e-4, or rounding,
    /// where conjugate gradients came to an end, which they must within 500.
    pub missed: Vec<f64>,
}

impl<R: Runtime, P: Precision> Problem<R, P> {
    /// Derivative of every image's `<C, P>` by its density, the plan's own change included; 0 in images without points and, where the
    /// density is divided by its mass, without any. As exact as the solution: the plan's marginals are taken to be what they should be.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for potentials that are not the best for each other, as those of published rounds; [`Error::Count`] for
    /// more points than a unit can go through three times; [`Error::Device`].
    pub fn cost_gradient(
        &self,
        device: &Device<R, P>,
        solution: &Solution<R, P::Real>,
    ) -> Result<CostGradient<R, P::Real>> {
        let best = match self.rules.form {
            Form::Floored { .. } => false,
            Form::Shannon => self.rules.is_balanced(),
            Form::Joint(_) | Form::Conditional => !solution.published,
        };
        if !best {
            return Err(Error::Unsupported { what: "derivatives of the cost of published rounds" });
        }
        let most = self.images().iter().map(|image| image.1).max().unwrap_or(0);
        device.check_rounds("points of an image, three times over", 3 * most as u32)?;
        let (client, ground, state) = (device.client(), self.rules.ground, &solution.state);
        let [cells, points] = [Count::Cells, Count::Gaussians].map(|count| self.mosaic.total(count));
        // In this table no image has stopped.
        let last = STATUS + self.stages as u32 - 1;
        let round = || RoundLaunch::new(self.table.arg(), last, last, last + 1);
        let (counts, per_cell) = (|| self.mosaic.counts(), device.per_unit(cells));
        let uninit = |len| device.uninit::<P::Real>(len);
        let (means, vectors, masses) = (uninit(cells), uninit(4 * points), uninit(points));
        let rows = device.room::<P::Real>("rows of a plan", 8 * cells)?;
        let squares = uninit(4 * points);
        mean_costs::launch::<P::Real, R>(
            client,
            per_cell.0.clone(),
            per_cell.1,
            counts(),
            round(),
            state.cells.arg(),
            state.points.arg(),
            rows.arg(),
            means.arg(),
            self.cells_side(),
            real(self.rules.of_cells.softness()),
            real(self.rules.of_points.softness()),
            ground,
        );
        if points > 0 {
            let (cubes, dim) = device.per_unit(points);
            aim_at_costs::launch::<P::Real, R>(
                client,
                cubes,
                dim,
                counts(),
                round(),
                rows.arg(),
                state.points.arg(),
                means.arg(),
                vectors.arg(),
                masses.arg(),
                squares.arg(),
                self.points_side(),
                real(LEFT * LEFT / f64::from(ENOUGH)),
                real(16.0 * P::Real::EPSILON.cast_to_f64() / f64::from(ENOUGH).sqrt()),
                ground,
            );
        }
        let squares = totals(device, &self.mosaic, &squares, Count::Gaussians);
        let lanes = if device.shape() == Shape::Tiled { CUBE } else { 1 };
        let (images, image_dim) = per_image(device, self.images().len(), lanes);
        let [of_cells, of_points] =
            [(true, CELL_LANES), (false, CUBE)].map(|(cells, lanes)| Spread::own(device, &self.mosaic, cells, lanes));
        let [by_cell, by_point] = [of_cells, of_points].map(|spread| spread.launch(device, &self.mosaic));
        let averages = uninit(cells);
        let mut left = MOST;
        let numbers = loop {
            let numbers: Vec<f64> = squares.read()?.into_iter().map(HostReal::cast_to_f64).collect();
            let goes = |square: &[f64]| square[0] > f64::from(ENOUGH) * square[1];
            if left == 0 || !numbers.chunks_exact(4).any(goes) {
                break numbers;
            }
            for _ in 0..BUNCH {
                average::launch::<P::Real, R>(
                    client,
                    by_cell.0.clone(),
                    by_cell.1,
                    counts(),
                    round(),
                    rows.arg(),
                    state.points.arg(),
                    vectors.arg(),
                    squares.arg(),
                    averages.arg(),
                    ground,
                    of_cells,
                    true,
                );
                multiply::launch::<P::Real, R>(
                    client,
                    by_point.0.clone(),
                    by_point.1,
                    counts(),
                    round(),
                    rows.arg(),
                    state.points.arg(),
                    averages.arg(),
                    masses.arg(),
                    squares.arg(),
                    vectors.arg(),
                    ground,
                    of_points,
                );
                turn::launch::<P::Real, R>(
                    client,
                    images.clone(),
                    image_dim,
                    counts(),
                    round(),
                    state.points.arg(),
                    masses.arg(),
                    vectors.arg(),
                    squares.arg(),
                    lanes,
                );
            }
            left -= BUNCH;
        };
        let parts = uninit(4 * cells);
        cost_slopes::launch::<P::Real, R>(
            client,
            per_cell.0.clone(),
            per_cell.1,
            counts(),
            round(),
            rows.arg(),
            state.points.arg(),
            vectors.arg(),
            means.arg(),
            parts.arg(),
            ground,
        );
        let sums = totals(device, &self.mosaic, &parts, Count::Cells);
        let gradient = uninit(cells);
        by_density::launch::<P::Real, R>(
            client,
            per_cell.0,
            per_cell.1,
            counts(),
            parts.arg(),
            sums.arg(),
            state.sums.arg(),
            gradient.arg(),
            self.rules.normalise.is_some(),
        );
        let share = |square: &[f64]| match square[2] > 0.0 {
            true => (square[0] / square[2]).sqrt(),
            false => 0.0,
        };
        Ok(CostGradient { gradient, missed: numbers.chunks_exact(4).map(share).collect() })
    }
}

/// A cost, and the share of its row that goes there; `charges` are those of both sides.
#[cube]
fn entry<F: Real>(
    cell: Quad<F>,
    point: Quad<F>,
    charges: F,
    image: u32,
    images: u32,
    round: &Round<F>,
    #[comptime] ground: Ground,
) -> (F, F) {
    let centre = Point::<F> { x: cell[0], y: cell[1] };
    let scale = round.constant(image, images, SCALE);
    let distance = scale * cost::<F>(&centre, point[0], point[1], &round.ruler(image, images), ground);
    (distance, min(charges - distance / round.epsilon(image, images), F::new(0.0)).exp())
}

/// The mean cost of what every cell gives away, and its row of the plan, `[2 cells, 4]`: (x, y, charge of its shares, mass times `s`)
/// of all, then (epsilon times that charge, mass, mass by the cell's own, `s`) of all, with `s` of the divided system.
#[cube(launch)]
fn mean_costs<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    cells: &Array<Quad<F>>,
    points: &Array<Quad<F>>,
    rows: &mut Array<Quad<F>>,
    means: &mut Array<F>,
    side: &Side<F>,
    softness: F,
    of_points: F,
    #[comptime] ground: Ground,
) {
    let i = ABSOLUTE_POS as u32;
    let all = counts.total(Count::Cells);
    if i < all {
        let (image, images) = (counts.holding(i, Count::Cells), counts.images());
        let (epsilon, one, zero) = (round.epsilon(image, images), F::new(1.0), F::new(0.0));
        let (cell, potential) = (cells[i as usize], cells[(all + i) as usize][0]);
        let whole = (one + epsilon * side.damping) * potential;
        let own = whole / epsilon;
        let mut mean = zero;
        for n in counts.before(image, Count::Gaussians)..counts.before(image + 1u32, Count::Gaussians) {
            let point = points[n as usize];
            let (distance, share) = entry::<F>(cell, point, point[2] + own, image, images, round, ground);
            mean += share * distance;
        }
        means[i as usize] = mean;
        let kept = (one - epsilon * side.less) / (one + epsilon * side.damping) / (one + epsilon * of_points);
        let by_own = bounded_exp::<F>(-softness * potential);
        let mass = cell[3] * by_own;
        rows[i as usize] = quad::<F>(cell[0], cell[1], own, kept * mass);
        rows[(all + i) as usize] = quad::<F>(whole, mass, by_own, kept);
    }
}

/// The right side of every point's equation as residual and first direction; its square, what may be left of that, and it again. Below
/// the rounding of what it is the sum of, 32 roundoffs, nothing is to be solved: with one point it is all there is.
#[cube(launch)]
fn aim_at_costs<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    rows: &Array<Quad<F>>,
    points: &Array<Quad<F>>,
    means: &Array<F>,
    vectors: &mut Array<Quad<F>>,
    masses: &mut Array<F>,
    squares: &mut Array<Quad<F>>,
    side: &Side<F>,
    left: F,
    noise: F,
    #[comptime] ground: Ground,
) {
    let n = ABSOLUTE_POS as u32;
    if n < counts.total(Count::Gaussians) {
        let (image, images) = (counts.holding(n, Count::Gaussians), counts.images());
        let (point, all) = (points[n as usize], counts.total(Count::Cells));
        let held = F::new(1.0) + round.epsilon(image, images) * side.damping;
        let mut mass = F::new(0.0);
        let mut above = F::new(0.0);
        let mut size = F::new(0.0);
        for i in counts.before(image, Count::Cells)..counts.before(image + 1u32, Count::Cells) {
            let (row, more) = (rows[i as usize], rows[(all + i) as usize]);
            let (distance, share) = entry::<F>(row, point, row[2] + point[2], image, images, round, ground);
            let moved = more[1] * share;
            mass += moved;
            above += moved * (distance / held - more[3] * means[i as usize]);
            size += moved * distance / held;
        }
        let (first, zero) = (preconditioned::<F>(above, mass, point[3]), F::new(0.0));
        vectors[n as usize] = quad::<F>(zero, above, first, zero);
        masses[n as usize] = mass;
        let rounded = noise * size;
        let floor = rounded * preconditioned::<F>(rounded, mass, point[3]);
        squares[n as usize] = quad::<F>(above * first, above * first * left + floor, above * first, zero);
    }
}

/// The slope by every cell's mass, and first its product with the mass.
#[cube(launch)]
fn cost_slopes<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    rows: &Array<Quad<F>>,
    points: &Array<Quad<F>>,
    vectors: &Array<Quad<F>>,
    means: &Array<F>,
    parts: &mut Array<Quad<F>>,
    #[comptime] ground: Ground,
) {
    let i = ABSOLUTE_POS as u32;
    let all = counts.total(Count::Cells);
    if i < all {
        let (image, images) = (counts.holding(i, Count::Cells), counts.images());
        let (row, more) = (rows[i as usize], rows[(all + i) as usize]);
        let mut slope = means[i as usize];
        for n in counts.before(image, Count::Gaussians)..counts.before(image + 1u32, Count::Gaussians) {
            let point = points[n as usize];
            let (_distance, share) = entry::<F>(row, point, row[2] + point[2], image, images, round, ground);
            slope -= share * vectors[n as usize][0];
        }
        let zero = F::new(0.0);
        parts[i as usize] = quad::<F>(more[1] * slope, more[2] * slope, zero, zero);
    }
}

/// From the slopes by masses to those by the density.
#[cube(launch)]
fn by_density<F: Real>(
    counts: &Counts,
    parts: &Array<Quad<F>>,
    sums: &Array<Quad<F>>,
    masses: &Array<Quad<F>>,
    gradient: &mut Array<F>,
    #[comptime] normalised: bool,
) {
    let i = ABSOLUTE_POS as u32;
    if i < counts.total(Count::Cells) {
        let image = counts.holding(i, Count::Cells);
        let mut slope = F::new(0.0);
        if counts.before(image, Count::Gaussians) < counts.before(image + 1u32, Count::Gaussians) {
            slope = parts[i as usize][1];
            if comptime!(normalised) {
                let total = masses[image as usize][0];
                // As for the losses: what is less counts as none.
                let some = total > F::new(1e-20);
                slope = select(some, (slope - sums[image as usize][0]) / select(some, total, F::new(1.0)), F::new(0.0));
            }
        }
        gradient[i as usize] = slope;
    }
}
