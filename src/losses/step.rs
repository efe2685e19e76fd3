//! One evaluation of a loss that solves, and what every such loss stands on.

use std::sync::Arc;

use splatport_kernels::{
    Buffer, Device, HostReal, Precision, Single, arithmetic,
    cubecl::Runtime,
    sinkhorn::{Outcome, Place, PlanRows, Problem, Report, Rules, Solution, Stop},
};

use crate::{Error, Result, error::check_length};

/// A batch of images with rules, on a device.
#[derive(Debug)]
pub(super) struct Solver<R: Runtime, P: Precision> {
    pub device: Device<R, P>,
    pub problem: Problem<R, P>,
}

/// Most mass of a cell that solvers take.
const MOST: f64 = 1e9;

impl<R: Runtime, P: Precision> Solver<R, P> {
    pub fn new(device: &Device<R, P>, places: &[Place], rules: Rules, stop: Stop) -> Result<Arc<Self>> {
        if places.is_empty() {
            return Err(Error::Empty { what: "batch" });
        }
        if stop.limit == 0 {
            return Err(Error::Option { name: "rounds", value: 0.0, why: "must be at least 1" });
        }
        let problem = Problem::new(device, places, rules, stop)?;
        Ok(Arc::new(Self { device: device.clone(), problem }))
    }

    pub fn images(&self) -> usize {
        self.problem.images().len()
    }

    /// Solves for a density; `needs_mass` refuses one without any.
    pub fn solve(&self, density: &Buffer<R, P::Real>, needs_mass: bool) -> Result<Solution<R, P::Real>> {
        let solution = self.problem.solve(&self.device, density)?;
        if solution.reports().iter().any(|report| report.refused > 0) {
            return Err(refused(density)?);
        }
        let empty = |(report, (_, points)): (&Report, &(_, usize))| report.mass < 1e-20 && *points > 0;
        match solution.reports().iter().zip(self.problem.images()).position(empty) {
            Some(index) if needs_mass => {
                let (what, value) = ("mass of the density, image", solution.reports()[index].mass);
                Err(Error::OutOfRange { what, index, value, min: 1e-20, max: f64::MAX })
            }
            _ => Ok(solution),
        }
    }
}

/// The first value of a density that is no mass.
fn refused<R: Runtime, F: splatport_kernels::Real>(density: &Buffer<R, F>) -> Result<Error> {
    let values: Vec<f64> = density.read()?.into_iter().map(HostReal::cast_to_f64).collect();
    let index = values.iter().position(|z| !(0.0..=MOST).contains(z)).unwrap_or_default();
    let (what, value) = ("density", values.get(index).copied().unwrap_or_default());
    Ok(match value.is_finite() {
        true => Error::OutOfRange { what, index, value, min: 0.0, max: MOST },
        false => Error::NotFinite { what, index, value },
    })
}

/// One evaluation of a loss over a batch. Arrays are on the device until asked for.
#[derive(Debug)]
pub struct Step<R: Runtime, P: Precision = Single> {
    pub(super) solver: Arc<Solver<R, P>>,
    pub(super) solution: Solution<R, P::Real>,
    pub(super) outcome: Outcome<R, P::Real>,
    pub(super) values: Buffer<R, P::Real>,
    pub(super) gradient: Buffer<R, P::Real>,
}

impl<R: Runtime, P: Precision> Step<R, P> {
    /// The loss: the sum of [`values`](Self::values).
    ///
    /// # Errors
    /// [`Error::Device`] when a launch failed.
    pub fn value(&self) -> Result<f64> {
        Ok(self.values()?.iter().sum())
    }

    /// Every image's share of the loss.
    ///
    /// # Errors
    /// [`Error::Device`] when a launch failed.
    pub fn values(&self) -> Result<Vec<f64>> {
        wide(&self.values)
    }

    /// Derivative of the loss by the density, `[cells of all images]`.
    pub fn gradient(&self) -> &Buffer<R, P::Real> {
        &self.gradient
    }

    /// The gradient image by image.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn gradients(&self) -> Result<Vec<Buffer<R, P::Real>>> {
        let lengths = self.solver.problem.images().iter().map(|(cells, _)| cells.len());
        Ok(arithmetic::split(&self.solver.device, &self.gradient, lengths)?)
    }

    /// Mass that every annotation receives from the plan, `[annotations of all images]`.
    pub fn transported(&self) -> &Buffer<R, P::Real> {
        &self.outcome.received
    }

    /// How every image's solver ended.
    pub fn reports(&self) -> &[Report] {
        self.solution.reports()
    }

    /// The dual value of every image's transport problem, which the potentials prove the optimum not to be below, without
    /// weights.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn dual_values(&self) -> Result<Vec<f64>> {
        wide(&self.outcome.values)
    }

    /// What the plan costs without its entropy, `<C, P>`, for every image.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn costs(&self) -> Result<Vec<f64>> {
        let sums = wide(&self.solver.problem.cost(&self.solver.device, &self.solution))?;
        Ok(sums.chunks_exact(4).map(|sums| sums[0]).collect())
    }

    /// Potentials of cells and annotations, `[cells]` and `[annotations]` of all images, in the unit of the costs.
    pub fn potentials(&self) -> (Buffer<R, P::Real>, Buffer<R, P::Real>) {
        self.solver.problem.potentials(&self.solver.device, &self.solution)
    }

    /// The plan as sparse rows, without entries below `tau` over the number of annotations of their row's mass: no row loses
    /// more than `tau` of its mass.
    ///
    /// # Errors
    /// [`Error::Option`] unless `tau` is in 0..1; [`Error::Device`], also when the device has no room for it.
    pub fn plan(&self, tau: f64) -> Result<PlanRows<R, P::Real>> {
        if !(0.0..1.0).contains(&tau) {
            return Err(Error::Option { name: "tau", value: tau, why: "must be at least 0 and below 1" });
        }
        Ok(self.solver.problem.plan(&self.solver.device, &self.solution, tau)?)
    }
}

fn wide<R: Runtime, F: splatport_kernels::Real>(buffer: &Buffer<R, F>) -> Result<Vec<f64>> {
    Ok(buffer.read()?.into_iter().map(HostReal::cast_to_f64).collect())
}

/// One density after the other.
pub(super) fn together<R: Runtime, P: Precision>(
    solver: &Solver<R, P>,
    densities: &[Buffer<R, P::Real>],
) -> Result<Buffer<R, P::Real>> {
    check_length("densities", solver.images(), densities.len())?;
    for ((cells, _), density) in solver.problem.images().iter().zip(densities) {
        check_length("density", cells.len(), density.len())?;
    }
    Ok(arithmetic::concatenate(&solver.device, densities)?)
}
