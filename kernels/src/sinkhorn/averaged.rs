//! Rounds in which both sides move at once, half way: a published schedule, without a stop.

use cubecl::prelude::*;

use super::{
    Problem, Solution, State,
    sides::{Round, STAGES, Side},
};
use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    grid::{Count, Counts},
    real::{Precision, Quad, Real, real},
};

impl<R: Runtime, P: Precision> Problem<R, P> {
    /// Rounds of both sides at once, each from the other's last potentials: one from potentials 0; one for every epsilon of the
    /// image's schedule, after which potentials are the mean of old and new; one with the last epsilon. What the two sides then
    /// are is what geomloss calls extrapolated.
    ///
    /// # Errors
    /// [`crate::Error::Length`] when the density has not one element per cell; [`crate::Error::Device`].
    pub fn solve_averaged(&self, device: &Device<R, P>, density: &Buffer<R, P::Real>) -> Result<Solution<R, P::Real>> {
        let state = self.begin(device, density, None)?;
        for made in -1..=self.stages as i32 {
            self.both_halves(device, &state, made);
        }
        self.look(device, &state, self.stages);
        let mut solution = self.finish(device, state)?;
        solution.published = true;
        let own = solution.reports.iter_mut().zip(&self.schedules);
        own.for_each(|(report, &rounds)| report.rounds = rounds);
        Ok(solution)
    }

    /// Round `made`; -1 is the first one.
    fn both_halves(&self, device: &Device<R, P>, state: &State<R, P::Real>, made: i32) {
        let stages = [made, made + 1].map(|stage| stage.max(0) as usize);
        self.points_half(device, state, stages[0], true);
        self.cells_half(device, state, stages);
        let (cubes, dim) = device.per_unit(self.mosaic.total(Count::Cells).max(self.mosaic.total(Count::Gaussians)));
        settle::launch::<P::Real, R>(
            device.client(),
            cubes,
            dim,
            self.mosaic.counts(),
            self.round(state, stages),
            state.cells.arg(),
            state.points.arg(),
            self.cells_side(),
            self.points_side(),
            real(f64::from(made)),
        );
    }
}

/// How far potentials go: all the way in the first and the last round, half way between, nowhere behind the image's schedule.
#[cube]
fn way<F: Real>(made: F, stages: F) -> F {
    let mut way = F::new(0.5);
    if made < F::new(0.0) || made == stages {
        way = F::new(1.0);
    }
    if made > stages {
        way = F::new(0.0);
    }
    way
}

/// Moves both sides from what they were to what a probe of the points and an update of the cells have found.
#[cube(launch)]
fn settle<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    cells: &mut Array<Quad<F>>,
    points: &mut Array<Quad<F>>,
    of_cells: &Side<F>,
    of_points: &Side<F>,
    made: F,
) {
    let at = ABSOLUTE_POS as u32;
    let images = counts.images();
    let all = counts.total(Count::Cells);
    if at < all {
        let image = counts.holding(at, Count::Cells);
        let mut near = cells[at as usize];
        let mut far = cells[(all + at) as usize];
        far[0] = far[2] + way::<F>(made, round.constant(image, images, STAGES)) * (far[0] - far[2]);
        near[2] = of_cells.charge(far[0], far[1], round.next_epsilon(image, images));
        cells[at as usize] = near;
        cells[(all + at) as usize] = far;
    }
    let all_points = counts.total(Count::Gaussians);
    if at < all_points {
        let image = counts.holding(at, Count::Gaussians);
        let mut near = points[at as usize];
        let mut far = points[(all_points + at) as usize];
        far[0] = far[0] + way::<F>(made, round.constant(image, images, STAGES)) * (far[2] - far[0]);
        near[2] = of_points.charge(far[0], far[1], round.next_epsilon(image, images));
        points[at as usize] = near;
        points[(all_points + at) as usize] = far;
    }
}
