//! The simplest model: every cell of every image has its own density.

use splatport_kernels::{
    Buffer, Device, HostReal, Precision,
    cubecl::Runtime,
    softplus::{softplus, softplus_backward},
};

use super::{DensityModel, Gradients, Parameter};
use crate::{Batch, Error, Result};

/// One free number per cell and image; the density is its softplus, `ln(1 + exp(raw))`.
#[derive(Debug)]
pub struct FreeDensity<R: Runtime, P: Precision> {
    device: Device<R, P>,
    raw: Vec<Buffer<R, P::Real>>,
}

impl<R: Runtime, P: Precision> FreeDensity<R, P> {
    /// Starts every cell of every image of `batch` at `density` (mass per cell).
    ///
    /// # Errors
    /// [`Error::Option`] when `density` is not positive and finite.
    pub fn new(device: &Device<R, P>, batch: &Batch<R, P>, density: f64) -> Result<Self> {
        if !(density.is_finite() && density > 0.0) {
            return Err(Error::Option { name: "density", value: density, why: "must be positive and finite" });
        }
        // ln(e^d - 1) without overflow for large d.
        let raw = P::Real::cast_from_f64(density + (-(-density).exp()).ln_1p());
        let cells = |loss: &crate::Loss<R, P>| device.filled(raw, loss.kernel().grid().len());
        Ok(Self { device: device.clone(), raw: batch.losses().iter().map(cells).collect() })
    }

    /// The density of image `index`, `[cells]`, on the device.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when there is no such image.
    pub fn current(&self, index: usize) -> Result<Buffer<R, P::Real>> {
        let Some(raw) = self.raw.get(index) else {
            let (value, max) = (index as f64, self.raw.len() as f64 - 1.0);
            return Err(Error::OutOfRange { what: "image", index, value, min: 0.0, max });
        };
        Ok(softplus(&self.device, raw))
    }
}

impl<R: Runtime, P: Precision> DensityModel<R, P> for FreeDensity<R, P> {
    fn density(&mut self, index: usize) -> Result<Buffer<R, P::Real>> {
        self.current(index)
    }

    fn backward(&mut self, index: usize, gradient: &Buffer<R, P::Real>) -> Result<Gradients<R, P>> {
        let mut gradients = vec![None; self.raw.len()];
        gradients[index] = Some(softplus_backward(&self.device, &self.raw[index], gradient)?);
        Ok(gradients)
    }

    fn parameters(&self) -> Vec<Parameter<R, P>> {
        let named = |(index, values): (usize, &Buffer<_, _>)| Parameter {
            name: format!("density.{index}"),
            values: values.clone(),
        };
        self.raw.iter().enumerate().map(named).collect()
    }
}
