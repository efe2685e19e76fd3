//! Three complete sets of options: the recommended ones, those of the paper, and those of its authors' code.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    kernel::{Background, CutOff, KernelOptions, ScaleClip},
    splat::{
        BackgroundImage, Cleanup, Compositing, ExtraGaussians, InitialColor, InitialScale, Opacity, Reconstruction,
        ReconstructionNorm, RotationMap, ScaleMap, Shape, ShapeOn, ShapeReduce, Solver, SplatOptions,
    },
};

/// A named set of options for every stage. Single options can be changed afterwards.
///
/// Stored files record the name of the profile that they were made with.
///
/// ```
/// use splatport::{Profile, kernel::KernelOptions};
///
/// let paper: Profile = "paper".parse()?;
/// let options = KernelOptions { tau: 1e-4, ..paper.kernel() };
/// assert_eq!(splatport::recipe().kernel(8).with_options(options).options().profile.to_string(), "paper");
/// assert_eq!("papre".parse::<Profile>().unwrap_err().to_string(), "profile `papre` is not one of recommended, paper, reference");
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Profile {
    /// What measured best: an inpainted background, Gauss-Newton, and annotations that own cells within 1.5 standard
    /// deviations.
    #[default]
    Recommended,
    /// The paper's text, taken literally. Where it is silent, as recommended.
    Paper,
    /// What the authors' released code does.
    Reference,
}

impl Profile {
    /// All names, for errors.
    const NAMES: &str = "recommended, paper, reference";

    /// Name as written in stored files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recommended => "recommended",
            Self::Paper => "paper",
            Self::Reference => "reference",
        }
    }

    /// The profile of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Recommended, Self::Paper, Self::Reference].into_iter().find(|profile| profile.name() == name)
    }

    /// The profile of a table, the default if the table names none.
    pub(crate) fn stored(name: &str) -> Result<Self> {
        if name.is_empty() { Ok(Self::default()) } else { name.parse() }
    }

    /// Options of the fit.
    pub fn splat(self) -> SplatOptions {
        let recommended = SplatOptions {
            profile: self,
            background_image: BackgroundImage::Inpainted,
            reconstruction: Reconstruction::Mse,
            reconstruction_norm: ReconstructionNorm::AllPixels,
            initial_scale: InitialScale::NeighbourFraction { divisor: 6.0 },
            initial_color: InitialColor::AtPoint,
            scale_map: ScaleMap::Softplus { least: 0.5 },
            rotation_map: RotationMap::Free,
            opacity: Opacity::Fixed,
            compositing: Compositing::Sum,
            extra_gaussians: ExtraGaussians::None,
            shape: Shape { weight: 0.2, limit: 1.5, on: ShapeOn::Activated, reduce: ShapeReduce::Max },
            prior: None,
            cleanup: Cleanup::None,
            solver: Solver::GaussNewton { steps: 60 },
            support: SUPPORT,
        };
        match self {
            Self::Recommended => recommended,
            Self::Paper => SplatOptions {
                background_image: BackgroundImage::None,
                opacity: Opacity::Learned,
                extra_gaussians: ExtraGaussians::AtLeast(256),
                solver: Solver::adam(),
                ..recommended
            },
            Self::Reference => SplatOptions {
                background_image: BackgroundImage::KnnMask,
                reconstruction: Reconstruction::L1,
                reconstruction_norm: ReconstructionNorm::Foreground,
                initial_scale: InitialScale::LogNeighbour,
                initial_color: InitialColor::Transposed,
                scale_map: ScaleMap::ReluPlusOne,
                rotation_map: RotationMap::PiSigmoid,
                shape: Shape { on: ShapeOn::Raw, ..recommended.shape },
                cleanup: Cleanup::ShrinkToShort { limit: 1.5 },
                solver: Solver::adam(),
                ..recommended
            },
        }
    }

    /// Options of the transport kernel.
    pub fn kernel(self) -> KernelOptions {
        let recommended = KernelOptions {
            profile: self,
            background: Background::Hard { cut_off: 1.5 },
            scale_clip: ScaleClip::Coverage,
            tau: 1e-3,
        };
        match self {
            Self::Recommended => recommended,
            Self::Paper => KernelOptions {
                background: Background::Soft { cut_off: 3.0, rule: CutOff::Exponent },
                scale_clip: ScaleClip::None,
                ..recommended
            },
            Self::Reference => KernelOptions {
                background: Background::Ratio { cut_off: 3.0, kappa: 0.015 },
                scale_clip: ScaleClip::Range { post_min: 1.0, post_max: 20.0 },
                ..recommended
            },
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Profile {
    type Err = Error;

    /// Fails with [`Error::Unknown`], which lists the known names.
    fn from_str(name: &str) -> Result<Self> {
        let unknown = || Error::Unknown { what: "profile", name: name.to_owned(), known: Self::NAMES };
        Self::named(name).ok_or_else(unknown)
    }
}

/// Squared Mahalanobis distance at which a Gaussian is below one 8-bit level: `2 ln 255`.
const SUPPORT: f64 = 11.082_527_090_316_852;
