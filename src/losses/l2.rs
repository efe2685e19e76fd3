//! The squared distance between a density and one painted around the annotations.

use serde::{Deserialize, Serialize};
use splatport_kernels::{
    Buffer, Device, HostReal, Mosaic, Precision, Single,
    cubecl::Runtime,
    pseudo_density::{self as painted, Squares, pseudo_density, squares},
};

use super::{
    Scales, Scene,
    scenes::{check_factor, check_scenes},
    step::{joined, lengths},
};
use crate::{Result, error::check_array, splat::check_reach};

/// How much of the Gaussian at an annotation a cell gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Sampling {
    /// The integral over the cell, so that no mass is lost between centers.
    #[default]
    CellIntegral,
    /// The density at the cell's center, times the cell's area. With scales below the stride, the mass is off by up to
    /// `4 exp(-2 pi^2 scale^2 / stride^2)`: 3 % at half a stride.
    PointSample,
}

/// What happens to the part of a Gaussian that lies off the grid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Border {
    /// It is lost.
    Lose,
    /// The rest is scaled up, so that its integral over the grid is 1 ([`Sampling::PointSample`] is off by as much as
    /// its samples are). An annotation with less than a thousandth of its mass on the grid is left out.
    #[default]
    Renormalise,
}

/// How the squares of the cells become one number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reduction {
    /// Their sum.
    #[default]
    Sum,
    /// Their mean over the image's cells.
    Mean,
}

/// `weight sum_i (z_i - d_i)^2` with the pseudo-density `d_i = sum_n prod_axis (erf(b) - erf(a)) / 2` of cell edges
/// `a`, `b` in units of `sqrt(2)` standard deviations from the annotation; the mean over a batch of images. Its
/// gradient is `2 weight (z - d)`.
///
/// It is the baseline of the paper's comparison (Table 4), which gives no scale for it.
///
/// ```
/// use splatport::{Annotations, Grid, Vulkan, losses::{L2, Scales}};
///
/// let device = Vulkan::best()?;
/// let points = Annotations::new(vec![[12.0, 20.0], [50.5, 33.0]])?;
/// let loss = L2::new(Scales::Fixed(8.0)).on(&device, &[(Grid::over(64, 48, 8), &points)])?;
/// // Whatever reaches over the border, two annotations are two objects, and their density is the best there is.
/// assert!((loss.target().read()?.iter().sum::<f32>() - 2.0).abs() < 1e-5);
/// assert_eq!(loss.evaluate(loss.target())?.value()?, 0.0);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "it does nothing until it is evaluated"]
pub struct L2 {
    scales: Scales,
    weight: f64,
    reduction: Reduction,
    sampling: Sampling,
    border: Border,
}

impl L2 {
    /// The loss for Gaussians of these scales, with cell integrals that sum to 1 per annotation; summed over the cells.
    pub fn new(scales: Scales) -> Self {
        let (reduction, sampling, border) = Default::default();
        Self { scales, weight: 1.0, reduction, sampling, border }
    }

    super::setters! {
        /// The factor of the squares. Default: 1.
        weight: f64 => weight;
        /// Default: the sum.
        reduction: Reduction => reduction;
        /// Default: the integral over the cell.
        sampling: Sampling => sampling;
        /// Default: every annotation keeps a mass of 1.
        border: Border => border;
    }

    /// Paints the pseudo-densities of a batch of images.
    ///
    /// # Errors
    /// [`crate::Error::Empty`] for no image or no cell, [`crate::Error::Option`] for a number out of its range,
    /// [`crate::Error::Length`] unless there is one true scale per annotation, [`crate::Error::OutOfRange`] for an
    /// annotation farther than 2^24 px from the origin, [`crate::Error::Device`].
    pub fn on<R: Runtime, P: Precision>(&self, device: &Device<R, P>, scenes: &[Scene<'_>]) -> Result<L2Loss<R, P>> {
        check_scenes(scenes)?;
        check_factor::<P::Real>("weight", self.weight)?;
        let mut rows = Vec::new();
        for ((_, annotations), scales) in scenes.iter().zip(self.scales.of(scenes)?) {
            check_reach(annotations.points().as_flattened())?;
            let pairs = annotations.points().iter().zip(scales);
            rows.extend(pairs.flat_map(|(at, scale)| [at[0], at[1], scale[0], scale[1]]));
        }
        let plots: Vec<_> = scenes.iter().map(|(grid, points)| (grid.cells(), points.len())).collect();
        let mosaic = Mosaic::new(device, &plots)?;
        let sampling = match self.sampling {
            Sampling::CellIntegral => painted::Sampling::Integral,
            Sampling::PointSample => painted::Sampling::Centre,
        };
        let renormalise = self.border == Border::Renormalise;
        let target =
            pseudo_density(device, &mosaic, &device.try_upload_f64("annotations", &rows)?, sampling, renormalise)?;
        let share = |cells: usize| match self.reduction {
            Reduction::Sum => self.weight / scenes.len() as f64,
            Reduction::Mean => self.weight / (scenes.len() * cells) as f64,
        };
        let weights: Vec<f64> = scenes.iter().map(|(grid, _)| share(grid.len())).collect();
        Ok(L2Loss { device: device.clone(), mosaic, target, weights: device.upload_f64(&weights) })
    }
}

/// An [`L2`] loss of a batch, on a device.
#[derive(Debug)]
pub struct L2Loss<R: Runtime, P: Precision = Single> {
    pub(super) device: Device<R, P>,
    pub(super) mosaic: Mosaic<R, P::Real>,
    target: Buffer<R, P::Real>,
    weights: Buffer<R, P::Real>,
}

impl<R: Runtime, P: Precision> L2Loss<R, P> {
    /// The pseudo-densities, `[cells of all images]`, mass per cell.
    pub fn target(&self) -> &Buffer<R, P::Real> {
        &self.target
    }

    /// Value and gradient at `density`, `[cells of all images]`, mass per cell.
    ///
    /// # Errors
    /// [`crate::Error::Length`] when `density` does not have one value per cell, [`crate::Error::OtherDevice`] when it
    /// is not on the loss's device, [`crate::Error::Device`].
    pub fn evaluate(&self, density: &Buffer<R, P::Real>) -> Result<L2Step<R, P>> {
        check_array("density", &self.device, self.target.len(), density)?;
        let squares = squares(&self.device, &self.mosaic, [density, &self.target, &self.weights])?;
        Ok(L2Step { squares, density: density.clone(), target: self.target.clone() })
    }

    /// Like [`evaluate`](Self::evaluate), with one density per image.
    ///
    /// # Errors
    /// [`crate::Error::Length`] for a wrong number of densities; otherwise as [`evaluate`](Self::evaluate).
    pub fn evaluate_all(&self, densities: &[Buffer<R, P::Real>]) -> Result<L2Step<R, P>> {
        self.evaluate(&joined(&self.device, lengths(self.mosaic.images()), densities)?)
    }
}

/// One evaluation of an [`L2`] loss. It stays on the device until it is asked for.
#[derive(Debug)]
pub struct L2Step<R: Runtime, P: Precision = Single> {
    pub(super) squares: Squares<R, P::Real>,
    density: Buffer<R, P::Real>,
    target: Buffer<R, P::Real>,
}

impl<R: Runtime, P: Precision> L2Step<R, P> {
    /// The loss: the sum of [`values`](Self::values).
    ///
    /// # Errors
    /// [`crate::Error::Device`] when a launch failed.
    pub fn value(&self) -> Result<f64> {
        Ok(self.values()?.iter().sum())
    }

    /// Every image's share of the loss.
    ///
    /// # Errors
    /// [`crate::Error::Device`] when a launch failed.
    pub fn values(&self) -> Result<Vec<f64>> {
        Ok(self.squares.values.read_f64()?.into_iter().step_by(4).collect())
    }

    /// How much too much every cell holds, negative where it holds too little: density minus target,
    /// `[cells of all images]`. Nothing is transported, so annotations have no residuals.
    ///
    /// They are of what the density's array holds when they are asked for: ask before it is changed in place.
    ///
    /// # Errors
    /// [`crate::Error::Device`] when a launch failed.
    pub fn residuals(&self) -> Result<Vec<f64>> {
        let (density, target) = self.density.read_with(&self.target)?;
        Ok(density.into_iter().zip(target).map(|(held, due)| held.cast_to_f64() - due.cast_to_f64()).collect())
    }

    /// The derivative of the loss with respect to the density, `[cells of all images]`.
    pub fn gradient(&self) -> &Buffer<R, P::Real> {
        &self.squares.gradient
    }
}
