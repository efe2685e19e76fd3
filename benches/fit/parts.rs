//! The parts of a step, on the recommended options but for the background: a colored 8-bit photo on black, means fixed.

use criterion::Criterion;
use splatport::{
    Profile,
    kernels::{
        adam::Adam,
        descent::{self, ColorMap, Descent, Maps, RotationMap, ScaleMap, ShapeOn, ShapeReduce},
        gauss_newton::{self, GaussNewton},
    },
};

use crate::common::{Scene, Setting, Start};

/// Least scale of the recommended options, px.
const LEAST_SCALE: f64 = 0.5;
const MAPS: Maps = Maps {
    scale: ScaleMap::Softplus,
    rotation: RotationMap::Free,
    color: ColorMap::Sigmoid,
    opacity: false,
    shape_on: ShapeOn::Activated,
    shape_reduce: ShapeReduce::Max,
};

pub fn run(setting: &Setting, criterion: &mut Criterion) {
    for &(width, height, count) in setting.photos() {
        let size = format!("{width}x{height}/{count}");
        let start = Start::new(&setting.device, &Scene::new(&setting.device, [width, height], count, 3));
        let (bins, looks) = (&start.listed.bins, [start.look(false), start.look(true)]);
        println!("{size}: {} pairs on {} of {} tiles", bins.pairs(), looks[0].covered(), bins.tiles());
        let mut group = setting.group(criterion, "fit/part");
        // Their totals are read back.
        group.stage("lists of tiles", &size, || {
            start.lists();
        });
        group.stage("room for looks", &size, || {
            start.look(true);
        });
        for (name, look) in ["look of Adam", "look of Gauss-Newton"].into_iter().zip(&looks) {
            group.launches(name, &size, || start.evaluate(look));
        }
        let (descent, solver) = (descent(&start), gauss_newton(&start));
        let (gaussians, seen) = (&start.gaussians, |at: usize| (&start.listed, &looks[at]));
        for look in &looks {
            start.evaluate(look);
        }
        group.launches("update of Adam", &size, || {
            descent.step(&start.device, (gaussians, &start.frames), seen(0), (&start.clock, 0)).expect("a step");
        });
        group.launches("update of Gauss-Newton", &size, || {
            solver.step(&start.device, (gaussians, &start.frames), seen(1), (&start.clock, 1));
        });
        group.finish();
    }
}

fn descent(start: &Start) -> Descent<crate::common::Backend, f32> {
    let mut raw = start.rows.clone();
    for row in raw.chunks_exact_mut(start.gaussians.stride()) {
        row[2..4].iter_mut().for_each(|scale| *scale = ((*scale - LEAST_SCALE).exp() - 1.0).ln());
        row[6..].iter_mut().for_each(|color| *color = (*color / (1.0 - *color)).ln());
    }
    let shape = Profile::Recommended.splat().shape;
    let norm = 1.0 / start.listed.bins.cells() as f64;
    let objective = descent::Objective {
        norm,
        residual_norm: norm,
        shape_weight: shape.weight,
        aspect_limit: shape.limit,
        size_prior: 0.0,
        aspect_prior: 0.0,
        least_scale: LEAST_SCALE,
        free_from: start.gaussians.len() as u32,
    };
    let (numbers, sums) = ((raw.as_slice(), start.rows.as_slice()), start.sums(false));
    Descent::new(&start.device, &start.mosaic, numbers, &[objective], (sums, MAPS), (Adam::default(), 1))
        .expect("a descent")
}

fn gauss_newton(start: &Start) -> GaussNewton<crate::common::Backend, f32> {
    let (cells, count) = start.mosaic.images()[0];
    let size = [f64::from(cells.columns), f64::from(cells.rows)];
    let objective = gauss_newton::Objective {
        residual_norm: 1.0 / cells.len() as f64,
        size_prior: 0.0,
        aspect_prior: 0.0,
        aspect_limit: Profile::Recommended.splat().shape.limit,
        least_scale: LEAST_SCALE,
        largest_scale: 0.25 * size[0].max(size[1]),
        least_color: 0.0,
        size,
        free_from: count as u32,
    };
    let sums = start.sums(true);
    GaussNewton::new(&start.device, &start.gaussians, &start.mosaic, &[objective], sums, 1).expect("a solver")
}
