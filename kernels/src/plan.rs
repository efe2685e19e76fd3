//! Derivatives of a loss by the Gaussians that its transport kernel was made of, so that a plan can be learned.
//!
//! With the derivatives `s_n` of the loss by the transported mass, and `g = K s` by the density `z`, the derivative by a logit
//! of row `i` is `a_in = z_i K_in (s_n - g_i)`. A foreground logit is `-q/2 - ln|Sigma|/2 + ln P(G|y)`, the background's (paper,
//! Eq. 11) that of the nearest Gaussian with the sign of `q` turned: everything is a sum of `a`, `a v` and `a v v'` over the
//! cells, with the whitened displacement `v`. Where it is another function of `q` and `|Sigma|`, as the reciprocal one's, `a` is
//! weighted by its slopes. Where the background is hard its boundary has no derivative; where it is soft,
//! another Gaussian may become the nearest, and the derivative jumps there. A transport cost adds its price `lambda C_in` to `s_n`,
//! and to the derivative by an annotation's place `-2 lambda sum_i z_i K_in (x_i - mean_n)`. The sums run over stored entries.

mod derive;
mod sums;

use cubecl::prelude::*;

use crate::{
    Result,
    buffer::Buffer,
    correspondence::{Background, Correspondence},
    device::Device,
    gaussian::{FRAME, Frames, Part},
    mixture::Mixture,
    real::{Precision, Real},
};

/// What a loss says about a plan.
#[derive(Debug, Clone, Copy)]
pub struct Slopes<'a, R: Runtime, F: Real> {
    /// `z`, `[cells]`.
    pub density: &'a Buffer<R, F>,
    /// `s`: derivative by the transported mass, `[columns]`.
    pub by_mass: &'a Buffer<R, F>,
    /// `scale (K s + price c)`: derivative by the density, `[cells]`.
    pub by_density: &'a Buffer<R, F>,
    /// Factor of the loss.
    pub scale: f64,
    /// Of a transport cost: its weight, and the frames whose means are the annotations' places.
    pub cost: Option<(f64, &'a Frames<R, F>)>,
}

/// What a kernel was made of, as [`crate::gaussian::frames_of_batch`] and [`crate::correspondence::correspondence_of_batch`] had it.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a, R: Runtime, P: Precision> {
    /// The matrix.
    pub kernel: &'a Correspondence<R, P>,
    /// Its frames, one for every component.
    pub frames: &'a Frames<R, P::Real>,
    /// Which Gaussians they are of; of a kernel that is no mixture, each on its own.
    pub mixture: &'a Mixture<R, P::Real>,
    /// Its background.
    pub background: Background,
}

/// Derivatives by what a kernel was made of.
#[derive(Debug, Clone)]
pub struct PlanGradient<R: Runtime, F: Real> {
    /// By mean x, mean y (1/px), scale 0, scale 1 (1/px) and rotation (1/rad) of every Gaussian of every image, `[gaussians, 5]`;
    /// 0 by a scale that was clipped.
    pub parameters: Buffer<R, F>,
    /// By the logarithm of every component's share of its annotation, where shares are scaled to sum to 1, `[components]`.
    pub log_weights: Buffer<R, F>,
}

/// Numbers of a Gaussian in [`PlanGradient::parameters`].
pub const BY: usize = 5;

/// Derivatives of a loss by every Gaussian; `images` is what the frames were made of.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) when arrays do not fit the kernel; [`Error::Device`](crate::Error::Device).
pub fn gradient<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    origin: &Origin<'_, R, P>,
    images: &[Part<'_, R, P::Real>],
    slopes: &Slopes<'_, R, P::Real>,
) -> Result<PlanGradient<R, P::Real>> {
    slopes.density.expect("density", origin.kernel.cells())?;
    slopes.by_density.expect("derivatives by the density", origin.kernel.cells())?;
    slopes.by_mass.expect("derivatives by the mass", origin.kernel.columns_in_all())?;
    if let Some((_, places)) = slopes.cost {
        let expected = origin.kernel.columns_in_all() - origin.kernel.mosaic.images().len();
        places.packed.expect("places of annotations", expected * FRAME)?;
    }
    let sums = sums::sums(device, origin, slopes)?;
    let log_weights = device.uninit(origin.mixture.len());
    derive::by_log_weights(device, origin.mixture, &sums, &log_weights);
    let gaussians = images.iter().map(|part| part.gaussians.len()).sum::<usize>();
    origin.mixture.gaussian_starts.expect("gaussians", gaussians + 1)?;
    let parameters = device.uninit(gaussians * BY);
    let mut first = 0;
    for part in images {
        derive::by_parameters(device, origin.mixture, part, &sums, (&parameters, first));
        first += part.gaussians.len();
    }
    if let Some((price, places)) = slopes.cost {
        let moved = sums::displacements(device, origin.kernel, slopes.density, places)?;
        let gaussians = images.iter().map(|part| part.gaussians.len());
        let annotations = origin.kernel.mosaic.images().iter().map(|image| image.1);
        derive::by_places(device, &moved, price * slopes.scale, annotations.zip(gaussians), &parameters);
    }
    Ok(PlanGradient { parameters, log_weights })
}
