//! The images that a splat is rendered over: the mask of the objects and the two backgrounds.
//!
//! ```
//! use splatport::reference::background_image::{inpainted_background, knn_mask, masked_background};
//!
//! let mask = knn_mask(&[[20.0, 20.0], [44.0, 20.0]], &[4.0_f64, 4.0], 64, 48);
//! assert!(mask[20 * 64 + 20] && !mask[47 * 64]);
//! let photo = vec![0.5; 64 * 48];
//! assert_eq!(masked_background(&photo, &mask, 1)[20 * 64 + 20], 0.0);
//! assert_eq!(inpainted_background(&photo, &mask, 64, 48, 1), photo);
//! ```

use super::{Scalar, assert_image, count, distance_sq, pixels, real};

/// A mask ends where a gaussian of opacity 1 falls below this, gsplat's threshold (the authors' code).
pub const MASK_ALPHA: f64 = 1.0 / 255.0;
/// A mask ends at this many standard deviations, gsplat's radius (the authors' code).
pub const MASK_RADIUS: f64 = 3.33;
/// The initial half side of the inpainting window, px.
pub const WINDOW_RADIUS: usize = 8;
/// The number of unmasked pixels that an inpainting window needs.
pub const WINDOW_SUPPORT: usize = 30;

/// Which pixels a round, opaque gaussian of `scales[n]` px at `points[n]` reaches: true = masked, an object is near.
///
/// A pixel is masked if exp(-q/2) >= [`MASK_ALPHA`] and its center lies within [`MASK_RADIUS`] scales for any n.
/// `height` x `width`, row-major. Use [`InitialScale::KnnFraction`](super::initial::InitialScale) with divisor 6, as
/// the authors' code does.
///
/// # Panics
/// Unless there is one scale per point.
pub fn knn_mask<T: Scalar>(points: &[[T; 2]], scales: &[T], width: usize, height: usize) -> Vec<bool> {
    assert_eq!(scales.len(), points.len(), "length of scales");
    let radius_sq = real::<T>(MASK_RADIUS * MASK_RADIUS);
    let reaches = |centre: [T; 2], point: [T; 2], scale: T| {
        let q: T = distance_sq(centre, point) / (scale * scale);
        q <= radius_sq && (-q / real(2.0)).exp() >= real(MASK_ALPHA)
    };
    let masked = |centre| points.iter().zip(scales).any(|(&point, &scale)| reaches(centre, point, scale));
    pixels(width, height).map(|(_, centre)| masked(centre)).collect()
}

/// The `KnnMask` background: the photo where unmasked, 0 where masked (`BackgroundImage`, the authors' code).
///
/// # Panics
/// If `photo` does not have `channels` entries per entry of `mask`.
pub fn masked_background<T: Scalar>(photo: &[T], mask: &[bool], channels: usize) -> Vec<T> {
    assert_image("photo", photo, mask.len(), 1, channels);
    photo.iter().enumerate().map(|(index, &p)| if mask[index / channels] { T::zero() } else { p }).collect()
}

/// The `Inpainted` background: the photo where unmasked, the mean of nearby unmasked pixels where masked.
///
/// Normalized convolution with a box: the mean, per channel, of the unmasked pixels of the window |dx|, |dy| <= r cut
/// to the image, r = [`WINDOW_RADIUS`] doubled until at least [`WINDOW_SUPPORT`] of them are inside. A window that
/// covers the whole image needs only one; if nothing is unmasked, the result is the mean of the photo.
///
/// # Panics
/// If `photo` is not `height` x `width` x `channels` with 1 or 3 channels, or `mask` not `height` x `width`.
pub fn inpainted_background<T: Scalar>(
    photo: &[T],
    mask: &[bool],
    width: usize,
    height: usize,
    channels: usize,
) -> Vec<T> {
    assert_image("photo", photo, width, height, channels);
    assert_eq!(mask.len(), width * height, "length of mask");
    let mut image = photo.to_vec();
    for index in (0..mask.len()).filter(|&index| mask[index]) {
        let support = support(mask, width, height, index);
        for channel in 0..channels {
            let sum: T = support.iter().map(|&other| photo[other * channels + channel]).sum();
            image[index * channels + channel] = sum / count(support.len());
        }
    }
    image
}

/// The pixels whose mean replaces masked pixel `index`.
fn support(mask: &[bool], width: usize, height: usize, index: usize) -> Vec<usize> {
    let (row, col) = (index / width, index % width);
    let mut radius = WINDOW_RADIUS;
    loop {
        let rows = row.saturating_sub(radius)..(row + radius + 1).min(height);
        let cols = col.saturating_sub(radius)..(col + radius + 1).min(width);
        let window = rows.flat_map(|row| cols.clone().map(move |col| row * width + col));
        let found: Vec<usize> = window.filter(|&other| !mask[other]).collect();
        let covers_all = radius >= width.max(height);
        if found.len() >= WINDOW_SUPPORT || (covers_all && !found.is_empty()) {
            return found;
        }
        if covers_all {
            return (0..mask.len()).collect();
        }
        radius *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{close, photo};

    #[test]
    fn mask_is_a_disc_of_the_alpha_threshold() {
        // sqrt(2 ln 255) = 3.329 scales end the disc, just inside the radius of 3.33.
        let mask = knn_mask(&[[10.5, 0.5]], &[2.0], 21, 1);
        let expected: Vec<bool> = (0..21_i32).map(|col| (col - 10).abs() <= 6).collect();
        assert_eq!(mask, expected);
        assert_eq!(knn_mask::<f64>(&[], &[], 2, 1), [false; 2]);
    }

    #[test]
    fn masked_background_is_black_inside() {
        let image = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
        assert_eq!(masked_background(&image, &[true, false], 3), [0.0, 0.0, 0.0, 0.4, 0.5, 0.6]);
    }

    #[test]
    fn inpainting_by_hand() {
        // 4 unmasked pixels in all: too few for any window, so the one that covers the image takes them.
        let image: Vec<f64> = (0..40).map(f64::from).collect();
        let mask: Vec<bool> = (0..40).map(|i| i >= 4).collect();
        let filled = inpainted_background(&image, &mask, 40, 1, 1);
        assert_eq!(filled[..4], image[..4]);
        assert!(filled[4..].iter().all(|&entry| entry == 1.5));
        let mask: Vec<bool> = (0..100).map(|i| (10..=50).contains(&i)).collect();
        let image: Vec<f64> = (0..100).map(f64::from).collect();
        let filled = inpainted_background(&image, &mask, 100, 1, 1);
        // Radius 32 around 30 reaches 0..=62: 10 + 12 unmasked, too few; radius 64 reaches 0..=94: 10 + 44.
        close(filled[30], (45.0 + (51..=94).sum::<i32>() as f64) / 54.0, 1e-12);
    }

    #[test]
    fn everything_masked_gives_the_mean_per_channel() {
        let image = photo(6 * 3);
        let filled = inpainted_background(&image, &[true; 6], 3, 2, 3);
        for (index, &entry) in filled.iter().enumerate() {
            let mean = (0..6).map(|pixel| image[pixel * 3 + index % 3]).sum::<f64>() / 6.0;
            close(entry, mean, 1e-15);
        }
    }
}
