//! The losses that solve, from grids and annotations to value and gradient, against the oracle.

mod bayesian;
mod dm_count;
mod double;
mod edges;
mod generalized;
mod heatmap;
mod l2;
mod plans;
mod sinkhorn;
mod unbalanced;
mod warm;

use proptest::collection::vec;
use proptest::prelude::*;
use splatport::losses::Step;
use splatport::reference::sinkhorn::{Solution, squared_distances};
use splatport::{Annotations, Buffer, Grid, strategies};

use crate::device::{R, device, single, wide};

/// The grid of a crop, points in and around it, and a density.
#[derive(Debug, Clone)]
struct Scene {
    grid: Grid,
    points: Annotations,
    density: Vec<f64>,
}

/// Crops of up to 80 x 60 px on cells of 4 or 8 px, `least` to 8 points.
fn scenes(least: usize) -> impl Strategy<Value = Vec<Scene>> {
    let crop = (20..80u32, 20..60u32, 0..19u32, 0..19u32, prop_oneof![Just(4u32), Just(8)]);
    let scene = crop.prop_flat_map(move |(width, height, left, top, stride)| {
        let grid = Grid::over(width, height, stride).crop(left, top, width - left, height - top);
        let points = strategies::points(8, width as usize, height as usize);
        let points = points.prop_filter("points", move |points| points.len() >= least);
        (points, strategies::density(grid.len()), 0.01..0.5).prop_map(move |(points, density, scale)| Scene {
            grid,
            points: Annotations::new(points).expect("points"),
            density: density.iter().map(|z| single(z * scale)).collect(),
        })
    });
    vec(scene, 1..4)
}

impl Scene {
    fn mass(&self) -> f64 {
        self.density.iter().sum()
    }

    fn centres(&self) -> Vec<[f64; 2]> {
        (0..self.grid.len()).map(|i| self.grid.centre(i)).collect()
    }

    /// Squared distances, px².
    fn costs(&self) -> Vec<Vec<f64>> {
        squared_distances(&self.centres(), self.points.points())
    }
}

fn bound(scenes: &[Scene]) -> Vec<splatport::losses::Scene<'_>> {
    scenes.iter().map(|scene| (scene.grid, &scene.points)).collect()
}

fn densities(scenes: &[Scene]) -> Buffer<R, f32> {
    device().upload_f64(&scenes.iter().flat_map(|scene| scene.density.clone()).collect::<Vec<_>>())
}

/// Image by image, `[cells]` or `[annotations]`.
fn by_image(scenes: &[Scene], all: &Buffer<R, f32>, of: impl Fn(&Scene) -> usize) -> Vec<Vec<f64>> {
    let mut rest = wide(all.read().expect("numbers"));
    let mut take = |scene: &Scene| {
        let others = rest.split_off(of(scene));
        std::mem::replace(&mut rest, others)
    };
    scenes.iter().map(&mut take).collect()
}

fn gradients(scenes: &[Scene], step: &Step<R>) -> Vec<Vec<f64>> {
    by_image(scenes, step.gradient(), |scene| scene.grid.len())
}

/// The device's potentials as the oracle takes them.
fn solutions(scenes: &[Scene], step: &Step<R>, epsilon: impl Fn(&Scene) -> f64) -> Vec<Solution<f64>> {
    let (cells, points) = step.potentials();
    let cells = by_image(scenes, &cells, |scene| scene.grid.len());
    let points = by_image(scenes, &points, |scene| scene.points.len());
    let both = scenes.iter().zip(cells.into_iter().zip(points));
    both.map(|(scene, (cells, points))| Solution { cells, points, epsilon: epsilon(scene), rounds: 0 }).collect()
}

/// Roundings of an image's sum: a 64th of the cells by one unit, then 64 parts.
fn roundings(scene: &Scene) -> f64 {
    (scene.grid.len() / 64 + 80) as f64
}

fn scene(density: f64, points: &[[f64; 2]]) -> Scene {
    let grid = Grid::over(40, 24, 8);
    Scene { grid, points: Annotations::new(points).expect("points"), density: vec![density; grid.len()] }
}
