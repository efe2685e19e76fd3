//! Every device operation against the oracle.
//!
//! Inputs are drawn in `f64`, rounded to `f32` and given to both sides; differences are taken in `f64`. A tolerance is the
//! unit roundoff [`U`] times what is summed times a constant whose reason stands beside it, and so does the largest
//! share of it that was seen (`cargo test -- --nocapture` prints it again).

mod adam;
mod affine;
mod bins;
mod clock;
mod correspondence;
mod descent;
mod evaluate;
mod fit;
mod gauss_newton;
mod gaussian;
mod gradient;
mod laws;
mod loss;
mod mixture;
mod nearest;
mod newton;
mod over;
pub mod plan;
pub mod precision;
mod rasterize;
mod reduce;
mod repairs;
mod scan;
pub mod sinkhorn;
mod softplus;
mod tally;
mod transport;

use proptest::prelude::*;
use splatport::kernels::{
    Cells,
    gaussian::{Framing, frames},
};
use splatport::reference::{gaussian::Gaussian, grid::Grid};
use splatport::{Gaussians, HostReal, strategies};

pub use crate::common::{R, device};
pub use tally::{Tally, once, property};

/// Gaussians after [`frames`].
pub type Frames = splatport::kernels::gaussian::Frames<R, f32>;

/// Unit roundoff of `f32`.
pub const U: f64 = f32::EPSILON as f64 / 2.0;

/// Leaves `value` in memory that the next operation will be given: what it does not write reads as that.
pub fn poison_with(value: f32, lengths: &[usize]) {
    let fill = |&len: &usize| [0, 1, 2, 3].map(|_| device().filled(value, len.max(1)));
    let filled: Vec<_> = lengths.iter().map(fill).collect();
    device().wait().expect("the poison arrived");
    drop(filled);
}

/// [`poison_with`] a NaN, which is also a number far beyond every list's end.
pub fn poison(lengths: &[usize]) {
    poison_with(f32::NAN, lengths);
}

/// As numbers to compare.
pub fn wide<F: HostReal>(values: Vec<F>) -> Vec<f64> {
    values.into_iter().map(HostReal::cast_to_f64).collect()
}

/// The nearest `f32`.
pub fn single(value: f64) -> f64 {
    f64::from(value as f32)
}

/// The set's parameters as rows of `6 + channels`.
pub fn rows(set: &[Gaussian<f64>], channels: usize) -> Vec<f64> {
    let row = |g: &Gaussian<f64>| {
        let fixed = [g.mean[0], g.mean[1], g.scales[0], g.scales[1], g.rotation, g.opacity];
        fixed.into_iter().chain(g.color.into_iter().take(channels)).collect::<Vec<_>>()
    };
    set.iter().flat_map(row).collect()
}

/// The set on the device.
pub fn upload(set: &[Gaussian<f64>], channels: usize) -> Gaussians<R, f32> {
    Gaussians { parameters: device().upload_f64(&rows(set, channels)), channels: channels as u32 }
}

/// The set on the device, whitened.
pub fn framed(set: &[Gaussian<f64>], channels: usize, framing: Framing) -> Frames {
    frames(device(), &upload(set, channels), set.len(), framing).expect("frames")
}

/// Long axis over short axis.
pub fn aspect(g: &Gaussian<f64>) -> f64 {
    g.scales[0].max(g.scales[1]) / g.scales[0].min(g.scales[1])
}

/// Largest aspect of a set, 1 at least.
pub fn largest_aspect(set: &[Gaussian<f64>]) -> f64 {
    set.iter().map(aspect).fold(1.0, f64::max)
}

/// Relative error of a squared Mahalanobis distance, derived for aspect `a`.
///
/// A displacement, the whitening matrix (a rounded sine or cosine over a scale) and their products are each off by a few
/// `U` of `|d| / s_short`, which is up to `a` times the whitened displacement itself; its square doubles that.
pub fn q_error(aspect: f64) -> f64 {
    (6.0 * aspect + 8.0) * U
}

/// Relative error of `exp(-q / 2)`: half the error of `q`, and Vulkan's `exp(x)` may be off by `(3 + 2 |x|)` ulp.
pub fn weight_error(q: f64, aspect: f64) -> f64 {
    q_error(aspect) * q / 2.0 + 2.0 * (3.0 + q) * U
}

/// Gaussians and the cells they are compared on.
#[derive(Debug, Clone)]
pub struct Case {
    pub set: Vec<Gaussian<f64>>,
    pub cells: Cells,
}

/// The oracle's cell centres.
pub fn centres(cells: &Cells) -> Vec<[f64; 2]> {
    let (rows, cols) = (cells.rows as usize, cells.columns as usize);
    Grid { rows, cols, left: cells.left, top: cells.top, stride: cells.stride }.centres()
}

/// Grids of 1x1 to 70x70 cells of 1 to 8 px, never a whole number of tiles, half of them crops; 0 to `max_n` gaussians
/// in and around them.
pub fn cases(max_n: usize, aspect: f64) -> impl Strategy<Value = Case> {
    let corner = prop_oneof![Just([0u32, 0]), [0..200u32, 0..200u32]];
    let stride = prop_oneof![2 => Just(1u32), 1 => Just(3), 1 => Just(8)];
    (strategies::grid_sizes(8), stride, corner).prop_flat_map(move |((rows, columns), stride, [left, top])| {
        let cells = Cells {
            left: f64::from(left),
            top: f64::from(top),
            stride: f64::from(stride),
            columns: columns as u32,
            rows: rows as u32,
        };
        let (width, height) = (columns * stride as usize, rows * stride as usize);
        strategies::gaussians(max_n, width, height, aspect).prop_map(move |mut set| {
            for g in &mut set {
                g.mean = [single(g.mean[0] + cells.left), single(g.mean[1] + cells.top)];
            }
            Case { set, cells }
        })
    })
}
