//! Entropic optimal transport between a density and annotations, as a loss of its own.

use serde::{Deserialize, Serialize};
use splatport_kernels::{
    Device, Precision,
    cubecl::Runtime,
    dm_count::Weights,
    sinkhorn::{Form, Marginal, Measure, Rules},
};

use super::{
    Coordinates, Epsilon, Ground, Scene, TransportLoss,
    scenes::{Annealing, Costs, Rounds, Solver, check_range, grids},
    transport::Ending,
};
use crate::Result;

/// How the plan's marginals are tied to the density and the annotations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Marginals {
    /// Both are exact: shares of the density against equal shares of the annotations. The value does not depend on the
    /// count. Only this form can be solved by Newton's method.
    Balanced(Solver),
    /// Each pays `rho` times its Kullback-Leibler divergence from the density, and from 1 per annotation.
    Relaxed {
        /// In the unit of the costs, 1e-9 to 1e9.
        rho: f64,
    },
}

/// `min_P <C, P> + D(P1 | a) + D(P'1 | t) + epsilon KL(P | a t' / mass of t)`, the mean over a batch of images.
///
/// Value and gradient are those of the dual at the potentials found; they are those of the optimum where the solver
/// [converged](super::Report::converged). Peyré and Cuturi, *Computational Optimal Transport*, 4 and 10.2.
///
/// ```
/// use splatport::{Annotations, Grid, Vulkan, losses::{Epsilon, Sinkhorn}};
///
/// let device = Vulkan::best()?;
/// let points = Annotations::new(vec![[4.0, 4.0], [28.0, 12.0]])?;
/// let loss = Sinkhorn::default().epsilon(Epsilon::Absolute(4.0)).on(&device, &[(Grid::over(32, 16, 8), &points)])?;
/// // All mass is in the two cells that the annotations are at the centres of.
/// let step = loss.evaluate(&device.upload(&[3.0f32, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0]))?;
/// assert!(step.costs()?[0] < 1e-3);
/// assert_eq!(step.plan(1e-3)?.masses.read()?, [0.5, 0.5]);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "it does nothing until it is evaluated"]
pub struct Sinkhorn {
    costs: Costs,
    marginals: Marginals,
    stop: Rounds,
}

impl Default for Sinkhorn {
    fn default() -> Self {
        let costs = Costs {
            ground: Ground::Squared,
            coordinates: Coordinates::Pixels,
            epsilon: Epsilon::RelativeMax(1e-3),
            annealing: Annealing::OfSolver,
        };
        let stop = Rounds { limit: 1000, tolerance: 0.01 };
        Self { costs, marginals: Marginals::Balanced(Solver::Sinkhorn), stop }
    }
}

impl Sinkhorn {
    super::setters! {
        /// Strength of the entropy. Default: one thousandth of the largest cost.
        epsilon: Epsilon => costs.epsilon;
        /// Default: balanced, by rounds.
        marginals: Marginals => marginals;
        /// Default: the squared distance.
        ground: Ground => costs.ground;
        /// Unit of distances. Default: pixels.
        coordinates: Coordinates => costs.coordinates;
        /// The most rounds, 1 to 2^24; a Newton step counts as eleven. The schedule of epsilon is always completed.
        /// Default: 1000.
        rounds: usize => stop.limit;
        /// Balanced: the largest L1 error of what the annotations receive, as a share. Relaxed: the largest relative
        /// error of any marginal. Default: 0.01.
        tolerance: f64 => stop.tolerance;
    }

    /// The factor from one epsilon to the next, between 0 and 1, starting from the largest cost; `None` starts with the
    /// last epsilon. Default: 0.8 from round to round, 0.5 every second Newton step.
    pub fn annealing(mut self, factor: Option<f64>) -> Self {
        self.costs.annealing = factor.map_or(Annealing::None, Annealing::Factor);
        self
    }

    /// Binds the loss to a batch of images.
    ///
    /// # Errors
    /// [`crate::Error::Empty`] for no image or no cell, [`crate::Error::Option`] for a number out of its range,
    /// [`crate::Error::OutOfRange`] for an annotation farther than 2^24 px from the origin or for which `eta` is below
    /// 0.001 somewhere on the grid, [`crate::Error::Device`].
    pub fn on<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        scenes: &[Scene<'_>],
    ) -> Result<TransportLoss<R, P>> {
        let (marginal, alone, solver) = match self.marginals {
            Marginals::Balanced(solver) => (Marginal::Exact, 0.0, solver),
            Marginals::Relaxed { rho } => {
                check_range("rho", rho)?;
                (Marginal::Relaxed { rho }, rho, Solver::Sinkhorn)
            }
        };
        let balanced = marginal == Marginal::Exact;
        let rules = Rules {
            ground: self.costs.ground.of_solver(),
            of_cells: marginal,
            of_points: marginal,
            form: Form::Joint(Measure::ProductOverMass),
            normalise: balanced.then_some(0.0),
            alone,
        };
        let mass = |scene: &Scene<'_>| if balanced { 1.0 / scene.1.len().max(1) as f64 } else { 1.0 };
        let places = solver.places(self.costs, scenes, mass)?;
        let ending = if balanced {
            let weights =
                Weights { transport: 1.0 / scenes.len() as f64, count: 0.0, variation: 0.0, pad: 0.0, valued: true };
            Ending::Shares { weights, dots: None, needs_mass: true }
        } else {
            Ending::Optimum
        };
        TransportLoss::new(device, (grids(scenes), &places), rules, self.stop.of(solver)?, (ending, solver))
    }
}
