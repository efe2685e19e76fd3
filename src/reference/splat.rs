//! Renders a splat as the plain sum of Eq. 8, with the gradient for fitting it.
//!
//! A step of the fit consists of: [`render`], [`reconstruction_loss`](super::reconstruction::reconstruction_loss),
//! [`pixel_gradient`](super::reconstruction::pixel_gradient), [`gradient`].
//!
//! ```
//! use splatport::reference::gaussian::Gaussian;
//! use splatport::reference::reconstruction::{self, Reconstruction};
//! use splatport::reference::splat;
//!
//! let (width, height, q_max) = (8, 6, f64::INFINITY);
//! let gaussians = [Gaussian::round([4.5, 2.5], 1.5)];
//! let rendered = splat::render(&gaussians, width, height, 1, &[0.0; 48], q_max);
//! assert_eq!(rendered[2 * width + 4], 1.0); // the centre of pixel (4, 2)
//!
//! let photo = [0.5; 48];
//! let norm = 48.0;
//! let loss = reconstruction::reconstruction_loss(&rendered, &photo, Reconstruction::Mse, norm);
//! let upstream = reconstruction::pixel_gradient(&rendered, &photo, Reconstruction::Mse, norm);
//! let gradient = splat::gradient(&gaussians, &upstream, width, height, 1, q_max);
//! assert!(loss > 0.0 && gradient[0].scales[0] != 0.0);
//! ```

use super::gaussian::Gaussian;
use super::{Scalar, assert_image, pixels, real};

/// Derivatives of a loss with respect to the parameters of one gaussian; units are 1/(unit of the parameter).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianGradient<T> {
    /// With respect to the mean, 1/px.
    pub mean: [T; 2],
    /// With respect to the scales, 1/px.
    pub scales: [T; 2],
    /// With respect to the rotation, 1/rad.
    pub rotation: T,
    /// With respect to the color, per channel; 0 beyond the image's channels.
    pub color: [T; 3],
    /// With respect to the opacity.
    pub opacity: T,
}

impl<T: Scalar> GaussianGradient<T> {
    /// All entries 0.
    pub fn zero() -> Self {
        let zero = T::zero();
        Self { mean: [zero; 2], scales: [zero; 2], rotation: zero, color: [zero; 3], opacity: zero }
    }
}

/// The plain sum I(x) = background(x) + sum_m opacity_m color_m exp(-q_m(x)/2), q_m <= `q_max` (Eq. 8).
///
/// `background` and the result are `height` x `width` x `channels`, row-major, interleaved; `q_max` (no unit,
/// infinity for the paper) cuts every gaussian at that squared Mahalanobis distance, inclusive.
///
/// # Panics
/// If `channels` is neither 1 nor 3, or `background` has another length.
pub fn render<T: Scalar>(
    gaussians: &[Gaussian<T>],
    width: usize,
    height: usize,
    channels: usize,
    background: &[T],
    q_max: T,
) -> Vec<T> {
    assert_image("background", background, width, height, channels);
    let mut image = background.to_vec();
    for (pixel, centre) in pixels(width, height) {
        for g in gaussians {
            let Some(weight) = g.weight(centre, q_max) else {
                continue;
            };
            for (channel, amplitude) in g.amplitude().into_iter().take(channels).enumerate() {
                let entry = &mut image[pixel * channels + channel];
                *entry = *entry + amplitude * weight;
            }
        }
    }
    image
}

/// The gradient of a loss of [`render`] with respect to every gaussian, from its gradient with respect to every pixel,
/// G = `upstream`.
///
/// With w = exp(-q/2) where q <= `q_max` (the jump at the cut is not differentiated) and E = sum_ch color_ch G_ch:
/// d/dcolor_ch = sum opacity w G_ch, d/dopacity = sum w E, d/dq = -opacity w E / 2, chained to mean, scales and
/// rotation by [`Gaussian::mahalanobis_sq_gradient`] (Eq. 8 differentiated; the paper leaves it to autograd).
/// `upstream` is `height` x `width` x `channels`.
///
/// # Panics
/// If `channels` is neither 1 nor 3, or `upstream` has another length.
pub fn gradient<T: Scalar>(
    gaussians: &[Gaussian<T>],
    upstream: &[T],
    width: usize,
    height: usize,
    channels: usize,
    q_max: T,
) -> Vec<GaussianGradient<T>> {
    assert_image("upstream", upstream, width, height, channels);
    let one = |g: &Gaussian<T>| {
        let mut sum = GaussianGradient::zero();
        for (pixel, centre) in pixels(width, height) {
            let Some(weight) = g.weight(centre, q_max) else {
                continue;
            };
            let slopes = &upstream[pixel * channels..][..channels];
            for (channel, &slope) in slopes.iter().enumerate() {
                sum.color[channel] = sum.color[channel] + g.opacity * weight * slope;
            }
            let by_opacity = weight * slopes.iter().zip(g.color).map(|(&slope, c)| c * slope).sum::<T>();
            sum.opacity = sum.opacity + by_opacity;
            add_shape_terms(&mut sum, g, centre, -g.opacity * by_opacity / real(2.0));
        }
        sum
    };
    gaussians.iter().map(one).collect()
}

/// Adds `by_q` * dq/d(mean, scales, rotation) at one pixel.
fn add_shape_terms<T: Scalar>(sum: &mut GaussianGradient<T>, g: &Gaussian<T>, centre: [T; 2], by_q: T) {
    let (mean, scales, rotation) = g.mahalanobis_sq_gradient(centre);
    for k in 0..2 {
        sum.mean[k] = sum.mean[k] + by_q * mean[k];
        sum.scales[k] = sum.scales[k] + by_q * scales[k];
    }
    sum.rotation = sum.rotation + by_q * rotation;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{close, difference, flatten_gradient, photo, trio};
    use crate::reference::reconstruction::{Reconstruction, pixel_gradient, reconstruction_loss};

    #[test]
    fn sums_over_the_background() {
        let mut g = Gaussian::round([0.5, 0.5], 1.0);
        g.color = [1.0, 0.5, -1.0];
        g.opacity = 0.5;
        let image = render(&[g, g], 2, 1, 3, &[0.25; 6], 1.0);
        let far = (-0.5_f64).exp(); // q = 1 is still inside q_max = 1
        let expected = [1.25, 0.75, -0.75, 0.25 + far, 0.25 + 0.5 * far, 0.25 - far];
        image.iter().zip(expected).for_each(|(&a, b)| close(a, b, 1e-15));
        assert_eq!(render(&[g], 2, 1, 3, &[0.25; 6], 0.99)[3..], [0.25; 3]);
        assert_eq!(render::<f64>(&[], 2, 1, 1, &[0.25, 0.5], 9.0), [0.25, 0.5]);
    }

    #[test]
    fn gradients_match_differences() {
        let (width, height, q_max) = (9, 7, f64::INFINITY);
        for (channels, kind) in [(1, Reconstruction::Mse), (3, Reconstruction::Mse), (3, Reconstruction::L1)] {
            let len = width * height * channels;
            let (background, target, norm) = (vec![0.1; len], photo(len), 50.0);
            let draw = |set: &[Gaussian<f64>]| render(set, width, height, channels, &background, q_max);
            let upstream = pixel_gradient(&draw(&trio()), &target, kind, norm);
            let analytic = gradient(&trio(), &upstream, width, height, channels, q_max);
            for (m, row) in analytic.iter().enumerate() {
                for (k, &entry) in flatten_gradient(row).iter().enumerate() {
                    let loss = |set: &[Gaussian<f64>]| reconstruction_loss(&draw(set), &target, kind, norm);
                    close(entry, difference(&trio(), m, k, loss), 1e-8);
                }
            }
        }
    }

    #[test]
    fn cut_pixels_give_no_gradient() {
        let g = Gaussian::round([0.5, 0.5], 1.0);
        let cut = gradient(&[g], &[0.0, 1.0], 2, 1, 1, 0.5);
        assert_eq!(cut, [GaussianGradient::<f64>::zero()]);
    }
}
