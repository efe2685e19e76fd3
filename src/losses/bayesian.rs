//! Bayesian loss, and the fixed-scale and true-scale plans that the method is compared with.

use serde::{Deserialize, Serialize};
use splatport_kernels::{Device, Precision, cubecl::Runtime};

use super::{Scales, Scene, scenes::check_scenes};
use crate::{
    Kernel, Loss, Profile, Result, Splat,
    kernel::{Background, KernelOptions, ScaleClip},
};

/// `sum_n |sum_i p_in z_i - t_n|` with the posterior `p_in` of upright Gaussians that are not fitted; the mean over a
/// batch of images (Ma et al., *Bayesian Loss for Crowd Count Estimation with Point Supervision*, ICCV 2019).
///
/// It is the method's own loss with another plan: [`on`](Self::on) gives a [`Loss`], with its targets, discrepancies
/// and transport cost. The sum runs over the annotations (`t_n = 1`) and, if there is one, the background (`t = 0`).
/// The gradient is `sum_n p_in sgn(...)`, within -1..1.
///
/// ```
/// use splatport::{Annotations, Grid, Vulkan, losses::Bayesian};
///
/// let device = Vulkan::best()?;
/// let points = Annotations::new(vec![[12.0, 20.0], [50.5, 33.0]])?;
/// let step = Bayesian::default().on(&device, &[(Grid::over(64, 48, 8), &points)])?.evaluate(&device.filled(0.05, 48))?;
/// // Two annotations and the background share what there is.
/// assert!((step.transported().read()?.iter().sum::<f32>() - 2.4).abs() < 1e-5);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "it does nothing until it is evaluated"]
pub struct Bayesian {
    scales: Scales,
    background: Background,
    tau: f64,
}

impl Default for Bayesian {
    /// As in the published code: 8 px, and a background whose distance from a cell is `side / distance` to its
    /// annotation, px.
    fn default() -> Self {
        let background = Background::Reciprocal { kappa: 1.0, side: None };
        Self { scales: Scales::Fixed(8.0), background, tau: 1e-3 }
    }
}

impl Bayesian {
    /// The heuristic plan of the paper's Table 4: 8 px, without a background.
    pub fn heuristic() -> Self {
        Self { background: Background::None, ..Self::default() }
    }

    /// The true-scale plan of the paper's Table 4, without a background. The paper gives no formula; box sides divided
    /// by 6 are usual.
    pub fn true_scale(scales: Vec<[f64; 2]>) -> Self {
        Self { scales: Scales::True(scales), ..Self::heuristic() }
    }

    super::setters! {
        /// Sizes of the Gaussians. Default: 8 px.
        scales: Scales => scales;
        /// The background, to which a cell far from every annotation belongs. Default: the published one with `kappa` 1
        /// and the shorter side of each grid's image. For crops that no longer know their image, give the side.
        background: Background => background;
        /// Largest L1 error of a row of the posterior due to what is not stored, in 0..1. Default: 0.001.
        tau: f64 => tau;
    }

    /// Binds the loss to a batch of images.
    ///
    /// # Errors
    /// [`crate::Error::Empty`] for no image or no cell, [`crate::Error::Option`] for a number out of its range,
    /// [`crate::Error::Length`] unless there is one true scale per annotation, [`crate::Error::OutOfRange`] for an
    /// annotation farther than 2^24 px from the origin, [`crate::Error::Device`].
    pub fn on<R: Runtime, P: Precision>(&self, device: &Device<R, P>, scenes: &[Scene<'_>]) -> Result<Loss<R, P>> {
        check_scenes(scenes)?;
        let of_scene = |((grid, annotations), scales): (&Scene<'_>, Vec<[f64; 2]>)| {
            Splat::upright(device, annotations, grid.image(), &scales)
        };
        let splats = scenes.iter().zip(self.scales.of(scenes)?).map(of_scene).collect::<Result<Vec<_>>>()?;
        let images: Vec<_> = splats.iter().zip(scenes).map(|(splat, (grid, _))| (splat, *grid)).collect();
        let (profile, background, tau) = (Profile::Recommended, self.background, self.tau);
        let options = KernelOptions { profile, background, scale_clip: ScaleClip::None, tau };
        Ok(Kernel::of_all(device, &images, options)?.loss())
    }
}
