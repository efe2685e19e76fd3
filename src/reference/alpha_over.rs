//! Renders with transmittance: gaussians cover each other in index order, as in 3-D gaussian splatting.
//!
//! ```
//! use splatport::reference::alpha_over::alpha_over;
//! use splatport::reference::gaussian::Gaussian;
//!
//! let pale = Gaussian { opacity: 0.5, ..Gaussian::<f64>::round([0.5, 0.5], 1.0) };
//! // 0.5 from the first, half of the rest from the second, a quarter of the background.
//! assert_eq!(alpha_over(&[pale, pale], 1, 1, 1, &[0.2], f64::INFINITY), [0.5 + 0.25 + 0.05]);
//! ```

use super::gaussian::Gaussian;
use super::{Scalar, assert_image, pixels, real};

/// The largest fraction that a gaussian covers, so that the transmittance stays positive.
pub const MAX_ALPHA: f64 = 0.999;

/// Alpha-over render I = sum_m color_m a_m T_m + T_end background, in index order (front to back).
///
/// a_m = min(opacity_m exp(-q_m/2), [`MAX_ALPHA`]) where q_m <= `q_max`, else 0; T_m = prod_{j<m} (1 - a_j)
/// (Kerbl et al. 2023; `Compositing`, an alternative to Eq. 8). `background` and the result are `height` x `width` x
/// `channels`.
///
/// # Panics
/// If `channels` is neither 1 nor 3, or `background` has another length.
pub fn alpha_over<T: Scalar>(
    gaussians: &[Gaussian<T>],
    width: usize,
    height: usize,
    channels: usize,
    background: &[T],
    q_max: T,
) -> Vec<T> {
    assert_image("background", background, width, height, channels);
    let mut image = vec![T::zero(); background.len()];
    for (pixel, centre) in pixels(width, height) {
        let range = pixel * channels..(pixel + 1) * channels;
        let mut transmittance = T::one();
        for g in gaussians {
            let Some(weight) = g.weight(centre, q_max) else {
                continue;
            };
            let alpha = (g.opacity * weight).min(real(MAX_ALPHA));
            for (entry, color) in image[range.clone()].iter_mut().zip(g.color) {
                *entry = *entry + color * alpha * transmittance;
            }
            transmittance = transmittance * (T::one() - alpha);
        }
        for (entry, &behind) in image[range.clone()].iter_mut().zip(&background[range]) {
            *entry = *entry + transmittance * behind;
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{close, photo, trio};

    #[test]
    fn nothing_in_front_shows_the_background() {
        assert_eq!(alpha_over::<f64>(&[], 2, 1, 1, &[0.25, 0.75], 9.0), [0.25, 0.75]);
        let far = Gaussian::round([100.0, 0.5], 1.0);
        assert_eq!(alpha_over::<f64>(&[far], 2, 1, 1, &[0.25, 0.75], 9.0), [0.25, 0.75]);
    }

    #[test]
    fn order_matters_and_alpha_saturates() {
        let white = Gaussian::round([0.5, 0.5], 1.0);
        let black = Gaussian { color: [0.0; 3], ..white };
        close(alpha_over(&[white, black], 1, 1, 1, &[1.0], 9.0)[0], 0.999 + 1e-6, 1e-15);
        close(alpha_over(&[black, white], 1, 1, 1, &[1.0], 9.0)[0], 0.001 * 0.999 + 1e-6, 1e-15);
    }

    #[test]
    fn equal_colours_hide_the_order() {
        let set: Vec<_> = trio().into_iter().map(|g| Gaussian { color: [0.7; 3], ..g }).collect();
        let image = alpha_over(&set, 9, 7, 3, &[0.7; 189], f64::INFINITY);
        image.iter().for_each(|&entry| close(entry, 0.7, 1e-15));
        let reversed: Vec<_> = set.iter().rev().copied().collect();
        let (a, b) = (alpha_over(&set, 9, 7, 1, &photo(63), 9.0), alpha_over(&reversed, 9, 7, 1, &photo(63), 9.0));
        a.iter().zip(b).for_each(|(&a, b)| close(a, b, 1e-15));
    }
}
