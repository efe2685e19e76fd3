//! Stage three: the training loss and its gradient.

use serde::{Deserialize, Serialize};
use splatport_kernels::{
    Buffer, Device, HostReal, Precision, Single, arithmetic, cost,
    cubecl::Runtime,
    discrepancy,
    reduce::{Reduction, reduce},
};

use crate::{Annotations, Error, Image, Kernel, KernelRecipe, Result, error::check_length, kernel::OnRecipe};

/// The Gaussian Spatial Transport loss of one image (paper, Eq. 6), on a device:
/// `L(z) = sum_n |(K' z)_n - t_n| + weight <z, c>`.
///
/// The sum runs over the annotations (target 1) and the background (target 0). The second term, off by default, is the
/// transport cost `W(diag(z) K)` with the squared distance between cell and annotation (paper, Eq. 2).
#[derive(Debug)]
pub struct Loss<R: Runtime, P: Precision = Single> {
    kernel: Kernel<R, P>,
    target: Buffer<R, P::Real>,
    /// Weight of the transport cost, and the cost of one unit of mass at every cell.
    cost: Option<(f64, Buffer<R, P::Real>)>,
}

/// One evaluation of a loss. Everything is on the device until asked for.
#[derive(Debug)]
pub struct Step<R: Runtime, P: Precision> {
    value: Buffer<R, P::Real>,
    gradient: Buffer<R, P::Real>,
    transported: Buffer<R, P::Real>,
}

impl<R: Runtime, P: Precision> Loss<R, P> {
    pub(crate) fn new(kernel: Kernel<R, P>) -> Self {
        let mut target = vec![1.0; kernel.annotations()];
        target.push(0.0);
        let target = kernel.device.upload_f64(&target);
        Self { kernel, target, cost: None }
    }

    /// Replaces the annotations' targets, one each (a crop's share of a box, for example); the background's stays 0.
    ///
    /// # Errors
    /// [`Error::Length`], or [`Error::NotFinite`] naming the annotation.
    pub fn targets(mut self, targets: &[f64]) -> Result<Self> {
        check_length("targets", self.kernel.annotations(), targets.len())?;
        if let Some(index) = targets.iter().position(|t| !t.is_finite()) {
            return Err(Error::NotFinite { what: "targets", index, value: targets[index] });
        }
        let mut target = targets.to_vec();
        target.push(0.0);
        self.target = self.kernel.device.upload_f64(&target);
        Ok(self)
    }

    /// Adds `weight` (the paper's lambda 2, per px²) times the transport cost; 0 takes it away.
    pub fn transport_cost(mut self, weight: f64) -> Self {
        self.cost = (weight != 0.0).then(|| {
            let kernel = &self.kernel;
            (weight, cost::cell_costs(&kernel.device, &kernel.entries, &kernel.gaussians))
        });
        self
    }

    /// The kernel it carries with.
    pub fn kernel(&self) -> &Kernel<R, P> {
        &self.kernel
    }

    /// Value, gradient and transported mass at `density`, `[cells]`.
    ///
    /// # Errors
    /// [`Error::Device`] with the lengths when `density` has not one value per cell, [`Error::Option`] when the transport
    /// cost's weight is not finite.
    pub fn evaluate(&self, density: &Buffer<R, P::Real>) -> Result<Step<R, P>> {
        self.scaled(density, 1.0)
    }

    /// `scale` times the loss, for a mean.
    fn scaled(&self, density: &Buffer<R, P::Real>, scale: f64) -> Result<Step<R, P>> {
        let device = &self.kernel.device;
        if let Some((weight, _)) = &self.cost
            && !weight.is_finite()
        {
            return Err(Error::Option { name: "transport cost", value: *weight, why: "must be finite" });
        }
        let transported = self.kernel.push_forward(density)?;
        let discrepancy = discrepancy::l1(device, &transported, &self.target)?;
        let mut value = reduce(device, &discrepancy.value, Reduction::Sum);
        let mut gradient = self.kernel.pull_back(&discrepancy.slope)?;
        if let Some((weight, costs)) = &self.cost {
            let cost = arithmetic::dot(device, density, costs)?;
            value = arithmetic::combine(device, &value, &cost, *weight, scale)?;
            gradient = arithmetic::combine(device, &gradient, costs, *weight, scale)?;
        } else if scale != 1.0 {
            value = arithmetic::combine(device, &value, &value, 0.0, scale)?;
            gradient = arithmetic::combine(device, &gradient, &gradient, 0.0, scale)?;
        }
        Ok(Step { value, gradient, transported })
    }
}

impl<R: Runtime, P: Precision> Step<R, P> {
    /// The loss.
    ///
    /// # Errors
    /// [`Error::Device`] when a launch failed.
    pub fn value(&self) -> Result<f64> {
        Ok(self.value.read_one()?.cast_to_f64())
    }

    /// Its derivative by the density, on the device, `[cells]`. Without a transport cost it lies in -1..1.
    pub fn gradient(&self) -> &Buffer<R, P::Real> {
        &self.gradient
    }

    /// Mass that each annotation got, on the device, `[annotations + 1]`, background last.
    pub fn transported(&self) -> &Buffer<R, P::Real> {
        &self.transported
    }
}

/// Losses of several images, of any sizes and numbers of annotations.
#[derive(Debug)]
pub struct Batch<R: Runtime, P: Precision = Single> {
    losses: Vec<Loss<R, P>>,
}

impl<R: Runtime, P: Precision> Batch<R, P> {
    /// A batch of at least one loss.
    ///
    /// # Errors
    /// [`Error::Empty`] for none.
    pub fn new(losses: Vec<Loss<R, P>>) -> Result<Self> {
        if losses.is_empty() {
            return Err(Error::Empty { what: "batch" });
        }
        Ok(Self { losses })
    }

    /// The losses, in order.
    pub fn losses(&self) -> &[Loss<R, P>] {
        &self.losses
    }

    /// The mean over the images: a step for each, scaled by one over their number. The mean itself is the sum of the
    /// steps' values.
    ///
    /// # Errors
    /// [`Error::Length`] when there is not one density per image, and as [`Loss::evaluate`].
    pub fn evaluate(&self, densities: &[Buffer<R, P::Real>]) -> Result<Vec<Step<R, P>>> {
        check_length("densities", self.losses.len(), densities.len())?;
        let scale = 1.0 / self.losses.len() as f64;
        self.losses.iter().zip(densities).map(|(loss, density)| loss.scaled(density, scale)).collect()
    }
}

/// The whole chain `Splat -> Kernel -> Loss` as a value: no device, no image, can be stored.
///
/// ```
/// use splatport::{LossRecipe, splat::Solver};
///
/// let recipe = splatport::recipe().solver(Solver::GaussNewton { steps: 20 }).kernel(8).loss();
/// # let _: &LossRecipe = &recipe;
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "a recipe does nothing until `run` is called"]
pub struct LossRecipe {
    kernel: KernelRecipe<OnRecipe>,
    transport_cost: f64,
}

impl LossRecipe {
    pub(crate) fn after(kernel: KernelRecipe<OnRecipe>) -> Self {
        Self { kernel, transport_cost: 0.0 }
    }

    /// Weight of the transport cost, per px². Default: 0.
    pub fn transport_cost(mut self, weight: f64) -> Self {
        self.transport_cost = weight;
        self
    }

    /// The kernel's recipe.
    pub fn kernel(&self) -> &KernelRecipe<OnRecipe> {
        &self.kernel
    }

    /// Fits, builds and returns the loss of one image.
    ///
    /// # Errors
    /// As [`crate::SplatRecipe::fit`] and [`KernelRecipe::build`]; [`Error::Option`] for a weight that is not finite.
    pub fn run<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        image: &Image,
        annotations: &Annotations,
    ) -> Result<Loss<R, P>> {
        self.check()?;
        Ok(self.kernel.run(device, image, annotations)?.loss().transport_cost(self.transport_cost))
    }

    /// The same for many images, whose splats are fitted together.
    ///
    /// # Errors
    /// As [`LossRecipe::run`].
    pub fn run_all<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        images: &[(&Image, &Annotations)],
    ) -> Result<Batch<R, P>> {
        self.check()?;
        let kernels = self.kernel.run_all(device, images)?;
        Batch::new(kernels.into_iter().map(|kernel| kernel.loss().transport_cost(self.transport_cost)).collect())
    }

    fn check(&self) -> Result<()> {
        if self.transport_cost.is_finite() {
            return Ok(());
        }
        let value = self.transport_cost;
        Err(Error::Option { name: "transport cost", value, why: "must be finite" })
    }
}
