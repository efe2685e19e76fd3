//! A batch whose transport problem is solved for every density, whichever loss it belongs to.

use std::sync::Arc;

use splatport_kernels::{
    Buffer, Device, Precision, Single, arithmetic,
    cubecl::Runtime,
    dm_count::{Terms, Weights, terms},
    relu::{relu, relu_backward},
    sinkhorn::{Form, GeneralizedWeights, Place, Problem, Rules, Stop},
};

use super::{
    Step,
    scenes::Solver,
    step::{joined, lengths, refused, without_mass},
};
use crate::{
    Error, Grid, Result,
    error::{check_array, check_finite},
};

/// A loss of a batch, on a device, that solves a transport problem for every density. It is made by `on` of
/// [`Sinkhorn`](super::Sinkhorn), [`DmCount`](super::DmCount), [`Unbalanced`](super::Unbalanced),
/// [`Generalized`](super::Generalized) and [`HeatmapTransport`](super::HeatmapTransport).
#[derive(Debug)]
pub struct TransportLoss<R: Runtime, P: Precision = Single> {
    pub(super) device: Device<R, P>,
    pub(super) problem: Arc<Problem<R, P>>,
    /// The mass that every annotation should receive.
    due: Arc<[f64]>,
    /// The cells of every image.
    grids: Arc<[Grid]>,
    ending: Ending<R, P>,
    solver: Solver,
}

/// How a solution becomes a loss.
#[derive(Debug)]
pub(super) enum Ending<R: Runtime, P: Precision> {
    /// The mean of the optima.
    Optimum,
    /// The transport of the density's shape, the count, and the variation against dots, `[cells]`.
    Shares { weights: Weights, dots: Option<Buffer<R, P::Real>>, needs_mass: bool },
    /// The same for maps that may be negative; with `single`, each has at most one point.
    Maps { weights: Weights, single: bool },
    /// The terms of Generalized loss: after the published rounds if `published`, else at the optimum.
    Generalized { weights: GeneralizedWeights, published: bool },
}

impl<R: Runtime, P: Precision> TransportLoss<R, P> {
    pub(super) fn new(
        device: &Device<R, P>,
        (grids, places): (Vec<Grid>, &[Place]),
        rules: Rules,
        stop: Stop,
        (ending, solver): (Ending<R, P>, Solver),
    ) -> Result<Self> {
        if places.is_empty() {
            return Err(Error::Empty { what: "batch" });
        }
        let problem = Arc::new(Problem::new(device, places, rules, stop)?);
        let due = places.iter().flat_map(|place| place.masses.iter().copied()).collect();
        Ok(Self { device: device.clone(), problem, due, grids: grids.into(), ending, solver })
    }

    /// Value, gradient and transported mass at `density`, `[cells of all images]`, mass per cell.
    ///
    /// # Errors
    /// [`Error::Length`] when `density` does not have one value per cell, [`Error::OtherDevice`] when it is not on the
    /// loss's device; [`Error::NotFinite`] or [`Error::OutOfRange`], naming the cell whose mass is not in 0 to 1e9 (a
    /// map's may be negative), or the image with annotations but no mass, where the loss has no value;
    /// [`Error::Device`].
    pub fn evaluate(&self, density: &Buffer<R, P::Real>) -> Result<Step<R, P>> {
        self.step(density, None)
    }

    /// Like [`evaluate`](Self::evaluate), but the solver starts where it ended for a similar density, such as that of
    /// the previous training step: from the annotations' [`potentials`](Step::potentials),
    /// `[annotations of all images]`, in the unit of the costs. The schedule of epsilon is skipped, and no round is
    /// made where the tolerance is already met. The result equals that of `evaluate` up to the tolerance, not bit for
    /// bit; that is why nothing is kept from step to step unless you ask for it.
    ///
    /// ```
    /// use splatport::{Annotations, Grid, Vulkan, losses::Sinkhorn};
    ///
    /// let device = Vulkan::best()?;
    /// let points = Annotations::new(vec![[12.0, 20.0], [50.5, 33.0], [40.0, 8.0]])?;
    /// let loss = Sinkhorn::default().on(&device, &[(Grid::over(64, 48, 8), &points)])?;
    /// let mut density = vec![0.05f32; 8 * 6];
    /// let first = loss.evaluate(&device.upload(&density))?;
    /// density[20] = 0.06;
    /// let next = loss.evaluate_from(&device.upload(&density), &first.potentials().1)?;
    /// assert!(next.reports()[0].converged && next.reports()[0].rounds < first.reports()[0].rounds);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate); [`Error::Length`] or [`Error::NotFinite`] for potentials that belong to other
    /// annotations or are not finite; [`Error::Device`] where the rounds are those of published code, which always
    /// start from scratch.
    pub fn evaluate_from(&self, density: &Buffer<R, P::Real>, potentials: &Buffer<R, P::Real>) -> Result<Step<R, P>> {
        let floored = matches!(self.problem.rules().form, Form::Floored { .. });
        if floored || matches!(self.ending, Ending::Generalized { published: true, .. }) {
            return Err(splatport_kernels::Error::Unsupported { what: "warm starts of published rounds" }.into());
        }
        let annotations = self.problem.images().iter().map(|image| image.1).sum();
        check_array("potentials", &self.device, annotations, potentials)?;
        check_finite("potentials", 1, &potentials.read_f64()?)?;
        self.step(density, Some(potentials))
    }

    fn step(&self, density: &Buffer<R, P::Real>, from: Option<&Buffer<R, P::Real>>) -> Result<Step<R, P>> {
        let (device, problem) = (&self.device, &self.problem);
        check_array("density", device, lengths(problem.images()).sum(), density)?;
        let maps = matches!(self.ending, Ending::Maps { .. }).then(|| relu(device, density));
        let masses = maps.as_ref().unwrap_or(density);
        let solution = match self.ending {
            Ending::Generalized { published: true, .. } => problem.solve_averaged(device, masses)?,
            Ending::Maps { single: true, .. } => problem.solve_single(device, masses)?,
            _ if self.solver == Solver::Newton => problem.solve_newton(device, masses, from)?,
            _ => problem.solve(device, masses, from)?,
        };
        if solution.reports().iter().any(|report| report.refused > 0) {
            return Err(refused(masses)?);
        }
        if !matches!(self.ending, Ending::Shares { needs_mass: false, .. } | Ending::Maps { .. }) {
            without_mass(problem, &solution)?;
        }
        let outcome = problem.outcome(device, &solution);
        let Terms { values, gradient } = match &self.ending {
            Ending::Optimum => {
                let share = 1.0 / problem.images().len() as f64;
                let scaled = |buffer| arithmetic::combine(device, buffer, buffer, 0.0, share);
                Terms { values: scaled(&outcome.values)?, gradient: scaled(&outcome.slope)? }
            }
            Ending::Shares { weights, dots, .. } => {
                terms(device, problem, &solution, &outcome, masses, dots.as_ref(), *weights)?
            }
            Ending::Maps { weights, .. } => terms(device, problem, &solution, &outcome, masses, None, *weights)?,
            Ending::Generalized { weights, .. } => {
                problem.generalized(device, &solution, &outcome.received, *weights)?
            }
        };
        let gradient = if maps.is_some() { relu_backward(device, density, &gradient)? } else { gradient };
        let (problem, due, grids) = (problem.clone(), self.due.clone(), self.grids.clone());
        Ok(Step { device: device.clone(), problem, due, grids, solution, outcome, values, gradient })
    }

    /// Like [`evaluate`](Self::evaluate), with one density per image.
    ///
    /// # Errors
    /// [`Error::Length`] for a wrong number of densities; otherwise as [`evaluate`](Self::evaluate).
    pub fn evaluate_all(&self, densities: &[Buffer<R, P::Real>]) -> Result<Step<R, P>> {
        self.evaluate(&joined(&self.device, lengths(self.problem.images()), densities)?)
    }
}
