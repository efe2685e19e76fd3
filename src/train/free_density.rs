//! The simplest model: every cell of every image has its own density.

use splatport_kernels::{
    Buffer, Device, HostReal, Precision,
    cubecl::Runtime,
    softplus::{softplus, softplus_backward},
};

use super::{DensityModel, Gradients, Parameter};
use crate::{Error, Loss, Result, error::check_device};

/// One free number per cell of every image; the density is its softplus, `ln(1 + exp(raw))`.
#[derive(Debug)]
pub struct FreeDensity<R: Runtime, P: Precision> {
    device: Device<R, P>,
    raw: Buffer<R, P::Real>,
}

impl<R: Runtime, P: Precision> FreeDensity<R, P> {
    /// A model that starts every cell of every image of `loss` at `density` (mass per cell).
    ///
    /// # Errors
    /// [`Error::Option`] when `density` is not positive and finite, [`Error::OtherDevice`] when the loss is on another
    /// device, [`Error::Device`].
    pub fn new(device: &Device<R, P>, loss: &Loss<R, P>, density: f64) -> Result<Self> {
        if !(density.is_finite() && density > 0.0) {
            return Err(Error::Option { name: "density", value: density, why: "must be positive and finite" });
        }
        check_device("loss", device, loss.kernel().device().client())?;
        // ln(e^d - 1) without overflow for large d.
        let raw = P::Real::cast_from_f64(density + (-(-density).exp()).ln_1p());
        Ok(Self { device: device.clone(), raw: device.filled(raw, loss.kernel().cells()) })
    }

    /// The densities of all images, one after the other, `[cells]`, on the device.
    pub fn current(&self) -> Buffer<R, P::Real> {
        softplus(&self.device, &self.raw)
    }
}

impl<R: Runtime, P: Precision> DensityModel<R, P> for FreeDensity<R, P> {
    fn density(&mut self) -> Result<Buffer<R, P::Real>> {
        Ok(self.current())
    }

    fn backward(&mut self, gradient: &Buffer<R, P::Real>) -> Result<Gradients<R, P>> {
        Ok(vec![Some(softplus_backward(&self.device, &self.raw, gradient)?)])
    }

    fn parameters(&self) -> Vec<Parameter<R, P>> {
        vec![Parameter { name: "density".to_owned(), values: self.raw.clone() }]
    }
}
