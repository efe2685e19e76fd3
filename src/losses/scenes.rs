//! Images of a batch, and what their costs are measured in.

use serde::{Deserialize, Serialize};
use splatport_kernels::sinkhorn::{self as solver, Place, schedule};

use crate::{Annotations, Error, Grid, Result};

/// One image: the cells of its density, and its points.
pub type Scene<'a> = (Grid, &'a Annotations);

/// What it costs to carry a unit of mass from a cell's centre to an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Ground {
    /// The squared distance.
    Squared,
    /// The distance.
    Distance,
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

/// Epsilons that the solvers keep finite numbers with.
const RANGE: std::ops::RangeInclusive<f64> = 1e-9..=1e9;

impl Ground {
    pub(super) fn of_solver(self) -> solver::Ground {
        match self {
            Self::Squared => solver::Ground::Squared,
            Self::Distance => solver::Ground::Distance,
        }
    }

    fn of_squared(self, squared: f64) -> f64 {
        match self {
            Self::Squared => squared,
            Self::Distance => squared.sqrt(),
        }
    }
}

impl Costs {
    /// An image as the solver takes it; every point has the mass `mass`.
    pub(super) fn place(&self, (grid, annotations): &Scene<'_>, mass: f64) -> Result<Place> {
        grid.check_alone()?;
        let longer = f64::from(grid.size()[0].max(grid.size()[1]));
        let scale = match (self.coordinates, self.ground) {
            (Coordinates::Pixels, _) => 1.0,
            (Coordinates::LongerSide, Ground::Distance) => longer.recip(),
            (Coordinates::LongerSide, Ground::Squared) => (longer * longer).recip(),
        };
        let points = annotations.points().to_vec();
        let largest = scale * self.largest(grid, &points);
        // Without points, or all of them on the only cell, nothing depends on it.
        let relative = |share: f64, cost: f64| if cost > 0.0 { share * cost } else { share };
        let epsilon = match self.epsilon {
            Epsilon::Absolute(epsilon) => epsilon,
            Epsilon::RelativeMax(share) => relative(share, largest),
            Epsilon::RelativeMean(share) => relative(share, scale * self.mean(grid, &points)),
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
            Some(factor) if factor > 0.0 && factor < 1.0 => schedule(largest.min(*RANGE.end()), factor, epsilon),
            Some(value) => return Err(Error::Option { name: "annealing", value, why: "must be between 0 and 1" }),
        };
        Ok(Place { cells: grid.cells(), masses: vec![mass; points.len()], points, scale, epsilons })
    }

    /// The largest cost, between a point and a corner's cell.
    fn largest(&self, grid: &Grid, points: &[[f64; 2]]) -> f64 {
        let ends = [grid.centre(0), grid.centre(grid.len() - 1)];
        let farthest =
            |p: &[f64; 2], axis: usize| ends.map(|e| (e[axis] - p[axis]).abs()).into_iter().fold(0.0, f64::max);
        let squared = points.iter().map(|p| farthest(p, 0).powi(2) + farthest(p, 1).powi(2));
        self.ground.of_squared(squared.fold(0.0, f64::max))
    }

    /// The mean cost.
    fn mean(&self, grid: &Grid, points: &[[f64; 2]]) -> f64 {
        let cost = |centre: [f64; 2], p: &[f64; 2]| {
            self.ground.of_squared((centre[0] - p[0]).powi(2) + (centre[1] - p[1]).powi(2))
        };
        let of_cell = |i: usize| points.iter().map(|p| cost(grid.centre(i), p)).sum::<f64>();
        (0..grid.len()).map(of_cell).sum::<f64>() / (grid.len() * points.len().max(1)) as f64
    }
}

/// Rejects what is not above 0.
pub(super) fn check_positive(name: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value <= *RANGE.end() {
        return Ok(());
    }
    Err(Error::Option { name, value, why: "must be above 0, at most 1e9" })
}
