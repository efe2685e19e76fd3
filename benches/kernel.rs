//! Building the transport kernel: over whole photos at full resolution, and over training crops.

mod common;

use common::{CROP, CROP_COUNTS, CROP_STRIDE, SIGMA, Setting, uniform};
use splatport::{Grid, Splat};

fn main() {
    let setting = Setting::new("kernel");
    let mut criterion = setting.criterion();
    let mut group = setting.group(&mut criterion, "kernel");
    let crops = CROP_COUNTS.map(|count| (CROP, CROP, count, CROP_STRIDE));
    let photos = setting.photos().iter().map(|&(width, height, count)| (width, height, count, 1));
    for (width, height, count, stride) in photos.chain(crops) {
        let points = uniform([width, height], count);
        let splat = Splat::round(&setting.device, &points, [width, height], SIGMA).expect("a splat");
        // The numbers of pairs and entries are read back between the launches: wall time.
        let build = || splat.kernel(Grid::over(width, height, stride)).build().expect("a kernel");
        let size = format!("{width}x{height}/{count} stride {stride}");
        common::print_memory(&size, &build());
        group.stage("build", size, || {
            build();
        });
    }
    group.finish();
    criterion.final_summary();
}
