//! What can be a differentiable operation.

use splatport_kernels::{Buffer, Device, Precision, cubecl::Runtime};

use crate::{Loss, Result};

/// A loss's value and gradient, on the device.
#[derive(Debug, Clone)]
pub struct Evaluated<R: Runtime, P: Precision> {
    /// What every image adds to the loss, `[images]`.
    pub values: Buffer<R, P::Real>,
    /// Derivative of the loss by the density, `[cells of all images]`.
    pub gradient: Buffer<R, P::Real>,
}

/// A loss that leaves its values and its gradient on the device, and knows the shapes of the densities that it takes.
///
/// [`losses::DensityLoss`](crate::losses::DensityLoss) is the same without Burn, with the value on the host.
pub trait TensorLoss<R: Runtime, P: Precision> {
    /// The device that it is computed on.
    fn device(&self) -> &Device<R, P>;

    /// Rows and columns of every image's density.
    fn shapes(&self) -> Vec<[usize; 2]>;

    /// Value and gradient at `density`, `[cells of all images]`, row by row, one image behind the other.
    ///
    /// # Errors
    /// The loss's own.
    fn evaluated(&self, density: &Buffer<R, P::Real>) -> Result<Evaluated<R, P>>;
}

impl<R: Runtime, P: Precision> TensorLoss<R, P> for Loss<R, P> {
    fn device(&self) -> &Device<R, P> {
        self.kernel().device()
    }

    fn shapes(&self) -> Vec<[usize; 2]> {
        self.kernel().parts().iter().map(|(_, grid)| [grid.rows() as usize, grid.columns() as usize]).collect()
    }

    fn evaluated(&self, density: &Buffer<R, P::Real>) -> Result<Evaluated<R, P>> {
        let step = self.evaluate(density)?;
        Ok(Evaluated { values: step.values_on_device().clone(), gradient: step.gradient().clone() })
    }
}
