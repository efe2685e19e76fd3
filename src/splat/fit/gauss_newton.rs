//! The default solver: few large steps.

use splatport_kernels::{
    HostReal, Precision,
    cubecl::Runtime,
    gauss_newton::{GaussNewton, Objective},
};

use super::{Fitted, Problem, finite};
use crate::{Result, splat::Progress};

/// Steps between two looks at the losses.
const BUNCH: u32 = 5;
/// The fit ends when a bunch of steps brought less than this share of the loss.
const ENOUGH: f64 = 1e-4;
/// Residuals below this count as this in the absolute penalty's slope and curvature: just under one 8-bit level.
const FLOOR: f64 = 3e-3;

impl<R: Runtime, P: Precision> Problem<'_, R, P> {
    pub(super) fn gauss_newton(&self, steps: u32, on_step: &mut dyn FnMut(Progress) -> bool) -> Result<Fitted<R, P>> {
        let device = self.device;
        let gaussians = self.start();
        let sums = self.sums(true);
        let solver = GaussNewton::new(device, &gaussians, self.bounded_objective(), sums, steps)?;
        let penalties = device.filled(P::Real::cast_from_f64(0.0), steps as usize + 1);
        let (mut losses, mut told) = (Vec::new(), 0);
        for step in 0..=steps {
            let bins = self.bins(&gaussians, None, 0.0)?;
            let frames = self.frames(&gaussians)?;
            let scene = self.scene(&frames, &bins);
            let moments = self.evaluate(&scene, (sums, FLOOR), &penalties, step)?;
            solver.judge(device, &bins, &moments, step);
            solver.settle(device, &penalties, step);
            if step % BUNCH == 0 || step == steps {
                let known = losses.len();
                let kept = solver.kept().read()?;
                losses.extend(kept[known..=step as usize].iter().map(|sum| sum.cast_to_f64() * self.norm));
                finite(&losses[known..], known)?;
                let tell = |at: usize| Progress { step: at as u32 + 1, steps, loss: losses[at] };
                let stop = (told..step as usize).any(|at| on_step(tell(at)));
                told = step as usize;
                if stop || step == steps || settled(&losses) {
                    break;
                }
            }
            solver.propose(device, &gaussians, step);
        }
        solver.finish(device, &gaussians);
        let repairs = solver.repairs().read()?.into_iter().map(u64::from).sum();
        Ok(Fitted { gaussians, losses, repairs })
    }

    fn bounded_objective(&self) -> Objective {
        let prior = |width: Option<f64>| width.map_or(0.0, |width| 1.0 / (width * width));
        let size = [f64::from(self.cells.columns), f64::from(self.cells.rows)];
        Objective {
            residual_norm: self.residual_norm,
            size_prior: prior(self.options.prior.map(|p| p.size)),
            aspect_prior: prior(self.options.prior.map(|p| p.aspect)),
            aspect_limit: self.options.shape.limit,
            least_scale: self.least_scale(),
            largest_scale: 0.25 * size[0].max(size[1]),
            least_color: if self.options.signed() { -1.0 } else { 0.0 },
            size,
            free_from: self.bound as u32,
        }
    }
}

/// Whether the last bunch of steps was not worth another one.
fn settled(losses: &[f64]) -> bool {
    let Some(&last) = losses.last() else { return false };
    let before = losses.len().checked_sub(1 + BUNCH as usize).map(|at| losses[at]);
    before.is_some_and(|before| before - last < ENOUGH * last)
}
