//! Entropic optimal transport between a density and annotations, as a loss of its own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use splatport_kernels::{
    Buffer, Device, Precision, Single, arithmetic,
    cubecl::Runtime,
    dm_count::{Weights, terms},
    sinkhorn::{Form, Marginal, Measure, Rules, Stop},
};

use super::{
    Coordinates, Epsilon, Ground, Scene, Step,
    scenes::{Costs, check_positive},
    step::{Solver, together},
};
use crate::Result;

/// How the plan's marginals are bound to density and annotations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Marginals {
    /// Both equal: shares of the density against equal shares of the annotations. The value knows nothing of the count.
    Balanced,
    /// Each pays `rho` times its Kullback-Leibler divergence from the density, and from 1 per annotation.
    Relaxed {
        /// In the unit of the costs.
        rho: f64,
    },
}

/// `min_P <C, P> + D(P1 | a) + D(P'1 | t) + epsilon KL(P | a t' / mass of t)`, the mean over a batch of images.
///
/// Value and gradient are those of the dual at the potentials found; they are the optimum's where the solver
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
    rounds: usize,
    tolerance: f64,
}

impl Default for Sinkhorn {
    fn default() -> Self {
        let costs = Costs {
            ground: Ground::Squared,
            coordinates: Coordinates::Pixels,
            epsilon: Epsilon::RelativeMax(1e-3),
            annealing: Some(0.8),
        };
        Self { costs, marginals: Marginals::Balanced, rounds: 1000, tolerance: 0.01 }
    }
}

impl Sinkhorn {
    /// Strength of the entropy. Default: a thousandth of the largest cost.
    pub fn epsilon(mut self, epsilon: Epsilon) -> Self {
        self.costs.epsilon = epsilon;
        self
    }

    /// Default: balanced.
    pub fn marginals(mut self, marginals: Marginals) -> Self {
        self.marginals = marginals;
        self
    }

    /// Default: the squared distance.
    pub fn ground(mut self, ground: Ground) -> Self {
        self.costs.ground = ground;
        self
    }

    /// Unit of distances. Default: pixels.
    pub fn coordinates(mut self, coordinates: Coordinates) -> Self {
        self.costs.coordinates = coordinates;
        self
    }

    /// Factor from one round's epsilon to the next, starting with the largest cost; `None` starts with the last epsilon.
    /// Default: 0.8.
    pub fn annealing(mut self, factor: Option<f64>) -> Self {
        self.costs.annealing = factor;
        self
    }

    /// Rounds at most; the schedule of epsilon is always completed. Default: 1000.
    pub fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds;
        self
    }

    /// Balanced: largest L1 error of what the annotations receive, as a share. Relaxed: largest relative error of any marginal.
    /// Default: 0.01.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Binds it to a batch of images.
    ///
    /// # Errors
    /// [`crate::Error::Empty`] for no image or no cell, [`crate::Error::Option`] for a number out of its range,
    /// [`crate::Error::Device`].
    pub fn on<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        scenes: &[Scene<'_>],
    ) -> Result<SinkhornLoss<R, P>> {
        let marginal = match self.marginals {
            Marginals::Balanced => Marginal::Exact,
            Marginals::Relaxed { rho } => {
                check_positive("rho", rho)?;
                Marginal::Relaxed { rho }
            }
        };
        let rules = Rules {
            ground: self.costs.ground.of_solver(),
            of_cells: marginal,
            of_points: marginal,
            form: Form::Joint(Measure::ProductOverMass),
            normalise: (self.marginals == Marginals::Balanced).then_some(0.0),
            alone: if let Marginals::Relaxed { rho } = self.marginals { rho } else { 0.0 },
        };
        let mass = |scene: &Scene<'_>| match self.marginals {
            Marginals::Balanced => 1.0 / scene.1.len().max(1) as f64,
            Marginals::Relaxed { .. } => 1.0,
        };
        let places = scenes.iter().map(|scene| self.costs.place(scene, mass(scene))).collect::<Result<Vec<_>>>()?;
        let solver = Solver::new(device, &places, rules, Stop { limit: self.rounds, tolerance: self.tolerance })?;
        let cells: usize = places.iter().map(|place| place.cells.len()).sum();
        let dots = device.upload_f64(&vec![0.0; cells]);
        Ok(SinkhornLoss { solver, balanced: self.marginals == Marginals::Balanced, dots })
    }
}

/// A [`Sinkhorn`] loss of a batch, on a device.
#[derive(Debug)]
pub struct SinkhornLoss<R: Runtime, P: Precision = Single> {
    solver: Arc<Solver<R, P>>,
    balanced: bool,
    /// None: the transport alone is differentiated.
    dots: Buffer<R, P::Real>,
}

impl<R: Runtime, P: Precision> SinkhornLoss<R, P> {
    /// Value, gradient and transported mass at `density`, `[cells of all images]`, mass per cell.
    ///
    /// # Errors
    /// [`crate::Error::NotFinite`] or [`crate::Error::OutOfRange`] naming the cell that holds no mass of 0 to 1e9, or the image
    /// without any mass; [`crate::Error::Device`], also with the lengths when they disagree.
    pub fn evaluate(&self, density: &Buffer<R, P::Real>) -> Result<Step<R, P>> {
        let solver = &self.solver;
        let solution = solver.solve(density, true)?;
        let outcome = solver.problem.outcome(&solver.device, &solution);
        let share = 1.0 / solver.images() as f64;
        let (values, gradient) = if self.balanced {
            let weights = Weights { transport: share, count: 0.0, variation: 0.0, pad: 0.0, valued: true };
            let terms = terms(&solver.device, &solver.problem, &solution, &outcome, [density, &self.dots], weights)?;
            (terms.values, terms.gradient)
        } else {
            let scaled = |buffer| arithmetic::combine(&solver.device, buffer, buffer, 0.0, share);
            (scaled(&outcome.values)?, scaled(&outcome.slope)?)
        };
        Ok(Step { solver: solver.clone(), solution, outcome, values, gradient })
    }

    /// The same with one density per image.
    ///
    /// # Errors
    /// [`crate::Error::Length`], and as [`evaluate`](Self::evaluate).
    pub fn evaluate_all(&self, densities: &[Buffer<R, P::Real>]) -> Result<Step<R, P>> {
        self.evaluate(&together(&self.solver, densities)?)
    }
}
