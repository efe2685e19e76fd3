//! What potentials come to: value, slope by every cell's mass, mass that the points receive.

use cubecl::prelude::*;

use super::{
    Form, LEAST_SHARE, Problem, Solution,
    judge::{bounded_exp, received},
    sides::{RATIO, Round, Side},
};
use crate::{
    buffer::Buffer,
    device::Device,
    grid::{Count, Counts},
    real::{Precision, Quad, Real, real},
    totals::totals,
};

/// A solution's numbers, on the device.
#[derive(Debug)]
pub struct Outcome<R: Runtime, F: Real> {
    /// The dual objective of every image, `[images]`.
    pub values: Buffer<R, F>,
    /// Its derivative by every cell's mass, with the potentials held, `[cells]`.
    pub slope: Buffer<R, F>,
    /// Mass that every point receives, `[points]`.
    pub received: Buffer<R, F>,
}

/// How slopes and values follow from potentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Joint,
    Conditional,
    Shannon,
    Floored,
}

impl Form {
    fn kind(self) -> Kind {
        match self {
            Self::Joint(_) => Kind::Joint,
            Self::Conditional => Kind::Conditional,
            Self::Shannon => Kind::Shannon,
            Self::Floored { .. } => Kind::Floored,
        }
    }
}

impl<R: Runtime, P: Precision> Problem<R, P> {
    /// Value, slope and received mass.
    pub fn outcome(&self, device: &Device<R, P>, solution: &Solution<R, P::Real>) -> Outcome<R, P::Real> {
        let (client, kind) = (device.client(), self.rules.form.kind());
        let state = &solution.state;
        let round = || self.round(state, [self.stages; 2]);
        let cells = self.mosaic.total(Count::Cells);
        let (worths, slope) = (device.uninit(4 * cells), device.uninit(cells));
        let (cubes, dim) = device.per_unit(cells);
        cell_worths::launch::<P::Real, R>(
            client,
            cubes,
            dim,
            self.mosaic.counts(),
            round(),
            state.cells.arg(),
            worths.arg(),
            slope.arg(),
            real(self.rules.of_cells.softness()),
            real(self.rules.log_floor()),
            real(LEAST_SHARE.ln()),
            real(self.rules.alone),
            kind,
        );
        let of_cells = totals(device, &self.mosaic, &worths, Count::Cells);
        let points = self.mosaic.total(Count::Gaussians);
        let (worths, received) = (device.uninit(4 * points), device.uninit(points));
        if points > 0 {
            let (cubes, dim) = device.per_unit(points);
            point_worths::launch::<P::Real, R>(
                client,
                cubes,
                dim,
                self.mosaic.counts(),
                round(),
                state.points.arg(),
                worths.arg(),
                received.arg(),
                self.points_side(),
                kind,
            );
        }
        let of_points = totals(device, &self.mosaic, &worths, Count::Gaussians);
        let images = self.mosaic.images().len();
        let values = device.uninit(images);
        let (cubes, dim) = device.per_unit(images);
        add_worths::launch::<P::Real, R>(
            client,
            cubes,
            dim,
            round(),
            of_cells.arg(),
            of_points.arg(),
            values.arg(),
            images as u32,
            kind,
        );
        Outcome { values, slope, received }
    }
}

/// `-phi*(-x)`: what a unit of mass with potential `x` adds to the dual.
#[cube]
fn worth<F: Real>(potential: F, softness: F) -> F {
    let mut worth = potential;
    if softness > F::new(0.0) {
        worth = (F::new(1.0) - bounded_exp::<F>(-softness * potential)) / softness;
    }
    worth
}

#[cube(launch)]
fn cell_worths<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    cells: &Array<Quad<F>>,
    worths: &mut Array<Quad<F>>,
    slopes: &mut Array<F>,
    softness: F,
    floor: F,
    least: F,
    alone: F,
    #[comptime] kind: Kind,
) {
    let i = ABSOLUTE_POS as u32;
    let all = counts.total(Count::Cells);
    if i < all {
        let image = counts.holding(i, Count::Cells);
        let epsilon = round.epsilon(image, counts.images());
        let (near, far) = (cells[i as usize], cells[(all + i) as usize]);
        let (mass, potential) = (near[3], far[0]);
        let mut slope = worth::<F>(potential, softness);
        let mut total = mass * slope;
        match comptime!(kind) {
            Kind::Joint => {
                let ratio = round.constant(image, counts.images(), RATIO);
                slope -= epsilon * (bounded_exp::<F>(-softness * potential) - ratio);
            }
            Kind::Conditional => {}
            Kind::Shannon => {
                let mut log_share = least;
                if mass > F::new(0.0) {
                    log_share = max(mass.ln(), least);
                }
                slope += epsilon * log_share;
                total = mass * slope;
            }
            Kind::Floored => {
                // The potentials that the points' last ones answered.
                let log_share = far[2] / epsilon;
                let larger = max(log_share, floor);
                slope = epsilon * (larger + (F::new(1.0) + (-(log_share - floor).abs()).exp()).ln());
                total = mass * slope;
            }
        }
        if counts.before(image, Count::Gaussians) == counts.before(image + 1u32, Count::Gaussians) {
            slope = alone;
            total = mass * alone;
        }
        let mut of_cell = Quad::<F>::new(F::new(0.0));
        of_cell[0] = total;
        of_cell[1] = mass;
        worths[i as usize] = of_cell;
        slopes[i as usize] = slope;
    }
}

#[cube(launch)]
fn point_worths<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    points: &Array<Quad<F>>,
    worths: &mut Array<Quad<F>>,
    masses: &mut Array<F>,
    side: &Side<F>,
    #[comptime] kind: Kind,
) {
    let n = ABSOLUTE_POS as u32;
    let all = counts.total(Count::Gaussians);
    if n < all {
        let epsilon = round.epsilon(counts.holding(n, Count::Gaussians), counts.images());
        let (near, far) = (points[n as usize], points[(all + n) as usize]);
        let (mass, _due) = received::<F>(near, far, side, epsilon);
        let mut potential = worth::<F>(far[0], side.damping);
        if comptime!(kind == Kind::Shannon) {
            potential += epsilon * far[1];
        }
        let mut of_point = Quad::<F>::new(F::new(0.0));
        of_point[0] = near[3] * potential;
        of_point[1] = mass;
        worths[n as usize] = of_point;
        masses[n as usize] = mass;
    }
}

#[cube(launch)]
fn add_worths<F: Real>(
    round: &Round<F>,
    of_cells: &Array<Quad<F>>,
    of_points: &Array<Quad<F>>,
    values: &mut Array<F>,
    images: u32,
    #[comptime] kind: Kind,
) {
    let image = ABSOLUTE_POS as u32;
    if image < images {
        let (cells, points) = (of_cells[ABSOLUTE_POS], of_points[ABSOLUTE_POS]);
        let mut value = cells[0] + points[0];
        if comptime!(kind == Kind::Joint) {
            let reference = round.constant(image, images, RATIO) * cells[1];
            value -= round.epsilon(image, images) * (points[1] - reference);
        }
        values[ABSOLUTE_POS] = value;
    }
}
