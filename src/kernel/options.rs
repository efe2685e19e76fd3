//! Options of a transport kernel.

use serde::{Deserialize, Serialize};
use splatport_kernels::{correspondence, gaussian::Framing};

use crate::{Error, Grid, Profile, Result, splat::check_scale};

/// Where the background and the nearest Gaussian have even odds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CutOff {
    /// The paper's Eq. 11 as written: even at `cut_off / sqrt(2)` standard deviations (`b = cut_off^2 / 2`).
    Exponent,
    /// Even at `cut_off` standard deviations (`b = cut_off^2`).
    Crossover,
}

/// Whether and where cells belong to the background.
///
/// All soft rules have one form: if `q*` is the squared Mahalanobis distance to the nearest Gaussian and `b` the rule's
/// constant, the background's odds against that Gaussian are `exp(q* - b)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Background {
    /// There is no background: every cell belongs to annotations.
    None,
    /// A soft background (paper, Eq. 11).
    Soft {
        /// Distance `d` in standard deviations.
        cut_off: f64,
        /// What the distance means.
        rule: CutOff,
    },
    /// The authors' code: `b = cut_off^2 / 2 + ln|Sigma| / 2 - ln kappa`. Not invariant to a change of scale.
    Ratio {
        /// Distance `d` in standard deviations.
        cut_off: f64,
        /// Their `background_ratio`, px².
        kappa: f64,
    },
    /// The background of the Bayesian loss: a point whose distance from the cell is `kappa side / distance`, where
    /// `distance` is that to the nearest annotation, all in px. Both therefore weigh the same at `sqrt(kappa side)` px,
    /// whatever the scale. Meant for round Gaussians of one scale; others count as round ones of the same area.
    Reciprocal {
        /// Share of the side. Their code uses 1; they advise less.
        kappa: f64,
        /// Shorter side of the whole image, px. `None` takes that of the image that the grid lies on.
        side: Option<f64>,
    },
    /// A hard background: cells beyond `cut_off` standard deviations belong to it wholly, cells within not at all.
    Hard {
        /// Distance in standard deviations.
        cut_off: f64,
    },
}

/// Limits of the scales that the kernel uses, so that no annotation between cell centers is left without a cell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ScaleClip {
    /// No limits.
    None,
    /// At least `stride / sqrt(2 b)`, so that an isolated Gaussian owns a cell wherever its mean falls between cell
    /// centers. A `b` below ½ counts as ½: the limit is then at most the stride, but a Gaussian between cells may own
    /// none.
    Coverage,
    /// Each scale within `stride / post_min ..= post_max` px: the authors' code.
    Range {
        /// Divisor of the stride.
        post_min: f64,
        /// Largest scale, 2^-20 to 2^24 px.
        post_max: f64,
    },
}

/// Everything about a kernel except the splat and the grid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KernelOptions {
    /// Where the options came from.
    pub profile: Profile,
    /// Background rule.
    pub background: Background,
    /// Limits of scales.
    pub scale_clip: ScaleClip,
    /// Largest L1 error that a row may have because of what is not stored.
    pub tau: f64,
}

impl Default for KernelOptions {
    /// The [recommended](Profile::Recommended) options.
    fn default() -> Self {
        Profile::default().kernel()
    }
}

impl KernelOptions {
    /// Checks the options without a device or Gaussians.
    ///
    /// # Errors
    /// [`Error::Option`] for an option out of range, as [`KernelRecipe::build`](crate::KernelRecipe::build).
    pub fn check(&self) -> Result<()> {
        let positive = |name, value: f64| match value {
            v if v.is_finite() && v > 0.0 => Ok(()),
            _ => Err(Error::Option { name, value, why: "must be positive and finite" }),
        };
        match self.background {
            Background::None => {}
            Background::Soft { cut_off, .. } | Background::Hard { cut_off } => positive("cut_off", cut_off)?,
            Background::Ratio { cut_off, kappa } => {
                positive("cut_off", cut_off)?;
                positive("kappa", kappa)?;
            }
            Background::Reciprocal { kappa, side } => {
                positive("kappa", kappa)?;
                side.map_or(Ok(()), |side| positive("side", side))?;
            }
        }
        if let ScaleClip::Range { post_min, post_max } = self.scale_clip {
            positive("post_min", post_min)?;
            // A scale outside these limits would leave the range of `f32` when squared, or cause a division by 0.
            check_scale("post_max", post_max)?;
        }
        match self.tau {
            tau if tau > 0.0 && tau < 1.0 => Ok(()),
            value => Err(Error::Option { name: "tau", value, why: "must lie between 0 and 1" }),
        }
    }

    /// `b` of the background rule for an image of `size` px: constant part, and part per `ln|Sigma|`.
    pub(crate) fn threshold(&self, size: [u32; 2]) -> [f64; 2] {
        match self.background {
            Background::None => [0.0, 0.0],
            Background::Soft { cut_off, rule: CutOff::Exponent } => [cut_off * cut_off / 2.0, 0.0],
            Background::Soft { cut_off, rule: CutOff::Crossover } | Background::Hard { cut_off } => {
                [cut_off * cut_off, 0.0]
            }
            Background::Ratio { cut_off, kappa } => [cut_off * cut_off / 2.0 - kappa.ln(), 0.5],
            Background::Reciprocal { kappa, side } => {
                let shorter = || f64::from(size[0].min(size[1]));
                [(kappa * side.unwrap_or_else(shorter)).powi(2) / 2.0, 0.0]
            }
        }
    }

    /// The background in the form that device functions take.
    pub(crate) fn rule(&self) -> correspondence::Background {
        match self.background {
            Background::None => correspondence::Background::None,
            Background::Soft { .. } | Background::Ratio { .. } => correspondence::Background::Odds,
            Background::Hard { .. } => correspondence::Background::Hard,
            Background::Reciprocal { .. } => correspondence::Background::Reciprocal,
        }
    }

    /// How Gaussians over the cells of `grid` are turned into frames.
    pub(crate) fn framing(&self, grid: Grid) -> Framing {
        let [threshold, threshold_per_log_det] = self.threshold(grid.image());
        let [least_scale, largest_scale] = self.scale_limits(f64::from(grid.stride()));
        let threshold_per_log_weight = f64::from(u8::from(self.rule() == correspondence::Background::Odds));
        Framing {
            threshold,
            threshold_per_log_det,
            threshold_per_log_weight,
            least_scale,
            largest_scale,
            ..Framing::default()
        }
    }

    /// Limits of both scales on cells of `stride` px.
    pub(crate) fn scale_limits(&self, stride: f64) -> [f64; 2] {
        match self.scale_clip {
            ScaleClip::None => [0.0, f64::from(f32::MAX)],
            ScaleClip::Coverage => [self.least_scale(stride), f64::from(f32::MAX)],
            // As torch.clamp does, the upper limit wins where the two cross.
            ScaleClip::Range { post_min, post_max } => [(stride / post_min).min(post_max), post_max],
        }
    }

    /// Least scale for [`ScaleClip::Coverage`]. It is 0 without a background, which has no boundary, and for the
    /// Bayesian loss's background, whose boundary is far away. If `b` grows with the scale, its value for a Gaussian of
    /// 1 px is taken: larger Gaussians need less.
    fn least_scale(&self, stride: f64) -> f64 {
        match self.background {
            Background::None | Background::Reciprocal { .. } => 0.0,
            _ => stride / (2.0 * self.threshold([0; 2])[0].max(0.5)).sqrt(),
        }
    }
}
