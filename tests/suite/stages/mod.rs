//! The stages on a device, from the photo to the trained density, against the oracle.

mod batch;
mod crops;
mod degenerate;
mod double;
#[cfg(not(feature = "cuda"))]
mod elsewhere;
mod extra;
mod fit;
mod initial;
mod invalid;
pub mod kernel;
mod levels;
mod loss;
mod mixture;
mod ownership;
mod photos;
mod profiles;
mod recipe;
mod recovery;
mod repeat;
mod shapes;
mod solvers;
mod splat;
mod stored;
mod together;
mod train;
mod variants;

use std::path::Path;

use splatport::{
    Annotations, GaussianTable, Image,
    kernels::HostReal,
    reference::{
        background_image::{inpainted_background, knn_mask, masked_background},
        gaussian::Gaussian,
        initial::{InitialScale, initial_scales, neighbour_distances},
        splat::render,
    },
    splat::BackgroundImage,
};

pub use crate::common::{R, device};

pub type Splat = splatport::Splat<R>;
pub type Loss = splatport::Loss<R>;
pub type Buffer = splatport::Buffer<R, f32>;

/// Squared Mahalanobis distance at which a Gaussian ends by default.
pub const SUPPORT: f64 = 11.082_527_090_316_852;

/// Leaves NaN in the memory that the next allocations get.
pub fn poison() {
    let device = device();
    let held: Vec<_> = (6..22).map(|power| device.filled(f32::NAN, 1 << power)).collect();
    device.wait().expect("a device");
    drop(held);
}

/// `len` numbers in 0..1 that look random and are the same on every run.
pub fn noise(seed: u64, len: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(2) + 1;
    let mut next = || {
        // The multiplier and increment of Knuth's MMIX.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1u64 << 24) as f64
    };
    (0..len).map(|_| next()).collect()
}

pub fn points(points: &[[f64; 2]]) -> Annotations {
    Annotations::new(points).expect("finite points")
}

pub fn photo(width: u32, height: u32, channels: u8, values: &[f64]) -> Image {
    let values: Vec<f32> = values.iter().map(|&v| v.clamp(0.0, 1.0) as f32).collect();
    Image::from_f32(width, height, channels, &values).expect("a photo")
}

/// A photo and annotations from `examples/data`.
pub fn sample(name: &str) -> (Image, Annotations) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let image = Image::open(folder.join(format!("{name}.png"))).expect("a photo");
    (image, Annotations::from_csv(folder.join(format!("{name}_points.csv"))).expect("points"))
}

/// Gaussians some way apart: scales of 0.6 to 1 times `size` px, aspects of at most 1.4, colors from `colors`.
pub fn separated(places: &[[f64; 2]], size: f64, colors: [f64; 2]) -> Vec<Gaussian<f64>> {
    let random = noise(7, 8 * places.len());
    let one = |(&mean, r): (&[f64; 2], &[f64])| {
        let short = size * (0.6 + 0.1 * r[0]);
        let long = short * (1.0 + 0.4 * r[1]);
        let color = std::array::from_fn(|c| colors[c % 2] * (0.6 + 0.4 * r[2 + c]));
        let scales = if r[6] < 0.5 { [short, long] } else { [long, short] };
        Gaussian { mean, scales, rotation: 3.0 * r[5], color, opacity: 1.0 }
    };
    places.iter().zip(random.chunks_exact(8)).map(one).collect()
}

/// Ten blobs with noise on a slope: what no fit explains fully.
pub fn blobs(width: u32, height: u32, channels: u8) -> (Image, Annotations) {
    let (w, h, c) = (width as usize, height as usize, usize::from(channels));
    let random = noise(3, w * h * c + 20);
    let slope = (0..w * h * c).map(|at| 0.2 + 0.2 * (at / c % w) as f64 / w as f64 + 0.06 * random[at]);
    let background: Vec<f64> = slope.collect();
    let places: Vec<[f64; 2]> = random[w * h * c..]
        .chunks_exact(2)
        .map(|r| [4.0 + r[0] * (w as f64 - 8.0), 4.0 + r[1] * (h as f64 - 8.0)])
        .collect();
    let image = render(&separated(&places, 4.0, [0.4, 0.3]), w, h, c, &background, SUPPORT);
    (photo(width, height, channels, &image), points(&places))
}

/// A splat's table as the oracle takes it.
pub fn gaussians_of(table: &GaussianTable) -> Vec<Gaussian<f64>> {
    let channels = usize::from(table.channels);
    let one = |n: usize| Gaussian {
        mean: table.means[n].map(f64::from),
        scales: table.scales[n].map(f64::from),
        rotation: table.rotations[n],
        color: std::array::from_fn(|c| table.colors[n * channels + c.min(channels - 1)]),
        opacity: table.opacities[n],
    };
    (0..table.means.len()).map(one).collect()
}

pub fn values_of(image: &Image) -> Vec<f64> {
    image.to_f32().into_iter().map(f64::from).collect()
}

/// The oracle's mask and background image.
pub fn background(image: &Image, annotations: &Annotations, kind: BackgroundImage) -> (Vec<bool>, Vec<f64>) {
    let (w, h, c) = (image.width() as usize, image.height() as usize, usize::from(image.channels()));
    let distances = neighbour_distances(annotations.points());
    let scales = initial_scales(&distances, InitialScale::KnnFraction { divisor: 6.0 }, w, h);
    let mask = knn_mask(annotations.points(), &scales, w, h);
    let photo = values_of(image);
    let background = match kind {
        BackgroundImage::KnnMask => masked_background(&photo, &mask, c),
        BackgroundImage::Inpainted => inpainted_background(&photo, &mask, w, h, c),
        _ => vec![0.0; photo.len()],
    };
    (mask, background)
}

/// Every number of a fit, as bits: losses, parameters, drawing.
pub fn bits_of(splat: &Splat) -> Vec<u64> {
    let losses = splat.report().losses.iter().map(|loss| loss.to_bits());
    let drawn = splat.reconstruction().expect("a drawing");
    let table = splat.table().expect("a table");
    let lists =
        [table.means.as_flattened(), table.scales.as_flattened(), &table.rotations, &table.colors, &table.opacities];
    let numbers = lists.concat().into_iter().chain(drawn.into_iter().map(f64::from));
    losses.chain(numbers.map(f64::to_bits)).collect()
}

/// What the oracle draws for a splat's table.
pub fn drawn(table: &GaussianTable, background: &[f64], support: f64) -> Vec<f64> {
    let (w, h) = (table.width as usize, table.height as usize);
    render(&gaussians_of(table), w, h, usize::from(table.channels), background, support)
}

/// Largest difference of two lists of equal length.
pub fn apart<A: HostReal + Copy, B: HostReal + Copy>(a: &[A], b: &[B]) -> f64 {
    assert_eq!(a.len(), b.len(), "lengths");
    let differences = a.iter().zip(b).map(|(a, b)| (a.cast_to_f64() - b.cast_to_f64()).abs());
    // `max` would drop a NaN.
    differences.fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst })
}

pub fn read(buffer: &Buffer) -> Vec<f64> {
    buffer.read().expect("a device").into_iter().map(f64::from).collect()
}

pub fn bits(buffer: &Buffer) -> Vec<u32> {
    buffer.read().expect("a device").into_iter().map(f32::to_bits).collect()
}

pub fn all_finite(values: &[f64]) -> bool {
    values.iter().all(|v| v.is_finite())
}
