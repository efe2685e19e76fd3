//! The interface that all losses share.

use splatport_kernels::{Buffer, Cells, Device, Precision, cubecl::Runtime};

use super::{L2Loss, TransportLoss};
use crate::{Loss, Result};

/// Any loss of a batch of densities: all that a training loop needs to try every one of them.
///
/// ```
/// use splatport::{Annotations, Grid, Vulkan, losses::{Bayesian, DensityLoss, DmCount, DmProfile, L2, Scales}};
///
/// let device = Vulkan::best()?;
/// let points = Annotations::new(vec![[12.0, 20.0], [50.5, 33.0]])?;
/// let scenes = [(Grid::over(64, 48, 8), &points)];
/// let losses: Vec<Box<dyn DensityLoss<_, _>>> = vec![
///     Box::new(L2::new(Scales::Fixed(8.0)).on(&device, &scenes)?),
///     Box::new(Bayesian::default().on(&device, &scenes)?),
///     Box::new(DmCount::new(DmProfile::default()).on(&device, &scenes)?),
/// ];
/// for loss in losses {
///     let (value, gradient) = loss.value_and_gradient(&device.filled(0.05, 48))?;
///     assert!(value > 0.0 && gradient.len() == 48);
/// }
/// # Ok::<(), splatport::Error>(())
/// ```
pub trait DensityLoss<R: Runtime, P: Precision> {
    /// The device that the loss is computed on.
    fn device(&self) -> &Device<R, P>;

    /// Rows and columns of every image's density.
    fn shapes(&self) -> Vec<[usize; 2]>;

    /// Value and gradient on the device, at `density`, `[cells of all images]`, row by row, one image after the other.
    ///
    /// # Errors
    /// As the loss's own `evaluate`.
    fn evaluated(&self, density: &Buffer<R, P::Real>) -> Result<Evaluated<R, P>>;

    /// The loss at `density`, and its derivative with respect to it.
    ///
    /// # Errors
    /// As [`evaluated`](Self::evaluated).
    fn value_and_gradient(&self, density: &Buffer<R, P::Real>) -> Result<(f64, Buffer<R, P::Real>)> {
        let Evaluated { values, gradient } = self.evaluated(density)?;
        Ok((values.read_f64()?.iter().sum(), gradient))
    }
}

/// A loss's value and gradient, on the device.
#[derive(Debug, Clone)]
pub struct Evaluated<R: Runtime, P: Precision> {
    /// Numbers whose sum is the loss: one per image, with zeros between them if there are more.
    pub values: Buffer<R, P::Real>,
    /// The derivative of the loss with respect to the density, `[cells of all images]`.
    pub gradient: Buffer<R, P::Real>,
}

impl<R: Runtime, P: Precision> DensityLoss<R, P> for Loss<R, P> {
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

fn shapes(images: &[(Cells, usize)]) -> Vec<[usize; 2]> {
    images.iter().map(|(cells, _)| [cells.rows as usize, cells.columns as usize]).collect()
}

impl<R: Runtime, P: Precision> DensityLoss<R, P> for TransportLoss<R, P> {
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

impl<R: Runtime, P: Precision> DensityLoss<R, P> for L2Loss<R, P> {
    fn device(&self) -> &Device<R, P> {
        &self.device
    }

    fn shapes(&self) -> Vec<[usize; 2]> {
        shapes(self.mosaic.images())
    }

    fn evaluated(&self, density: &Buffer<R, P::Real>) -> Result<Evaluated<R, P>> {
        let step = self.evaluate(density)?;
        Ok(Evaluated { values: step.squares.values, gradient: step.squares.gradient })
    }
}
