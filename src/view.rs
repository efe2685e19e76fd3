//! The effect of augmentation on an image, as a map of its coordinates.

use serde::{Deserialize, Serialize};
use splatport_kernels::affine::Affine;

use crate::{
    Error, Result,
    error::{check_finite, check_sides},
};

/// A map from an image's pixels to those of a view of it: resized, turned, flipped, cropped, in any order.
///
/// Coordinates are in px, and the center of the top-left pixel is (0.5, 0.5). So a flip takes `x` to `width - x`, and a
/// resize scales by the exact ratio of the sides.
///
/// ```
/// use splatport::View;
///
/// let view = View::of([640, 480]).resize([320, 240])?.crop([100.0, 20.0], [128, 128])?.flip();
/// assert_eq!(view.size(), [128, 128]);
/// // (300, 100) is at (150, 50) of the smaller image, (50, 30) of the crop, and 50 from its right edge after the flip.
/// assert_eq!(view.point([300.0, 100.0]), [78.0, 30.0]);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct View {
    affine: Affine,
    size: [u32; 2],
}

impl View {
    /// The image itself, of `[width, height]` px.
    pub fn of(size: [u32; 2]) -> Self {
        Self { affine: Affine { matrix: [[1.0, 0.0], [0.0, 1.0]], shift: [0.0; 2] }, size }
    }

    /// Mirrored left to right.
    #[must_use]
    pub fn flip(self) -> Self {
        let width = f64::from(self.size[0]);
        self.then([[-1.0, 0.0], [0.0, 1.0]], [width, 0.0], self.size)
    }

    /// Mirrored top to bottom.
    #[must_use]
    pub fn flip_vertically(self) -> Self {
        let height = f64::from(self.size[1]);
        self.then([[1.0, 0.0], [0.0, -1.0]], [0.0, height], self.size)
    }

    /// Turned clockwise by a quarter turn, as seen on screen: width and height change places.
    #[must_use]
    pub fn quarter_turn(self) -> Self {
        let [width, height] = self.size;
        self.then([[0.0, -1.0], [1.0, 0.0]], [f64::from(height), 0.0], [height, width])
    }

    /// Turned by `angle` (rad, clockwise as seen on screen) about its center, at the same size.
    ///
    /// # Errors
    /// [`Error::Option`] when the angle is not finite.
    pub fn turn(self, angle: f64) -> Result<Self> {
        if !angle.is_finite() {
            return Err(Error::Option { name: "angle", value: angle, why: "must be finite" });
        }
        let (sin, cos) = angle.sin_cos();
        let [x, y] = self.size.map(|side| f64::from(side) / 2.0);
        let shift = [x - cos * x + sin * y, y - sin * x - cos * y];
        Ok(self.then([[cos, -sin], [sin, cos]], shift, self.size))
    }

    /// Scaled to `[width, height]` px, each side by its own ratio.
    ///
    /// # Errors
    /// [`Error::Empty`] when a side is 0.
    pub fn resize(self, size: [u32; 2]) -> Result<Self> {
        check(size)?;
        let ratio = |k: usize| f64::from(size[k]) / f64::from(self.size[k].max(1));
        Ok(self.then([[ratio(0), 0.0], [0.0, ratio(1)]], [0.0; 2], size))
    }

    /// Cropped to the window of `[width, height]` px whose corner is at `[left, top]`; it may reach over the edge.
    ///
    /// # Errors
    /// [`Error::Empty`] when a side is 0, [`Error::NotFinite`] for a corner that is NaN or infinite.
    pub fn crop(self, corner: [f64; 2], size: [u32; 2]) -> Result<Self> {
        check(size)?;
        check_finite("corner", 1, &corner)?;
        Ok(self.then([[1.0, 0.0], [0.0, 1.0]], corner.map(|v| -v), size))
    }

    fn then(self, [[a, b], [c, d]]: [[f64; 2]; 2], shift: [f64; 2], size: [u32; 2]) -> Self {
        let [[e, f], [g, h]] = self.affine.matrix;
        let after = Affine { matrix: [[a, b], [c, d]], shift };
        let matrix = [[a * e + b * g, a * f + b * h], [c * e + d * g, c * f + d * h]];
        Self { affine: Affine { matrix, shift: after.apply(self.affine.shift) }, size }
    }

    /// Width and height, px.
    pub fn size(&self) -> [u32; 2] {
        self.size
    }

    /// Where a point of the image is in the view, px.
    pub fn point(&self, point: [f64; 2]) -> [f64; 2] {
        self.affine.apply(point)
    }

    /// The map itself.
    pub fn affine(&self) -> Affine {
        self.affine
    }

    /// Size in x and y that a square of side 1 px becomes, px. Exact for flips, quarter turns and resizes.
    pub(crate) fn scales(&self) -> [f64; 2] {
        self.affine.matrix.map(|[a, b]| a.hypot(b))
    }
}

fn check(size: [u32; 2]) -> Result<()> {
    check_sides(size, ["width of the view", "height of the view"])
}
