//! The part of a splat that a view shows, and how much of every annotation lies inside.

use std::{collections::HashMap, sync::OnceLock};

use splatport_kernels::{
    Precision,
    affine::{self, Moved},
    cubecl::Runtime,
};

use super::{Share, Splat, neighbour_means};
use crate::{Error, Result, View, error::check_device};

/// Which annotations a crop keeps, and the target that each one gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CropTarget {
    /// The target is the share of the annotation's box that lies inside. Annotations with a share below `min` are left
    /// out. The box is a square around the annotation; its side is the mean distance to the three nearest others,
    /// limited to 4 to 128 px (Bayesian-Crowd-Counting).
    BoxRatio {
        /// Least share, 0 to 1.
        min: f64,
    },
    /// The target is 1 for annotations that lie inside. Others are left out.
    Unit,
}

impl Default for CropTarget {
    fn default() -> Self {
        Self::BoxRatio { min: 0.3 }
    }
}

/// Smallest and largest side of a box, px.
const SIDES: [f64; 2] = [4.0, 128.0];

/// A splat seen through a [`View`].
#[derive(Debug)]
pub struct Crop<R: Runtime, P: Precision> {
    /// The Gaussians of the kept annotations, in their order, then those that only have a share of a kept annotation.
    /// All are moved with the image.
    pub splat: Splat<R, P>,
    /// How much of each kept annotation is inside: the targets for a loss.
    pub targets: Vec<f64>,
    /// Indices of the kept annotations.
    pub kept: Vec<u32>,
}

impl<R: Runtime, P: Precision> Splat<R, P> {
    /// The splat of a view of the image, such as the random crop of a training step.
    ///
    /// Gaussians are mapped with the image (`Sigma' = A Sigma A'`), so no new fit is needed. Free Gaussians are left
    /// out unless they have a [share](Splat::mixed) of an annotation that is kept, because a kernel uses no others.
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
        Self::through_all(&[(self, *view)], target)?.pop().ok_or(Error::Empty { what: "batch" })
    }

    /// The splats of many views, of images on one device. Each is the same as [`through`](Self::through) gives. One
    /// launch moves the Gaussians of eight views, and the maps are copied to the device only once. All lie in one array,
    /// which stays for as long as any of the splats; for a kernel of all of them, one launch packs it.
    ///
    /// # Errors
    /// As [`Splat::through`], and [`Error::OtherDevice`] for splats on different devices. An empty list of views is not
    /// an error.
    pub fn through_all(views: &[(&Self, View)], target: CropTarget) -> Result<Vec<Crop<R, P>>> {
        let Some((first, _)) = views.first() else { return Ok(Vec::new()) };
        let (mut moves, mut seen) = (Vec::new(), Vec::new());
        for (splat, view) in views {
            check_device("splat", &first.device, splat.device.client())?;
            let determinant = view.affine().determinant();
            if !(determinant.is_finite() && determinant != 0.0) {
                return Err(Error::Option { name: "view's area", value: determinant, why: "must not be 0" });
            }
            let insides = splat.insides(view, target)?;
            let inside = (0..).zip(&insides).filter_map(|(n, share)| share.map(|share| (n, share)));
            let (kept, targets): (Vec<u32>, Vec<f64>) = inside.unzip();
            let (picked, shares) = splat.seen(&kept);
            moves.push(Moved { gaussians: &splat.gaussians, picked, affine: view.affine() });
            seen.push((kept, targets, shares));
        }
        let moved = affine::transform(&first.device, &moves)?;
        let crop =
            |((&(splat, view), gaussians), (kept, targets, shares)): ((&(&Self, View), _), (Vec<u32>, _, _))| Crop {
                splat: Self {
                    device: splat.device.clone(),
                    gaussians,
                    points: kept.iter().map(|&n| view.point(splat.points[n as usize])).collect(),
                    neighbours: OnceLock::new(),
                    shares,
                    size: view.size(),
                    profile: splat.profile,
                    report: splat.report.clone(),
                    backdrop: None,
                    drawing: splat.drawing,
                },
                targets,
                kept,
            };
        Ok(views.iter().zip(moved).zip(seen).map(crop).collect())
    }

    /// The Gaussians that make up the annotations `kept`, and their shares.
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

    /// How much of every annotation is inside, or `None` for one that is left out.
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
        let share = |(&point, distance): (&[f64; 2], &f64)| {
            let side = distance.clamp(SIDES[0], SIDES[1]);
            let [x, y] = view.point(point);
            let overlap = |centre: f64, side: f64, end: f64| {
                ((centre + side / 2.0).min(end) - (centre - side / 2.0).max(0.0)).max(0.0) / side
            };
            let share = overlap(x, scales[0] * side, width) * overlap(y, scales[1] * side, height);
            (share > 0.0 && share >= min).then_some(share)
        };
        let distances = self.neighbours.get_or_init(|| neighbour_means(&self.points));
        Ok(self.points.iter().zip(distances).map(share).collect())
    }
}
