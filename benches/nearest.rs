//! The nearest Gaussian of every pixel, and of every cell of a crop.

mod common;

use common::{CROP, CROP_COUNTS, CROP_STRIDE, SIGMA, Setting, uniform};
use splatport::{Grid, Splat};

fn main() {
    let setting = Setting::new("nearest");
    let mut criterion = setting.criterion();
    let mut group = setting.group(&mut criterion, "nearest");
    // The function builds its lists of candidates, which are read back: wall time.
    for &(width, height, count) in setting.photos() {
        let points = uniform([width, height], count);
        let splat = Splat::round(&setting.device, &points, [width, height], SIGMA).expect("a splat");
        group.stage("photo", format!("{width}x{height}/{count}"), || {
            splat.nearest(Grid::over(width, height, 1), 1).expect("nearest");
        });
    }
    for count in CROP_COUNTS {
        let points = uniform([CROP, CROP], count);
        let splat = Splat::round(&setting.device, &points, [CROP, CROP], SIGMA).expect("a splat");
        group.stage("crop", count, || {
            splat.nearest(Grid::over(CROP, CROP, CROP_STRIDE), 1).expect("nearest");
        });
    }
    group.finish();
    criterion.final_summary();
}
