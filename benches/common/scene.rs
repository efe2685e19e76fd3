//! Synthetic scenes: uniform points, and a photo of Gaussians around them.

use rand::{Rng, SeedableRng, rngs::StdRng};
use splatport::{
    Annotations, Buffer, Device, Gaussians, Image, Kernel, Profile,
    kernels::{
        Cells, Mosaic,
        bins::{self, Rule},
        clock::Clock,
        evaluate::{Look, evaluate},
        gaussian::{self, Frames, Framing},
        listed::{Listed, Margin},
        moments::Sums,
        penalty::Penalty,
        rasterize::{self, Compositing, Scene as Drawn},
        target::Target,
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

/// `count` points, uniform over the image.
pub fn uniform([width, height]: [u32; 2], count: usize) -> Annotations {
    scattered([width, height], count, SEED)
}

fn scattered([width, height]: [u32; 2], count: usize, seed: u64) -> Annotations {
    let mut random = StdRng::seed_from_u64(seed ^ count as u64);
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
    // CubeCL keeps the memory that it got from the driver: what it holds is the most that was in use so far, rounded up by its pools.
    let usage = kernel.device().client().memory_usage().expect("the device's memory");
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let (used, reserved) = (megabytes(usage.bytes_in_use), megabytes(usage.bytes_reserved));
    println!("{name}: device memory {used:.1} MB in use, {reserved:.1} MB held since the start");
}

/// An 8-bit photo with its points.
pub struct Scene {
    pub image: Image,
    pub points: Annotations,
}

impl Scene {
    /// The photo is made of Gaussians on black, whose scales differ from [`SIGMA`] by up to a quarter.
    pub fn new(device: &Device<Backend>, size: [u32; 2], count: usize, channels: u8) -> Self {
        Self::seeded(device, size, count, channels, SEED)
    }

    /// Another one.
    pub fn seeded(device: &Device<Backend>, size: [u32; 2], count: usize, channels: u8, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let points = scattered(size, count, seed);
        let mut rows = Vec::new();
        for &[x, y] in points.points() {
            let mut scale = || SIGMA * random.random_range(0.8..1.25);
            let scales = [scale(), scale()];
            rows.extend([x, y, scales[0], scales[1], random.random_range(0.0..3.0), 1.0]);
            rows.extend((0..channels).map(|_| random.random_range(0.1..0.8)));
        }
        let gaussians = Gaussians { parameters: device.upload_f64(&rows), channels: channels.into() };
        let frames = frames(device, &gaussians);
        let cells = Cells::pixels(size[0], size[1]);
        let bins = bins::bins(device, &frames, cells, Rule::Within(support())).expect("lists of tiles");
        let drawn = Drawn { frames: &frames, bins: &bins, support: support(), compositing: Compositing::Sum };
        let black = device.filled(0.0f32, cells.len() * usize::from(channels));
        let photo = rasterize::rasterize(device, &drawn, &black).expect("a photo").image.read().expect("a photo");
        let levels: Vec<u8> = photo.iter().map(|v| (v * 255.0).round() as u8).collect();
        Self { image: Image::from_u8(size[0], size[1], channels, levels).expect("an image"), points }
    }
}

fn support() -> f64 {
    Profile::Recommended.splat().support
}

fn frames(device: &Device<Backend>, gaussians: &Gaussians<Backend, f32>) -> Frames<Backend, f32> {
    gaussian::frames(device, gaussians, gaussians.len(), Framing::default()).expect("frames")
}

/// The start of a fit on black, as device functions see it: round Gaussians of [`SIGMA`].
pub struct Start {
    pub device: Device<Backend>,
    pub mosaic: Mosaic<Backend, f32>,
    pub rows: Vec<f64>,
    pub gaussians: Gaussians<Backend, f32>,
    pub frames: Frames<Backend, f32>,
    pub target: Target<Backend, f32>,
    pub listed: Listed<Backend, f32>,
    pub clock: Clock<Backend>,
}

impl Start {
    pub fn new(device: &Device<Backend>, scene: &Scene) -> Self {
        let image = &scene.image;
        let channels = usize::from(image.channels());
        let pixels = image.to_f32();
        let row = |&[x, y]: &[f64; 2]| {
            let pixel = (y as usize * image.width() as usize + x as usize) * channels;
            let color = pixels[pixel..pixel + channels].iter().map(|&v| f64::from(v));
            [x, y, SIGMA, SIGMA, 0.0, 1.0].into_iter().chain(color).collect::<Vec<f64>>()
        };
        let rows: Vec<f64> = scene.points.points().iter().flat_map(row).collect();
        let gaussians = Gaussians { parameters: device.upload_f64(&rows), channels: channels as u32 };
        let cells = Cells::pixels(image.width(), image.height());
        let mosaic = Mosaic::new(device, &[(cells, gaussians.len())]).expect("a mosaic");
        let splatport::Pixels::U8(levels) = image.pixels() else { unreachable!("scenes have 8 bits") };
        let target = Target::of_levels(device, None, levels, channels as u32).expect("a target");
        let listed = listed(device, &gaussians, &mosaic);
        let (frames, clock) = (frames(device, &gaussians), Clock::new(device, 1));
        Self { device: device.clone(), mosaic, rows, gaussians, frames, target, listed, clock }
    }

    /// Makes the lists anew.
    pub fn lists(&self) -> Listed<Backend, f32> {
        listed(&self.device, &self.gaussians, &self.mosaic)
    }

    fn drawn(&self) -> Drawn<'_, Backend, f32> {
        let compositing = Compositing::Sum;
        Drawn { frames: &self.frames, bins: &self.listed.bins, support: support(), compositing }
    }

    /// Which sums a solver with fixed means asks for.
    pub fn sums(&self, curvature: bool) -> Sums {
        Sums { channels: self.gaussians.channels, means: false, curvature, penalty: Penalty::Squared, over: false }
    }

    pub fn look(&self, curvature: bool) -> Look<Backend, f32> {
        Look::new(&self.device, &self.drawn(), &self.target, self.sums(curvature)).expect("a look")
    }

    /// One look at the fit.
    pub fn evaluate(&self, look: &Look<Backend, f32>) {
        evaluate(&self.device, &self.drawn(), &self.target, look, (&self.clock, 0), 0.0);
    }
}

/// With the margin of Gauss-Newton.
fn listed(
    device: &Device<Backend>,
    gaussians: &Gaussians<Backend, f32>,
    mosaic: &Mosaic<Backend, f32>,
) -> Listed<Backend, f32> {
    let margin = Margin { growth: 1.15, shift: 0.0 };
    Listed::new(device, gaussians, mosaic, support(), margin, &mut bins::Room::default()).expect("lists of tiles")
}
