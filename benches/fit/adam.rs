//! Adam as `src/splat/fit/adam.rs` runs it.

use splatport::{
    Buffer, Gaussians, Profile,
    kernels::{
        adam::Adam,
        bins::Bins,
        descent::{self, ColorMap, Descent, Maps, Objective, RotationMap, ScaleMap, ShapeOn, ShapeReduce},
        gaussian::Margin,
        moments::{self, Moments},
        rasterize::Raster,
        reduce::{Reduction, reduce_into},
    },
};

use crate::common::{Backend, Group, Penalties, Scene};

/// Steps between two builds of the lists.
pub const BUNCH: u32 = 16;
/// Steps of a run at most.
pub const STEPS: u32 = 4 * BUNCH;
/// How far the scales can get in a bunch, px: 3.2 step sizes a step.
const REACH: f64 = 3.2 * 0.01 * BUNCH as f64;
/// Least scale of the recommended options, px.
const LEAST_SCALE: f64 = 0.5;
const MARGIN: Margin = Margin { factor: 1.0, pixels: REACH };
const MAPS: Maps = Maps {
    scale: ScaleMap::Softplus,
    rotation: RotationMap::Free,
    color: ColorMap::Tanh,
    opacity: false,
    shape_on: ShapeOn::Activated,
    shape_reduce: ShapeReduce::Max,
};

/// A running fit.
pub struct Run<'a> {
    scene: &'a Scene,
    gaussians: Gaussians<Backend, f32>,
    descent: Descent<Backend, f32>,
    objective: Objective,
    penalties: Penalties,
    worst: Buffer<Backend, f32>,
    bins: Bins<Backend>,
    raster: Raster<Backend, f32>,
}

impl<'a> Run<'a> {
    pub fn new(scene: &'a Scene) -> Self {
        let device = &scene.device;
        let gaussians = scene.start();
        let bins = scene.bins(&gaussians, Some(MARGIN), REACH);
        let raster = scene.draw(&scene.frames(&gaussians), &bins);
        let shape = Profile::Recommended.splat().shape;
        Self {
            scene,
            descent: descent(scene, gaussians.stride()),
            objective: Objective {
                norm: scene.norm(),
                residual_norm: scene.norm(),
                shape_weight: shape.weight,
                aspect_limit: shape.limit,
                size_prior: 0.0,
                aspect_prior: 0.0,
                least_scale: LEAST_SCALE,
                free_from: gaussians.len() as u32,
            },
            penalties: device.filled(0.0, STEPS as usize),
            worst: device.filled(1.0, 1),
            gaussians,
            bins,
            raster,
        }
    }

    pub fn step(&mut self, step: u32) {
        if step.is_multiple_of(BUNCH) {
            self.bins = self.scene.bins(&self.gaussians, Some(MARGIN), REACH);
        }
        let frames = self.scene.frames(&self.gaussians);
        let drawn = self.scene.drawn(&frames, &self.bins);
        self.scene.residual(&drawn, &self.raster, &self.penalties, step);
        let moments = moments::moments(&self.scene.device, &drawn, &self.raster, self.scene.sums(false), 0.0);
        self.descend(&moments, step);
    }

    fn descend(&self, moments: &Moments<Backend, f32>, step: u32) {
        let device = &self.scene.device;
        reduce_into(device, &self.descent.aspects, Reduction::Largest, &self.worst, 0);
        descent::descend(
            device,
            &self.gaussians,
            &self.bins,
            moments,
            &self.descent,
            &self.worst,
            &self.penalties,
            &self.objective,
            (Adam::default(), step + 1),
            MAPS,
        )
        .expect("a step");
    }
}

/// Raw numbers that stand for the initial parameters, and moments of zero.
fn descent(scene: &Scene, stride: usize) -> Descent<Backend, f32> {
    let count = scene.rows.len() / stride;
    let mut state = Vec::with_capacity(3 * scene.rows.len());
    for row in scene.rows.chunks_exact(stride) {
        let mut raw = row.to_vec();
        raw[2..4].iter_mut().for_each(|scale| *scale = ((*scale - LEAST_SCALE).exp() - 1.0).ln());
        raw[6..].iter_mut().for_each(|color| *color = color.atanh());
        state.extend(raw);
        state.resize(state.len() + 2 * stride, 0.0);
    }
    Descent {
        state: scene.device.upload_f64(&state),
        aspects: scene.device.filled(1.0, count),
        repairs: scene.device.filled(0, count),
        initial: scene.device.upload_f64(&scene.rows),
    }
}

/// The part of a step after the moments, always with those of the start.
pub fn update(group: &mut Group<'_>, size: &str, scene: &Scene) {
    let run = Run::new(scene);
    let frames = scene.frames(&run.gaussians);
    let drawn = scene.drawn(&frames, &run.bins);
    let moments = moments::moments(&scene.device, &drawn, &run.raster, scene.sums(false), 0.0);
    group.launches("update of Adam", size, || run.descend(&moments, 0));
}
