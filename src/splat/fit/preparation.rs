//! How long the host prepares fits: a measurement, asked for by name.
//!
//! `cargo test --release --lib -- --ignored --nocapture preparation`

use std::time::{Duration, Instant};

use rayon::prelude::*;
use splatport_kernels::{Device, Wgpu, WgpuRuntime};

use super::{Part, Problem};
use crate::{
    Annotations, Image, Profile,
    splat::{BackgroundImage, InitialScale, SplatOptions},
};

/// Published sizes with their numbers of annotations.
const PHOTOS: [(u32, u32, usize); 3] = [(1920, 960, 953), (1920, 1264, 8359), (4110, 1744, 4535)];
const RUNS: usize = 5;

/// Any 8-bit photo with uniform annotations; the same for a seed.
fn photo(width: u32, height: u32, count: usize, mut seed: u64) -> (Image, Annotations) {
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let samples: Vec<u8> = (0..width as usize * height as usize * 3).map(|_| next() as u8).collect();
    let mut side = |length: u32| f64::from(length) * next() as f64 / (1u64 << 31) as f64;
    let points: Vec<[f64; 2]> = (0..count).map(|_| [side(width), side(height)]).collect();
    (Image::from_u8(width, height, 3, samples).expect("a photo"), Annotations::new(points).expect("points"))
}

/// Medians of the parts alone, and of the problem with its uploads.
fn measure(device: &Device<WgpuRuntime>, options: &SplatOptions, images: &[(Image, Annotations)]) -> [Duration; 2] {
    let mut runs: Vec<[Duration; 2]> = (0..RUNS)
        .map(|_| {
            device.wait().expect("a device");
            let start = Instant::now();
            let parts: Vec<Part<'_>> =
                images.par_iter().map(|(image, points)| Part::new(0, (image, points), options)).collect();
            let prepared = start.elapsed();
            let _problem = Problem::new(device, options, 3, parts.iter().collect()).expect("a problem");
            device.wait().expect("uploads");
            [prepared, start.elapsed()]
        })
        .collect();
    [0, 1].map(|at| {
        runs.sort_by_key(|run| run[at]);
        runs[RUNS / 2][at]
    })
}

/// The priors' unit is the mean over what there is to explain: everything on black, the discs over a photo.
#[test]
fn residuals_count_where_they_are() {
    let (image, points) = photo(60, 50, 1, 5);
    let of = |background_image| {
        let options = SplatOptions { background_image, ..Profile::Recommended.splat() };
        let part = Part::new(0, (&image, &points), &options);
        assert_eq!(part.norm, 1.0 / 9000.0);
        (1.0 / part.residual_norm).round()
    };
    let [all, discs, same] = [BackgroundImage::None, BackgroundImage::KnnMask, BackgroundImage::Inpainted].map(of);
    assert_eq!(all, 9000.0);
    // One disc, cut by the photo's edges or not, of 3.329 times 2 px: the least scale there is.
    assert!(discs == same && discs > 0.0 && discs <= 3.0 * 154.0, "{discs}");
}

#[test]
#[ignore = "a measurement"]
fn preparation() {
    let device = Wgpu::best().expect("a device");
    println!("| photos | background | start | host alone | with uploads, waited for |\n|---|---|---|---:|---:|");
    let single = PHOTOS
        .map(|(width, height, count)| (format!("{width}x{height}/{count}"), vec![photo(width, height, count, 3)]));
    let crops =
        (0..64).map(|seed| photo(480 + seed * 7 % 65, 480 + seed * 11 % 65, 70 + seed as usize * 13 % 61, seed.into()));
    for (name, images) in single.into_iter().chain([("64 crops".to_owned(), crops.collect())]) {
        for (background_image, initial_scale) in [
            (BackgroundImage::None, InitialScale::Equal { scale: 8.0 }),
            (BackgroundImage::None, InitialScale::LogNeighbour),
            (BackgroundImage::KnnMask, InitialScale::LogNeighbour),
            (BackgroundImage::Inpainted, InitialScale::NeighbourFraction { divisor: 6.0 }),
        ] {
            let options = SplatOptions { background_image, initial_scale, ..Profile::Recommended.splat() };
            let [alone, uploaded] = measure(&device, &options, &images);
            println!("| {name} | {background_image:?} | {initial_scale:?} | {alone:.2?} | {uploaded:.2?} |");
        }
    }
}
