//! Single steps of the fit's descent, against the oracle's derivatives, losses and rule and maps of our own.
//!
//! Adam's first step hardly tells how large a derivative is, unless `epsilon` is as large: so it is here.

use proptest::collection::vec;
use proptest::prelude::*;
use splatport::Gaussians;
use splatport::kernels::{
    Cells, Mosaic, Shape,
    adam::Adam,
    bins::Room,
    clock::Clock,
    descent::{ColorMap, Descent, Maps, Objective, RotationMap, ScaleMap, ShapeOn, ShapeReduce},
    evaluate::{Look, evaluate},
    gaussian::{Framing, frames},
    listed::{Listed, Margin},
    moments::Sums,
    penalty::Penalty,
    rasterize::{Compositing, Scene},
    target::Target,
};
use splatport::reference::{
    adam::{self, adam_step},
    gaussian::Gaussian,
    shape::{aspect, shape_gradient},
    splat,
};

use super::gradient::{FLOOR, flatten, residual, tolerances, upstream};
use super::rasterize::{Picture, pictures};
use super::{Tally, U, device, poison, property, rows, single, wide};

/// Least scale of the softplus.
const LEAST: f64 = 0.5;
/// Decays that `f32` holds exactly, as it does their differences from 1.
const BETAS: [f64; 2] = [0.875, 0.96875];
const RATE: f64 = 0.25;

/// What a step is compiled for.
#[derive(Debug, Clone, Copy)]
struct Variant {
    channels: usize,
    means: bool,
    penalty: Penalty,
    maps: Maps,
    priors: bool,
}

/// A number, and what it may be off by.
#[derive(Debug, Clone, Copy)]
struct Near {
    value: f64,
    off: f64,
}

impl Near {
    fn plus(self, other: Near) -> Near {
        Near { value: self.value + other.value, off: self.off + other.off + U * (self.value + other.value).abs() }
    }

    fn times(self, other: Near) -> Near {
        let value = self.value * other.value;
        Near { value, off: self.off * other.value.abs() + other.off * self.value.abs() + U * value.abs() }
    }
}

/// An image at its first step.
struct Subject {
    picture: Picture,
    raw: Vec<Vec<f64>>,
    initial: Vec<f64>,
    objective: Objective,
}

/// Parameter `k` that a raw number stands for.
fn map(maps: &Maps, k: usize, raw: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match (k, maps.scale, maps.rotation, maps.color) {
        (2 | 3, ScaleMap::ReluPlusOne, ..) => raw.max(0.0) + 1.0,
        (2 | 3, ScaleMap::Softplus, ..) => raw.exp().ln_1p() + LEAST,
        (2 | 3, ScaleMap::Exp, ..) => raw.exp(),
        (4, _, RotationMap::PiSigmoid, _) => std::f64::consts::PI * sigmoid(raw),
        (0 | 1 | 4, ..) => raw,
        (5, ..) | (.., ColorMap::Sigmoid) => sigmoid(raw),
        (.., ColorMap::Tanh) => raw.tanh(),
    }
}

/// What the device's maps may be off by: Vulkan's `exp(x)` by `(3 + 2 |x|)` ulp, a logarithm by 8 U, a quotient by 5 U.
fn map_error(maps: &Maps, k: usize, raw: f64) -> f64 {
    let exp = (6.0 + 4.0 * raw.abs()) * U;
    match (k, maps.scale, maps.rotation, maps.color) {
        (2 | 3, ScaleMap::ReluPlusOne, ..) => U,
        (2 | 3, ScaleMap::Softplus, ..) => exp + (12.0 + raw.abs()) * U,
        (2 | 3, ScaleMap::Exp, ..) => exp * raw.exp(),
        (4, _, RotationMap::PiSigmoid, _) => 4.0 * (exp + 8.0 * U),
        (0 | 1 | 4, ..) => 0.0,
        (5, ..) | (.., ColorMap::Sigmoid) => exp + 8.0 * U,
        (.., ColorMap::Tanh) => 2.0 * exp + 8.0 * U,
    }
}

/// The map's slope by central differences. The device takes those of scales from the raw number, with an error like the map's, and
/// the others from the parameter, of which all are at most 4 and rounded once, by a few operations.
fn slope(maps: &Maps, k: usize, raw: f64) -> Near {
    let h = 1e-5;
    let value = (map(maps, k, raw + h) - map(maps, k, raw - h)) / (2.0 * h);
    let own = 1e-9 * (1.0 + map(maps, k, raw).abs());
    let off = match k {
        0 | 1 => 0.0,
        2 | 3 => (14.0 + 4.0 * raw.abs()) * U * value.abs(),
        4 => 40.0 * U,
        _ => 8.0 * U,
    };
    Near { value, off: off + own }
}

/// An image of the picture's Gaussians, of which some have the scales of the one before the other way round: the same aspect.
fn subject(variant: &Variant, picture: &Picture, again: &[bool], image: usize) -> Subject {
    let maps = &variant.maps;
    let mut raw: Vec<Vec<f64>> = Vec::new();
    for (g, again) in picture.set.iter().zip(again) {
        let scale = |s: f64| match maps.scale {
            ScaleMap::ReluPlusOne if (s - 2.0).abs() < 0.01 => 0.25,
            ScaleMap::ReluPlusOne => s - 2.0,
            ScaleMap::Softplus => s - 1.0,
            ScaleMap::Exp => s.ln(),
        };
        let [s0, s1] = match raw.last() {
            Some(before) if *again => [before[3], before[2]],
            _ => g.scales.map(scale),
        };
        let colors = g.color.map(|c| if maps.color == ColorMap::Tanh { 1.5 * c } else { 2.5 * c });
        let fixed = [g.mean[0], g.mean[1], s0, s1, 0.9 * g.rotation, 6.0 * g.opacity - 3.0];
        raw.push(fixed.into_iter().chain(colors).take(6 + variant.channels).map(single).collect());
    }
    let stands_for = |(g, raw): (&Gaussian<f64>, &Vec<f64>)| {
        let at = |k: usize| single(map(maps, k, raw[k]));
        let mut color = [0.0; 3];
        (0..variant.channels).for_each(|c| color[c] = at(6 + c));
        let opacity = if maps.opacity { at(5) } else { g.opacity };
        Gaussian { mean: [raw[0], raw[1]], scales: [at(2), at(3)], rotation: at(4), color, opacity }
    };
    let set: Vec<_> = picture.set.iter().zip(&raw).map(stands_for).collect();
    // A fit that started at twice these scales: an aspect is what it was.
    let start =
        |g: &Gaussian<f64>| Gaussian { scales: g.scales.map(|s| if variant.priors { 2.0 * s } else { s }), ..*g };
    let initial = rows(&set.iter().map(start).collect::<Vec<_>>(), variant.channels);
    let (cells, of) = (picture.pixels() as f64, 1.0 + image as f64);
    let base = (0..picture.pixels() * variant.channels).map(|at| single(0.5 * (1.3 * at as f64 + of).sin())).collect();
    let prior = |factor: f64| if variant.priors { factor * of } else { 0.0 };
    let objective = Objective {
        norm: single(of / cells),
        residual_norm: single(1.0 / (cells * of)),
        shape_weight: single(0.05 * of),
        aspect_limit: 1.5,
        size_prior: prior(30.0),
        aspect_prior: prior(20.0),
        least_scale: LEAST,
        free_from: 1,
    };
    Subject { picture: Picture { set, base, channels: variant.channels, ..*picture }, raw, initial, objective }
}

impl Subject {
    /// The summed penalty: off by what every pixel is, and by the roundings of a strip, a bundle and an image.
    fn penalty(&self, penalty: Penalty) -> Near {
        let (mut value, mut off) = (0.0, 0.0);
        for (at, e) in residual(&self.picture).into_iter().enumerate() {
            let error = self.picture.error(at / self.picture.channels, at % self.picture.channels);
            let (term, slope) = match penalty {
                Penalty::Squared => (e * e, 2.0 * e.abs() + error),
                Penalty::Absolute => (e.abs(), 1.0),
            };
            value += term;
            off += slope * error;
        }
        Near { value, off: off + (28.0 + 256.0 + 16.0) * U * value }
    }

    /// Derivatives of the priors by the scales of Gaussian `n`, by central differences.
    fn prior(&self, n: usize, unit: Near) -> [Near; 2] {
        let Objective { size_prior, aspect_prior, .. } = self.objective;
        let start = &self.initial[n * (6 + self.picture.channels)..][2..4];
        let of = |[s0, s1]: [f64; 2]| {
            let size = ((s0 * s1).ln() - (start[0] * start[1]).ln()) / 2.0;
            size_prior * size * size + aspect_prior * (s0 / s1).ln().powi(2)
        };
        let scales = self.picture.set[n].scales;
        // A logarithm is off by 8 U and 6 U of itself.
        let log = |s: f64| (8.0 + 8.0 * s.ln().abs()) * U;
        let logs = log(scales[0]) + log(scales[1]);
        let size = (logs + log(start[0]) + log(start[1])) / 2.0;
        [0, 1].map(|k| {
            let h = 1e-5 * scales[k];
            let at = |by: f64| {
                let mut scales = scales;
                scales[k] += by;
                of(scales)
            };
            let value = (at(h) - at(-h)) / (2.0 * h);
            let terms = (size_prior * 0.7 + 2.0 * aspect_prior * (scales[0] / scales[1]).ln().abs()) / scales[k];
            let off = (size_prior * size + 2.0 * aspect_prior * logs) / scales[k] + 16.0 * U * terms;
            unit.times(Near { value, off })
        })
    }

    /// Derivatives of the shape loss by its two numbers, for every Gaussian; none where rounding decides whom it meets.
    fn shape(&self, maps: &Maps) -> Option<Vec<[Near; 2]>> {
        let limit = self.objective.aspect_limit;
        let shaped = |(g, raw): (&Gaussian<f64>, &Vec<f64>)| match maps.shape_on {
            ShapeOn::Activated => *g,
            ShapeOn::Raw => Gaussian { scales: [raw[2] + 1e-10, raw[3] + 1e-10], ..*g },
        };
        let set: Vec<_> = self.picture.set.iter().zip(&self.raw).map(shaped).collect();
        let worst = set.iter().map(aspect).fold(0.0, f64::max);
        let blurred = |a: f64, b: f64| a != b && (a / b - 1.0).abs() < 4.0 * U;
        if set.iter().map(aspect).any(|a| blurred(a, limit) || blurred(a, worst)) {
            return None;
        }
        let pulls: Vec<[f64; 2]> = match maps.shape_reduce {
            ShapeReduce::Max => shape_gradient(&set, limit),
            ShapeReduce::Mean => set.iter().flat_map(|&g| shape_gradient(&[g], limit)).collect(),
        };
        let weight = match maps.shape_reduce {
            ShapeReduce::Max => self.objective.shape_weight,
            ShapeReduce::Mean => self.objective.shape_weight / set.len() as f64,
        };
        // Two quotients, a square, a product and the sums with 1e-10.
        let near = |pull: f64| Near { value: weight * pull, off: 20.0 * U * (weight * pull).abs() };
        Some(pulls.into_iter().map(|by| by.map(near)).collect())
    }

    /// Derivatives of the objective by every raw number of every Gaussian.
    fn slopes(&self, variant: &Variant, slots: usize) -> Option<Vec<Vec<Near>>> {
        let Variant { channels, means, penalty, maps, .. } = variant;
        let Picture { width, height, support, .. } = self.picture;
        let norm = self.objective.norm;
        let pulls: Vec<f64> = residual(&self.picture).iter().map(|&e| upstream(e, *penalty, norm).0).collect();
        let by = splat::gradient(&self.picture.set, &pulls, width, height, *channels, support);
        let exactly = |value: f64| Near { value, off: 0.0 };
        let unit = self.penalty(*penalty).times(exactly(norm)).times(exactly(self.objective.residual_norm));
        let shape = self.shape(maps)?;
        let of = |(n, by): (usize, &splat::GaussianGradient<f64>)| {
            let off = tolerances(&self.picture, &self.picture.set[n], *penalty, norm, slots);
            let by = flatten(by, *channels, *means).into_iter().zip(off);
            let mut by: Vec<Near> = by.map(|(value, off)| Near { value, off }).collect();
            for (k, prior) in self.prior(n, unit).into_iter().enumerate() {
                by[2 + k] = by[2 + k].plus(prior);
                if maps.shape_on == ShapeOn::Activated {
                    by[2 + k] = by[2 + k].plus(shape[n][k]);
                }
            }
            for (k, by) in by.iter_mut().enumerate() {
                *by = by.times(slope(maps, k, self.raw[n][k]));
            }
            for k in 0..2 {
                if maps.shape_on == ShapeOn::Raw {
                    by[2 + k] = by[2 + k].plus(shape[n][k]);
                }
            }
            by
        };
        Some(by.iter().enumerate().map(of).collect())
    }
}

/// Parameters and penalties after one step, or after another one by a look that sees nothing.
fn on_device(variant: &Variant, subjects: &[Subject], epsilon: f64, steps: u32) -> (Vec<f64>, Vec<f64>) {
    let shape = if subjects[0].picture.width.is_multiple_of(2) { Shape::Tiled } else { Shape::Gathered };
    let device = &device().with_shape(shape);
    let Variant { channels, means, penalty, maps, .. } = *variant;
    let all = |of: &dyn Fn(&Subject) -> Vec<f64>| subjects.iter().flat_map(of).collect::<Vec<f64>>();
    let images: Vec<(Cells, usize)> = subjects.iter().map(|s| (s.picture.cells(), s.raw.len())).collect();
    let objectives: Vec<Objective> = subjects.iter().map(|s| s.objective).collect();
    let mosaic = Mosaic::new(device, &images).expect("a mosaic");
    let parameters = device.upload_f64(&all(&|s| rows(&s.picture.set, channels)));
    let gaussians = Gaussians { parameters, channels: channels as u32 };
    let frames = frames(device, &gaussians, gaussians.len(), Framing::default()).expect("frames");
    let target = Target::Plain(device.upload_f64(&all(&|s| s.picture.base.clone())));
    let sums = Sums { channels: channels as u32, means, curvature: false, penalty, over: false };
    let rule = Adam { rate: RATE, beta1: BETAS[0], beta2: BETAS[1], epsilon };
    let (raw, initial) = (all(&|s| s.raw.concat()), all(&|s| s.initial.clone()));
    let start = (raw.as_slice(), initial.as_slice());
    let descent = Descent::new(device, &mosaic, start, &objectives, (sums, maps), (rule, steps)).expect("a descent");
    let clock = Clock::new(device, images.len());
    for step in 0..steps {
        let support = if step == 0 { subjects[0].picture.support } else { -1.0 };
        let margin = Margin { growth: 4.0, shift: 8.0 };
        let lists = Listed::new(device, &gaussians, &mosaic, support, margin, &mut Room::default()).expect("lists");
        let scene = Scene { frames: &frames, bins: &lists.bins, support, compositing: Compositing::Sum };
        poison(&[raw.len(), 64 * lists.bins.tiles(), 8 * lists.bins.tiles(), 12 * lists.bins.pairs()]);
        let look = Look::new(device, &scene, &target, sums).expect("a look");
        evaluate(device, &scene, &target, &look, (&clock, step), FLOOR);
        descent.step(device, (&gaussians, &frames), (&lists, &look), (&clock, step)).expect("a step");
    }
    descent.gather(device, 0, 0);
    assert!(descent.repairs().read().expect("repairs").iter().all(|&count| count == 0));
    let history = wide(descent.history().read().expect("history"));
    (wide(gaussians.parameters.read().expect("parameters")), history[..images.len()].to_vec())
}

/// A raw number after Adam's steps against these derivatives: they are off by what they were given, the rule by a root and a
/// quotient (6 U and 5 U) and a dozen roundings, the sum by one a step.
fn stepped(raw: f64, slopes: &[Near], epsilon: f64) -> Near {
    let rule = adam::Adam { rate: RATE, beta1: BETAS[0], beta2: BETAS[1], epsilon };
    let run = |sign: f64| {
        let (mut at, mut first, mut second) = ([0.0], [0.0], [0.0]);
        for (t, slope) in (1..).zip(slopes) {
            adam_step(&mut at, &[slope.value + sign * slope.off], &mut first, &mut second, t, &rule);
        }
        at[0]
    };
    let [change, up, down] = [0.0, 1.0, -1.0].map(run);
    let off = (up - change).abs().max((down - change).abs());
    Near { value: raw + change, off: off + 24.0 * U * change.abs() + slopes.len() as f64 * U * (raw.abs() + RATE) }
}

fn check(variant: &Variant, subjects: &[Subject], steps: u32, tally: &mut Tally) {
    let edge = |s: &Subject| (0..s.picture.pixels()).any(|pixel| s.picture.is_on_an_edge(pixel));
    if subjects.iter().any(|s| s.raw.is_empty() || edge(s)) {
        return;
    }
    // As many slots as tiles and Gaussians allow: 9 x 9 and 5.
    let slopes: Option<Vec<_>> = subjects.iter().map(|s| s.slopes(variant, 81 * 5)).collect();
    let Some(slopes) = slopes else { return };
    let epsilon = slopes.iter().flatten().flatten().map(|by| by.value.abs()).fold(1e-6, f64::max);
    let (parameters, penalties) = on_device(variant, subjects, single(epsilon), steps);
    let mut got = parameters.chunks(6 + variant.channels);
    let names = ["x", "y", "scale 0", "scale 1", "rotation", "opacity", "color"];
    for (image, (subject, slopes)) in subjects.iter().zip(slopes).enumerate() {
        let penalty = subject.penalty(variant.penalty);
        tally.near("penalty", image, (penalties[image], penalty.value), penalty.off);
        let before = rows(&subject.picture.set, variant.channels);
        for (n, (slopes, raw)) in slopes.iter().zip(&subject.raw).enumerate() {
            let got = got.next().expect("a row");
            for (k, &by) in slopes.iter().enumerate() {
                let moves = match k {
                    0 | 1 => variant.means && n > 0,
                    5 => variant.maps.opacity,
                    _ => true,
                };
                let (name, at) = (names[k.min(6)], 10 * image + n);
                if moves {
                    let by = [by, Near { value: 0.0, off: 0.0 }];
                    let raw = stepped(raw[k], &by[..steps as usize], single(epsilon));
                    let of = |by: f64| map(&variant.maps, k, raw.value + by * raw.off);
                    let (want, off) = (of(0.0), (of(1.0) - of(0.0)).max(of(0.0) - of(-1.0)));
                    let rounded = map_error(&variant.maps, k, raw.value) + U * want.abs();
                    tally.near(name, at, (got[k], want), off + rounded);
                } else {
                    tally.equal(name, &got[k], &before[n * (6 + variant.channels) + k]);
                }
            }
        }
    }
}

/// Measured: 0.6 of the tolerance. Twice any term of a derivative, twice any map's
/// slope, the last of equal aspects instead of the first, or none where one is below 0: each fails.
fn steps_equal_the_oracle(name: &str, variant: &Variant, steps: u32) {
    let drawn = (pictures(5), pictures(5), vec(any::<bool>(), 5));
    property(name, 12, drawn, |(one, other, again), tally| {
        let other = Picture { support: one.support, ..other.clone() };
        let subjects = [one, &other].into_iter().enumerate();
        let subjects: Vec<_> = subjects.map(|(at, picture)| subject(variant, picture, again, at)).collect();
        check(variant, &subjects, steps, tally);
    });
}

const RECOMMENDED: Variant = Variant {
    channels: 1,
    means: false,
    penalty: Penalty::Squared,
    maps: Maps {
        scale: ScaleMap::Softplus,
        rotation: RotationMap::Free,
        color: ColorMap::Tanh,
        opacity: false,
        shape_on: ShapeOn::Activated,
        shape_reduce: ShapeReduce::Max,
    },
    priors: false,
};

#[test]
fn a_step_equals_the_oracle() {
    steps_equal_the_oracle("step", &RECOMMENDED, 1);
}

/// Raw scales below 0 have an aspect below 0, which pays nothing and hides nobody's.
#[test]
fn a_step_as_published_equals_the_oracle() {
    let maps = Maps {
        scale: ScaleMap::ReluPlusOne,
        rotation: RotationMap::PiSigmoid,
        color: ColorMap::Sigmoid,
        shape_on: ShapeOn::Raw,
        ..RECOMMENDED.maps
    };
    let variant = Variant { channels: 3, means: true, penalty: Penalty::Absolute, maps, ..RECOMMENDED };
    steps_equal_the_oracle("published step", &variant, 1);
}

#[test]
fn a_step_with_priors_equals_the_oracle() {
    let maps = Maps {
        scale: ScaleMap::Exp,
        opacity: true,
        color: ColorMap::Sigmoid,
        shape_reduce: ShapeReduce::Mean,
        ..RECOMMENDED.maps
    };
    steps_equal_the_oracle("step with priors", &Variant { means: true, maps, priors: true, ..RECOMMENDED }, 1);
}

#[test]
fn a_step_of_colors_with_priors_equals_the_oracle() {
    let maps = Maps {
        rotation: RotationMap::PiSigmoid,
        opacity: true,
        shape_on: ShapeOn::Raw,
        shape_reduce: ShapeReduce::Mean,
        ..RECOMMENDED.maps
    };
    let variant = Variant { channels: 3, penalty: Penalty::Absolute, maps, priors: true, ..RECOMMENDED };
    steps_equal_the_oracle("step of colors with priors", &variant, 1);
}

/// The second step sees nothing: what moves it are the first one's moments, which have decayed by then.
#[test]
fn a_second_step_remembers_the_first() {
    let maps = Maps { opacity: true, shape_on: ShapeOn::Raw, ..RECOMMENDED.maps };
    let variant = Variant { channels: 3, means: true, maps, ..RECOMMENDED };
    let drawn = (pictures(5), vec(any::<bool>(), 5));
    property("second step", 12, drawn, |(picture, again), tally| {
        let mut subject = subject(&variant, picture, again, 0);
        subject.objective.shape_weight = 0.0;
        check(&variant, &[subject], 2, tally);
    });
}
