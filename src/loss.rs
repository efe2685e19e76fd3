//! Stage three: the training loss and its gradient.

mod plan;
mod recipe;

pub use splatport_kernels::discrepancy::Discrepancy;
use splatport_kernels::{
    Buffer, HostReal, Precision, Single, cost,
    cubecl::Runtime,
    transport::{self, Evaluation, Terms},
};

pub use plan::{PlanGradient, PlanStep};
pub use recipe::{LossOptions, LossRecipe};

use crate::{
    Error, Grid, Kernel, Result, Splat,
    error::{check_length, check_real},
    losses::joined,
};

/// The Gaussian Spatial Transport loss of one image (paper, Eq. 6), on a device:
/// `L(z) = sum_n weight_n D((K' z)_n, t_n) + lambda <z, c>`.
///
/// The sum runs over the annotations (target 1) and the background (target 0). `D` is the absolute difference unless
/// another [`Discrepancy`] is chosen. The second term, off by default, is the transport cost `W(diag(z) K)`: `c_i` is
/// the cost of carrying a unit of mass from cell `i`, by the squared distance between cell and annotation (paper, Eq.
/// 2).
///
/// On a kernel of many images ([`Kernel::of_all`]) a density holds the cells of all images, one image after the other,
/// and the loss is the mean over the images. Cloning shares the memory.
///
/// ```
/// use splatport::{Annotations, Discrepancy, Grid, Splat, Vulkan};
///
/// let device = Vulkan::best()?;
/// let points = Annotations::new(vec![[8.0, 8.0], [24.0, 24.0]])?;
/// let splat = Splat::round(&device, &points, [32, 32], 4.0)?;
/// let grid = Grid::over(32, 32, 8);
/// let mut loss = splat.kernel(grid).build()?.loss().discrepancy(Discrepancy::L2)?;
/// let nothing = device.filled(0.0f32, loss.kernel().cells());
/// assert_eq!(loss.evaluate(&nothing)?.value()?, 2.0);
///
/// // In a training loop the next crop's kernel takes the place of the last one's.
/// loss.rebuild(&[(&splat, grid)])?;
/// loss.set_targets(&[1.0, 0.5])?;
/// assert_eq!(loss.evaluate(&nothing)?.value()?, 1.25);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Loss<R: Runtime, P: Precision = Single> {
    kernel: Kernel<R, P>,
    terms: Terms<R, P::Real>,
}

/// One evaluation of a loss. Everything is on the device until asked for.
///
/// ```
/// use splatport::{Annotations, Grid, Splat, Vulkan};
///
/// let device = Vulkan::best()?;
/// let splat = Splat::round(&device, &Annotations::new(vec![[8.0, 8.0]])?, [16, 16], 2.0)?;
/// let loss = splat.kernel(Grid::over(16, 16, 16)).build()?.loss();
/// let step = loss.evaluate(&device.upload(&[3.0f32]))?;
/// // One cell of mass 3: two too much for the annotation that owns it. The slope is that of the absolute difference.
/// assert_eq!((step.value()?, step.residuals()?[0]), (2.0, 2.0));
/// assert_eq!(step.gradient().read()?, [1.0]);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Step<R: Runtime, P: Precision = Single> {
    evaluation: Evaluation<R, P::Real>,
    target: Buffer<R, P::Real>,
}

impl<R: Runtime, P: Precision> Loss<R, P> {
    pub(crate) fn new(kernel: Kernel<R, P>) -> Self {
        let [target, weight] = units(&kernel);
        Self { kernel, terms: Terms { discrepancy: Discrepancy::L1, target, weight, cost: None } }
    }

    /// Replaces the annotations' targets, one each (for example, the share of a box inside a crop). The background's
    /// target stays 0.
    ///
    /// # Errors
    /// As [`set_targets`](Self::set_targets).
    pub fn targets(mut self, targets: &[f64]) -> Result<Self> {
        self.set_targets(targets)?;
        Ok(self)
    }

    /// As [`targets`](Self::targets), but in place, for a loss that was [rebuilt](Self::rebuild).
    ///
    /// # Errors
    /// [`Error::Length`], or [`Error::NotFinite`] or [`Error::OutOfRange`] (of the device's float) naming the
    /// annotation. After an error the loss is unchanged.
    pub fn set_targets(&mut self, targets: &[f64]) -> Result<()> {
        check_length("targets", self.kernel.annotations(), targets.len())?;
        check_real::<P::Real>("targets", targets)?;
        self.terms.target = by_column(&self.kernel, targets, 0.0);
        Ok(())
    }

    /// Replaces the weights of the annotations' discrepancies, one each, and the background's weight. All are 1 by
    /// default.
    ///
    /// # Errors
    /// As [`set_weights`](Self::set_weights).
    pub fn weights(mut self, weights: &[f64], background: f64) -> Result<Self> {
        self.set_weights(weights, background)?;
        Ok(self)
    }

    /// As [`weights`](Self::weights), but in place, for a loss that was [rebuilt](Self::rebuild).
    ///
    /// # Errors
    /// As [`set_targets`](Self::set_targets). After an error the loss is unchanged.
    pub fn set_weights(&mut self, weights: &[f64], background: f64) -> Result<()> {
        check_length("weights", self.kernel.annotations(), weights.len())?;
        check_real::<P::Real>("weights", weights)?;
        check_real::<P::Real>("weight of the background", &[background])?;
        self.terms.weight = by_column(&self.kernel, weights, background);
        Ok(())
    }

    /// Sets how transported mass and target are compared. Default: [`Discrepancy::L1`], as in the paper.
    ///
    /// A network that learns from scratch should use [`Discrepancy::PoissonKl`]. When a density is scaled by a factor,
    /// the slope of this discrepancy is `sum_i z_i - sum_n t_n` (as long as no annotation has less than the least
    /// mass), so whatever the network predicts, it is best scaled to as much mass as there are annotations. Under L1,
    /// every cell of the background is pushed down exactly as hard as a cell of an annotation is pushed up. If most
    /// cells are background, a network that cannot tell them apart yet ends at a density of 0 and stays there
    /// (EXPERIMENTS.md).
    ///
    /// # Errors
    /// [`Error::Option`] when its width or least mass, rounded to the device's float, is not positive and finite.
    pub fn discrepancy(mut self, discrepancy: Discrepancy) -> Result<Self> {
        LossOptions { discrepancy, ..LossOptions::default() }.check::<P::Real>()?;
        self.terms.discrepancy = discrepancy;
        Ok(self)
    }

    /// Adds `weight` (the paper's lambda 2, per px²) times the transport cost; a weight of 0 removes it. A kernel from
    /// a table needs its Gaussians for this: see [`Kernel::with_splat`].
    ///
    /// # Errors
    /// [`Error::Option`] when the weight, rounded to the device's float, is not finite; [`Error::Missing`] for a kernel
    /// from a table without its Gaussians.
    pub fn transport_cost(mut self, weight: f64) -> Result<Self> {
        LossOptions { transport_cost: weight, ..LossOptions::default() }.check::<P::Real>()?;
        let Kernel { device, entries, frames, .. } = &self.kernel;
        self.terms.cost = match frames {
            _ if weight == 0.0 => None,
            Some(frames) => Some((weight, cost::cell_costs(device, entries, frames))),
            None => {
                let what = "the splat of a kernel from a table";
                return Err(Error::Missing { what, remedy: "`Kernel::with_splat` gives it back" });
            }
        };
        Ok(self)
    }

    /// Rebuilds the kernel for other splats or grids, see [`Kernel::rebuild`]. Targets and weights are reset to 1
    /// ([`set_targets`](Self::set_targets) and [`set_weights`](Self::set_weights) set new ones); discrepancy and
    /// transport cost stay.
    ///
    /// # Errors
    /// As [`Kernel::rebuild`]. After an error the loss is unchanged.
    pub fn rebuild(&mut self, images: &[(&Splat<R, P>, Grid)]) -> Result<()> {
        self.kernel.rebuild(images)?;
        [self.terms.target, self.terms.weight] = units(&self.kernel);
        if let (Some((_, costs)), Some(frames)) = (&mut self.terms.cost, &self.kernel.frames) {
            *costs = cost::cell_costs(&self.kernel.device, &self.kernel.entries, frames);
        }
        Ok(())
    }

    /// The loss's kernel.
    pub fn kernel(&self) -> &Kernel<R, P> {
        &self.kernel
    }

    /// Turns the loss back into its kernel.
    pub fn into_kernel(self) -> Kernel<R, P> {
        self.kernel
    }

    /// Evaluates the loss at `density`, `[cells]`: value, gradient and transported mass, in three launches.
    ///
    /// # Errors
    /// [`Error::Length`] unless `density` has one value per cell, [`Error::OtherDevice`] if it is not on the kernel's
    /// device, [`Error::Device`].
    pub fn evaluate(&self, density: &Buffer<R, P::Real>) -> Result<Step<R, P>> {
        self.kernel.check_density(density)?;
        let scale = 1.0 / self.kernel.parts().len() as f64;
        let evaluation = transport::evaluate(&self.kernel.device, &self.kernel.entries, density, &self.terms, scale)?;
        Ok(Step { evaluation, target: self.terms.target.clone() })
    }

    /// As [`evaluate`](Self::evaluate), with a separate density for each image.
    ///
    /// # Errors
    /// [`Error::Length`] for a wrong number of densities, and as [`evaluate`](Self::evaluate).
    pub fn evaluate_all(&self, densities: &[Buffer<R, P::Real>]) -> Result<Step<R, P>> {
        let cells = self.kernel.parts().iter().map(|(_, grid)| grid.len());
        self.evaluate(&joined(&self.kernel.device, cells, densities)?)
    }
}

/// Default targets and weights of a loss.
fn units<R: Runtime, P: Precision>(kernel: &Kernel<R, P>) -> [Buffer<R, P::Real>; 2] {
    let ones = vec![1.0; kernel.annotations()];
    [0.0, 1.0].map(|background| by_column(kernel, &ones, background))
}

/// Values of the annotations, each image's followed by the value of its background.
fn by_column<R: Runtime, P: Precision>(kernel: &Kernel<R, P>, values: &[f64], background: f64) -> Buffer<R, P::Real> {
    let mut rest = values;
    let mut columns = Vec::with_capacity(values.len() + kernel.parts().len());
    for &(annotations, _) in kernel.parts() {
        let (own, others) = rest.split_at(annotations);
        columns.extend_from_slice(own);
        columns.push(background);
        rest = others;
    }
    kernel.device.upload_f64(&columns)
}

impl<R: Runtime, P: Precision> Step<R, P> {
    /// The value of the loss.
    ///
    /// # Errors
    /// [`Error::Device`] when a launch failed.
    pub fn value(&self) -> Result<f64> {
        Ok(self.values()?.into_iter().sum())
    }

    /// What each image adds to the loss.
    ///
    /// # Errors
    /// [`Error::Device`] when a launch failed.
    pub fn values(&self) -> Result<Vec<f64>> {
        Ok(self.evaluation.value.read_f64()?)
    }

    /// What each image adds to the loss, on the device, `[images]`.
    pub fn values_on_device(&self) -> &Buffer<R, P::Real> {
        &self.evaluation.value
    }

    /// The gradient of the loss with respect to the density, on the device, `[cells]`. Under L1, with weights of at
    /// most 1 and without a transport cost, it lies in -1..1.
    pub fn gradient(&self) -> &Buffer<R, P::Real> {
        &self.evaluation.gradient
    }

    /// The mass that each column of the [kernel](Kernel::columns) got, on the device, `[columns]`.
    pub fn transported(&self) -> &Buffer<R, P::Real> {
        &self.evaluation.mass
    }

    /// The excess of each column: transported mass minus target, negative if it got too little, `[columns]`.
    ///
    /// # Errors
    /// [`Error::Device`] when a launch failed.
    pub fn residuals(&self) -> Result<Vec<f64>> {
        let (mass, target) = self.evaluation.mass.read_with(&self.target)?;
        Ok(mass.into_iter().zip(target).map(|(mass, target)| mass.cast_to_f64() - target.cast_to_f64()).collect())
    }
}
