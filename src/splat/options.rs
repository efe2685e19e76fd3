//! Options of a fit: one type per choice (DESIGN.md, The typed chain).

use serde::{Deserialize, Serialize};

use splatport_kernels::{HostReal, Real};

use super::check_scale;
use crate::{Error, Profile, Result, error::is_real};

/// Least width of a prior: about the smallest difference between logarithms of scales that `f32` can represent.
const LEAST_WIDTH: f64 = 1e-6;

/// What the Gaussians are drawn over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BackgroundImage {
    /// Black; colors in 0..1.
    None,
    /// The photo, with black discs around the annotations (radius from the distance to their neighbors): the authors'
    /// code. Colors in 0..1.
    KnnMask,
    /// The photo, with those discs filled in from their surroundings. A Gaussian carries the signed difference: colors
    /// in -1..1.
    Inpainted,
}

/// How a residual counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reconstruction {
    /// Mean squared error (paper).
    Mse,
    /// Mean absolute error (the authors' code).
    L1,
}

/// Which values the reconstruction error is averaged over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ReconstructionNorm {
    /// All values of the image.
    AllPixels,
    /// The values inside the discs of [`BackgroundImage::KnnMask`]. Errors outside are still added to the sum.
    Foreground,
}

/// Where scales start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum InitialScale {
    /// `clamp(d / divisor, 2, 0.015 max(width, height))`, where `d` is the rms distance to the three nearest neighbors,
    /// px.
    NeighbourFraction {
        /// Divisor of the distance; positive.
        divisor: f64,
    },
    /// `max(ln d, 2) + 1`, with the same `d`: the authors' code.
    LogNeighbour,
    /// The same scale for all.
    Equal {
        /// Standard deviation, 2^-20 to 2^24 px.
        scale: f64,
    },
}

/// Where colors start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum InitialColor {
    /// The photo's color at the annotation.
    AtPoint,
    /// The photo's color at the annotation with x and y exchanged: the authors' code.
    Transposed,
}

/// How Adam's raw number becomes a scale. Gauss-Newton works on logarithms instead, and keeps scales above `least`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ScaleMap {
    /// `max(raw, 0) + 1` px: the authors' code.
    ReluPlusOne,
    /// `ln(1 + exp(raw)) + least` px.
    Softplus {
        /// Least scale, px; positive.
        least: f64,
    },
    /// `exp(raw)` px.
    Exp,
}

/// How Adam's raw number becomes a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RotationMap {
    /// The angle itself.
    Free,
    /// `pi sigmoid(raw)`: the authors' code. The angle cannot wrap around.
    PiSigmoid,
}

/// Whether opacity is learned. With [`Compositing::Sum`] opacity only multiplies the color.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Opacity {
    /// Always 1.
    Fixed,
    /// A sigmoid, learned by Adam starting from ½. Gauss-Newton does not change it: to that solver, color and opacity
    /// are one number.
    Learned,
}

/// How overlapping Gaussians combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Compositing {
    /// They are added (paper, Eq. 8).
    Sum,
    /// They lie over each other, the first annotation's in front, as in splatting renderers. Needs [`Solver::Adam`].
    /// This may not agree with the authors' renderer, whose depth order is not published.
    AlphaOver,
}

/// Number of free Gaussians: these are bound to no annotation, start at random places, and their means are learned too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ExtraGaussians {
    /// None.
    None,
    /// This many.
    Count(u32),
    /// As many as there are annotations, but at least this many, so that there are always more Gaussians than
    /// annotations (paper).
    AtLeast(u32),
}

impl ExtraGaussians {
    pub(crate) fn count(self, annotations: usize) -> usize {
        match self {
            Self::None => 0,
            Self::Count(count) => count as usize,
            Self::AtLeast(count) => annotations.max(count as usize),
        }
    }
}

/// Which numbers the deformity loss uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ShapeOn {
    /// The scales (paper).
    Activated,
    /// Adam's raw numbers (the authors' code).
    Raw,
}

/// Which Gaussians the deformity loss is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ShapeReduce {
    /// The worst one (paper).
    Max,
    /// The mean of all.
    Mean,
}

/// Deformity elimination: `weight max_m max(long / short - limit, 0)` (paper, Eq. 10). Gauss-Newton treats the limit as
/// a hard bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Factor of the loss; 0 or more.
    pub weight: f64,
    /// Largest aspect ratio (long over short scale) that costs nothing; 1 or more.
    pub limit: f64,
    /// Whether it uses scales or raw numbers.
    pub on: ShapeOn,
    /// Whether it counts the worst Gaussian or the mean of all.
    pub reduce: ShapeReduce,
}

/// Weak priors: `r^2 [((ln s0 + ln s1 - 2 ln s_initial) / 2 size)^2 + ((ln s0 - ln s1) / aspect)^2]` is added to the
/// squared error. Here `r^2` is the mean squared residual: over the whole image with [`BackgroundImage::None`],
/// otherwise over the masked or filled discs, because outside them there is no residual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// Tolerated deviation of the mean log scale from its start; 1e-6 or more.
    pub size: f64,
    /// Tolerated logarithm of the aspect ratio; 1e-6 or more.
    pub aspect: f64,
}

/// What is done to the scales after the fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cleanup {
    /// Nothing.
    None,
    /// Where the aspect ratio exceeds `limit`, both scales are set to the shorter one: the authors' code.
    ShrinkToShort {
        /// Largest aspect ratio that is left alone; 1 or more.
        limit: f64,
    },
}

/// The optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Solver {
    /// Kingma and Ba's method, as the paper uses it.
    Adam {
        /// Number of steps; 0 leaves the Gaussians where they start.
        steps: u32,
        /// Step size, in the units of the raw numbers; positive.
        rate: f64,
    },
    /// Damped Gauss-Newton steps, one small system per Gaussian. Scales stay below a quarter of the image's longer
    /// side.
    GaussNewton {
        /// Largest number of steps. A rejected step counts.
        steps: u32,
    },
}

impl Solver {
    /// The paper's solver: 4000 Adam steps of size 0.01.
    pub fn adam() -> Self {
        Self::Adam { steps: 4000, rate: 0.01 }
    }

    /// The same solver with at most `steps` steps.
    pub fn at_most(self, steps: u32) -> Self {
        match self {
            Self::Adam { rate, .. } => Self::Adam { steps, rate },
            Self::GaussNewton { .. } => Self::GaussNewton { steps },
        }
    }
}

/// Everything about a fit except the image and the annotations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SplatOptions {
    /// Where the options came from.
    pub profile: Profile,
    /// What the Gaussians are drawn over.
    pub background_image: BackgroundImage,
    /// How a residual counts.
    pub reconstruction: Reconstruction,
    /// What the error is averaged over.
    pub reconstruction_norm: ReconstructionNorm,
    /// Where scales start.
    pub initial_scale: InitialScale,
    /// Where colors start.
    pub initial_color: InitialColor,
    /// How Adam's raw numbers become scales.
    pub scale_map: ScaleMap,
    /// How Adam's raw numbers become rotations.
    pub rotation_map: RotationMap,
    /// Whether opacity is learned.
    pub opacity: Opacity,
    /// How Gaussians combine.
    pub compositing: Compositing,
    /// Free Gaussians.
    pub extra_gaussians: ExtraGaussians,
    /// Deformity elimination.
    pub shape: Shape,
    /// Weak priors.
    pub prior: Option<Prior>,
    /// What is done to the scales after the fit.
    pub cleanup: Cleanup,
    /// The optimizer.
    pub solver: Solver,
    /// Squared Mahalanobis distance beyond which a Gaussian counts as zero; positive.
    pub support: f64,
}

impl Default for SplatOptions {
    /// The [recommended](Profile::Recommended) options.
    fn default() -> Self {
        Profile::default().splat()
    }
}

impl SplatOptions {
    /// Rejects options that are out of their range, or that leave it once rounded to the float `F`: 1e-50 is 0 in
    /// `f32`.
    pub(crate) fn check<F: Real>(&self) -> Result<()> {
        let positive = |name, value: f64| match is_real::<F>(value) && F::cast_from_f64(value) > F::from_int(0) {
            true => Ok(()),
            false => Err(Error::Option { name, value, why: "must be positive and finite, in the device's float too" }),
        };
        let width = |name, value: f64| match value.is_finite() && value >= LEAST_WIDTH {
            true => Ok(()),
            false => Err(Error::Option { name, value, why: "must be at least 1e-6 and finite" }),
        };
        positive("support", self.support)?;
        if let InitialScale::NeighbourFraction { divisor } = self.initial_scale {
            positive("initial scale divisor", divisor)?;
        }
        if let InitialScale::Equal { scale } = self.initial_scale {
            check_scale("initial scale", scale)?;
        }
        if let ScaleMap::Softplus { least } = self.scale_map {
            positive("least scale", least)?;
        }
        if let Some(prior) = self.prior {
            width("size prior", prior.size)?;
            width("aspect prior", prior.aspect)?;
        }
        match self.solver {
            Solver::Adam { rate, .. } => positive("adam rate", rate)?,
            Solver::GaussNewton { .. } if self.compositing == Compositing::AlphaOver => {
                let what = "alpha-over compositing and Gauss-Newton together (the first needs `Solver::Adam`)";
                return Err(splatport_kernels::Error::Unsupported { what }.into());
            }
            Solver::GaussNewton { .. } => {}
        }
        let limits = match self.cleanup {
            Cleanup::None => [self.shape.limit, self.shape.limit],
            Cleanup::ShrinkToShort { limit } => [self.shape.limit, limit],
        };
        for value in limits {
            if !(is_real::<F>(value) && value >= 1.0) {
                let why = "must be at least 1 and finite, in the device's float too";
                return Err(Error::Option { name: "aspect limit", value, why });
            }
        }
        match self.shape.weight {
            weight if is_real::<F>(weight) && weight >= 0.0 => {}
            value => {
                let why = "must be finite, in the device's float too, and not negative";
                return Err(Error::Option { name: "shape weight", value, why });
            }
        }
        Ok(())
    }

    /// Whether colors are differences from the background, in -1..1.
    pub(crate) fn signed(&self) -> bool {
        self.background_image == BackgroundImage::Inpainted
    }
}
