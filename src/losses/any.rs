//! What all losses have in common.

use splatport_kernels::{Buffer, Precision, cubecl::Runtime};

use super::{L2Loss, TransportLoss};
use crate::{Loss, Result};

/// Any loss of the densities of a batch: enough for a training loop that is to try them all.
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
    /// The loss at `density`, `[cells of all images]`, and its derivative by it.
    ///
    /// # Errors
    /// As the loss's own `evaluate`.
    fn value_and_gradient(&self, density: &Buffer<R, P::Real>) -> Result<(f64, Buffer<R, P::Real>)>;
}

macro_rules! evaluated {
    ($($loss:ident)*) => { $(
        impl<R: Runtime, P: Precision> DensityLoss<R, P> for $loss<R, P> {
            fn value_and_gradient(&self, density: &Buffer<R, P::Real>) -> Result<(f64, Buffer<R, P::Real>)> {
                let step = self.evaluate(density)?;
                Ok((step.value()?, step.gradient().clone()))
            }
        }
    )* };
}
evaluated!(Loss L2Loss TransportLoss);
