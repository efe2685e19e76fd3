//! Derivatives of the loss with respect to what its plan was made from.

pub use splatport_kernels::plan::PlanGradient;
use splatport_kernels::{
    Buffer, Precision, Single,
    cubecl::Runtime,
    plan::{self, Slopes},
};

use super::{Loss, Step};
use crate::{Error, Result, kernel::parts};

/// One evaluation of a loss, with its derivatives with respect to the Gaussians and shares that the plan was made from.
#[derive(Debug, Clone)]
pub struct PlanStep<R: Runtime, P: Precision = Single> {
    /// Value, gradient with respect to the density, transported mass.
    pub step: Step<R, P>,
    /// Derivatives with respect to Gaussians and shares.
    pub by_plan: PlanGradient<R, P::Real>,
}

impl<R: Runtime, P: Precision> Loss<R, P> {
    /// Evaluates the loss as [`evaluate`](Loss::evaluate) does, and differentiates it with respect to the means, scales
    /// and rotations of the Gaussians and to the [shares](crate::Splat::mixed) that annotations have of them, so that a
    /// plan can be learned.
    ///
    /// The derivative with respect to a logit is `a_in = z_i K_in (s_n - g_i)`, where `s` are the derivatives with
    /// respect to the transported mass and `g` those with respect to the density. A foreground logit is a Gaussian's
    /// log density plus the logarithm of its share; a soft background's is that of the nearest Gaussian, but with its
    /// squared distance added (paper, Eqs. 7 to 11). A [transport cost](Loss::transport_cost) adds its price to `s`, and
    /// its own derivative to the means. A hard background's boundary has no derivative, nor has a scale that was
    /// [clipped](crate::kernel::ScaleClip).
    ///
    /// ```
    /// use splatport::{Annotations, Grid, Splat, Vulkan, kernel::Background};
    ///
    /// // All mass lies between the points, nearer to the second.
    /// let device = Vulkan::best()?;
    /// let points = Annotations::new(vec![[4.0, 4.0], [28.0, 4.0]])?;
    /// let splat = Splat::round(&device, &points, [32, 8], 8.0)?;
    /// let loss = splat.kernel(Grid::over(32, 8, 8)).background(Background::None).build()?.loss();
    /// let by_plan = loss.evaluate_plan(&device.upload(&[0.0, 0.0, 2.0, 0.0f32]))?.by_plan;
    ///
    /// // Mean x and y, scale 0 and 1, rotation of each Gaussian: the first one should grow to get its share.
    /// let slopes = by_plan.parameters.read()?;
    /// assert!(slopes[2] < 0.0);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Loss::evaluate`]; [`Error::Missing`] for a kernel from a table, [with its splat](crate::Kernel::with_splat)
    /// or without, because a table does not say how its background was made.
    pub fn evaluate_plan(&self, density: &Buffer<R, P::Real>) -> Result<PlanStep<R, P>> {
        let kernel = &self.kernel;
        let what = "a stored kernel's record of its options";
        let remedy = "build it from its splat, with `Splat::kernel`";
        let origin = kernel.origin.as_ref().ok_or(Error::Missing { what, remedy })?;
        let step = self.evaluate(density)?;
        let slopes = Slopes {
            density,
            by_mass: &step.evaluation.slope,
            by_density: &step.evaluation.gradient,
            scale: 1.0 / kernel.parts().len() as f64,
            cost: self.terms.cost.as_ref().map(|(price, _)| *price).zip(kernel.frames.as_ref()),
        };
        let made_of = plan::Origin {
            kernel: &kernel.entries,
            frames: &origin.frames,
            mixture: origin.mixture(&kernel.device)?,
            background: origin.background,
        };
        let by_plan = plan::gradient(&kernel.device, &made_of, &parts(&origin.sources), &slopes)?;
        Ok(PlanStep { step, by_plan })
    }
}
