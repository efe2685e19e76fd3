//! Gauss-Newton as `src/splat/fit/gauss_newton.rs` runs it.

use splatport::{
    Gaussians, Profile,
    kernels::{
        bins::Bins,
        gauss_newton::{GaussNewton, Objective},
        moments::{self, Moments},
    },
};

use crate::common::{Backend, Group, Penalties, Scene};

/// Steps of a run at most: as many as a fit takes.
pub const STEPS: u32 = 60;
/// Least scale of the recommended options, px.
const LEAST_SCALE: f64 = 0.5;

/// A running fit.
pub struct Run<'a> {
    scene: &'a Scene,
    gaussians: Gaussians<Backend, f32>,
    solver: GaussNewton<Backend, f32>,
    penalties: Penalties,
}

impl<'a> Run<'a> {
    pub fn new(scene: &'a Scene) -> Self {
        let gaussians = scene.start();
        let size = [f64::from(scene.cells.columns), f64::from(scene.cells.rows)];
        let objective = Objective {
            residual_norm: scene.norm(),
            size_prior: 0.0,
            aspect_prior: 0.0,
            aspect_limit: Profile::Recommended.splat().shape.limit,
            least_scale: LEAST_SCALE,
            largest_scale: 0.25 * size[0].max(size[1]),
            least_color: -1.0,
            size,
            free_from: gaussians.len() as u32,
        };
        let solver = GaussNewton::new(&scene.device, &gaussians, objective, scene.sums(true), STEPS);
        Self {
            scene,
            solver: solver.expect("whole rows"),
            gaussians,
            penalties: scene.device.filled(0.0, STEPS as usize + 1),
        }
    }

    pub fn step(&mut self, step: u32) {
        let device = &self.scene.device;
        let bins = self.scene.bins(&self.gaussians, None, 0.0);
        let frames = self.scene.frames(&self.gaussians);
        let drawn = self.scene.drawn(&frames, &bins);
        let raster = drawn.raster(device);
        self.scene.residual(&drawn, &raster, &self.penalties, step);
        let moments = moments::moments(device, &drawn, &raster, self.scene.sums(true), 0.0);
        self.decide(&bins, &moments, step);
    }

    /// Keeps or drops the last trial, and makes the next.
    fn decide(&self, bins: &Bins<Backend>, moments: &Moments<Backend, f32>, step: u32) {
        let device = &self.scene.device;
        self.solver.judge(device, bins, moments, step);
        self.solver.settle(device, &self.penalties, step);
        self.solver.propose(device, &self.gaussians, step);
    }
}

/// The part of a step after the moments, always with those of the start.
pub fn update(group: &mut Group<'_>, size: &str, scene: &Scene) {
    let run = Run::new(scene);
    let frames = scene.frames(&run.gaussians);
    let bins = scene.bins(&run.gaussians, None, 0.0);
    let drawn = scene.drawn(&frames, &bins);
    let raster = scene.draw(&frames, &bins);
    let moments = moments::moments(&scene.device, &drawn, &raster, scene.sums(true), 0.0);
    run.decide(&bins, &moments, 0);
    group.launches("update of Gauss-Newton", size, || run.decide(&bins, &moments, 1));
}
