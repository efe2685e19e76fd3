//! Gauss-Newton for many overlapping Gaussians at once, one small system each, all decisions on the device.
//!
//! **Coordinates.** A Gaussian's shape is half the logarithm of its covariance, `[[t + d, o], [o, t - d]]`: with
//! `r = sqrt(d^2 + o^2)` the scales are `e^(t + r)`, `e^(t - r)` and the rotation is `atan2(o, d) / 2`. No column of the
//! system vanishes for a round Gaussian, and a limit on the aspect is the disc `r <= ln(limit) / 2`.
//!
//! **System.** The residual's derivatives by shape, color (and mean) give each Gaussian its own normal matrix, from the
//! moments that [`crate::moments::moments`] sums. Its weight `w (w + S) / 2`, `S` the sum of all weights at the pixel,
//! lies half way between the Gaussian's own curvature and a bound on the curvature of all together (`w S`, by the
//! Cauchy-Schwarz inequality), so that Gaussians that overlap do not overshoot together.
//!
//! **Steps.** Every Gaussian has its own damping, step limit and momentum. Its share of the change is the trapezoid
//! `(g + g') . s / 2`, exact for a quadratic whatever the overlap; the damping follows that share against its prediction.
//! The whole step is kept when the objective falls.

mod judge;
mod point;
mod propose;
mod settle;
mod solve;
mod system;

use cubecl::prelude::*;

use self::{
    judge::weigh_step,
    point::{Layout, begin, write_kept},
    settle::{ObjectivesLaunch, SharesLaunch},
};
use crate::{
    Result,
    bins::Bins,
    buffer::Buffer,
    device::Device,
    gaussian::Gaussians,
    moments::{Moments, Sums},
    penalty::Penalty,
    real::{Precision, Real, real},
    reduce::{Reduction, reduce_into},
};

/// Numbers of the objective and its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// One over the number of values that the mean penalty, the priors' unit, is taken over.
    pub residual_norm: f64,
    /// Factor of `(t - t_initial)^2` times the mean penalty.
    pub size_prior: f64,
    /// Factor of `(ln s0 - ln s1)^2` times the mean penalty.
    pub aspect_prior: f64,
    /// Largest aspect.
    pub aspect_limit: f64,
    /// Least scale, px.
    pub least_scale: f64,
    /// Largest scale, px.
    pub largest_scale: f64,
    /// Least color: 0, or -1 for differences.
    pub least_color: f64,
    /// Width and height of the image, px: free means stay inside.
    pub size: [f64; 2],
    /// Gaussians from this one on move; those before stay on their annotations.
    pub free_from: u32,
}

impl Objective {
    fn launch<F: Real, R: Runtime>(&self, penalty: Penalty) -> TermsLaunch<F, R> {
        // The system works with half the derivative of the squared penalty, whose prior is then taken once; the absolute
        // penalty's derivative is taken whole, which doubles it.
        let prior = match penalty {
            Penalty::Squared => 1.0,
            Penalty::Absolute => 2.0,
        };
        TermsLaunch::new(
            real(self.residual_norm),
            real(prior),
            real(self.size_prior),
            real(self.aspect_prior),
            real((self.aspect_limit.ln() / 2.0).max(1e-6)),
            real(self.least_scale.max(1e-3).ln()),
            real(self.largest_scale.max(self.least_scale).ln()),
            real(self.least_color),
            real(self.size[0]),
            real(self.size[1]),
            self.free_from,
        )
    }
}

/// [`Objective`] as device functions see it.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Terms<F: Real> {
    pub residual_norm: F,
    pub prior: F,
    pub size_prior: F,
    pub aspect_prior: F,
    pub disc: F,
    pub least_t: F,
    pub largest_t: F,
    pub least_color: F,
    pub width: F,
    pub height: F,
    pub free_from: u32,
}

/// What a running solver remembers, on the device.
#[derive(Debug)]
pub struct GaussNewton<R: Runtime, F: Real> {
    /// Per Gaussian, see [`Layout`].
    state: Buffer<R, F>,
    /// Sums at the trial point, `[n, sums]`.
    fresh: Buffer<R, F>,
    /// Share of the change, its ratio to the prediction, and the slope at the trial along the step, `[n, 3]`.
    verdicts: Buffer<R, F>,
    /// 1 where the share is a rise, `[n]`.
    rises: Buffer<R, F>,
    /// Prior of the trial point, `[n]`.
    priors: Buffer<R, F>,
    /// `[steps + 1]` each: is any share a rise; the priors' sum at the trial; summed penalty and priors of what was kept.
    any_rise: Buffer<R, F>,
    trial_priors: Buffer<R, F>,
    kept: Buffer<R, F>,
    kept_priors: Buffer<R, F>,
    /// Systems whose solution was not finite and was left out, counted, `[n]`.
    repairs: Buffer<R, u32>,
    objective: Objective,
    sums: Sums,
}

impl<R: Runtime, F: Real> GaussNewton<R, F> {
    /// A solver for at most `steps` steps from `gaussians`, whose opacities are 1. They are rewritten within the
    /// solver's bounds: the longer axis first.
    ///
    /// # Errors
    /// [`crate::Error::Length`] when the parameters are no whole number of rows.
    pub fn new<P: Precision<Real = F>>(
        device: &Device<R, P>,
        gaussians: &Gaussians<R, F>,
        objective: Objective,
        sums: Sums,
        steps: u32,
    ) -> Result<Self> {
        gaussians.check()?;
        let layout = Layout { sums };
        let (count, history) = (gaussians.len(), steps as usize + 1);
        let zeros = |len: usize| device.filled(F::from_int(0), len);
        let solver = Self {
            state: zeros(count * layout.size()),
            fresh: zeros(count * layout.kinds()),
            verdicts: zeros(3 * count),
            rises: zeros(count),
            priors: zeros(count),
            any_rise: zeros(history),
            trial_priors: zeros(history),
            kept: zeros(history),
            kept_priors: zeros(history),
            repairs: device.filled(0u32, count),
            objective,
            sums,
        };
        if count > 0 {
            let (cubes, dim) = device.per_unit(count);
            begin::launch::<F, R>(
                device.client(),
                cubes,
                dim,
                gaussians.parameters.arg(),
                solver.state.arg(),
                solver.priors.arg(),
                objective.launch(sums.penalty),
                layout,
            );
        }
        Ok(solver)
    }

    /// Takes in the sums of the point that was last proposed (step 0: of the start).
    pub fn judge<P: Precision<Real = F>>(
        &self,
        device: &Device<R, P>,
        bins: &Bins<R>,
        moments: &Moments<R, F>,
        step: u32,
    ) {
        let (cubes, dim) = device.per_unit(self.rises.len());
        weigh_step::launch::<F, R>(
            device.client(),
            cubes,
            dim,
            moments.partial.arg(),
            bins.slot_starts.arg(),
            self.state.arg(),
            self.fresh.arg(),
            self.verdicts.arg(),
            self.rises.arg(),
            self.kept.arg(),
            self.objective.launch(self.sums.penalty),
            step,
            Layout { sums: self.sums },
        );
        reduce_into(device, &self.rises, Reduction::Largest, &self.any_rise, step as usize);
        reduce_into(device, &self.priors, Reduction::Sum, &self.trial_priors, step as usize);
    }

    /// Keeps or drops the judged point; `penalties[step]` is its summed penalty.
    pub fn settle<P: Precision<Real = F>>(&self, device: &Device<R, P>, penalties: &Buffer<R, F>, step: u32) {
        let (cubes, dim) = device.per_unit(self.rises.len());
        settle::settle::launch::<F, R>(
            device.client(),
            cubes,
            dim,
            self.state.arg(),
            SharesLaunch::new(self.fresh.arg(), self.verdicts.arg(), self.any_rise.arg()),
            ObjectivesLaunch::new(penalties.arg(), self.trial_priors.arg(), self.kept.arg(), self.kept_priors.arg()),
            real(self.objective.residual_norm),
            self.rises.len() as u32,
            step,
            Layout { sums: self.sums },
        );
    }

    /// Writes the next trial into `gaussians`.
    pub fn propose<P: Precision<Real = F>>(&self, device: &Device<R, P>, gaussians: &Gaussians<R, F>, step: u32) {
        let (cubes, dim) = device.per_unit(self.rises.len());
        propose::propose::launch::<F, R>(
            device.client(),
            cubes,
            dim,
            gaussians.parameters.arg(),
            self.state.arg(),
            self.priors.arg(),
            self.kept.arg(),
            self.repairs.arg(),
            self.objective.launch(self.sums.penalty),
            step,
            Layout { sums: self.sums },
        );
    }

    /// Writes what was kept into `gaussians`.
    pub fn finish<P: Precision<Real = F>>(&self, device: &Device<R, P>, gaussians: &Gaussians<R, F>) {
        let (cubes, dim) = device.per_unit(self.rises.len());
        write_kept::launch::<F, R>(
            device.client(),
            cubes,
            dim,
            gaussians.parameters.arg(),
            self.state.arg(),
            self.rises.len() as u32,
            Layout { sums: self.sums },
        );
    }

    /// Summed penalty of what was kept after every step, from step 0: `[steps + 1]`.
    pub fn kept(&self) -> &Buffer<R, F> {
        &self.kept
    }

    /// Systems whose solution was not finite, per Gaussian.
    pub fn repairs(&self) -> &Buffer<R, u32> {
        &self.repairs
    }
}
