//! Entropic optimal transport from the cells' mass to the points, balanced or not, for a batch of images of any sizes.
//!
//! For every image the plan `P` minimises `<C, P> + D1(P1 | a) + D2(P'1 | t) + epsilon H(P)` over cell masses `a` and point
//! masses `t`; see [`Rules`]. Solved in log domain by alternating updates of the two sides' potentials, two launches a
//! round. Costs are recomputed from coordinates; neither they nor the plan are stored. Images stop one by one, decided on
//! the device, so that an image has the same bits alone and in a batch.

mod averaged;
mod finish;
mod generalized;
mod halves;
mod judge;
mod newton;
mod rows;
mod rules;
mod sides;

use cubecl::prelude::*;

use self::sides::RoundLaunch;
pub use self::{
    finish::Outcome,
    generalized::Weights as GeneralizedWeights,
    rows::PlanRows,
    rules::{Form, Ground, Marginal, Measure, Place, Rules, Stop, schedule},
};
use crate::{
    Error, Result,
    arithmetic::copy,
    buffer::Buffer,
    device::Device,
    grid::{Cells, Count, Mosaic, Plots},
    real::{HostReal, Precision, Quad, Real, real},
    totals::totals,
};

/// Logarithm of no mass: as a finite number, because infinities do not compile everywhere; its square is finite too.
const NOTHING: f32 = -1e18;
/// A share of the density below which a cell counts as this much where its logarithm is part of the slope.
const LEAST_SHARE: f64 = 1e-16;
/// Most mass of a cell, so that sums and products stay in `f32`.
const MOST: f32 = 1e9;
/// Rounds between two looks at the error, which cost half a round each.
const BUNCH: usize = 10;
/// Bunches between two read-backs.
const LOOKS: usize = 10;

/// Images, points and rules on a device: what stays the same whatever the density.
#[derive(Debug)]
pub struct Problem<R: Runtime, P: Precision> {
    mosaic: Mosaic<R, P::Real>,
    rules: Rules,
    stop: Stop,
    /// `[2 points, 4]`: (x, y, charge, mass) of all, then (potential, log mass, next potential, 1 if any mass can
    /// come) of all.
    start: Buffer<R, P::Real>,
    /// Epsilon of every stage and image, then the constants of `sides`.
    table: Buffer<R, P::Real>,
    stages: usize,
    /// Epsilons of every image.
    schedules: Vec<usize>,
}

/// Potentials on a device.
#[derive(Debug)]
pub(crate) struct State<R: Runtime, F: Real> {
    /// `[5, cells]`: charge, potential, log mass, potential of the round before, mass.
    pub cells: Buffer<R, F>,
    /// As [`Problem::start`].
    pub points: Buffer<R, F>,
    /// `[images, 4]`: 1 while running, rounds, error, residual.
    pub status: Buffer<R, F>,
    /// `[images, 4]`: mass of the density, cells that hold no valid mass.
    pub sums: Buffer<R, F>,
}

/// What a solver did for one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// Rounds, those of the schedule included.
    pub rounds: usize,
    /// L1 distance of what the points receive from what they should, over the latter.
    pub residual: f64,
    /// What the tolerance was compared with; see [`Stop`].
    pub error: f64,
    /// Whether it was met.
    pub converged: bool,
    /// Mass of the density.
    pub mass: f64,
    /// Cells whose density is negative, above 1e9 or NaN; they count as empty.
    pub refused: usize,
}

/// Potentials of every image, with a report on each.
#[derive(Debug)]
pub struct Solution<R: Runtime, F: Real> {
    state: State<R, F>,
    reports: Vec<Report>,
}

impl<R: Runtime, F: Real> Solution<R, F> {
    /// One per image.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    pub(crate) fn sums(&self) -> &Buffer<R, F> {
        &self.state.sums
    }
}

impl<R: Runtime, P: Precision> Problem<R, P> {
    /// Uploads geometry, masses and schedules.
    ///
    /// # Errors
    /// [`Error::Length`] for an empty batch, grid or schedule or when masses and points differ in number,
    /// [`Error::TooLarge`], [`Error::Count`] for more cells or points than a unit can go through.
    pub fn new(device: &Device<R, P>, places: &[Place], rules: Rules, stop: Stop) -> Result<Self> {
        let at_least_one = |what, got: usize| match got {
            0 => Err(Error::Length { what, expected: 1, got }),
            _ => Ok(()),
        };
        at_least_one("images", places.len())?;
        at_least_one("rounds", stop.limit)?;
        for place in places {
            at_least_one("cells", place.cells.len())?;
            at_least_one("epsilons", place.epsilons.len())?;
            // A unit goes through all cells or all points of an image.
            device.check_rounds("cells of an image", place.cells.len() as u32)?;
            device.check_rounds("points of an image", place.points.len() as u32)?;
            if place.masses.len() != place.points.len() {
                return Err(Error::Length { what: "masses", expected: place.points.len(), got: place.masses.len() });
            }
        }
        let sizes: Vec<(Cells, usize)> = places.iter().map(|p| (p.cells, p.points.len())).collect();
        let stages = places.iter().map(|p| p.epsilons.len()).max().unwrap_or(1);
        Ok(Self {
            mosaic: Mosaic::new(device, &sizes)?,
            rules,
            stop,
            start: device.upload_f64(&rules.start(places)),
            table: device.upload_f64(&rules.table(places, stages)),
            stages,
            schedules: places.iter().map(|place| place.epsilons.len()).collect(),
        })
    }

    pub(crate) fn mosaic(&self) -> &Mosaic<R, P::Real> {
        &self.mosaic
    }

    /// The grids with the number of points of each.
    pub fn images(&self) -> &[(Cells, usize)] {
        self.mosaic.images()
    }

    /// What it solves.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Solves for a density, `[cells of all images]`, mass per cell; waits for the device every hundred rounds.
    ///
    /// # Errors
    /// [`Error::Length`] when the density has not one element per cell; [`Error::Device`].
    pub fn solve(&self, device: &Device<R, P>, density: &Buffer<R, P::Real>) -> Result<Solution<R, P::Real>> {
        density.expect("density", self.mosaic.total(Count::Cells))?;
        let state = self.begin(device, density)?;
        self.cells_half(device, &state, [0, 0]);
        // A batch goes on until its longest schedule is through, an image until its own is.
        let last = self.stop.limit.max(self.stages).next_multiple_of(BUNCH);
        let mut made = 0;
        loop {
            for _ in 0..LOOKS.min((last - made) / BUNCH) {
                for round in made..made + BUNCH {
                    self.points_half(device, &state, round, false);
                    self.cells_half(device, &state, [round, round + 1]);
                }
                made += BUNCH;
                self.points_half(device, &state, made, true);
                self.judge(device, &state, made);
            }
            let (status, sums) = state.status.read_with(&state.sums)?;
            if made == last || status.chunks_exact(4).all(|s| s[0].cast_to_f64() == 0.0) {
                return Ok(self.conclude(state, &status, &sums));
            }
        }
    }

    /// Solves where every image has one point at most and both marginals are exact: the first half of a round does, because
    /// every cell's mass goes to the point.
    ///
    /// # Errors
    /// As [`solve`](Self::solve); [`Error::Count`] for an image with more points.
    pub fn solve_single(&self, device: &Device<R, P>, density: &Buffer<R, P::Real>) -> Result<Solution<R, P::Real>> {
        density.expect("density", self.mosaic.total(Count::Cells))?;
        if let Some((_, points)) = self.images().iter().find(|image| image.1 > 1) {
            return Err(Error::Count { what: "points of an image", value: *points as u32, min: 0, max: 1 });
        }
        let state = self.begin(device, density)?;
        self.cells_half(device, &state, [0, 0]);
        self.points_half(device, &state, 0, true);
        self.judge(device, &state, 0);
        let (status, sums) = state.status.read_with(&state.sums)?;
        Ok(self.conclude(state, &status, &sums))
    }

    /// What a state came to.
    fn conclude(&self, state: State<R, P::Real>, status: &[P::Real], sums: &[P::Real]) -> Solution<R, P::Real> {
        let reports = status.chunks_exact(4).zip(sums.chunks_exact(4)).map(|(s, m)| self.report(s, m));
        Solution { reports: reports.collect(), state }
    }

    fn report(&self, status: &[P::Real], sums: &[P::Real]) -> Report {
        let [_, rounds, error, residual] = [0, 1, 2, 3].map(|k| status[k].cast_to_f64());
        Report {
            rounds: rounds as usize,
            residual,
            error,
            converged: error <= self.stop.tolerance,
            mass: sums[0].cast_to_f64(),
            refused: sums[1].cast_to_f64() as usize,
        }
    }

    /// Masses and potentials before the first round.
    fn begin(&self, device: &Device<R, P>, density: &Buffer<R, P::Real>) -> Result<State<R, P::Real>> {
        let cells = density.len();
        let masses = device.uninit(4 * cells);
        let (cubes, dim) = device.per_unit(cells);
        weigh_cells::launch::<P::Real, R>(device.client(), cubes, dim, density.arg(), masses.arg(), cells as u32);
        let state = State {
            cells: device.room("potentials", 5 * cells)?,
            points: device.uninit(self.start.len()),
            status: device.upload_f64(&[1.0, 0.0, 0.0, 0.0].repeat(self.mosaic.images().len())),
            sums: totals(device, &self.mosaic, &masses, Count::Cells),
        };
        copy(device, &self.start, &state.points)?;
        let (cubes, dim) = device.per_unit(cells);
        start_cells::launch::<P::Real, R>(
            device.client(),
            cubes,
            dim,
            self.mosaic.arg(),
            self.round(&state, [0, 0]),
            masses.arg(),
            state.sums.arg(),
            state.cells.arg(),
            real(self.rules.normalise.unwrap_or(0.0)),
            self.rules.normalise.is_some(),
        );
        Ok(state)
    }

    fn round(&self, state: &State<R, P::Real>, [round, next]: [usize; 2]) -> RoundLaunch<P::Real, R> {
        let stage = |round: usize| round.min(self.stages - 1) as u32;
        RoundLaunch::new(self.table.arg(), state.status.arg(), stage(round), stage(next), self.stages as u32)
    }
}

/// Mass of every cell, and whether what it was given is none.
#[cube(launch)]
fn weigh_cells<F: Real>(density: &Array<F>, masses: &mut Array<Quad<F>>, cells: u32) {
    if ABSOLUTE_POS < cells as usize {
        let z = density[ABSOLUTE_POS];
        let mut mass = Quad::<F>::new(F::new(0.0));
        mass[1] = F::new(1.0);
        // A NaN is neither.
        if z >= F::new(0.0) {
            if z <= F::new(MOST) {
                mass[0] = z;
                mass[1] = F::new(0.0);
            }
        }
        masses[ABSOLUTE_POS] = mass;
    }
}

#[cube(launch)]
fn start_cells<F: Real>(
    plots: &Plots<F>,
    round: &sides::Round<F>,
    masses: &Array<Quad<F>>,
    sums: &Array<Quad<F>>,
    cells: &mut Array<F>,
    pad: F,
    #[comptime] normalise: bool,
) {
    let i = ABSOLUTE_POS as u32;
    let all = plots.total(Count::Cells);
    if i < all {
        let image = plots.holding(i, Count::Cells);
        let measure = round.constant(image, plots.images(), sides::LOG_MEASURE);
        let mut mass = masses[i as usize][0];
        let mut log_mass = F::new(NOTHING);
        if mass > F::new(0.0) {
            if comptime!(normalise) {
                mass /= sums[image as usize][0] + pad;
            }
            log_mass = mass.ln() - measure;
        }
        cells[i as usize] = log_mass;
        cells[(all + i) as usize] = F::new(0.0);
        cells[(2u32 * all + i) as usize] = log_mass;
        cells[(3u32 * all + i) as usize] = F::new(0.0);
        cells[(4u32 * all + i) as usize] = mass;
    }
}
