//! Drawing against the oracle.

use proptest::prelude::*;
use splatport::kernels::{
    Cells, Error,
    bins::{Bins, Rule, bins},
    gaussian::Framing,
    moments::Sums,
    penalty::{Penalty, penalties},
    rasterize::{Compositing, Scene, rasterize},
    target::Target,
};
use splatport::reference::{gaussian::Gaussian, splat};
use splatport::strategies;

use super::evaluate::look;
use super::{Frames, R, Tally, U, aspect, device, framed, once, poison, property, q_error, single, weight_error, wide};

/// Gaussians over a base image, cut at a squared Mahalanobis distance.
#[derive(Debug, Clone)]
pub struct Picture {
    pub set: Vec<Gaussian<f64>>,
    pub base: Vec<f64>,
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub support: f64,
}

/// Pictures of 1x1 to 70x70 px with up to `max_n` gaussians.
pub fn pictures(max_n: usize) -> impl Strategy<Value = Picture> {
    let support = prop_oneof![Just(9.0), (1.0..25.0).prop_map(single)];
    let shape = (strategies::grid_sizes(8), prop_oneof![Just(1usize), Just(3)], support);
    shape.prop_flat_map(move |((height, width), channels, support)| {
        let set = strategies::gaussians(max_n, width, height, 6.0);
        (set, strategies::image(width, height, channels)).prop_map(move |(set, base)| Picture {
            set,
            base,
            width,
            height,
            channels,
            support,
        })
    })
}

impl Picture {
    pub fn cells(&self) -> Cells {
        Cells::pixels(self.width as u32, self.height as u32)
    }

    /// Draws on the device: image and coverage.
    pub fn draw(&self) -> (Vec<f32>, Vec<f32>) {
        let frames = framed(&self.set, self.channels, Framing::default());
        let bins = bins(device(), &frames, self.cells(), Rule::Within(self.support)).expect("bins");
        draw(self, &frames, &bins)
    }

    /// Centre of a pixel.
    pub fn centre(&self, pixel: usize) -> [f64; 2] {
        [(pixel % self.width) as f64 + 0.5, (pixel / self.width) as f64 + 0.5]
    }

    /// Whether rounding may decide if some gaussian reaches the pixel; there the jump is as large as `exp(-support / 2)`.
    pub fn is_on_an_edge(&self, pixel: usize) -> bool {
        let band = |g: &Gaussian<f64>| {
            let q = g.mahalanobis_sq(self.centre(pixel));
            (q - self.support).abs() <= 2.0 * q_error(aspect(g)) * self.support
        };
        self.set.iter().any(band)
    }

    /// What is added at a pixel and channel, as a sum of absolute values, and the error that drawing it may have.
    ///
    /// Every gaussian brings `|A| w` times the relative error of a weight, and the sum of the base and all gaussians is
    /// rounded once each.
    pub fn error(&self, pixel: usize, channel: usize) -> f64 {
        let (mut sum, mut error) = (self.base[pixel * self.channels + channel].abs(), 0.0);
        let mut terms = 2.0;
        for g in &self.set {
            let q = g.mahalanobis_sq(self.centre(pixel));
            if q <= self.support {
                let term = (g.opacity * g.color[channel]).abs() * (-q / 2.0).exp();
                (sum, error, terms) = (sum + term, error + term * weight_error(q, aspect(g)), terms + 1.0);
            }
        }
        error + terms * U * sum
    }

    pub fn pixels(&self) -> usize {
        self.width * self.height
    }
}

fn draw(picture: &Picture, frames: &Frames, bins: &Bins<R, f32>) -> (Vec<f32>, Vec<f32>) {
    poison(&[picture.pixels() * picture.channels, picture.pixels()]);
    let scene = Scene { frames, bins, support: picture.support, compositing: Compositing::Sum };
    let raster = rasterize(device(), &scene, &device().upload_f64(&picture.base)).expect("a raster");
    (raster.image.read().expect("image"), raster.coverage.read().expect("coverage"))
}

/// Compares image and coverage with the oracle's.
fn check(picture: &Picture, (image, coverage): (Vec<f32>, Vec<f32>), tally: &mut Tally) {
    let Picture { width, height, channels, support, .. } = *picture;
    let wanted = splat::render(&picture.set, width, height, channels, &picture.base, support);
    let white: Vec<_> = picture.set.iter().map(|g| Gaussian { color: [1.0; 3], opacity: 1.0, ..*g }).collect();
    let weights = splat::render(&white, width, height, 1, &vec![0.0; width * height], support);
    let plain = Picture { set: white, base: vec![0.0; width * height], channels: 1, ..*picture };
    let (image, coverage) = (wide(image), wide(coverage));
    tally.equal("lengths", &(image.len(), coverage.len()), &(wanted.len(), weights.len()));
    for pixel in (0..width * height).filter(|&pixel| !picture.is_on_an_edge(pixel)) {
        tally.near("coverage", pixel, (coverage[pixel], weights[pixel]), plain.error(pixel, 0));
        for channel in 0..channels {
            let at = pixel * channels + channel;
            tally.near("image", at, (image[at], wanted[at]), picture.error(pixel, channel));
        }
    }
}

/// No gaussian is missing from a tile that it reaches. Measured: 0.45 of the tolerance.
#[test]
fn draws_what_the_oracle_draws() {
    property("drawn", 48, pictures(20), |picture, tally| check(picture, picture.draw(), tally));
}

/// `count` gaussians of a few pixels all over a picture.
pub fn crowd(count: usize, width: usize, height: usize) -> Picture {
    let wave = |n: usize, k: f64| single((n as f64 * k).sin());
    // Multiples of irrational numbers spread evenly.
    let place = |n: usize, k: f64, size: usize| single((n as f64 * k).fract() * size as f64);
    let one = |n: usize| Gaussian {
        scales: [single(3.0 + 1.5 * wave(n, 1.3)), single(2.0 + wave(n, 2.9))],
        rotation: single(n as f64),
        color: [wave(n, 0.7), wave(n, 0.9), wave(n, 1.1)],
        opacity: 1.0,
        ..Gaussian::round([place(n, 0.754_877_666, width), place(n, 0.569_840_291, height)], 1.0)
    };
    let base = (0..width * height).map(|at| wave(at, 0.37)).collect();
    Picture { set: (0..count).map(one).collect(), base, width, height, channels: 1, support: 9.0 }
}

/// Lists of coarse tiles are made of blocks of 256 gaussians: three of them here. The oracle draws every pixel from those within
/// 15 px, more than three of the largest scale. Measured: 0.2 of the tolerance.
#[test]
fn many_gaussians_are_drawn() {
    once("many drawn", |tally| {
        let picture = crowd(700, 130, 90);
        let (image, _) = picture.draw();
        let mut drawn = 0;
        for (pixel, got) in wide(image).into_iter().enumerate() {
            let [x, y] = picture.centre(pixel).map(|v| v - 0.5);
            let moved = picture.set.iter().map(|g| Gaussian { mean: [g.mean[0] - x, g.mean[1] - y], ..*g });
            let near = moved.filter(|g| g.mean[0].abs().max(g.mean[1].abs()) < 15.0);
            let base = vec![picture.base[pixel]];
            let one = Picture { set: near.collect(), base, width: 1, height: 1, ..picture };
            if !one.is_on_an_edge(0) {
                let want = splat::render(&one.set, 1, 1, 1, &one.base, one.support)[0];
                tally.near("image", pixel, (got, want), one.error(0, 0));
                drawn += 1;
            }
        }
        tally.holds(drawn > 11_000, || format!("only {drawn} pixels are on no edge"));
    });
}

/// Pixels that no gaussian reaches keep the base's bits.
#[test]
fn nothing_leaves_the_base_alone() {
    property("nothing drawn", 8, pictures(0), |picture, tally| {
        let (image, coverage) = picture.draw();
        tally.equal("image", &wide(image), &picture.base);
        tally.equal("coverage", &coverage, &vec![0.0; coverage.len()]);
    });
}

/// Unwritten memory must not pass for a result: what an operation is given reads as the poison.
#[test]
fn poison_reaches_new_memory() {
    poison(&[2000, 2000]);
    let client = device().client();
    let bytes = client.read_one(client.empty(2000 * size_of::<f32>())).expect("memory");
    let values: Vec<f32> =
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect();
    assert!(values.len() >= 2000 && values.iter().all(|v| v.is_nan()));
}

#[test]
fn a_wrong_base_is_rejected() {
    let frames = framed(&[], 3, Framing::default());
    let bins = bins(device(), &frames, Cells::pixels(4, 5), Rule::Within(9.0)).expect("bins");
    let scene = Scene { frames: &frames, bins: &bins, support: 9.0, compositing: Compositing::Sum };
    let error = rasterize(device(), &scene, &device().filled(0.0f32, 20)).expect_err("20 of 60");
    assert!(matches!(error, Error::Length { what: "base image", expected: 60, got: 20 }), "{error}");
}

/// A strip adds 8 pixels of 3 values, a bundle 256 quads of strips, an image its bundles: roundings of the sum, at most as many
/// as the longest chain. Measured: 0.02 of it.
#[test]
fn penalties_are_summed() {
    once("penalty", |tally| {
        for (width, height) in [(1u32, 1u32), (7, 9), (64, 8), (130, 67), (300, 270)] {
            let cells = Cells::pixels(width, height);
            let residual: Vec<f64> = (0..3 * cells.len()).map(|i| single((i as f64 * 0.7).sin())).collect();
            let target = Target::Plain(device().upload_f64(&residual));
            let frames = framed(&[], 3, Framing::default());
            let bins = bins(device(), &frames, cells, Rule::Within(9.0)).expect("bins");
            let scene = Scene { frames: &frames, bins: &bins, support: 9.0, compositing: Compositing::Sum };
            for (penalty, power) in [(Penalty::Squared, 2), (Penalty::Absolute, 1)] {
                poison(&[bins.tiles() * 8, bins.tiles()]);
                let sums = Sums { channels: 3, means: false, curvature: false, penalty, over: false };
                let look = look(&scene, &target, sums, 1.0, device());
                let got = f64::from(look.penalties(device(), &bins).expect("penalties")[0]);
                let want: f64 = residual.iter().map(|e| e.abs().powi(power)).sum();
                tally.near("sum of", cells.len(), (got, want), (26.0 + 256.0 + 16.0) * U * want);
                let none = device().filled(0.0f32, 1);
                let error = penalties(device(), bins.mosaic(), &look, &none, 1).expect_err("one row");
                tally.holds(matches!(error, Error::Length { expected: 2, .. }), || error.to_string());
            }
        }
    });
}
