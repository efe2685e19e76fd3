//! Random crops of photos, applied alike to points and Gaussians.

use image::{ImageBuffer, Pixel, imageops};

use super::{Sample, dice::Dice};
use crate::{Error, Image, Pixels, Result, View, error::check_sides};

/// The paper's augmentation: resize, crop, mirror and convert to gray, each at random.
///
/// ```
/// use splatport::data::{Augmentation, Figures};
///
/// let sample = Figures { size: [96, 80], ..Figures::default() }.sample(1)?;
/// let drawn = Augmentation { crop: 64, ..Augmentation::default() }.draw([96, 80], 7, 0)?;
/// let crop = drawn.sample(&sample)?;
/// assert_eq!([crop.image.width(), crop.image.height()], drawn.view().size());
/// // The same view moves a splat: `splat.through(&drawn.view(), CropTarget::default())`.
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augmentation {
    /// The least and the largest factor of a resize.
    pub resize: [f64; 2],
    /// The side of the crop, px.
    pub crop: u32,
    /// The probability that a crop is mirrored, 0 to 1.
    pub flip: f64,
    /// The probability that a crop is gray, 0 to 1.
    pub grey: f64,
}

impl Default for Augmentation {
    /// Factors 0.75 to 1.25, crops of 512 px, half of them mirrored, 12 % gray.
    fn default() -> Self {
        Self { resize: [0.75, 1.25], crop: 512, flip: 0.5, grey: 0.12 }
    }
}

/// The longest side of a resized photo, px: a square one in color then takes 3 GB.
const LONGEST: u32 = 32_768;

/// The random crop drawn for one photo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    photo: [u32; 2],
    resized: [u32; 2],
    corner: [u32; 2],
    crop: u32,
    flip: bool,
    grey: bool,
    view: View,
}

impl Augmentation {
    /// Draws a crop of a photo of `size` px; `step` counts the draws of one `seed`.
    ///
    /// A factor that would make the shorter side smaller than the crop is not used: the photo keeps its size or, if it
    /// is itself too small, is enlarged just enough.
    ///
    /// # Errors
    /// [`Error::Empty`] for a photo or crop of 0 px, [`Error::Option`] for factors or probabilities out of their range,
    /// and for a crop or a factor that needs a photo of more than 32768 px a side.
    pub fn draw(&self, size: [u32; 2], seed: u64, step: u64) -> Result<Drawn> {
        self.check(size)?;
        let mut dice = Dice::new(seed, step);
        let crop = f64::from(self.crop);
        let shorter = f64::from(size[0].min(size[1]));
        let drawn = dice.uniform(self.resize[0], self.resize[1]);
        let factor = if shorter * drawn >= crop { drawn } else { (crop / shorter).max(1.0) };
        if f64::from(size[0].max(size[1])) * factor > f64::from(LONGEST) {
            let why = "must not make a side longer than 32768 px, with this photo and crop";
            return Err(Error::Option { name: "resize", value: factor, why });
        }
        let resized = size.map(|side| ((f64::from(side) * factor).round() as u32).max(self.crop));
        let corner = resized.map(|side| dice.below(side - self.crop + 1));
        let (flip, grey) = (dice.chance(self.flip), dice.chance(self.grey));
        let view = View::of(size).resize(resized)?.crop(corner.map(f64::from), [self.crop; 2])?;
        let view = if flip { view.flip() } else { view };
        Ok(Drawn { photo: size, resized, corner, crop: self.crop, flip, grey, view })
    }

    fn check(&self, size: [u32; 2]) -> Result<()> {
        check_sides(size, ["width of the photo", "height of the photo"])?;
        check_sides([self.crop], ["crop"])?;
        let [low, high] = self.resize;
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let options = [
            ("crop", self.crop.into(), self.crop <= LONGEST, "must not be above 32768 px"),
            ("resize", high, high.is_finite(), "must be finite"),
            ("resize", low, low > 0.0 && low <= high, "must be above 0 and not above the largest factor"),
            ("flip", self.flip, share(self.flip), "must lie between 0 and 1"),
            ("grey", self.grey, share(self.grey), "must lie between 0 and 1"),
        ];
        match options.into_iter().find(|(_, _, fits, _)| !fits) {
            Some((name, value, _, why)) => Err(Error::Option { name, value, why }),
            None => Ok(()),
        }
    }
}

impl Drawn {
    /// The map of coordinates, which moves points and [`Splat`](crate::Splat)s.
    pub fn view(&self) -> View {
        self.view
    }

    /// The photo as the view shows it: resized by linear interpolation (averaged where it shrinks), cropped, mirrored,
    /// gray.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when the photo does not have the size that the crop was drawn for.
    pub fn image(&self, photo: &Image) -> Result<Image> {
        for (axis, side) in [photo.width(), photo.height()].into_iter().enumerate() {
            let (value, size) = (f64::from(side), f64::from(self.photo[axis]));
            if value != size {
                return Err(Error::OutOfRange {
                    what: "size of the photo, axis",
                    index: axis,
                    value,
                    min: size,
                    max: size,
                });
            }
        }
        let (side, channels) = (self.crop, photo.channels());
        match (photo.pixels(), channels) {
            (Pixels::U8(values), 1) => Image::from_u8(side, side, 1, self.applied::<image::Luma<u8>>(values)),
            (Pixels::U8(values), _) => Image::from_u8(side, side, 3, self.applied::<image::Rgb<u8>>(values)),
            (Pixels::F32(values), 1) => {
                Image::from_f32(side, side, 1, &within(self.applied::<image::Luma<f32>>(values)))
            }
            (Pixels::F32(values), _) => {
                Image::from_f32(side, side, 3, &within(self.applied::<image::Rgb<f32>>(values)))
            }
        }
    }

    /// Photo, points and true scales as the view shows them; points outside it are left out.
    ///
    /// # Errors
    /// As [`image`](Self::image).
    pub fn sample(&self, sample: &Sample) -> Result<Sample> {
        let (view, image) = (self.view, self.image(&sample.image)?);
        let inside = |point: [f64; 2]| view.point(point).iter().all(|v| (0.0..f64::from(self.crop)).contains(v));
        let points = sample.annotations.points();
        let kept: Vec<usize> = (0..points.len()).filter(|&n| inside(points[n])).collect();
        let factors = view.scales();
        let scaled = |&n: &usize, scales: &[[f64; 2]]| [factors[0] * scales[n][0], factors[1] * scales[n][1]];
        let scales = sample.scales.as_ref().map(|scales| kept.iter().map(|n| scaled(n, scales)).collect());
        Ok(Sample { image, annotations: sample.annotations.moved(&kept, |point| view.point(point)), scales })
    }

    fn applied<P: Pixel<Subpixel: 'static> + 'static>(&self, values: &[P::Subpixel]) -> Vec<P::Subpixel> {
        let photo = ImageBuffer::<P, _>::from_raw(self.photo[0], self.photo[1], values.to_vec());
        let Some(mut photo) = photo else { return Vec::new() };
        if self.resized != self.photo {
            photo = imageops::resize(&photo, self.resized[0], self.resized[1], imageops::FilterType::Triangle);
        }
        let mut crop = imageops::crop_imm(&photo, self.corner[0], self.corner[1], self.crop, self.crop).to_image();
        if self.flip {
            imageops::flip_horizontal_in_place(&mut crop);
        }
        if self.grey {
            for pixel in crop.pixels_mut() {
                let grey = pixel.to_luma().0[0];
                pixel.channels_mut().fill(grey);
            }
        }
        crop.into_raw()
    }
}

/// Clamps samples, which rounding may move out of their range.
fn within(mut values: Vec<f32>) -> Vec<f32> {
    values.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
    values
}
