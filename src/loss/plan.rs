//! Derivatives of the loss by what its plan was made of.

pub use splatport_kernels::plan::PlanGradient;
use splatport_kernels::{
    Buffer, Error as DeviceError, Precision, Single,
    cubecl::Runtime,
    plan::{self, Slopes},
};

use super::{Loss, Step};
use crate::{Error, Result, kernel::parts};

/// One evaluation of a loss, with its derivatives by what the plan was made of.
#[derive(Debug, Clone)]
pub struct PlanStep<R: Runtime, P: Precision = Single> {
    /// Value, gradient by the density, transported mass.
    pub step: Step<R, P>,
    /// Derivatives by Gaussians and shares.
    pub by_plan: PlanGradient<R, P::Real>,
}

impl<R: Runtime, P: Precision> Loss<R, P> {
    /// [`evaluate`](Loss::evaluate), and the derivatives of the loss by the means, scales and rotations of the Gaussians and by the
    /// [shares](crate::Splat::mixed) that annotations have of them, so that a plan can be learned.
    ///
    /// With `a_in = z_i K_in (s_n - g_i)`, where `s` are the derivatives by the transported mass and `g` those by the density: a
    /// foreground logit is a Gaussian's log density plus the logarithm of its share, a soft background's that of the nearest
    /// Gaussian with its squared distance counted up (paper, Eqs. 7 to 11). A hard background's boundary has no derivative, and a
    /// scale that was [clipped](crate::kernel::ScaleClip) has none.
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
    /// As [`Loss::evaluate`]; [`Error::Missing`] for a kernel from a table, which does not say how its background was
    /// made, [with its splat](crate::Kernel::with_splat) or without; [`Error::Device`] with
    /// [`Unsupported`](DeviceError::Unsupported) for a transport cost or a
    /// [reciprocal background](crate::kernel::Background::Reciprocal).
    pub fn evaluate_plan(&self, density: &Buffer<R, P::Real>) -> Result<PlanStep<R, P>> {
        let kernel = &self.kernel;
        let what = "a stored kernel's record of its options";
        let remedy = "build it from its splat, with `Splat::kernel`";
        let origin = kernel.origin.as_ref().ok_or(Error::Missing { what, remedy })?;
        if self.terms.cost.is_some() {
            return Err(DeviceError::Unsupported { what: "derivatives of a transport cost by the plan" }.into());
        }
        let step = self.evaluate(density)?;
        let slopes = Slopes {
            density,
            by_mass: &step.evaluation.slope,
            by_density: &step.evaluation.gradient,
            scale: 1.0 / kernel.parts().len() as f64,
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
