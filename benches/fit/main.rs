//! One step of either solver, and its parts.
//!
//! The steps are the loops of `src/splat/fit` without their looks at the losses, on the recommended options: a colored
//! photo, means fixed, squared residuals.

mod adam;
#[path = "../common/mod.rs"]
mod common;
mod gauss_newton;

use common::{Scene, Setting};
use splatport::kernels::moments;

fn main() {
    let setting = Setting::new("fit");
    let mut criterion = setting.criterion();
    for &(width, height, count) in setting.photos() {
        let size = format!("{width}x{height}/{count}");
        let scene = Scene::new(&setting.device, [width, height], count);
        let gaussians = scene.start();
        let frames = scene.frames(&gaussians);
        let bins = scene.bins(&gaussians, None, 0.0);
        println!("{size}: {} pairs on {} tiles", bins.pairs(), bins.tiles());
        let drawn = scene.drawn(&frames, &bins);
        let raster = scene.draw(&frames, &bins);
        let penalties = setting.device.filled(0.0, 1);

        let mut group = setting.group(&mut criterion, "fit/part");
        group.launches("frames", &size, || {
            scene.frames(&gaussians);
        });
        // Their totals are read back.
        group.stage("lists of tiles", &size, || {
            scene.bins(&gaussians, None, 0.0);
        });
        group.launches("residual", &size, || scene.residual(&drawn, &raster, &penalties, 0));
        for (name, curvature) in [("moments of Adam", false), ("moments of Gauss-Newton", true)] {
            group.launches(name, &size, || {
                moments::moments(&setting.device, &drawn, &raster, scene.sums(curvature), 0.0);
            });
        }
        adam::update(&mut group, &size, &scene);
        gauss_newton::update(&mut group, &size, &scene);
        group.finish();

        let mut group = setting.group(&mut criterion, "fit/step");
        // Long rounds where starting one takes longer than its steps; on a software driver the steps are slow.
        let [bunch, steps] = if setting.full { [adam::STEPS, gauss_newton::STEPS] } else { [adam::BUNCH, 10] };
        group.rounds("Adam", &size, bunch, || adam::Run::new(&scene), adam::Run::step);
        group.rounds("Gauss-Newton", &size, steps, || gauss_newton::Run::new(&scene), gauss_newton::Run::step);
        group.finish();
    }
    criterion.final_summary();
}
