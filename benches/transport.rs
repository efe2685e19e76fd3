//! Carrying a density to the annotations, and values on them back to the cells.

mod common;

use common::{CROP, CROP_COUNTS, CROP_STRIDE, SIGMA, Setting, density, uniform};
use splatport::{Grid, Splat};

fn main() {
    let setting = Setting::new("transport");
    let mut criterion = setting.criterion();
    let mut group = setting.group(&mut criterion, "transport");
    let crops = CROP_COUNTS.map(|count| (CROP, CROP, count, CROP_STRIDE));
    let photos = setting.photos().iter().map(|&(width, height, count)| (width, height, count, 1));
    for (width, height, count, stride) in photos.chain(crops) {
        let points = uniform([width, height], count);
        let splat = Splat::round(&setting.device, &points, [width, height], SIGMA).expect("a splat");
        let kernel = splat.kernel(Grid::over(width, height, stride)).build().expect("a kernel");
        let size = format!("{width}x{height}/{count} stride {stride}");
        common::print_memory(&size, &kernel);
        group.elements(kernel.certificate().entries);
        let density = density(&setting.device, kernel.grid().len());
        group.launches("push forward", &size, || {
            kernel.push_forward(&density).expect("mass");
        });
        let values = setting.device.filled(0.5, count + 1);
        group.launches("pull back", &size, || {
            kernel.pull_back(&values).expect("values");
        });
    }
    group.finish();
    criterion.final_summary();
}
