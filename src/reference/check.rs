//! Helpers of the reference's own tests: finite differences over all parameters of a gaussian.

use super::gaussian::Gaussian;
use super::grid::Grid;
use super::kernel::{Background, dense};
use super::splat::GaussianGradient;

/// Step of the central differences, spec section 3.
pub const STEP: f64 = 1e-6;

/// Parameters of a gaussian as (mean, scales, rotation, color, opacity).
pub fn flatten(g: &Gaussian<f64>) -> [f64; 9] {
    let c = g.color;
    [g.mean[0], g.mean[1], g.scales[0], g.scales[1], g.rotation, c[0], c[1], c[2], g.opacity]
}

/// A gradient in the order of [`flatten`].
pub fn flatten_gradient(g: &GaussianGradient<f64>) -> [f64; 9] {
    let c = g.color;
    [g.mean[0], g.mean[1], g.scales[0], g.scales[1], g.rotation, c[0], c[1], c[2], g.opacity]
}

/// Inverse of [`flatten`].
pub fn unflatten(p: [f64; 9]) -> Gaussian<f64> {
    Gaussian { mean: [p[0], p[1]], scales: [p[2], p[3]], rotation: p[4], color: [p[5], p[6], p[7]], opacity: p[8] }
}

/// Central difference of `f` along parameter `k` of gaussian `m`.
pub fn difference(gaussians: &[Gaussian<f64>], m: usize, k: usize, f: impl Fn(&[Gaussian<f64>]) -> f64) -> f64 {
    let moved = |step: f64| {
        let mut set = gaussians.to_vec();
        let mut p = flatten(&set[m]);
        p[k] += step;
        set[m] = unflatten(p);
        f(&set)
    };
    (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
}

/// Three overlapping, tilted, differently shaped gaussians with signed colors, near a 9 x 7 image.
pub fn trio() -> Vec<Gaussian<f64>> {
    vec![
        unflatten([3.2, 2.9, 2.0, 1.1, 0.4, 0.8, -0.3, 0.5, 0.9]),
        unflatten([5.7, 4.1, 1.3, 2.9, -1.0, 0.2, 0.7, 0.4, 0.6]),
        unflatten([9.4, 1.6, 2.4, 2.2, 2.5, -0.6, 0.1, 0.9, 0.8]),
    ]
}

/// A fixed, uneven image of `len` entries in 0..1.
pub fn photo(len: usize) -> Vec<f64> {
    (0..len).map(|i| (i as f64 * 0.754_877_666).fract()).collect()
}

/// Asserts |a - b| <= tolerance.
#[track_caller]
pub fn close(a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() <= tolerance, "{a} and {b} differ by {:e}, allowed {tolerance:e}", (a - b).abs());
}

/// The trio's kernel on a 5 x 4 grid of 2 px cells.
pub fn example() -> (Vec<Vec<f64>>, Vec<[f64; 2]>, Vec<f64>) {
    let centres = Grid::over(9, 7, 2.0).centres();
    let kernel = dense(&trio(), &centres, &Background::crossover(2.0, 3));
    let density = photo(centres.len());
    (kernel, centres, density)
}

/// Asserts that a gradient with respect to the density matches central differences of `loss`.
#[track_caller]
pub fn check_gradient(density: &[f64], gradient: &[f64], loss: impl Fn(&[f64]) -> f64) {
    for (i, &entry) in gradient.iter().enumerate() {
        let moved = |step: f64| {
            let mut density = density.to_vec();
            density[i] += step;
            loss(&density)
        };
        close(entry, (moved(STEP) - moved(-STEP)) / (2.0 * STEP), 3e-8);
    }
}
