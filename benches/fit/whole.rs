//! Whole fits through the library's own door: wall time of everything, the photo's upload included, after one run that
//! compiles. The median of three.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use splatport::{
    Annotations, Device, Image, Splat,
    kernels::{
        Cells,
        bins::{self, Rule},
        gaussian::{self, Framing},
    },
    splat::{BackgroundImage, InitialScale, Progress, Solver},
};

use crate::{
    common::{Backend, SIGMA, Scene, Setting, Start},
    plain::Plain,
};

const GAUSS_NEWTON: Solver = Solver::GaussNewton { steps: 60 };
/// The authors' scales, and those of published timings.
const STARTS: [(InitialScale, &str); 2] =
    [(InitialScale::Equal { scale: SIGMA }, "8 px"), (InitialScale::LogNeighbour, "authors'")];
const RUNS: usize = 3;
/// Growth that Gauss-Newton's lists are made for.
const MARGIN: f64 = 1.15;

pub fn run(setting: &Setting) {
    println!(
        "\n| photo | start | Adam, per step | lists again | error | Gauss-Newton, whole | steps | lists again | error | first below \
         Adam's |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for &(width, height, count) in setting.photos() {
        let scene = Scene::new(&setting.device, [width, height], count, 3);
        for (start, name) in STARTS {
            println!("| {width}x{height}/{count} | {name} | {} |", solvers(setting, &scene, start));
        }
        memory(setting, &scene);
        preparation(setting, &scene);
    }
    batch(setting);
    nuclei(setting);
}

/// A fit, and how often its lists were made again.
fn watched(
    device: &Device<Backend>,
    (image, points): (&Image, &Annotations),
    start: InitialScale,
    solver: Solver,
) -> (Splat<Backend>, u32) {
    let mut rebuilds = 0;
    let recipe = Splat::of(image, points).background_image(BackgroundImage::None).initial_scale(start).solver(solver);
    let recipe = recipe.on_step(|progress| {
        rebuilds = progress.rebuilds;
        ControlFlow::Continue(())
    });
    let splat = recipe.fit(device).expect("a splat");
    (splat, rebuilds)
}

/// Median time, and the last result.
fn median<T>(mut run: impl FnMut() -> T) -> (Duration, T) {
    let mut timed = || {
        let start = Instant::now();
        let result = run();
        (start.elapsed(), result)
    };
    let mut runs: Vec<(Duration, T)> = (0..RUNS).map(|_| timed()).collect();
    runs.sort_by_key(|(time, _)| *time);
    runs.swap_remove(RUNS / 2)
}

fn solvers(setting: &Setting, scene: &Scene, start: InitialScale) -> String {
    let photo = (&scene.image, &scene.points);
    let steps = if setting.full { 4000 } else { 200 };
    let fit = |solver| watched(&setting.device, photo, start, solver);
    fit(Solver::Adam { steps: 2, rate: 0.01 });
    fit(Solver::GaussNewton { steps: 2 });
    let (adam_time, (adam, adam_rebuilds)) = median(|| fit(Solver::Adam { steps, rate: 0.01 }));
    let (time, (newton, rebuilds)) = median(|| fit(GAUSS_NEWTON));
    let error = |splat: &Splat<Backend>| splat.report().loss().expect("a loss");
    let below = newton.report().losses.iter().position(|&loss| loss <= error(&adam));
    format!(
        "{:.1?} ({steps} steps) | {adam_rebuilds} | {:.4e} | {time:.2?} | {} | {rebuilds} | {:.4e} | {}",
        adam_time / steps,
        error(&adam),
        newton.report().steps,
        error(&newton),
        below.map_or("never".to_owned(), |step| format!("step {step}")),
    )
}

/// Device memory of a running Gauss-Newton fit, against 16 bytes a pixel and 256 a pair of tile and Gaussian.
fn memory(setting: &Setting, scene: &Scene) {
    let before = setting.device.client().memory_usage().map_or(0, |usage| usage.bytes_in_use);
    let start = Start::new(&setting.device, scene);
    let look = start.look(true);
    start.evaluate(&look);
    setting.device.wait().expect("a look");
    let after = setting.device.client().memory_usage().map_or(0, |usage| usage.bytes_in_use);
    let (pixels, pairs) = (start.listed.bins.cells(), start.listed.bins.pairs());
    let own = start.target.bytes() + start.listed.bins.bytes() + look.bytes();
    let limit = 16 * pixels + 256 * pairs;
    let of_runtime = after.saturating_sub(before);
    println!(
        "memory: {pixels} pixels, {pairs} pairs: {own} bytes in arrays ({of_runtime} by the runtime's count), limit {limit}"
    );
}

/// Fits of no step: what is prepared on the host and brought to the device, lists, and one look.
fn preparation(setting: &Setting, scene: &Scene) {
    for background in [BackgroundImage::None, BackgroundImage::KnnMask, BackgroundImage::Inpainted] {
        let recipe = || Splat::of(&scene.image, &scene.points).background_image(background);
        let run = || recipe().solver(Solver::GaussNewton { steps: 0 }).fit(&setting.device).expect("a splat");
        run();
        println!("no step, {background:?}: {:.2?}", median(run).0);
    }
}

/// Crops of about one size and number of points, each its own.
fn batch(setting: &Setting) {
    let (crops, side) = if setting.full { (64, 512) } else { (4, 256) };
    let scene = |seed: u32| {
        let size = [side - side / 16 + seed * 7 % (side / 8), side - side / 16 + seed * 11 % (side / 8)];
        Scene::seeded(&setting.device, size, 70 + seed as usize * 13 % 61, 3, seed.into())
    };
    let scenes: Vec<Scene> = (0..crops).map(scene).collect();
    let images: Vec<_> = scenes.iter().map(|scene| (&scene.image, &scene.points)).collect();
    let recipe =
        splatport::recipe().background_image(BackgroundImage::None).initial_scale(STARTS[0].0).solver(GAUSS_NEWTON);
    let mut rebuilds = 0;
    let mut run = || {
        let watch = |progress: Progress| {
            rebuilds = progress.rebuilds;
            ControlFlow::Continue(())
        };
        recipe.fit_all_with(&setting.device, &images, watch).expect("splats")
    };
    run();
    let (time, splats) = median(run);
    let steps: Vec<u32> = splats.iter().map(|splat| splat.report().steps).collect();
    let longest = steps.iter().max().expect("crops");
    println!(
        "batch of {crops} crops, about {side}x{side}/100, Gauss-Newton: {time:.2?} in all, {longest} steps, lists made again \
         {rebuilds} times"
    );
}

/// The nuclei photo with the recommended options, against as many looks of the plain loop at its pairs.
fn nuclei(setting: &Setting) {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/nuclei_dsb2018");
    let image = Image::open(format!("{data}.png")).expect("the photo");
    let points = Annotations::from_csv(format!("{data}_points.csv")).expect("its points");
    let recommended = || Splat::of(&image, &points).fit(&setting.device).expect("a splat");
    let start = Instant::now();
    recommended();
    println!("nuclei photo: {:.2?} with compiling", start.elapsed());
    for (solver, name, curvature) in
        [(GAUSS_NEWTON, "Gauss-Newton", true), (Solver::Adam { steps: 200, rate: 0.01 }, "Adam", false)]
    {
        let run = || Splat::of(&image, &points).solver(solver).fit(&setting.device).expect("a splat");
        run();
        let (time, splat) = median(run);
        let steps = splat.report().steps + 1;
        // The loop's lists are of the fitted Gaussians.
        let table = splat.table().expect("a table");
        let size = [image.width() as usize, image.height() as usize];
        let support = splatport::Profile::Recommended.splat().support;
        let plain = Plain::<1>::new(size, &image.to_f32(), &table, support);
        let [own, grown] = [1.0, MARGIN].map(|growth| pairs(setting, &splat, growth, support));
        let (plain_time, seen) = median(|| (0..steps).map(|_| plain.look(curvature)).sum::<f32>());
        assert!(seen.is_finite(), "the plain loop's sums count");
        println!(
            "nuclei photo, {name}: {time:.2?} for {} steps, {own} pairs at its end, {grown} with the lists' margin; \
             plain loop, {} pairs: {plain_time:.2?} for as many looks; {:.2} times",
            steps - 1,
            plain.pairs(),
            time.as_secs_f64() / plain_time.as_secs_f64(),
        );
    }
}

/// Pairs of tile and Gaussian in a splat's lists.
fn pairs(setting: &Setting, splat: &Splat<Backend>, growth: f64, support: f64) -> usize {
    let framing = Framing { growth, ..Framing::default() };
    let frames = gaussian::frames(&setting.device, splat.gaussians(), splat.len(), framing).expect("frames");
    let [width, height] = splat.size();
    let cells = Cells::pixels(width, height);
    bins::bins(&setting.device, &frames, cells, Rule::Within(support)).expect("lists of tiles").pairs()
}
