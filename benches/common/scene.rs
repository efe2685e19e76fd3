//! Synthetic scenes: uniform points, round Gaussians of one scale, and a photo that they nearly fit.

use rand::{Rng, SeedableRng, rngs::StdRng};
use splatport::{
    Annotations, Buffer, Device, Gaussians, Kernel, Profile,
    kernels::{
        Cells,
        bins::{self, Bins, Rule},
        gaussian::{self, Frames, Framing, Margin},
        moments::Sums,
        penalty::{Penalty, penalty},
        rasterize::{self, Compositing, Raster, Scene as Drawn},
    },
};

use super::Backend;

/// Seed of every scene.
const SEED: u64 = 20_241;
/// Initial scale, px: what the published timings of other rasterizers on these sizes were taken with, and the paper's
/// heuristic plan.
pub const SIGMA: f64 = 8.0;
/// Sizes of photos in the paper's data sets, with their numbers of annotations: a sparse one, a crowded one, a large one.
pub const PHOTOS_FULL: [(u32, u32, usize); 3] = [(1920, 960, 953), (1920, 1264, 8359), (4110, 1744, 4535)];
/// The size of the nuclei in `examples/data`, and one whose sides are no multiple of a coarse tile's 64 px.
pub const PHOTOS_SMALL: [(u32, u32, usize); 2] = [(512, 512, 125), (640, 480, 200)];
/// A training crop, px, on a network's usual stride: 4096 cells.
pub const CROP: u32 = 512;
pub const CROP_STRIDE: u32 = 8;
/// Annotations in a crop: from a sparse street to more annotations than a quarter of the cells can tell apart.
pub const CROP_COUNTS: [usize; 4] = [50, 200, 1000, 4000];

const CHANNELS: u32 = 3;

/// `count` points, uniform over the image.
pub fn uniform([width, height]: [u32; 2], count: usize) -> Annotations {
    let mut random = StdRng::seed_from_u64(SEED ^ count as u64);
    let point = |random: &mut StdRng| {
        let x = random.random_range(0.0..f64::from(width));
        [x, random.random_range(0.0..f64::from(height))]
    };
    Annotations::new((0..count).map(|_| point(&mut random)).collect::<Vec<_>>()).expect("finite points")
}

/// A density of uniform values; its sum is half the number of cells.
pub fn density(device: &Device<Backend>, cells: usize) -> Buffer<Backend, f32> {
    let mut random = StdRng::seed_from_u64(SEED);
    device.upload(&(0..cells).map(|_| random.random()).collect::<Vec<f32>>())
}

/// Says what a kernel stores.
pub fn print_memory(name: &str, kernel: &Kernel<Backend>) {
    let stored = kernel.certificate();
    println!("{name}: {} entries, {} bytes in both orders", stored.entries, stored.bytes);
}

/// The residual's sum of squares at every step.
pub type Penalties = Buffer<Backend, f32>;

/// What a fit works on, as the solvers see it.
pub struct Scene {
    pub device: Device<Backend>,
    pub cells: Cells,
    /// Where the fit starts, `[n, 9]` (as in [`Gaussians`]).
    pub rows: Vec<f64>,
    /// Background minus photo, `[pixels, 3]`.
    pub gap: Buffer<Backend, f32>,
    pub support: f64,
}

impl Scene {
    /// The photo is made of Gaussians that differ from the initial ones by a quarter of the scale and half of the color:
    /// a fit has something to do, and the lists of tiles stay about as long as they were.
    pub fn new(device: &Device<Backend>, [width, height]: [u32; 2], count: usize) -> Self {
        let mut random = StdRng::seed_from_u64(SEED);
        let (mut rows, mut truth) = (Vec::new(), Vec::new());
        for &[x, y] in uniform([width, height], count).points() {
            let rotation = random.random_range(0.0..3.0);
            rows.extend([x, y, SIGMA, SIGMA, rotation, 1.0]);
            let mut scale = || SIGMA * random.random_range(0.8..1.25);
            truth.extend([x, y, scale(), scale(), rotation, 1.0]);
            for _ in 0..CHANNELS {
                let color = random.random_range(-0.5..0.5);
                rows.push(0.5 * color);
                truth.push(color);
            }
        }
        let cells = Cells::pixels(width, height);
        let values = cells.len() * CHANNELS as usize;
        let gap = device.filled(0.0f32, values);
        let mut scene =
            Self { device: device.clone(), cells, rows, gap, support: Profile::Recommended.splat().support };
        let truth = scene.gaussians_of(&truth);
        let (frames, bins) = (scene.frames(&truth), scene.bins(&truth, None, 0.0));
        let raster = scene.draw(&frames, &bins);
        let photo = raster.image.read().expect("the photo is drawn");
        scene.gap = device.upload(&photo.iter().map(|v| -v).collect::<Vec<f32>>());
        scene
    }

    /// One over the number of the photo's values.
    pub fn norm(&self) -> f64 {
        1.0 / self.gap.len() as f64
    }

    /// Initial Gaussians in memory of their own.
    pub fn start(&self) -> Gaussians<Backend, f32> {
        self.gaussians_of(&self.rows)
    }

    fn gaussians_of(&self, rows: &[f64]) -> Gaussians<Backend, f32> {
        Gaussians { parameters: self.device.upload_f64(rows), channels: CHANNELS }
    }

    pub fn frames(&self, gaussians: &Gaussians<Backend, f32>) -> Frames<Backend, f32> {
        gaussian::frames(&self.device, gaussians, gaussians.len(), Framing::default()).expect("frames")
    }

    /// Lists of tiles, with a margin as the solvers ask for it.
    pub fn bins(&self, gaussians: &Gaussians<Backend, f32>, margin: Option<Margin>, px: f64) -> Bins<Backend> {
        let framing = Framing { margin, ..Framing::default() };
        let frames = gaussian::frames(&self.device, gaussians, gaussians.len(), framing).expect("frames");
        bins::bins(&self.device, &frames, self.cells, Rule::Within(self.support), px).expect("lists of tiles")
    }

    pub fn drawn<'a>(&self, frames: &'a Frames<Backend, f32>, bins: &'a Bins<Backend>) -> Drawn<'a, Backend, f32> {
        Drawn { frames, bins, support: self.support, compositing: Compositing::Sum }
    }

    /// Draws the residual.
    pub fn draw(&self, frames: &Frames<Backend, f32>, bins: &Bins<Backend>) -> Raster<Backend, f32> {
        let drawn = self.drawn(frames, bins);
        let raster = drawn.raster(&self.device);
        rasterize::rasterize(&self.device, &drawn, &self.gap, &raster).expect("a residual");
        raster
    }

    /// Draws the residual into `raster` and adds up its squares, as the solvers do.
    pub fn residual(
        &self,
        drawn: &Drawn<'_, Backend, f32>,
        raster: &Raster<Backend, f32>,
        penalties: &Penalties,
        at: u32,
    ) {
        rasterize::rasterize(&self.device, drawn, &self.gap, raster).expect("a residual");
        let squares = Penalty::Squared;
        penalty(&self.device, &raster.image, squares, penalties, at as usize).expect("a penalty");
    }

    /// Which sums a solver with fixed means asks for.
    pub fn sums(&self, curvature: bool) -> Sums {
        Sums { channels: CHANNELS, means: false, curvature, penalty: Penalty::Squared, over: false }
    }
}
