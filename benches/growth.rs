//! How time and memory grow with the number of annotations on one photo: what counts should be pairs of Gaussian and
//! tile, and stored entries, never annotations times pixels. The time per element stays level where that holds.

mod common;

use common::{SIGMA, Scene, Setting, Start, density, uniform};
use splatport::{Grid, Splat};

/// Numbers of Gaussians in a fit.
const FIT: [usize; 5] = [100, 300, 1000, 3000, 10_000];
/// The middle one of the published sizes; and, for kernels, one that a software driver fills in a second.
const FULL: [u32; 2] = [1920, 1264];
const SMALL: [u32; 2] = [640, 480];

fn main() {
    let setting = Setting::new("growth");
    let mut criterion = setting.criterion();
    let size = if setting.full { FULL } else { SMALL };

    let mut group = setting.group(&mut criterion, "growth/fit");
    for count in FIT {
        let start = Start::new(&setting.device, &Scene::new(&setting.device, FULL, count, 3));
        let look = start.look(true);
        let pairs = start.listed.bins.pairs();
        println!("N = {count}: {pairs} pairs on {} of {} tiles", look.covered(), start.listed.bins.tiles());
        group.elements(pairs);
        group.stage("lists of tiles", count, || {
            start.lists();
        });
        group.launches("look of Gauss-Newton", count, || start.evaluate(&look));
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
