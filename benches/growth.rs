//! How time and memory grow with the number of annotations on one photo: what counts should be pairs of Gaussian and
//! tile, and stored entries, never annotations times pixels. The time per element stays level where that holds.

mod common;

use common::{SIGMA, Scene, Setting, density, uniform};
use splatport::{Grid, Splat};

/// The middle one of the published sizes; and one that a software driver fills in a second.
const FULL: [u32; 2] = [1920, 1264];
const SMALL: [u32; 2] = [640, 480];

fn main() {
    let setting = Setting::new("growth");
    let mut criterion = setting.criterion();
    let size = if setting.full { FULL } else { SMALL };

    let mut group = setting.group(&mut criterion, "growth/fit");
    for &count in setting.growth() {
        let scene = Scene::new(&setting.device, size, count);
        let gaussians = scene.start();
        let frames = scene.frames(&gaussians);
        let bins = scene.bins(&gaussians, None, 0.0);
        println!("N = {count}: {} pairs on {} tiles", bins.pairs(), bins.tiles());
        group.elements(bins.pairs());
        group.stage("lists of tiles", count, || {
            scene.bins(&gaussians, None, 0.0);
        });
        group.launches("residual", count, || {
            scene.draw(&frames, &bins);
        });
    }
    group.finish();

    let mut group = setting.group(&mut criterion, "growth/kernel");
    for &count in setting.growth() {
        let splat = Splat::round(&setting.device, &uniform(size, count), size, SIGMA).expect("a splat");
        let build = || splat.kernel(Grid::over(size[0], size[1], 1)).build().expect("a kernel");
        let kernel = build();
        common::print_memory(&format!("N = {count}"), &kernel);
        group.elements(kernel.certificate().entries);
        let density = density(&setting.device, kernel.grid().len());
        group.launches("push forward", count, || {
            kernel.push_forward(&density).expect("mass");
        });
        drop(kernel);
        group.stage("build", count, || {
            build();
        });
    }
    group.finish();
    criterion.final_summary();
}
