//! A photo with its points in memory, and parts of it.

use crate::{Annotations, GaussianTable, Image, Result};

/// A photo with its annotations and, if known, the sizes of the annotated objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The photo.
    pub image: Image,
    /// Its points.
    pub annotations: Annotations,
    /// True scales, px, `[n, 2]`: a quarter of the object's width and height, the standard deviations of the ellipse
    /// that fills that box. Such an object ends at two standard deviations. The baselines of [`losses`](crate::losses)
    /// use a sixth, which is 4/6 of these.
    pub scales: Option<Vec<[f64; 2]>>,
}

impl Sample {
    /// A photo and its points, with true scales if all points have sides above 0 in the columns `box_w` and `box_h`
    /// (px).
    pub fn new(image: Image, annotations: Annotations) -> Self {
        let side = |name| annotations.numeric(name).ok().filter(|sides| sides.iter().all(|&side| side > 0.0));
        let scales = side("box_w").zip(side("box_h")).map(|(widths, heights)| {
            widths.iter().zip(&heights).map(|(width, height)| [width / 4.0, height / 4.0]).collect()
        });
        Self { image, annotations, scales }
    }

    /// Upright Gaussians of the true scales, one for every annotation, for
    /// [`Splat::from_table`](crate::Splat::from_table). `None` if the scales are not known.
    pub fn true_gaussians(&self) -> Option<GaussianTable> {
        let scales = self.scales.as_ref()?;
        let count = scales.len();
        Some(GaussianTable {
            means: self.annotations.points().to_vec(),
            scales: scales.clone(),
            rotations: vec![0.0; count],
            colors: vec![1.0; count],
            channels: 1,
            opacities: vec![1.0; count],
            width: self.image.width(),
            height: self.image.height(),
            ..GaussianTable::default()
        })
    }

    /// The part of `[width, height]` px whose first pixel is at `[left, top]`, with the points inside it.
    ///
    /// # Errors
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) when it extends beyond the edge,
    /// [`Error::Empty`](crate::Error::Empty) when a side is 0.
    pub fn window(&self, corner: [u32; 2], size: [u32; 2]) -> Result<Self> {
        let image = self.image.window(corner, size)?;
        let origin = corner.map(f64::from);
        let place = |[x, y]: [f64; 2]| [x - origin[0], y - origin[1]];
        let inside = |[x, y]: [f64; 2]| (0.0..size[0].into()).contains(&x) && (0.0..size[1].into()).contains(&y);
        let kept: Vec<usize> =
            (0..self.annotations.len()).filter(|&n| inside(place(self.annotations.points()[n]))).collect();
        let scales = self.scales.as_ref().map(|scales| kept.iter().map(|&n| scales[n]).collect());
        Ok(Self { image, annotations: self.annotations.moved(&kept, place), scales })
    }

    /// The photo in tiles of `[width, height]` px, row by row; the last ones may be smaller. Every point inside the
    /// photo is in one of them.
    ///
    /// # Errors
    /// As [`window`](Self::window).
    pub fn tiles(&self, size: [u32; 2]) -> Result<Vec<Self>> {
        let sides = [self.image.width(), self.image.height()];
        let starts = |axis: usize| (0..sides[axis]).step_by(size[axis].max(1) as usize);
        let mut tiles = Vec::new();
        for top in starts(1) {
            for left in starts(0) {
                let corner = [left, top];
                let part = [0, 1].map(|axis| size[axis].min(sides[axis] - corner[axis]));
                tiles.push(self.window(corner, part)?);
            }
        }
        Ok(tiles)
    }

    /// The left and the right half: one to train with, one to test with. If the width is odd, the right one is wider.
    ///
    /// # Errors
    /// [`Error::Empty`](crate::Error::Empty) when the photo is one pixel wide.
    pub fn halves(&self) -> Result<[Self; 2]> {
        let [width, height] = [self.image.width(), self.image.height()];
        let middle = width / 2;
        Ok([self.window([0, 0], [middle, height])?, self.window([middle, 0], [width - middle, height])?])
    }
}
