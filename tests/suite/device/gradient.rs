//! Derivatives of the reconstruction error, from the slots' sums.

use proptest::prelude::*;
use splatport::kernels::{
    bins::{Bins, Rule, bins},
    gaussian::Framing,
    gradient::gradient,
    moments::Sums,
    penalty::Penalty,
    rasterize::{Compositing, Scene},
    target::Target,
};
use splatport::reference::{
    gaussian::Gaussian,
    splat::{self, GaussianGradient},
};

use super::evaluate::look;
use super::rasterize::{Picture, pictures};
use super::{R, Tally, U, aspect, device, framed, poison, property, upload, weight_error, wide};

/// Least residual of the absolute penalty. Wide, so that it is smooth enough to compare.
pub const FLOOR: f64 = 0.125;

/// Derivatives of `norm * penalty` on the device, `[n, 6 + channels]`, and the number of slots.
fn on_device(picture: &Picture, means: bool, penalty: Penalty, norm: f64) -> (Vec<f64>, usize) {
    let frames = framed(&picture.set, picture.channels, Framing::default());
    let bins: Bins<R, f32> = bins(device(), &frames, picture.cells(), Rule::Within(picture.support)).expect("bins");
    let scene = Scene { frames: &frames, bins: &bins, support: picture.support, compositing: Compositing::Sum };
    poison(&[picture.base.len(), picture.pixels(), bins.pairs() * 8, 9 * picture.set.len()]);
    let sums = Sums { channels: picture.channels as u32, means, curvature: false, penalty, over: false };
    let target = Target::Plain(device().upload_f64(&picture.base));
    let look = look(&scene, &target, sums, FLOOR, device());
    let by = gradient(device(), &upload(&picture.set, picture.channels), &bins, &look, norm);
    (wide(by.read().expect("gradient")), bins.pairs())
}

/// The oracle's residual at every entry.
pub fn residual(picture: &Picture) -> Vec<f64> {
    splat::render(&picture.set, picture.width, picture.height, picture.channels, &picture.base, picture.support)
}

/// `d (norm * penalty) / dE`, and its largest slope.
pub fn upstream(e: f64, penalty: Penalty, norm: f64) -> (f64, f64) {
    match penalty {
        Penalty::Squared => (2.0 * norm * e, 2.0 * norm),
        Penalty::Absolute => (norm * e / e.abs().max(FLOOR), norm / FLOOR),
    }
}

/// The entries in the device's order.
pub fn flatten(by: &GaussianGradient<f64>, channels: usize, means: bool) -> Vec<f64> {
    let mean = if means { by.mean } else { [0.0; 2] };
    let fixed = [mean[0], mean[1], by.scales[0], by.scales[1], by.rotation, by.opacity];
    fixed.into_iter().chain(by.color.into_iter().take(channels)).collect()
}

/// What each derivative may be off by, in the device's order.
///
/// A pixel adds `A w G` times `1`, `v` or `v v'`, with `|v| <= sqrt q`. Its error is that of the weight, that of the
/// whitened displacement (half of `q`'s each), that of the residual `E` times the slope of `G`, and two roundings per
/// pixel of a tile and one per slot for the sum.
pub fn tolerances(picture: &Picture, g: &Gaussian<f64>, penalty: Penalty, norm: f64, slots: usize) -> Vec<f64> {
    let channels = picture.channels;
    let (mut plain, mut first, mut second) = (vec![0.0; channels], 0.0, 0.0);
    let e = residual(picture);
    for pixel in 0..picture.pixels() {
        let q = g.mahalanobis_sq(picture.centre(pixel));
        if q > picture.support {
            continue;
        }
        let relative = weight_error(q, aspect(g)) + super::q_error(aspect(g)) + (140.0 + slots as f64) * U;
        for (channel, plain) in plain.iter_mut().enumerate() {
            let (pull, slope) = upstream(e[pixel * channels + channel], penalty, norm);
            let off = (-q / 2.0).exp() * (relative * pull.abs() + slope * picture.error(pixel, channel));
            let amplitude = (g.opacity * g.color[channel]).abs();
            *plain += off;
            first += amplitude * off * q.sqrt();
            second += amplitude * off * q;
        }
    }
    let [s0, s1] = g.scales;
    let by_mean = first * (1.0 / s0 + 1.0 / s1);
    let by_opacity = plain.iter().zip(g.color).map(|(off, c)| off * c.abs()).sum();
    // The difference of nearly equal ratios is off by a few U of themselves.
    let turn = second * ((s0 / s1 - s1 / s0).abs() + 8.0 * U / super::q_error(1.0));
    let fixed = [by_mean, by_mean, second / s0, second / s1, turn, by_opacity].into_iter();
    fixed.chain(plain.iter().map(|off| g.opacity * off)).collect()
}

fn check(picture: &Picture, means: bool, penalty: Penalty, tally: &mut Tally) {
    let Picture { width, height, channels, support, .. } = *picture;
    if (0..picture.pixels()).any(|pixel| picture.is_on_an_edge(pixel)) {
        return;
    }
    let norm = 1.0 / picture.base.len() as f64;
    let (got, slots) = on_device(picture, means, penalty, norm);
    let pulls: Vec<f64> = residual(picture).iter().map(|&e| upstream(e, penalty, norm).0).collect();
    let wanted = splat::gradient(&picture.set, &pulls, width, height, channels, support);
    tally.equal("length", &got.len(), &(picture.set.len() * (6 + channels)));
    let names = ["by x", "by y", "by scale 0", "by scale 1", "by rotation", "by opacity", "by color"];
    for (n, (got, (want, g))) in got.chunks(6 + channels).zip(wanted.iter().zip(&picture.set)).enumerate() {
        let tolerance = tolerances(picture, g, penalty, norm, slots);
        for (k, want) in flatten(want, channels, means).into_iter().enumerate() {
            tally.near(names[k.min(6)], n, (got[k], want), tolerance[k]);
        }
    }
}

/// Measured: 0.04 of the tolerance.
#[test]
fn equals_the_oracle() {
    property("gradient", 40, (pictures(12), any::<bool>(), any::<bool>()), |(picture, means, squared), tally| {
        check(picture, *means, if *squared { Penalty::Squared } else { Penalty::Absolute }, tally);
    });
}

/// Moves parameter `k`, in the device's order.
pub fn moved(g: &Gaussian<f64>, k: usize, by: f64) -> Gaussian<f64> {
    let mut g = *g;
    match k {
        0 | 1 => g.mean[k] += by,
        2 | 3 => g.scales[k - 2] += by,
        4 => g.rotation += by,
        5 => g.opacity += by,
        _ => g.color[k - 6] += by,
    }
    g
}

/// Every derivative is the slope of the oracle's error, by central differences in `f64` (`h = 1e-5`: their own error is
/// about `1e-10` of the error's size). Nothing is cut. Measured: 0.03 of the tolerance.
#[test]
fn is_the_slope_of_the_error() {
    property("slope", 16, pictures(3), |picture, tally| {
        let picture = Picture { support: 1e6, ..picture.clone() };
        let norm = 1.0 / picture.base.len() as f64;
        let error = |set: Vec<Gaussian<f64>>| -> f64 {
            residual(&Picture { set, ..picture.clone() }).iter().map(|e| e * e).sum::<f64>() * norm
        };
        let (got, slots) = on_device(&picture, true, Penalty::Squared, norm);
        for (n, row) in got.chunks(6 + picture.channels).enumerate() {
            let tolerance = tolerances(&picture, &picture.set[n], Penalty::Squared, norm, slots);
            for (k, &got) in row.iter().enumerate() {
                let [up, down] = [1e-5, -1e-5].map(|by| {
                    let mut set = picture.set.clone();
                    set[n] = moved(&set[n], k, by);
                    error(set)
                });
                let own = 1e-9 * (1.0 + error(picture.set.clone()));
                tally.near("slope", 10 * n + k, (got, (up - down) / 2e-5), tolerance[k] + own);
            }
        }
    });
}
