//! The Gauss-Newton normal matrix of one gaussian, built from its dense Jacobian.
//!
//! ```
//! use splatport::reference::gaussian::Gaussian;
//! use splatport::reference::normal_matrix::normal_matrix;
//!
//! let gaussians = [Gaussian::<f64>::round([16.0, 16.0], 3.0)];
//! let matrix = normal_matrix(&gaussians, 0, 32, 32, 1, f64::INFINITY);
//! // The sum of exp(-q) over all pixels is close to pi s^2.
//! assert!((matrix[3][3] - std::f64::consts::PI * 9.0).abs() < 1e-6);
//! ```

use super::gaussian::Gaussian;
use super::{Scalar, assert_image, pixels, real};

/// J^T J of gaussian `m`'s residuals for (ln s0, ln s1, rotation, amplitude_0 .. amplitude_{channels-1}).
///
/// The residuals are render - photo at every pixel and channel, not divided by any norm; amplitude = opacity * color.
/// Square, 3 + `channels` rows. With w = exp(-q/2), q <= `q_max`, and A the amplitude, one row of J (see [`jacobian`])
/// is -A_ch w/2 (s0 dq/ds0, s1 dq/ds1, dq/drotation) and w for the amplitude of that channel. The means are fixed, and
/// other gaussians only shift the residual (our fit; not in the paper).
///
/// # Panics
/// If `m` is not an index of `gaussians`, or `channels` is neither 1 nor 3.
pub fn normal_matrix<T: Scalar>(
    gaussians: &[Gaussian<T>],
    m: usize,
    width: usize,
    height: usize,
    channels: usize,
    q_max: T,
) -> Vec<Vec<T>> {
    let jacobian = jacobian(&gaussians[m], width, height, channels, q_max);
    let entry = |a: usize, b: usize| jacobian.iter().map(|row| row[a] * row[b]).sum();
    (0..3 + channels).map(|a| (0..3 + channels).map(|b| entry(a, b)).collect()).collect()
}

/// J^T r, the right-hand side of the normal equations J^T J step = -J^T r, for the same parameters.
///
/// `residual` is render - photo of the whole splat, `height` x `width` x `channels`; the result has 3 + `channels`
/// entries, half the gradient of sum r^2.
///
/// # Panics
/// If `m` is not an index of `gaussians`, `channels` is neither 1 nor 3, or `residual` has a different length.
pub fn normal_vector<T: Scalar>(
    gaussians: &[Gaussian<T>],
    m: usize,
    residual: &[T],
    width: usize,
    height: usize,
    channels: usize,
    q_max: T,
) -> Vec<T> {
    assert_image("residual", residual, width, height, channels);
    let jacobian = jacobian(&gaussians[m], width, height, channels, q_max);
    (0..3 + channels).map(|a| jacobian.iter().zip(residual).map(|(row, &r)| row[a] * r).sum()).collect()
}

/// The dense Jacobian of the render with respect to one gaussian's (ln s0, ln s1, rotation, amplitudes): one row per
/// pixel and channel.
///
/// # Panics
/// If `channels` is neither 1 nor 3.
pub fn jacobian<T: Scalar>(
    gaussian: &Gaussian<T>,
    width: usize,
    height: usize,
    channels: usize,
    q_max: T,
) -> Vec<Vec<T>> {
    assert!(channels == 1 || channels == 3, "channels must be 1 or 3, got {channels}");
    let mut rows = Vec::with_capacity(width * height * channels);
    for (_, centre) in pixels(width, height) {
        let weight = gaussian.weight(centre, q_max).unwrap_or(T::zero());
        let (_, by_scales, by_rotation) = gaussian.mahalanobis_sq_gradient(centre);
        for (channel, amplitude) in gaussian.amplitude().into_iter().take(channels).enumerate() {
            let by_q = -amplitude * weight / real(2.0);
            let mut row = vec![T::zero(); 3 + channels];
            row[0] = by_q * by_scales[0] * gaussian.scales[0];
            row[1] = by_q * by_scales[1] * gaussian.scales[1];
            row[2] = by_q * by_rotation;
            row[3 + channel] = weight;
            rows.push(row);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{STEP, close, photo, trio};
    use crate::reference::reconstruction::{Reconstruction, pixel_gradient};
    use crate::reference::splat::{gradient, render};

    /// The render with parameter `k` of (ln s0, ln s1, rotation, amplitudes) moved by `step`.
    fn moved(g: &Gaussian<f64>, k: usize, step: f64, channels: usize) -> Vec<f64> {
        let mut g = *g;
        match k {
            0 | 1 => g.scales[k] *= step.exp(),
            2 => g.rotation += step,
            _ => g.color[k - 3] += step / g.opacity,
        }
        render(&[g], 9, 7, channels, &vec![0.0; 63 * channels], f64::INFINITY)
    }

    #[test]
    fn jacobian_matches_differences() {
        for (g, channels) in trio().iter().zip([1, 3, 3]) {
            let rows = jacobian(g, 9, 7, channels, f64::INFINITY);
            for k in 0..3 + channels {
                let (up, down) = (moved(g, k, STEP, channels), moved(g, k, -STEP, channels));
                for (row, (up, down)) in rows.iter().zip(up.iter().zip(down)) {
                    close(row[k], (up - down) / (2.0 * STEP), 1e-9);
                }
            }
        }
    }

    #[test]
    fn symmetric_with_separate_channels() {
        let matrix = normal_matrix(&trio(), 1, 9, 7, 3, 9.0);
        for (a, row) in matrix.iter().enumerate() {
            (0..6).for_each(|b| assert_eq!(row[b], matrix[b][a]));
        }
        assert_eq!((matrix[3][4], matrix[4][5]), (0.0, 0.0));
        assert_eq!(matrix[3][3], matrix[5][5]);
    }

    #[test]
    fn vector_is_half_the_gradient_of_the_squared_error() {
        let (set, target) = (trio(), photo(63 * 3));
        let rendered = render(&set, 9, 7, 3, &[0.0; 189], 9.0);
        let residual: Vec<f64> = rendered.iter().zip(&target).map(|(r, t)| r - t).collect();
        let upstream = pixel_gradient(&rendered, &target, Reconstruction::Mse, 1.0);
        for (m, row) in gradient(&set, &upstream, 9, 7, 3, 9.0).iter().enumerate() {
            let g = &set[m];
            let half = normal_vector(&set, m, &residual, 9, 7, 3, 9.0);
            close(2.0 * half[0], row.scales[0] * g.scales[0], 1e-12);
            close(2.0 * half[1], row.scales[1] * g.scales[1], 1e-12);
            close(2.0 * half[2], row.rotation, 1e-12);
            (0..3).for_each(|c| close(2.0 * half[3 + c] * g.opacity, row.color[c], 1e-12));
        }
    }
}
