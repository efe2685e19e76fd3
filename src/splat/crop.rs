//! The part of a splat that a view shows, with what of every annotation is inside.

use std::collections::HashMap;

use splatport_kernels::{Precision, affine, cubecl::Runtime};

use super::{Share, Splat, neighbour_means};
use crate::{Error, Result, View};

/// What of an annotation a crop must show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CropTarget {
    /// The share of its box that lies inside; annotations of which less than `min` does are left out. The box is a square around
    /// the annotation, its side the mean distance to the three nearest others, from 4 to 128 px (Bayesian-Crowd-Counting).
    BoxRatio {
        /// Least share, 0 to 1.
        min: f64,
    },
    /// 1 for annotations that lie inside, others are left out.
    Unit,
}

impl Default for CropTarget {
    fn default() -> Self {
        Self::BoxRatio { min: 0.3 }
    }
}

/// Sides of boxes, px.
const SIDES: [f64; 2] = [4.0, 128.0];

/// A splat seen through a [`View`].
#[derive(Debug)]
pub struct Crop<R: Runtime, P: Precision> {
    /// The Gaussians of the annotations that are kept, in their order, then those that only have a share of them; moved with the
    /// image.
    pub splat: Splat<R, P>,
    /// What of each is inside: targets for a loss.
    pub targets: Vec<f64>,
    /// Which annotations they are.
    pub kept: Vec<u32>,
}

impl<R: Runtime, P: Precision> Splat<R, P> {
    /// The splat of a view of the image, for a crop that is rebuilt at every step of a training.
    ///
    /// Gaussians are mapped with the image (`Sigma' = A Sigma A'`), so no new fit is needed. Free Gaussians are left out unless
    /// they have a [share](Splat::mixed) of an annotation that is kept: a kernel has no others.
    ///
    /// ```
    /// use splatport::{Annotations, Splat, View, Vulkan, splat::CropTarget};
    ///
    /// let points = Annotations::new(vec![[10.0, 10.0], [40.0, 40.0], [60.0, 50.0]])?;
    /// let splat = Splat::round(&Vulkan::best()?, &points, [64, 64], 8.0)?;
    /// let crop = splat.through(&View::of([64, 64]).crop([32.0, 32.0], [32, 32])?, CropTarget::Unit)?;
    /// assert_eq!((crop.kept, crop.targets), (vec![1, 2], vec![1.0, 1.0]));
    /// assert_eq!(crop.splat.table()?.means, [[8.0, 8.0], [28.0, 18.0]]);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Option`] when the view is flat or `min` is not within 0..=1; [`Error::Device`].
    pub fn through(&self, view: &View, target: CropTarget) -> Result<Crop<R, P>> {
        let determinant = view.affine().determinant();
        if !(determinant.is_finite() && determinant != 0.0) {
            return Err(Error::Option { name: "view's area", value: determinant, why: "must not be 0" });
        }
        let (mut kept, mut targets) = (Vec::new(), Vec::new());
        for (n, share) in self.insides(view, target)?.into_iter().enumerate() {
            if let Some(share) = share {
                kept.push(n as u32);
                targets.push(share);
            }
        }
        let (gaussians, shares) = self.seen(&kept);
        let gaussians =
            affine::transform(&self.device, &self.gaussians, &self.device.upload(&gaussians), view.affine())?;
        let points = kept.iter().map(|&n| view.point(self.points[n as usize])).collect();
        let splat = Self {
            device: self.device.clone(),
            gaussians,
            points,
            shares,
            size: view.size(),
            profile: self.profile,
            report: self.report.clone(),
            backdrop: None,
            drawing: self.drawing,
        };
        Ok(Crop { splat, targets, kept })
    }

    /// The Gaussians that the annotations `kept` are made of, and the shares that these have.
    fn seen(&self, kept: &[u32]) -> (Vec<u32>, Vec<Share>) {
        let mut gaussians = kept.to_vec();
        let mut numbers: HashMap<u32, u32> = kept.iter().copied().zip(0..).collect();
        let mut shares = Vec::new();
        for share in &self.shares {
            if let Ok(annotation) = kept.binary_search(&share.annotation) {
                let gaussian = *numbers.entry(share.gaussian).or_insert_with(|| {
                    gaussians.push(share.gaussian);
                    gaussians.len() as u32 - 1
                });
                shares.push(Share { annotation: annotation as u32, gaussian, ..*share });
            }
        }
        shares.sort_by_key(|share| (share.annotation, share.gaussian));
        (gaussians, shares)
    }

    /// What of every annotation is inside, or none for one that is left out.
    fn insides(&self, view: &View, target: CropTarget) -> Result<Vec<Option<f64>>> {
        let [width, height] = view.size().map(f64::from);
        let inside = |&point: &[f64; 2]| {
            let [x, y] = view.point(point);
            ((0.0..width).contains(&x) && (0.0..height).contains(&y)).then_some(1.0)
        };
        let min = match target {
            CropTarget::Unit => return Ok(self.points.iter().map(inside).collect()),
            CropTarget::BoxRatio { min } if (0.0..=1.0).contains(&min) => min,
            CropTarget::BoxRatio { min } => {
                return Err(Error::Option { name: "min", value: min, why: "must lie between 0 and 1" });
            }
        };
        let scales = view.scales();
        let share = |(&point, distance): (&[f64; 2], f64)| {
            let side = distance.clamp(SIDES[0], SIDES[1]);
            let [x, y] = view.point(point);
            let overlap = |centre: f64, side: f64, end: f64| {
                ((centre + side / 2.0).min(end) - (centre - side / 2.0).max(0.0)).max(0.0) / side
            };
            let share = overlap(x, scales[0] * side, width) * overlap(y, scales[1] * side, height);
            (share > 0.0 && share >= min).then_some(share)
        };
        Ok(self.points.iter().zip(neighbour_means(&self.points)).map(share).collect())
    }
}
