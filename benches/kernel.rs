//! Building the transport kernel: over whole photos at full resolution, and over training crops.

mod common;

use std::cell::RefCell;

use common::{CROP, CROP_COUNTS, CROP_STRIDE, SIGMA, Setting, density, uniform};
use splatport::{Grid, Splat, View, splat::CropTarget};

/// Photos at full resolution: a megapixel with some hundred points, and one of the published sizes.
const PHOTOS: [(u32, u32, usize, u32); 2] = [(1024, 768, 500, 1), (1920, 1264, 489, 1)];
/// Crops of a batch, with their annotations.
const BATCH: (usize, usize) = (32, 200);

fn main() {
    let setting = Setting::new("kernel");
    let mut criterion = setting.criterion();
    let mut group = setting.group(&mut criterion, "kernel");
    let crops = CROP_COUNTS.map(|count| (CROP, CROP, count, CROP_STRIDE));
    let photos = setting.photos().iter().map(|&(width, height, count)| (width, height, count, 1));
    for (width, height, count, stride) in photos.chain(PHOTOS).chain(crops) {
        let points = uniform([width, height], count);
        let splat = Splat::round(&setting.device, &points, [width, height], SIGMA).expect("a splat");
        // Sizes are read back at the end: wall time.
        let grid = Grid::over(width, height, stride);
        let kernel = splat.kernel(grid).build().expect("a kernel");
        let size = format!("{width}x{height}/{count} stride {stride}");
        common::print_memory(&size, &kernel);
        let kernel = RefCell::new(kernel);
        group.stage("rebuild", size, || kernel.borrow_mut().rebuild(&[(&splat, grid)]).expect("a kernel"));
    }

    // What a training step costs whose crops are new: Gaussians moved, targets, kernels, value, gradient.
    let (crops, count) = if setting.full { BATCH } else { (4, BATCH.1) };
    let points = uniform([CROP, CROP], count);
    let splat = Splat::round(&setting.device, &points, [CROP, CROP], SIGMA).expect("a splat");
    let grid = Grid::over(CROP, CROP, CROP_STRIDE);
    for crops in [1, crops] {
        let views = vec![(&splat, View::of([CROP; 2]).flip()); crops];
        let images = vec![(&splat, grid); crops];
        let options = *splat.kernel(grid).build().expect("a kernel").options().expect("options");
        let loss = splatport::Kernel::of_all(&setting.device, &images, options).expect("a kernel").loss();
        let density = density(&setting.device, crops * grid.len());
        let loss = RefCell::new(loss);
        let size = format!("{crops} crops/{count}");
        group.stage("rebuild and loss", &size, || {
            let mut loss = loss.borrow_mut();
            loss.rebuild(&images).expect("a kernel");
            loss.evaluate(&density).expect("a step");
        });
        group.stage("move, rebuild and loss", &size, || {
            let crops = Splat::through_all(&views, CropTarget::default()).expect("crops");
            let images: Vec<_> = crops.iter().map(|crop| (&crop.splat, grid)).collect();
            let targets: Vec<f64> = crops.iter().flat_map(|crop| crop.targets.iter().copied()).collect();
            let mut loss = loss.borrow_mut();
            loss.rebuild(&images).expect("a kernel");
            loss.set_targets(&targets).expect("targets");
            loss.evaluate(&density).expect("a step");
        });
    }
    group.finish();
    criterion.final_summary();
}
