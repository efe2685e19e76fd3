//! The default solver: few large steps.

use splatport_kernels::{
    Buffer, Gaussians, Precision,
    cubecl::Runtime,
    gauss_newton::{GaussNewton, Objective},
};

use super::{
    Fitted, Part, Problem,
    run::{State, Stepper},
};
use crate::{Result, splat::Progress};

/// The fit ends when a batch of steps reduced the loss by no more than this share of it (by nothing, once the loss is
/// 0).
const ENOUGH: f64 = 1e-4;
/// Smaller residuals are replaced by this in the absolute penalty's slope and curvature: just under one 8-bit level.
const FLOOR: f64 = 3e-3;

struct Steps<'a, R: Runtime, P: Precision> {
    problem: &'a Problem<'a, R, P>,
    solver: GaussNewton<R, P::Real>,
}

impl<R: Runtime, P: Precision> Stepper<R, P> for Steps<'_, R, P> {
    const EVERY: u32 = 5;
    const GROWTH: f64 = 1.15;
    const MOVES_AT_ONCE: bool = false;

    fn step(&self, state: &State<'_, R, P>, step: u32, _last: bool) -> Result<()> {
        let (moved, seen) = ((state.gaussians, &state.frames), (&state.listed, &state.look));
        self.solver.step(self.problem.device, moved, seen, (&state.clock, step));
        Ok(())
    }

    fn history(&self, _from: u32, _to: u32) -> &Buffer<R, P::Real> {
        self.solver.kept()
    }

    /// Whether the last batch of steps gained too little to go on.
    fn is_settled(&self, losses: &[f64]) -> bool {
        let Some(&last) = losses.last() else { return false };
        let before = losses.len().checked_sub(1 + Self::EVERY as usize).map(|at| losses[at]);
        before.is_some_and(|before| before - last <= ENOUGH * last)
    }

    fn finish(&self, state: &State<'_, R, P>) {
        self.solver.finish(self.problem.device, state.gaussians);
    }

    fn repairs(&self) -> &Buffer<R, u32> {
        self.solver.repairs()
    }
}

impl<R: Runtime, P: Precision> Problem<'_, R, P> {
    pub(super) fn gauss_newton(
        &self,
        steps: u32,
        on_step: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Vec<Fitted<R, P::Real>>> {
        let parameters = self.device.try_upload_f64("Gaussians", &self.start())?;
        let gaussians = Gaussians { parameters, channels: self.channels };
        let sums = self.sums(true);
        let objectives: Vec<Objective> = self.parts.iter().map(|part| self.bounded_objective(part)).collect();
        let solver = GaussNewton::new(self.device, &gaussians, &self.mosaic, &objectives, sums, steps)?;
        let stepper = Steps { problem: self, solver };
        self.run(&stepper, &gaussians, steps, (sums, FLOOR), on_step)
    }

    fn bounded_objective(&self, part: &Part<'_>) -> Objective {
        let [size_prior, aspect_prior] = self.priors();
        let size = [f64::from(part.cells.columns), f64::from(part.cells.rows)];
        Objective {
            residual_norm: part.residual_norm,
            size_prior,
            aspect_prior,
            aspect_limit: self.options.shape.limit,
            least_scale: self.least_scale(),
            largest_scale: 0.25 * size[0].max(size[1]),
            least_color: if self.options.signed() { -1.0 } else { 0.0 },
            size,
            free_from: part.annotations.len() as u32,
        }
    }
}
