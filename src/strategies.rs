//! Proptest strategies for the library's inputs: points, gaussians, grids, densities, photos.
//!
//! All numbers are `f64` but **already rounded to `f32`**. A device that stores `f32` and the `f64` reference thus get
//! the same numbers, and a comparison measures arithmetic, not rounding of the input. For a 16-bit storage type, round
//! again and give both sides the result.
//!
//! ```
//! use proptest::prelude::*;
//! use splatport::strategies;
//!
//! proptest!(|(gaussians in strategies::gaussians(20, 64, 48, 10.0))| {
//!     for g in gaussians {
//!         prop_assert!(g.scales.iter().all(|&s| s > 0.0 && s == f64::from(s as f32)));
//!     }
//! });
//! ```

use std::f64::consts::{FRAC_PI_2, PI};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::reference::gaussian::Gaussian;

/// The nearest `f32`, as `f64`.
fn single(value: f64) -> f64 {
    f64::from(value as f32)
}

/// One point near a `width` x `height` px image: inside, on a pixel's center or edge, or up to one size outside.
fn point(width: usize, height: usize) -> impl Strategy<Value = [f64; 2]> {
    let (w, h) = (width as f64, height as f64);
    prop_oneof![
        6 => (0.0..=w, 0.0..=h).prop_map(|(x, y)| [single(x), single(y)]),
        // Multiples of one half hit pixel centers, pixel edges and the image's edges, where exact ties occur.
        2 => (0..=2 * width, 0..=2 * height).prop_map(|(x, y)| [x as f64 / 2.0, y as f64 / 2.0]),
        1 => (-w..=2.0 * w, -h..=2.0 * h).prop_map(|(x, y)| [single(x), single(y)]),
    ]
}

/// 0 to `max_n` annotations `[x, y]` px for a `width` x `height` image, with duplicates and points outside the image.
pub fn points(max_n: usize, width: usize, height: usize) -> impl Strategy<Value = Vec<[f64; 2]>> {
    // The second entry names an earlier point to repeat, which happens in one case of six.
    vec((point(width, height), proptest::option::weighted(1.0 / 6.0, any::<prop::sample::Index>())), 0..=max_n)
        .prop_map(|drawn| {
            let mut points: Vec<[f64; 2]> = Vec::with_capacity(drawn.len());
            for (fresh, repeat) in drawn {
                let earlier = repeat.filter(|_| !points.is_empty()).map(|index| *index.get(&points));
                points.push(earlier.unwrap_or(fresh));
            }
            points
        })
}

/// Shape and paint of a gaussian at the origin: its short scale from 0.7 px to a quarter of `size`, its aspect 1 to
/// `aspect`.
fn centred(size: usize, aspect: f64) -> impl Strategy<Value = Gaussian<f64>> {
    let shortest = 0.7_f64;
    let short = (shortest.ln()..=(size as f64 / 4.0).max(1.0).ln()).prop_map(f64::exp);
    let ratio = prop_oneof![1 => Just(1.0), 5 => (0.0..=aspect.ln()).prop_map(f64::exp)];
    let rotation = prop_oneof![1 => select(vec![0.0, FRAC_PI_2, PI]), 5 => -PI..=PI];
    let opacity = prop_oneof![1 => Just(1.0), 2 => 0.01..=1.0];
    (short, ratio, any::<bool>(), rotation, [-1.0..=1.0, -1.0..=1.0, -1.0..=1.0], opacity).prop_map(
        |(short, ratio, upright, rotation, color, opacity)| {
            let [short, long] = [single(short), single(short * ratio)];
            Gaussian {
                mean: [0.0; 2],
                scales: if upright { [short, long] } else { [long, short] },
                rotation: single(rotation),
                color: color.map(single),
                opacity: single(opacity),
            }
        },
    )
}

/// One gaussian near a `width` x `height` px image; see [`gaussians`].
///
/// # Panics
/// If `aspect` is below 1.
pub fn gaussian(width: usize, height: usize, aspect: f64) -> impl Strategy<Value = Gaussian<f64>> {
    (point(width, height), centred(width.max(height), aspect)).prop_map(|(mean, shape)| Gaussian { mean, ..shape })
}

/// 0 to `max_n` gaussians at [`points`], long axis at most `aspect` (>= 1) times the short one, up to `f32` rounding.
///
/// Short scales from 0.7 px to a quarter of the longer image side, log-uniform; either axis may be the long one;
/// rotations in -pi..pi, some exactly 0, pi/2 or pi; signed colors in -1..1; opacities in 0.01..1, some exactly 1. All
/// values are rounded to `f32`.
///
/// # Panics
/// If `aspect` is below 1.
pub fn gaussians(max_n: usize, width: usize, height: usize, aspect: f64) -> impl Strategy<Value = Vec<Gaussian<f64>>> {
    points(max_n, width, height).prop_flat_map(move |points| {
        vec(centred(width.max(height), aspect), points.len()).prop_map(move |shapes| {
            shapes.into_iter().zip(&points).map(|(shape, &mean)| Gaussian { mean, ..shape }).collect()
        })
    })
}

/// Grids of (rows, cols) from 1 x 1 to 70 x 70, neither of them a multiple of `tile`.
///
/// A `tile` of 0 or 1 allows every size; at least one case in ten is 1 x 1.
pub fn grid_sizes(tile: usize) -> impl Strategy<Value = (usize, usize)> {
    let sizes: Vec<usize> = (1..=70).filter(|size| tile <= 1 || size % tile != 0).collect();
    prop_oneof![1 => Just((1, 1)), 9 => (select(sizes.clone()), select(sizes))]
}

/// A density of `len` cells, mass 0..2 per cell, a third of them exactly 0; rounded to `f32`.
pub fn density(len: usize) -> impl Strategy<Value = Vec<f64>> {
    vec(prop_oneof![1 => Just(0.0), 2 => (0.0..=2.0).prop_map(single)], len)
}

/// A photo of `height` x `width` x `channels` entries in 0..1: 8-bit levels over 255, rounded to `f32`.
pub fn image(width: usize, height: usize, channels: usize) -> impl Strategy<Value = Vec<f64>> {
    let level = any::<u8>().prop_map(|level| single(f64::from(level) / 255.0));
    vec(level, width * height * channels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    /// 300 draws of a strategy, the same on every run.
    fn draws<S: Strategy>(strategy: S) -> Vec<S::Value> {
        let mut runner = TestRunner::deterministic();
        (0..300).map(|_| strategy.new_tree(&mut runner).expect("no rejection").current()).collect()
    }

    #[test]
    fn points_cover_the_special_cases() {
        let sets = draws(points(8, 32, 16));
        let outside = |p: &[f64; 2]| !(0.0..=32.0).contains(&p[0]) || !(0.0..=16.0).contains(&p[1]);
        assert!(sets.iter().any(Vec::is_empty) && sets.iter().any(|set| set.len() == 8));
        assert!(sets.iter().flatten().any(outside));
        assert!(sets.iter().any(|set| set.iter().enumerate().any(|(n, p)| set[..n].contains(p))));
    }

    #[test]
    fn sizes_and_densities_cover_the_special_cases() {
        let sizes = draws(grid_sizes(8));
        assert!(sizes.contains(&(1, 1)) && sizes.iter().any(|&(rows, cols)| rows.max(cols) > 64));
        assert!(sizes.iter().all(|&(rows, cols)| rows % 8 != 0 && cols % 8 != 0));
        assert!(draws(density(10)).iter().flatten().any(|&z| z == 0.0));
        assert!(draws(image(5, 3, 3)).iter().all(|photo| photo.len() == 45));
    }

    #[test]
    fn gaussians_keep_their_promises() {
        for g in draws(gaussians(6, 32, 16, 5.0)).into_iter().flatten() {
            let [a, b] = g.scales;
            assert!(a.min(b) >= 0.7 * (1.0 - 1e-6) && a.max(b) / a.min(b) <= 5.0 * (1.0 + 1e-6));
            assert!((0.0..=1.0).contains(&g.opacity) && g.color.iter().all(|c| c.abs() <= 1.0));
            let numbers = [a, b, g.rotation, g.opacity, g.mean[0], g.mean[1]];
            assert!(numbers.iter().all(|&v| v == single(v)));
        }
    }
}
