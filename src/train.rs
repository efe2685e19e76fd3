//! A minimal trainer on top of the loss: a model gives densities, the loss gives their gradient, Adam does the rest.

mod checkpoint;
mod free_density;

use splatport_kernels::{
    Buffer, Device, HostReal, Precision,
    adam::{self, Adam, AdamState},
    cubecl::Runtime,
    reduce::{Reduction, reduce},
};

pub use free_density::FreeDensity;

use crate::{Batch, Error, Result, error::check_length};

/// Something with parameters that predicts a density for every image.
pub trait DensityModel<R: Runtime, P: Precision> {
    /// The density of image `index`, `[cells]`, on the device.
    ///
    /// # Errors
    /// The implementation's own.
    fn density(&mut self, index: usize) -> Result<Buffer<R, P::Real>>;

    /// Takes the loss's gradient by the density of image `index` and gives those by the parameters, in the order of
    /// [`parameters`](DensityModel::parameters); none for a parameter that had no part.
    ///
    /// # Errors
    /// The implementation's own.
    fn backward(&mut self, index: usize, gradient: &Buffer<R, P::Real>) -> Result<Vec<Option<Buffer<R, P::Real>>>>;

    /// The parameters, always in the same order. The trainer changes them in place.
    fn parameters(&self) -> Vec<Parameter<R, P>>;
}

/// A named array of parameters.
#[derive(Debug, Clone)]
pub struct Parameter<R: Runtime, P: Precision> {
    /// Name in checkpoints.
    pub name: String,
    /// The numbers, on the device.
    pub values: Buffer<R, P::Real>,
}

/// How an epoch went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Epochs done, from 1.
    pub epoch: u32,
    /// Mean loss over the images, before each one's step.
    pub loss: f64,
    /// Mean absolute error of the counts (density's mass against number of annotations).
    pub mae: f64,
    /// Root mean squared error of the counts.
    pub rmse: f64,
}

/// Trains a [`DensityModel`] on a batch of losses with Adam, one step for the whole batch.
///
/// ```
/// use splatport::{Annotations, Batch, Grid, Image, Splat, Vulkan, train::{FreeDensity, Trainer}};
///
/// let device = Vulkan::best()?;
/// let image = Image::from_u8(64, 64, 1, vec![0; 64 * 64])?;
/// let points = Annotations::new(vec![[20.0, 20.0], [40.0, 44.0]])?;
/// let splat = Splat::round(&device, &points, [64, 64], 8.0)?;
/// let batch = Batch::new(vec![splat.kernel(Grid::strided(&image, 8)).build()?.loss()])?;
///
/// let model = FreeDensity::new(&device, &batch, 0.01)?;
/// let mut trainer = Trainer::new(&device, &batch, model).rate(0.1);
/// let first = trainer.epoch()?;
/// for _ in 0..100 {
///     trainer.epoch()?;
/// }
/// assert!(trainer.epoch()?.loss < 0.2 * first.loss);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer<'a, R: Runtime, P: Precision, M> {
    device: Device<R, P>,
    batch: &'a Batch<R, P>,
    model: M,
    rule: Adam,
    states: Vec<AdamState<R, P::Real>>,
    epochs: u32,
}

impl<'a, R: Runtime, P: Precision, M: DensityModel<R, P>> Trainer<'a, R, P, M> {
    /// A trainer that has not stepped yet.
    pub fn new(device: &Device<R, P>, batch: &'a Batch<R, P>, model: M) -> Self {
        let states = model.parameters().iter().map(|p| AdamState::new(device, p.values.len())).collect();
        Self { device: device.clone(), batch, model, rule: Adam::default(), states, epochs: 0 }
    }

    /// Adam's step size. Default: 0.01.
    #[must_use]
    pub fn rate(mut self, rate: f64) -> Self {
        self.rule.rate = rate;
        self
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Epochs done.
    pub fn epochs(&self) -> u32 {
        self.epochs
    }

    /// One pass over the images and one step of the parameters.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when the loss is no number, [`Error::Option`] when the rate is none that is positive: the
    /// parameters are left as they were. [`Error::Device`], and the model's own.
    pub fn epoch(&mut self) -> Result<Epoch> {
        let rate = self.rule.rate;
        if !(rate.is_finite() && rate > 0.0) {
            return Err(Error::Option { name: "rate", value: rate, why: "must be positive and finite" });
        }
        let images = self.batch.losses().len();
        let densities = (0..images).map(|i| self.model.density(i)).collect::<Result<Vec<_>>>()?;
        let steps = self.batch.evaluate(&densities)?;
        let mut epoch = Epoch { epoch: self.epochs + 1, loss: 0.0, mae: 0.0, rmse: 0.0 };
        for ((loss, density), step) in self.batch.losses().iter().zip(&densities).zip(&steps) {
            let count = reduce(&self.device, density, Reduction::Sum).read_one()?.cast_to_f64();
            let error = count - loss.kernel().annotations() as f64;
            epoch.loss += step.value()?;
            epoch.mae += error.abs() / images as f64;
            epoch.rmse += error * error / images as f64;
        }
        epoch.rmse = epoch.rmse.sqrt();
        if !epoch.loss.is_finite() {
            let index = self.epochs as usize;
            return Err(Error::NotFinite { what: "loss of epoch", index, value: epoch.loss });
        }
        self.step(&steps)?;
        self.epochs += 1;
        Ok(epoch)
    }

    /// Adds up the images' gradients and steps.
    fn step(&mut self, steps: &[crate::loss::Step<R, P>]) -> Result<()> {
        let parameters = self.model.parameters();
        let mut totals: Vec<Option<Buffer<R, P::Real>>> = vec![None; parameters.len()];
        for (index, step) in steps.iter().enumerate() {
            let gradients = self.model.backward(index, step.gradient())?;
            check_length("gradients of the parameters", parameters.len(), gradients.len())?;
            for (total, gradient) in totals.iter_mut().zip(gradients) {
                *total = match (total.take(), gradient) {
                    (Some(a), Some(b)) => {
                        Some(splatport_kernels::transport::combine(&self.device, &a, &b, 1.0, 1.0)?)
                    }
                    (a, b) => a.or(b),
                };
            }
        }
        for ((parameter, total), state) in parameters.iter().zip(&totals).zip(&self.states) {
            if let Some(gradient) = total {
                adam::adam(&self.device, &parameter.values, gradient, state, self.rule, self.epochs + 1)?;
            }
        }
        Ok(())
    }
}
