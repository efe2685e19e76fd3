//! Entropic optimal transport from the cells' mass to the points, balanced or relaxed, for a batch of images of any
//! sizes.
//!
//! For every image the plan `P` minimizes `<C, P> + D1(P1 | a) + D2(P'1 | t) + epsilon H(P)` over cell masses `a` and
//! point masses `t`; see [`Rules`]. It is solved in log domain by alternating updates of the two sides' potentials, two
//! launches per round. Costs are recomputed from coordinates; neither the costs nor the plan are stored. The device
//! decides for each image when it stops, so that an image has the same bits alone and in a batch.

mod averaged;
mod demand;
mod finish;
mod generalized;
mod halves;
mod judge;
mod newton;
mod rounding;
mod rounds;
mod rows;
mod rules;
mod sides;
mod spread;
mod start;

use cubecl::prelude::*;

use self::sides::{RoundLaunch, STATUS};
pub use self::{
    finish::Outcome,
    generalized::Weights as GeneralizedWeights,
    newton::CostGradient,
    rows::PlanRows,
    rules::{Form, Ground, MOST_EPSILONS, Marginal, Measure, Place, Rules, Stop, schedule},
};
use crate::{
    Error, Result,
    buffer::Buffer,
    device::Device,
    grid::{Cells, Mosaic},
    real::{Precision, Real},
};

/// Logarithm of no mass: as a finite number, because infinities do not compile everywhere; its square is finite too.
const NOTHING: f32 = -1e18;
/// A share of the density below which a cell counts as this much where its logarithm is part of the slope.
const LEAST_SHARE: f64 = 1e-16;

/// Images, points and rules on a device: everything that does not depend on the density.
#[derive(Debug)]
pub struct Problem<R: Runtime, P: Precision> {
    mosaic: Mosaic<R, P::Real>,
    rules: Rules,
    stop: Stop,
    /// `[2 points, 4]`: (x, y, charge, mass) of all, then (potential, log mass, next potential, 1 if any mass can
    /// come) of all.
    start: Buffer<R, P::Real>,
    /// See [`sides::Round`], of images that all run.
    table: Buffer<R, P::Real>,
    stages: usize,
    /// Epsilons of every image.
    schedules: Vec<usize>,
}

/// Potentials on a device.
#[derive(Debug)]
pub(crate) struct State<R: Runtime, F: Real> {
    /// `[2 cells, 4]`: (x, y, charge, mass) of all, then (potential, log mass, potential of the round before, 0) of
    /// all.
    pub cells: Buffer<R, F>,
    /// As [`Problem::start`].
    pub points: Buffer<R, F>,
    /// As [`Problem::table`].
    pub table: Buffer<R, F>,
    /// `[images, 4]`: mass of the density, cells that hold no valid mass.
    pub sums: Buffer<R, F>,
    /// Stages that are left out, because the points' potentials are known.
    pub skipped: usize,
}

/// A solver's report on one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// The number of rounds, those of the schedule included.
    pub rounds: usize,
    /// The L1 distance between what the points receive and what they should, divided by the latter.
    pub residual: f64,
    /// The error that was compared with the tolerance; see [`Stop`].
    pub error: f64,
    /// How much rounding may add to the residual of the points and to that of the cells: at an epsilon far below the
    /// costs, potentials stop moving long before their plan is right. It is a bound for the points as they are stored,
    /// and 0 for published rounds.
    pub rounding: f64,
    /// Whether both the error and the rounding are within the tolerance.
    pub converged: bool,
    /// The mass of the density.
    pub mass: f64,
    /// The number of cells whose density is negative, above 1e9 or NaN; they count as empty.
    pub refused: usize,
}

/// Potentials of every image, with a report on each.
#[derive(Debug)]
pub struct Solution<R: Runtime, F: Real> {
    state: State<R, F>,
    reports: Vec<Report>,
    /// Whether neither side's potentials are the best for the other's, as published rounds end.
    published: bool,
}

impl<R: Runtime, F: Real> Solution<R, F> {
    /// The reports, one per image.
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
    /// [`Error::TooLarge`], [`Error::Count`] for more cells or points than a unit can go through or more rounds than
    /// [`Stop::MOST`], [`Error::Number`] naming what is NaN, infinite or outside its range.
    pub fn new(device: &Device<R, P>, places: &[Place], rules: Rules, stop: Stop) -> Result<Self> {
        let at_least_one = |what, got: usize| match got {
            0 => Err(Error::Length { what, expected: 1, got }),
            _ => Ok(()),
        };
        at_least_one("images", places.len())?;
        at_least_one("rounds", stop.limit)?;
        stop.check()?;
        rules.check()?;
        for place in places {
            at_least_one("cells", place.cells.len())?;
            at_least_one("epsilons", place.epsilons.len())?;
            place.check()?;
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
            start: device.try_upload_f64("points", &rules.start(places))?,
            table: device.try_upload_f64("table of epsilons", &rules.table(places, stages))?,
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

    /// The rules of the problem.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    fn round(&self, state: &State<R, P::Real>, rounds: [usize; 2]) -> RoundLaunch<P::Real, R> {
        let [stage, next] = rounds.map(|round| STATUS + (round + state.skipped).min(self.stages - 1) as u32);
        RoundLaunch::new(state.table.arg(), stage, next, STATUS + self.stages as u32)
    }
}
