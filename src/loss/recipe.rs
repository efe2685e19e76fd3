//! A loss before it is bound: its options, and the recipe of the whole chain.

use serde::{Deserialize, Serialize};
use splatport_kernels::{Device, HostReal, Precision, Real, cubecl::Runtime, discrepancy::Discrepancy};

use super::Loss;
use crate::{Annotations, Error, Image, Kernel, KernelRecipe, Result, error::is_real, kernel::OnRecipe};

/// Everything about a loss except its kernel, targets and weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LossOptions {
    /// How transported mass and target are compared.
    #[serde(default)]
    pub discrepancy: Discrepancy,
    /// Weight of the transport cost, per px².
    pub transport_cost: f64,
}

impl LossOptions {
    /// Rejects options that are invalid, or that become invalid in the float `F`: 1e-50 is 0 in `f32`.
    pub(super) fn check<F: Real>(&self) -> Result<()> {
        if let Some((name, value)) = self.discrepancy.parameter()
            && !(is_real::<F>(value) && F::cast_from_f64(value) > F::from_int(0))
        {
            return Err(Error::Option { name, value, why: "must be positive and finite, in the device's float too" });
        }
        match self.transport_cost {
            weight if is_real::<F>(weight) => Ok(()),
            value => {
                Err(Error::Option { name: "transport cost", value, why: "must be finite, in the device's float too" })
            }
        }
    }
}

/// The whole chain `Splat -> Kernel -> Loss` as a value that needs neither device nor image and can be stored.
///
/// ```
/// use splatport::{Discrepancy, LossRecipe, splat::Solver};
///
/// let recipe: LossRecipe = splatport::recipe()
///     .solver(Solver::GaussNewton { steps: 20 })
///     .kernel(8)
///     .loss()
///     .discrepancy(Discrepancy::PoissonKl { least: 0.01 });
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "a recipe does nothing until `run` is called"]
pub struct LossRecipe {
    kernel: KernelRecipe<OnRecipe>,
    #[serde(flatten)]
    options: LossOptions,
}

impl LossRecipe {
    pub(crate) fn after(kernel: KernelRecipe<OnRecipe>) -> Self {
        Self { kernel, options: LossOptions::default() }
    }

    /// Sets how transported mass and target are compared, see [`Loss::discrepancy`]. Default: [`Discrepancy::L1`].
    pub fn discrepancy(mut self, discrepancy: Discrepancy) -> Self {
        self.options.discrepancy = discrepancy;
        self
    }

    /// Sets the weight of the transport cost, per px². Default: 0.
    pub fn transport_cost(mut self, weight: f64) -> Self {
        self.options.transport_cost = weight;
        self
    }

    /// Replaces all options.
    pub fn with_options(mut self, options: LossOptions) -> Self {
        self.options = options;
        self
    }

    /// All options.
    pub fn options(&self) -> &LossOptions {
        &self.options
    }

    /// The kernel's recipe.
    pub fn kernel(&self) -> &KernelRecipe<OnRecipe> {
        &self.kernel
    }

    /// Fits the splat, builds the kernel and returns the loss of one image.
    ///
    /// # Errors
    /// As [`crate::SplatRecipe::fit`] and [`KernelRecipe::build`]; [`Error::Option`] for an invalid weight or
    /// discrepancy.
    pub fn run<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        image: &Image,
        annotations: &Annotations,
    ) -> Result<Loss<R, P>> {
        self.options.check::<P::Real>()?;
        self.bind(self.kernel.run(device, image, annotations)?)
    }

    /// As [`run`](LossRecipe::run), for many images at once: the loss is their mean.
    ///
    /// # Errors
    /// As [`LossRecipe::run`], and [`Error::Empty`] for no image.
    pub fn run_all<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        images: &[(&Image, &Annotations)],
    ) -> Result<Loss<R, P>> {
        self.options.check::<P::Real>()?;
        self.bind(self.kernel.run_all(device, images)?)
    }

    fn bind<R: Runtime, P: Precision>(&self, kernel: Kernel<R, P>) -> Result<Loss<R, P>> {
        kernel.loss().discrepancy(self.options.discrepancy)?.transport_cost(self.options.transport_cost)
    }
}
