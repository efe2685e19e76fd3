//! A minimal trainer on top of the loss: a model predicts densities, the loss gives their gradient, Adam updates the
//! parameters.

mod checkpoint;
mod free_density;

use splatport_kernels::{
    Buffer, Device, Precision, Single,
    adam::{self, Adam, AdamState},
    cubecl::Runtime,
};

#[doc(hidden)]
pub use checkpoint::check_checkpoint;
pub use free_density::FreeDensity;

use crate::{
    Error, Loss, Result,
    error::{check_device, check_length},
};

/// Gradients with respect to a model's parameters, in their order. `None` for a parameter that the density does not
/// depend on.
pub type Gradients<R, P> = Vec<Option<Buffer<R, <P as Precision>::Real>>>;

/// Something with parameters that predicts a density for every image.
pub trait DensityModel<R: Runtime, P: Precision> {
    /// The densities of all images, one after the other, `[cells]`, on the device.
    ///
    /// # Errors
    /// The implementation's own. Wrap errors of other crates with [`Error::model`].
    fn density(&mut self) -> Result<Buffer<R, P::Real>>;

    /// Takes the loss's gradient with respect to the densities and returns those with respect to the parameters, in the
    /// order of [`parameters`](DensityModel::parameters).
    ///
    /// # Errors
    /// The implementation's own. Wrap errors of other crates with [`Error::model`].
    fn backward(&mut self, gradient: &Buffer<R, P::Real>) -> Result<Gradients<R, P>>;

    /// The parameters, always in the same order. The trainer changes them in place.
    fn parameters(&self) -> Vec<Parameter<R, P>>;
}

/// A named array of parameters.
#[derive(Debug, Clone)]
pub struct Parameter<R: Runtime, P: Precision = Single> {
    /// Name in checkpoints.
    pub name: String,
    /// The numbers, on the device.
    pub values: Buffer<R, P::Real>,
}

/// How an epoch went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Number of epochs done, from 1.
    pub epoch: u32,
    /// Mean loss over the images, before the step.
    pub loss: f64,
    /// Mean absolute error of the counts (mass of the density against number of annotations).
    pub mae: f64,
    /// Root mean squared error of the counts.
    pub rmse: f64,
}

/// Trains a [`DensityModel`] with Adam on a loss of one image or many, taking one step per epoch for all of them
/// together.
///
/// ```
/// use splatport::{Annotations, Grid, Image, Splat, Vulkan, train::{FreeDensity, Trainer}};
///
/// let device = Vulkan::best()?;
/// let image = Image::from_u8(64, 64, 1, vec![0; 64 * 64])?;
/// let points = Annotations::new(vec![[20.0, 20.0], [40.0, 44.0]])?;
/// let splat = Splat::round(&device, &points, [64, 64], 8.0)?;
/// let loss = splat.kernel(Grid::strided(&image, 8)).build()?.loss();
///
/// let model = FreeDensity::new(&device, &loss, 0.01)?;
/// let mut trainer = Trainer::new(&device, &loss, model).rate(0.1);
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
    loss: &'a Loss<R, P>,
    model: M,
    rule: Adam,
    states: Vec<AdamState<R, P::Real>>,
    epochs: u32,
}

impl<'a, R: Runtime, P: Precision, M: DensityModel<R, P>> Trainer<'a, R, P, M> {
    /// A trainer that has not stepped yet.
    pub fn new(device: &Device<R, P>, loss: &'a Loss<R, P>, model: M) -> Self {
        let states = model.parameters().iter().map(|p| AdamState::new(device, p.values.len())).collect();
        Self { device: device.clone(), loss, model, rule: Adam::default(), states, epochs: 0 }
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

    /// Returns the trained model.
    pub fn into_model(self) -> M {
        self.model
    }

    /// Number of epochs done.
    pub fn epochs(&self) -> u32 {
        self.epochs
    }

    /// One pass over the images and one step of the parameters.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when the loss is NaN or infinite, [`Error::Option`] when the rate is not positive and
    /// finite, [`Error::OutOfRange`] when no more epochs can be counted; after these the parameters are unchanged.
    /// [`Error::OtherDevice`] when the loss or a parameter is not on the trainer's device; [`Error::Device`], and the
    /// model's own.
    pub fn epoch(&mut self) -> Result<Epoch> {
        let rate = self.rule.rate;
        if !(rate.is_finite() && rate > 0.0) {
            return Err(Error::Option { name: "rate", value: rate, why: "must be positive and finite" });
        }
        let (what, value, max) = ("epochs", f64::from(self.epochs), f64::from(u32::MAX - 1));
        let next = self.epochs.checked_add(1).ok_or(Error::OutOfRange { what, index: 0, value, min: 0.0, max })?;
        check_device("loss", &self.device, self.loss.kernel().device().client())?;
        for parameter in self.model.parameters() {
            check_device("parameter of the model", &self.device, parameter.values.client())?;
        }
        let density = self.model.density()?;
        let step = self.loss.evaluate(&density)?;
        let parts = self.loss.kernel().parts();
        let mut epoch = Epoch { epoch: next, loss: step.value()?, mae: 0.0, rmse: 0.0 };
        let mut mass = step.transported().read_f64()?.into_iter();
        for (annotations, _) in parts {
            // All of an image's mass arrives somewhere: at its annotations or at its background.
            let error = mass.by_ref().take(annotations + 1).sum::<f64>() - *annotations as f64;
            epoch.mae += error.abs() / parts.len() as f64;
            epoch.rmse += error * error / parts.len() as f64;
        }
        epoch.rmse = epoch.rmse.sqrt();
        if !epoch.loss.is_finite() {
            let index = self.epochs as usize;
            return Err(Error::NotFinite { what: "loss of epoch", index, value: epoch.loss });
        }
        let (parameters, gradients) = (self.model.parameters(), self.model.backward(step.gradient())?);
        check_length("gradients of the parameters", parameters.len(), gradients.len())?;
        for ((parameter, gradient), state) in parameters.iter().zip(&gradients).zip(&self.states) {
            if let Some(gradient) = gradient {
                adam::adam(&self.device, &parameter.values, gradient, state, self.rule, next)?;
            }
        }
        self.epochs = next;
        Ok(epoch)
    }
}
