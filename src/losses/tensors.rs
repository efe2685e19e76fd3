//! The losses as operations on Burn tensors.

use splatport_kernels::{Buffer, Cells, Device, Precision, cubecl::Runtime};

use super::{L2Loss, TransportLoss};
use crate::{
    Result,
    burn::{Evaluated, TensorLoss},
};

impl<R: Runtime, P: Precision> TensorLoss<R, P> for TransportLoss<R, P> {
    fn device(&self) -> &Device<R, P> {
        &self.device
    }

    fn shapes(&self) -> Vec<[usize; 2]> {
        shapes(self.problem.images())
    }

    fn evaluated(&self, density: &Buffer<R, P::Real>) -> Result<Evaluated<R, P>> {
        let step = self.evaluate(density)?;
        Ok(Evaluated { values: step.values, gradient: step.gradient })
    }
}

impl<R: Runtime, P: Precision> TensorLoss<R, P> for L2Loss<R, P> {
    fn device(&self) -> &Device<R, P> {
        &self.device
    }

    fn shapes(&self) -> Vec<[usize; 2]> {
        shapes(self.mosaic.images())
    }

    /// The values, one number an image, take the way through the host: on the device they stand among other sums.
    fn evaluated(&self, density: &Buffer<R, P::Real>) -> Result<Evaluated<R, P>> {
        let step = self.evaluate(density)?;
        Ok(Evaluated { values: self.device.upload_f64(&step.values()?), gradient: step.gradient().clone() })
    }
}

/// Rows and columns of every image.
fn shapes(images: &[(Cells, usize)]) -> Vec<[usize; 2]> {
    images.iter().map(|(cells, _)| [cells.rows as usize, cells.columns as usize]).collect()
}
