//! Images of a batch, and what their costs are measured in.

use serde::{Deserialize, Serialize};
use splatport_kernels::sinkhorn::{self as solver, MOST_EPSILONS, Place, Stop, schedule};

use crate::{Annotations, Error, Grid, Result, splat::check_reach};

/// One image: the cells of its density, and its points.
pub type Scene<'a> = (Grid, &'a Annotations);

/// What it costs to carry a unit of mass from a cell's centre to an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Ground {
    /// The squared distance.
    Squared,
    /// The distance.
    Distance,
    /// `exp(distance / eta) - 1`.
    Exponential {
        /// In the unit of the distances.
        eta: f64,
    },
    /// The same with `eta = base + growth (y + y') / 2`: `y`, `y'` are how far down cell and annotation lie, 0 at the grid's upper
    /// edge. What is nearer to the camera is larger.
    Perspective {
        /// In the unit of the distances.
        base: f64,
        /// No unit.
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

/// Strength of the entropy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Epsilon {
    /// In the unit of the costs: px² for squared distances in pixels.
    Absolute(f64),
    /// Of each image's largest cost.
    RelativeMax(f64),
    /// Of each image's mean cost over all pairs of a cell and an annotation.
    RelativeMean(f64),
}

/// Costs of a loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Costs {
    pub ground: Ground,
    pub coordinates: Coordinates,
    pub epsilon: Epsilon,
    /// Factor from one round's epsilon to the next, from the largest cost on; none starts with the last epsilon.
    pub annealing: Option<f64>,
}

/// Epsilons, and weights of what is relaxed, that the solvers keep finite numbers with.
const RANGE: std::ops::RangeInclusive<f64> = 1e-9..=1e9;

/// Least `eta` in the unit of the distances: with a smaller one costs overflow.
const LEAST_ETA: f64 = 1e-3;

impl Ground {
    pub(super) fn of_solver(self) -> solver::Ground {
        match self {
            Self::Squared => solver::Ground::Squared,
            Self::Distance => solver::Ground::Distance,
            Self::Exponential { .. } | Self::Perspective { .. } => solver::Ground::Exponential,
        }
    }

    /// `eta` as a constant and a factor of the sum of two places' `y`, px, where the unit of distances is `unit` px.
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

    /// An image as the solver takes it; every point has the mass `mass`.
    pub(super) fn place(&self, (grid, annotations): &Scene<'_>, mass: f64) -> Result<Place> {
        grid.check_alone()?;
        check_reach(annotations.points().as_flattened())?;
        let unit = self.unit(grid);
        let scale = match self.ground {
            Ground::Squared => (unit * unit).recip(),
            Ground::Distance => unit.recip(),
            Ground::Exponential { .. } | Ground::Perspective { .. } => 1.0,
        };
        let points = annotations.points().to_vec();
        let stretch = self.ground.stretch(unit, grid.corner()[1].into());
        self.check_stretch(grid, &points)?;
        let largest = self.largest(grid, &points);
        // Without points, or all of them on the only cell, nothing depends on it.
        let relative = |share: f64, cost: f64| if cost > 0.0 { share * cost } else { share };
        let epsilon = match self.epsilon {
            Epsilon::Absolute(epsilon) => epsilon,
            Epsilon::RelativeMax(share) => relative(share, largest),
            Epsilon::RelativeMean(share) => relative(share, self.mean(grid, &points)),
        };
        if !RANGE.contains(&epsilon) {
            return Err(Error::Option {
                name: "epsilon",
                value: epsilon,
                why: "must be in 1e-9..=1e9, in units of the costs",
            });
        }
        let epsilons = match self.annealing {
            None => vec![epsilon],
            Some(factor) if factor > 0.0 && factor < 1.0 => {
                let first = largest.min(*RANGE.end());
                if (epsilon / first).ln() / factor.ln() > MOST_EPSILONS as f64 {
                    let why = "must bring epsilon down from the largest cost within 10000 rounds";
                    return Err(Error::Option { name: "annealing", value: factor, why });
                }
                schedule(first, factor, epsilon)
            }
            Some(value) => return Err(Error::Option { name: "annealing", value, why: "must be between 0 and 1" }),
        };
        Ok(Place { cells: grid.cells(), masses: vec![mass; points.len()], points, scale, stretch, epsilons })
    }

    /// Of a centre and a point.
    fn cost(&self, grid: &Grid, centre: [f64; 2], point: [f64; 2]) -> f64 {
        let unit = self.unit(grid);
        let distance = (centre[0] - point[0]).hypot(centre[1] - point[1]) / unit;
        match self.ground {
            Ground::Squared => distance * distance,
            Ground::Distance => distance,
            Ground::Exponential { .. } | Ground::Perspective { .. } => {
                let [base, slope] = self.ground.stretch(unit, grid.corner()[1].into());
                (unit * distance / (base + slope * (centre[1] + point[1]))).exp_m1()
            }
        }
    }

    /// The largest cost: of a corner's cell, because costs are quasiconvex.
    fn largest(&self, grid: &Grid, points: &[[f64; 2]]) -> f64 {
        let [first, last] = [grid.centre(0), grid.centre(grid.len() - 1)];
        let corners = [first, [last[0], first[1]], [first[0], last[1]], last];
        let costs = points.iter().flat_map(|&point| corners.map(|corner| self.cost(grid, corner, point)));
        costs.fold(0.0, f64::max)
    }

    /// The mean cost.
    fn mean(&self, grid: &Grid, points: &[[f64; 2]]) -> f64 {
        let of_cell = |i: usize| points.iter().map(|&point| self.cost(grid, grid.centre(i), point)).sum::<f64>();
        (0..grid.len()).map(of_cell).sum::<f64>() / (grid.len() * points.len().max(1)) as f64
    }

    /// Rejects lengths of an exponential cost that are not positive somewhere.
    fn check_stretch(&self, grid: &Grid, points: &[[f64; 2]]) -> Result<()> {
        match self.ground {
            Ground::Squared | Ground::Distance => return Ok(()),
            Ground::Exponential { eta } => check_range("eta", eta)?,
            Ground::Perspective { base, growth } => {
                check_range("base", base)?;
                if !growth.is_finite() {
                    return Err(Error::Option { name: "growth", value: growth, why: "must be finite" });
                }
            }
        }
        let unit = self.unit(grid);
        let [base, slope] = self.ground.stretch(unit, grid.corner()[1].into());
        let ends = [grid.centre(0)[1], grid.centre(grid.len() - 1)[1]];
        for (index, point) in points.iter().enumerate() {
            let etas = ends.map(|end| (base + slope * (end + point[1])) / unit);
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
    /// Newton's method on the annotations' potentials while epsilon halves. A step makes ten conjugate gradients, which cost as much
    /// as eleven rounds, and small errors need far less in all.
    #[default]
    Newton,
}

/// When a loss stops.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Rounds {
    pub limit: usize,
    pub tolerance: f64,
}

/// Rounds that cost as much as a step of Newton's.
const ROUNDS_A_STEP: usize = 11;
/// Steps of Newton's with every epsilon.
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

    /// Where rounds or steps are to be made.
    pub(super) fn of(self, solver: Solver) -> Result<Stop> {
        let stop = self.of_solver()?;
        Ok(match solver {
            Solver::Sinkhorn => stop,
            Solver::Newton => Stop { limit: stop.limit.div_ceil(ROUNDS_A_STEP), ..stop },
        })
    }
}

impl Solver {
    /// With the schedule of epsilon that it takes.
    pub(super) fn places(
        self,
        costs: Costs,
        scenes: &[Scene<'_>],
        mass: impl Fn(&Scene<'_>) -> f64,
    ) -> Result<Vec<Place>> {
        let costs = match self {
            Self::Newton if costs.annealing.is_some() => Costs { annealing: Some(0.5), ..costs },
            _ => costs,
        };
        let place = |scene: &Scene<'_>| {
            let mut place = costs.place(scene, mass(scene))?;
            if self == Self::Newton {
                place.epsilons = place.epsilons.iter().flat_map(|&epsilon| [epsilon; STEPS_AN_EPSILON]).collect();
            }
            Ok(place)
        };
        scenes.iter().map(place).collect()
    }
}

/// Rejects an empty batch and grids that are none.
pub(super) fn check_scenes(scenes: &[Scene<'_>]) -> Result<()> {
    if scenes.is_empty() {
        return Err(Error::Empty { what: "batch" });
    }
    scenes.iter().try_for_each(|(grid, _)| grid.check_alone())
}

/// Rejects what the solvers do not keep finite numbers with.
pub(super) fn check_range(name: &'static str, value: f64) -> Result<()> {
    if RANGE.contains(&value) { Ok(()) } else { Err(Error::Option { name, value, why: "must be in 1e-9..=1e9" }) }
}
