//! The image that the Gaussians are drawn over: black, the masked photo, or the photo with the objects painted out.

mod inpaint;
mod mask;

use std::cell::LazyCell;

pub(crate) use mask::mask;

use self::inpaint::{Sample, inpainted};
use super::{BackgroundImage, SplatOptions, neighbours};
use crate::{Annotations, Image, Pixels};

/// The image below the Gaussians, `[pixels, channels]`.
#[derive(Debug, Clone)]
pub(crate) enum Backdrop {
    /// Zero everywhere.
    Black,
    /// For an 8-bit photo, 8-bit too, so that background minus photo can be packed without loss.
    Levels(Vec<u8>),
    /// For any other photo.
    Values(Vec<f32>),
}

impl Backdrop {
    /// The backdrop of `image`, as the options say.
    pub fn of(image: &Image, annotations: &Annotations, options: &SplatOptions) -> Self {
        let points = annotations.points();
        let mask = LazyCell::new(|| mask(image, points, &neighbours::distances(points)));
        Self::new(image, options.background_image, || &mask)
    }

    /// `mask` says which pixels are inside the discs around the annotations. It is not called for a black backdrop.
    pub fn new<'m>(image: &Image, kind: BackgroundImage, mask: impl FnOnce() -> &'m [bool]) -> Self {
        match (kind, image.pixels()) {
            (BackgroundImage::None, _) => Self::Black,
            (_, Pixels::U8(levels)) => Self::Levels(without_objects(image, levels, mask(), kind)),
            (_, Pixels::F32(values)) => Self::Values(without_objects(image, values, mask(), kind)),
        }
    }

    /// The value at `index`.
    pub fn at(&self, index: usize) -> f32 {
        match self {
            Self::Black => 0.0,
            Self::Levels(levels) => f32::from(levels[index]) / 255.0,
            Self::Values(values) => values[index],
        }
    }

    /// The 8-bit levels, if it has them.
    pub fn levels(&self) -> Option<&[u8]> {
        match self {
            Self::Levels(levels) => Some(levels),
            _ => None,
        }
    }
}

fn without_objects<S: Sample + Default>(image: &Image, samples: &[S], mask: &[bool], kind: BackgroundImage) -> Vec<S> {
    if kind == BackgroundImage::Inpainted {
        return inpainted(samples, mask, [image.width() as usize, image.height() as usize]);
    }
    let mut masked = samples.to_vec();
    let pixels = masked.chunks_exact_mut(image.channels().into()).zip(mask);
    pixels.filter(|(_, masked)| **masked).for_each(|(pixel, _)| pixel.fill(S::default()));
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paints pixel by pixel in floating point, on levels divided by 255: an independent way to the same bits.
    fn painted(image: &Image, mask: &[bool]) -> Vec<f32> {
        let (width, height, channels) = (image.width() as usize, image.height() as usize, image.channels() as usize);
        let photo = image.to_f32();
        let mean = |pixels: &[usize], channel: usize| {
            let sum: f64 = pixels.iter().map(|pixel| f64::from(photo[pixel * channels + channel])).sum();
            (sum / pixels.len() as f64) as f32
        };
        let seen = |pixel: usize, half: usize| -> Vec<usize> {
            let side = |at: usize, size: usize| at.saturating_sub(half)..(at + half + 1).min(size);
            let row = |row: usize| side(pixel % width, width).map(move |column| row * width + column);
            side(pixel / width, height).flat_map(row).filter(|&other| !mask[other]).collect()
        };
        let mut values = photo.clone();
        for pixel in (0..width * height).filter(|&pixel| mask[pixel]) {
            let (mut half, mut pixels) = (8, seen(pixel, 8));
            while pixels.len() < 30 && half < width.max(height) {
                half *= 2;
                pixels = seen(pixel, half);
            }
            if pixels.is_empty() {
                pixels = (0..mask.len()).collect();
            }
            (0..channels).for_each(|channel| values[pixel * channels + channel] = mean(&pixels, channel));
        }
        values
    }

    fn noise(len: usize) -> Vec<u8> {
        (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
    }

    /// Masks with few pixels, with so many that windows must double, with all but one, and with all; photos lower and
    /// higher than a band. Sums of so few levels are exact in `f64` too, so no tolerance is needed; other samples are
    /// off by one rounding.
    #[test]
    fn objects_are_painted_out_by_means_of_levels() {
        for (width, height, channels) in [(23, 9, 3), (11, 140, 1), (14, 66, 3)] {
            let (w, h) = (width as usize, height as usize);
            let levels = noise(w * h * channels as usize);
            let values: Vec<f32> = levels.iter().map(|&level| f32::from(level) / 255.0).collect();
            let image = Image::from_u8(width, height, channels, levels).expect("a photo");
            let plain = Image::from_f32(width, height, channels, &values).expect("a photo");
            let random = noise(7 * w * h);
            let masks: [&dyn Fn(usize) -> bool; 5] = [
                &|pixel| random[5 * pixel] < 20,
                &|pixel| random[7 * pixel] < 250,
                &|pixel| pixel / w > 3,
                &|pixel| pixel != w + 2,
                &|_| true,
            ];
            for (case, masked) in masks.iter().enumerate() {
                let mask: Vec<bool> = (0..w * h).map(masked).collect();
                let wanted = painted(&image, &mask);
                let [levels, values] = [&image, &plain].map(|i| Backdrop::new(i, BackgroundImage::Inpainted, || &mask));
                for (at, &wanted) in wanted.iter().enumerate() {
                    let level = (wanted * 255.0).round() as u8;
                    assert_eq!(levels.levels().map(|levels| levels[at]), Some(level), "{w}x{h}, mask {case}, at {at}");
                    assert!((values.at(at) - wanted).abs() <= f32::EPSILON, "{w}x{h}, mask {case}, at {at}");
                }
                let black = [&image, &plain].map(|i| Backdrop::new(i, BackgroundImage::KnnMask, || &mask));
                for (at, &value) in plain.to_f32().iter().enumerate() {
                    let wanted = if mask[at / channels as usize] { 0.0 } else { value };
                    assert_eq!(
                        black.each_ref().map(|black| black.at(at)),
                        [wanted; 2],
                        "{w}x{h}, mask {case}, at {at}"
                    );
                }
            }
        }
    }
}
