//! The size of the Gaussian at an annotation, where none is fitted.

use serde::{Deserialize, Serialize};

use super::Scene;
use crate::{
    Error, Result,
    error::check_length,
    splat::{check_scale, neighbour_means},
};

/// Standard deviations of upright Gaussians at the annotations, 2^-20 to 2^24 px.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Scales {
    /// The same for all, px. Published losses use 8.
    Fixed(f64),
    /// `factor` times the mean distance to the three nearest other annotations of the image (8 px if there is none),
    /// within `least..=most` px: Zhang et al., *Single-Image Crowd Counting via Multi-Column CNN*, CVPR 2016, where the
    /// factor is 0.3.
    Neighbours {
        /// No unit.
        factor: f64,
        /// Above 0, because the distance between duplicates is 0.
        least: f64,
        /// At least `least`.
        most: f64,
    },
    /// The true ones along x and y, px, for the annotations of all images, image after image. With a box's sides
    /// divided by 6, the object ends at three standard deviations; a data set's `Sample::scales` are divided by 4, so
    /// that it ends at two.
    True(Vec<[f64; 2]>),
}

impl Scales {
    /// The scales of every annotation, image by image.
    pub(super) fn of(&self, scenes: &[Scene<'_>]) -> Result<Vec<Vec<[f64; 2]>>> {
        match self {
            Self::Fixed(scale) => {
                check_scale("scale", *scale)?;
                Ok(scenes.iter().map(|(_, points)| vec![[*scale; 2]; points.len()]).collect())
            }
            &Self::Neighbours { factor, least, most } => {
                check_scale("least", least)?;
                check_scale("most", most)?;
                if !(factor.is_finite() && factor > 0.0) {
                    return Err(Error::Option { name: "factor", value: factor, why: "must be positive and finite" });
                }
                if most < least {
                    return Err(Error::Option { name: "most", value: most, why: "must not be below the least" });
                }
                let scale = |distance: f64| [(factor * distance).clamp(least, most); 2];
                let of = |(_, points): &Scene<'_>| neighbour_means(points.points()).into_iter().map(scale).collect();
                Ok(scenes.iter().map(of).collect())
            }
            Self::True(scales) => {
                check_length("scales", scenes.iter().map(|(_, points)| points.len()).sum(), scales.len())?;
                scales.as_flattened().iter().try_for_each(|&scale| check_scale("true scale", scale))?;
                let mut rest = scales.as_slice();
                let mut take = |(_, points): &Scene<'_>| {
                    let (own, others) = rest.split_at(points.len());
                    rest = others;
                    own.to_vec()
                };
                Ok(scenes.iter().map(&mut take).collect())
            }
        }
    }
}
