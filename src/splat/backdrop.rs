//! What the Gaussians are drawn over: nothing, the masked photo, or the photo with the objects painted out.

use super::{BackgroundImage, initial};
use crate::{Annotations, Image};

/// Standard deviations at which a Gaussian of opacity 1 falls below one 8-bit level; the radius of the mask's discs.
const MASK_RADIUS: f64 = 3.33;
/// First half side of the window that paints an object out, px.
const FIRST_WINDOW: usize = 8;
/// Pixels that must be seen through the window.
const SUPPORT: f64 = 30.0;

/// The image below the Gaussians and the discs it was made with.
pub(crate) struct Backdrop {
    /// `[pixels, channels]`.
    pub values: Vec<f32>,
    /// Pixels inside the discs around the annotations.
    pub masked: usize,
}

impl Backdrop {
    pub fn new(image: &Image, annotations: &Annotations, kind: BackgroundImage) -> Self {
        let mask = mask(image, annotations);
        let masked = mask.iter().filter(|&&m| m).count();
        let values = match kind {
            BackgroundImage::None => vec![0.0; mask.len() * usize::from(image.channels())],
            BackgroundImage::KnnMask => blackened(image, &mask),
            BackgroundImage::Inpainted => inpainted(image, &mask),
        };
        Self { values, masked }
    }
}

/// Pixels whose centre is within 3.33 initial standard deviations of an annotation.
fn mask(image: &Image, annotations: &Annotations) -> Vec<bool> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut mask = vec![false; width * height];
    let distances = initial::neighbour_distances(annotations.points());
    for (&[x, y], distance) in annotations.points().iter().zip(distances) {
        let radius = MASK_RADIUS * initial::neighbour_fraction(distance, 6.0, image);
        let span = |centre: f64, size: usize| {
            let first = (centre - radius - 0.5).ceil().clamp(0.0, size as f64) as usize;
            let end = (centre + radius - 0.5).floor().clamp(-1.0, size as f64 - 1.0) + 1.0;
            first..end as usize
        };
        for row in span(y, height) {
            for column in span(x, width) {
                let (dx, dy) = (column as f64 + 0.5 - x, row as f64 + 0.5 - y);
                if dx * dx + dy * dy <= radius * radius {
                    mask[row * width + column] = true;
                }
            }
        }
    }
    mask
}

fn blackened(image: &Image, mask: &[bool]) -> Vec<f32> {
    let channels = usize::from(image.channels());
    let mut values = image.to_f32();
    for (pixel, _) in mask.iter().enumerate().filter(|(_, masked)| **masked) {
        values[pixel * channels..(pixel + 1) * channels].fill(0.0);
    }
    values
}

/// Masked pixels become the mean of the unmasked ones in a window, the smallest of doubling size that sees enough of them.
fn inpainted(image: &Image, mask: &[bool]) -> Vec<f32> {
    let channels = usize::from(image.channels());
    let mut values = image.to_f32();
    let sums = Sums::of(image, &values, mask);
    let largest = sums.width.max(sums.height);
    for pixel in (0..mask.len()).filter(|&pixel| mask[pixel]) {
        let mut half = FIRST_WINDOW;
        let seen = loop {
            let seen = sums.window(pixel, half);
            // A window that covers the image sees all there is to see.
            if seen[channels] >= SUPPORT || half >= largest {
                break seen;
            }
            half *= 2;
        };
        for c in 0..channels {
            let mean = if seen[channels] > 0.0 { seen[c] / seen[channels] } else { sums.photo_mean[c] };
            values[pixel * channels + c] = mean as f32;
        }
    }
    values
}

/// Summed-area table of the unmasked pixels' channels and of their number.
struct Sums {
    table: Vec<[f64; 4]>,
    photo_mean: [f64; 4],
    channels: usize,
    width: usize,
    height: usize,
}

impl Sums {
    fn of(image: &Image, values: &[f32], mask: &[bool]) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let channels = usize::from(image.channels());
        let mut table = vec![[0.0; 4]; (width + 1) * (height + 1)];
        let mut photo_mean = [0.0; 4];
        for row in 0..height {
            let mut line = [0.0; 4];
            for column in 0..width {
                let pixel = row * width + column;
                for c in 0..channels {
                    let value = f64::from(values[pixel * channels + c]);
                    photo_mean[c] += value / mask.len() as f64;
                    line[c] += if mask[pixel] { 0.0 } else { value };
                }
                line[channels] += if mask[pixel] { 0.0 } else { 1.0 };
                let above = table[row * (width + 1) + column + 1];
                table[(row + 1) * (width + 1) + column + 1] = std::array::from_fn(|k| above[k] + line[k]);
            }
        }
        Self { table, photo_mean, channels, width, height }
    }

    fn window(&self, pixel: usize, half: usize) -> [f64; 4] {
        let (row, column) = (pixel / self.width, pixel % self.width);
        let (top, bottom) = (row.saturating_sub(half), (row + half + 1).min(self.height));
        let (left, right) = (column.saturating_sub(half), (column + half + 1).min(self.width));
        let at = |row: usize, column: usize| &self.table[row * (self.width + 1) + column];
        std::array::from_fn(|k| {
            if k > self.channels {
                return 0.0;
            }
            at(bottom, right)[k] - at(top, right)[k] - at(bottom, left)[k] + at(top, left)[k]
        })
    }
}
