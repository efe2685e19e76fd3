//! The images of a batch, and the units of their costs.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use splatport_kernels::{
    Cells, Real,
    sinkhorn::{self as solver, MOST_EPSILONS, Place, Stop, schedule},
};

use super::GridOffset;
use crate::{Annotations, Error, Grid, Result, error::is_real, splat::check_reach};

/// One image: the grid of its density, and its points.
pub type Scene<'a> = (Grid, &'a Annotations);

/// The grids of a batch.
pub(super) fn grids(scenes: &[Scene<'_>]) -> Vec<Grid> {
    scenes.iter().map(|(grid, _)| *grid).collect()
}

/// The cost of carrying a unit of mass from a cell's center to an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Ground {
    /// The squared distance.
    Squared,
    /// The distance.
    Distance,
    /// `exp(distance / eta) - 1`.
    Exponential {
        /// In the unit of the distances, 1e-3 to 1e9.
        eta: f64,
    },
    /// The same with `eta = base + growth (y + y') / 2`, where `y` and `y'` say how far down the cell and the
    /// annotation lie, 0 at the grid's upper edge: things nearer to the camera are larger.
    Perspective {
        /// In the unit of the distances, 1e-9 to 1e9.
        base: f64,
        /// No unit, -1e9 to 1e9; `eta` must be 1e-3 or more everywhere.
        growth: f64,
    },
}

/// The unit of distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Coordinates {
    /// Pixels.
    Pixels,
    /// The longer side of what the grid covers, so that coordinates lie in 0..1.
    LongerSide,
}

/// Strength of the entropy; it must come to 1e-9 to 1e9 in the unit of the costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Epsilon {
    /// In the unit of the costs: px² for squared distances in pixels.
    Absolute(f64),
    /// A multiple of each image's largest cost.
    RelativeMax(f64),
    /// A multiple of each image's mean cost over all pairs of a cell and an annotation. This takes a pass over the
    /// pairs on the host.
    RelativeMean(f64),
}

/// Costs of a loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Costs {
    pub ground: Ground,
    pub coordinates: Coordinates,
    pub epsilon: Epsilon,
    pub annealing: Annealing,
}

/// How epsilon falls, starting from the largest cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Annealing {
    /// It does not: the solver starts with the last epsilon.
    None,
    /// By the solver's factor.
    OfSolver,
    /// By this factor.
    Factor(f64),
}

impl Annealing {
    fn factor(self, solver: Solver) -> Option<f64> {
        match self {
            Self::None => None,
            Self::OfSolver => Some(solver.factor()),
            Self::Factor(factor) => Some(factor),
        }
    }
}

/// The epsilons and relaxation weights for which the solvers' numbers stay finite.
const RANGE: std::ops::RangeInclusive<f64> = 1e-9..=1e9;

/// The least `eta` in the unit of the distances: with a smaller one, costs overflow.
const LEAST_ETA: f64 = 1e-3;

impl Ground {
    pub(super) fn of_solver(self) -> solver::Ground {
        match self {
            Self::Squared => solver::Ground::Squared,
            Self::Distance => solver::Ground::Distance,
            Self::Exponential { .. } | Self::Perspective { .. } => solver::Ground::Exponential,
        }
    }

    /// `eta` as a constant and a factor of the sum of two places' `y`, px. The unit of distances is `unit` px.
    fn stretch(self, unit: f64, top: f64) -> [f64; 2] {
        match self {
            Self::Squared | Self::Distance => [1.0, 0.0],
            Self::Exponential { eta } => [eta * unit, 0.0],
            Self::Perspective { base, growth } => [base * unit - growth * top, growth / 2.0],
        }
    }
}

impl Costs {
    /// The unit of distances, px.
    pub(super) fn unit(&self, grid: &Grid) -> f64 {
        match self.coordinates {
            Coordinates::Pixels => 1.0,
            Coordinates::LongerSide => f64::from(grid.size()[0].max(grid.size()[1])),
        }
    }

    /// An image in the solver's form; every point has the mass `mass`.
    pub(super) fn place(
        &self,
        (grid, annotations): &Scene<'_>,
        (offset, solver): (GridOffset, Solver),
        mass: f64,
    ) -> Result<Place> {
        grid.check_alone()?;
        check_reach(annotations.points().as_flattened())?;
        let mut cells = grid.cells();
        if offset == GridOffset::Shifted {
            cells.left += cells.stride / 2.0;
            cells.top += cells.stride / 2.0;
        }
        let unit = self.unit(grid);
        let scale = match self.ground {
            Ground::Squared => (unit * unit).recip(),
            Ground::Distance => unit.recip(),
            Ground::Exponential { .. } | Ground::Perspective { .. } => 1.0,
        };
        let stretch = self.ground.stretch(unit, grid.corner()[1].into());
        let points = annotations.points();
        let pairs = Pairs { ground: self.ground, unit, stretch, cells, points };
        pairs.check_stretch()?;
        let largest = pairs.largest();
        // Without points, or with all of them on the only cell, nothing depends on it.
        let relative = |share: f64, cost: f64| if cost > 0.0 { share * cost } else { share };
        let epsilon = match self.epsilon {
            Epsilon::Absolute(epsilon) => epsilon,
            Epsilon::RelativeMax(share) => relative(share, largest),
            Epsilon::RelativeMean(share) => relative(share, pairs.mean()),
        };
        if !RANGE.contains(&epsilon) {
            let why = "must be in 1e-9..=1e9, in units of the costs";
            return Err(Error::Option { name: "epsilon", value: epsilon, why });
        }
        let epsilons = match self.annealing.factor(solver) {
            None => vec![epsilon],
            Some(factor) => falling(factor, largest, epsilon)?,
        };
        Ok(Place { cells, masses: vec![mass; points.len()], points: points.to_vec(), scale, stretch, epsilons })
    }
}

/// The epsilons, starting from the largest cost.
fn falling(factor: f64, largest: f64, epsilon: f64) -> Result<Vec<f64>> {
    if !(factor > 0.0 && factor < 1.0) {
        return Err(Error::Option { name: "annealing", value: factor, why: "must be between 0 and 1" });
    }
    let first = largest.min(*RANGE.end());
    if (epsilon / first).ln() / factor.ln() > MOST_EPSILONS as f64 {
        let why = "must bring epsilon down from the largest cost within 10000 rounds";
        return Err(Error::Option { name: "annealing", value: factor, why });
    }
    Ok(schedule(first, factor, epsilon))
}

/// The cells and points of an image, and the cost of carrying mass between them.
struct Pairs<'a> {
    ground: Ground,
    /// The unit of distances, px.
    unit: f64,
    stretch: [f64; 2],
    cells: Cells,
    points: &'a [[f64; 2]],
}

impl Pairs<'_> {
    fn cost(&self, centre: [f64; 2], point: [f64; 2]) -> f64 {
        let distance = (centre[0] - point[0]).hypot(centre[1] - point[1]);
        match self.ground {
            Ground::Squared => (distance / self.unit).powi(2),
            Ground::Distance => distance / self.unit,
            Ground::Exponential { .. } | Ground::Perspective { .. } => {
                let [base, slope] = self.stretch;
                (distance / (base + slope * (centre[1] + point[1]))).exp_m1()
            }
        }
    }

    /// The centers of the first and the last cell.
    fn ends(&self) -> [[f64; 2]; 2] {
        [self.cells.centre(0), self.cells.centre(self.cells.len() - 1)]
    }

    /// The largest cost. A cell in a corner has it, because costs are quasiconvex.
    fn largest(&self) -> f64 {
        let [first, last] = self.ends();
        let corners = [first, [last[0], first[1]], [first[0], last[1]], last];
        let costs = self.points.iter().flat_map(|&point| corners.map(|corner| self.cost(corner, point)));
        costs.fold(0.0, f64::max)
    }

    /// The mean cost. Every row of cells is summed separately, so that the result does not depend on the number of
    /// threads.
    fn mean(&self) -> f64 {
        let columns = self.cells.columns as usize;
        let of_row = |row: usize| -> f64 {
            let centres = (row * columns..(row + 1) * columns).map(|i| self.cells.centre(i));
            centres.map(|centre| self.points.iter().map(|&point| self.cost(centre, point)).sum::<f64>()).sum()
        };
        let rows: Vec<f64> = (0..self.cells.rows as usize).into_par_iter().map(of_row).collect();
        rows.iter().sum::<f64>() / (self.cells.len() * self.points.len().max(1)) as f64
    }

    /// Rejects an exponential cost whose `eta` is too small somewhere.
    fn check_stretch(&self) -> Result<()> {
        match self.ground {
            Ground::Squared | Ground::Distance => return Ok(()),
            Ground::Exponential { eta } => check_range("eta", eta)?,
            Ground::Perspective { base, growth } => {
                check_range("base", base)?;
                let most = *RANGE.end();
                if !(-most..=most).contains(&growth) {
                    return Err(Error::Option { name: "growth", value: growth, why: "must be in -1e9..=1e9" });
                }
            }
        }
        let [base, slope] = self.stretch;
        for (index, point) in self.points.iter().enumerate() {
            let etas = self.ends().map(|end| (base + slope * (end[1] + point[1])) / self.unit);
            if let Some(&value) = etas.iter().find(|&&eta| eta < LEAST_ETA) {
                return Err(Error::OutOfRange { what: "eta", index, value, min: LEAST_ETA, max: f64::MAX });
            }
        }
        Ok(())
    }
}

/// How balanced transport is solved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Solver {
    /// Alternating updates of the two sides' potentials while epsilon falls.
    Sinkhorn,
    /// Newton's method on the annotations' potentials while epsilon halves. A step makes ten conjugate-gradient
    /// iterations and costs as much as eleven rounds, but reaching a small error takes far less in all.
    #[default]
    Newton,
}

/// When a loss stops.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Rounds {
    pub limit: usize,
    pub tolerance: f64,
}

/// The number of rounds that cost as much as a Newton step.
const ROUNDS_A_STEP: usize = 11;
/// The number of Newton steps with every epsilon.
const STEPS_AN_EPSILON: usize = 2;

impl Rounds {
    pub(super) fn of_solver(self) -> Result<Stop> {
        let Self { limit, tolerance } = self;
        if !(1..=Stop::MOST).contains(&limit) {
            return Err(Error::Option { name: "rounds", value: limit as f64, why: "must be in 1..=2^24" });
        }
        if !tolerance.is_finite() {
            return Err(Error::Option { name: "tolerance", value: tolerance, why: "must be finite" });
        }
        Ok(Stop { limit, tolerance })
    }

    /// The stopping rule in rounds or Newton steps, whichever the solver makes.
    pub(super) fn of(self, solver: Solver) -> Result<Stop> {
        let stop = self.of_solver()?;
        Ok(match solver {
            Solver::Sinkhorn => stop,
            Solver::Newton => Stop { limit: stop.limit.div_ceil(ROUNDS_A_STEP), ..stop },
        })
    }
}

impl Solver {
    /// The factor from one epsilon to the next.
    fn factor(self) -> f64 {
        match self {
            Self::Sinkhorn => 0.8,
            Self::Newton => 0.5,
        }
    }

    /// The images with the schedule of epsilon that this solver takes.
    pub(super) fn places(
        self,
        costs: Costs,
        scenes: &[Scene<'_>],
        mass: impl Fn(&Scene<'_>) -> f64,
    ) -> Result<Vec<Place>> {
        let place = |scene: &Scene<'_>| {
            let mut place = costs.place(scene, (GridOffset::Centre, self), mass(scene))?;
            if self == Self::Newton {
                place.epsilons = place.epsilons.iter().flat_map(|&epsilon| [epsilon; STEPS_AN_EPSILON]).collect();
            }
            Ok(place)
        };
        scenes.iter().map(place).collect()
    }
}

/// Rejects an empty batch and invalid grids.
pub(super) fn check_scenes(scenes: &[Scene<'_>]) -> Result<()> {
    if scenes.is_empty() {
        return Err(Error::Empty { what: "batch" });
    }
    scenes.iter().try_for_each(|(grid, _)| grid.check_alone())
}

/// Rejects a factor that is not finite, or is not in the float `F`.
pub(super) fn check_factor<F: Real>(name: &'static str, value: f64) -> Result<()> {
    match is_real::<F>(value) {
        true => Ok(()),
        false => Err(Error::Option { name, value, why: "must be finite, in the device's float too" }),
    }
}

/// Rejects values with which the solvers' numbers would not stay finite.
pub(super) fn check_range(name: &'static str, value: f64) -> Result<()> {
    if RANGE.contains(&value) { Ok(()) } else { Err(Error::Option { name, value, why: "must be in 1e-9..=1e9" }) }
}
