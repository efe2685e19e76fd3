//! A Gaussian whose step is no number stays where it is, is counted, and changes nothing for its neighbours.

use splatport::kernels::{
    Cells, Mosaic,
    adam::Adam,
    bins::Room,
    clock::Clock,
    descent::{self, ColorMap, Descent, Maps, RotationMap, ScaleMap, ShapeOn, ShapeReduce},
    evaluate::Look,
    gauss_newton::{self, GaussNewton},
    gaussian::{Framing, frames},
    listed::{Listed, Margin},
    moments::Sums,
    penalty::Penalty,
    rasterize::{Compositing, Scene},
    target::Target,
};
use splatport::{Gaussians, reference::gaussian::Gaussian};

use super::{Frames, R, device, evaluate::look, rows, upload, wide};

const SIZE: [usize; 2] = [64, 32];
const SUPPORT: f64 = 9.0;
/// Least scale, px.
const LEAST: f64 = 0.5;
/// Parameters of a grey Gaussian.
const STRIDE: usize = 7;

/// Two Gaussians that no pixel has in common.
fn pair() -> Vec<Gaussian<f64>> {
    let at = |x: f64| Gaussian {
        mean: [x, 16.25],
        scales: [3.0, 2.5],
        rotation: 0.5,
        color: [0.75, 0.0, 0.0],
        opacity: 1.0,
    };
    vec![at(12.5), at(50.5)]
}

/// What a solver is given at its first step.
struct Start {
    frames: Frames,
    lists: Listed<R, f32>,
    target: Target<R, f32>,
    mosaic: Mosaic<R, f32>,
}

impl Start {
    fn new() -> Self {
        let gaussians = upload(&pair(), 1);
        let cells = Cells::pixels(SIZE[0] as u32, SIZE[1] as u32);
        let mosaic = Mosaic::new(device(), &[(cells, 2)]).expect("a mosaic");
        let margin = Margin { growth: 2.0, shift: 0.0 };
        let lists = Listed::new(device(), &gaussians, &mosaic, SUPPORT, margin, &mut Room::default()).expect("lists");
        let frames = frames(device(), &gaussians, 2, Framing::default()).expect("frames");
        let target = Target::Plain(device().upload_f64(&vec![-0.25; SIZE[0] * SIZE[1]]));
        Self { frames, lists, target, mosaic }
    }

    fn look(&self, sums: Sums) -> Look<R, f32> {
        let (frames, bins) = (&self.frames, &self.lists.bins);
        let scene = Scene { frames, bins, support: SUPPORT, compositing: Compositing::Sum };
        look(&scene, &self.target, sums, 1e-3, device())
    }
}

fn sums(curvature: bool) -> Sums {
    Sums { channels: 1, means: false, curvature, penalty: Penalty::Squared, over: false }
}

/// Parameters after one step of Gauss-Newton that starts with these numbers, and the repairs.
fn gauss_newton(numbers: &[f64]) -> (Vec<f64>, Vec<u32>) {
    let start = Start::new();
    let gaussians = Gaussians { parameters: device().upload_f64(numbers), channels: 1 };
    let objective = gauss_newton::Objective {
        residual_norm: 1.0 / (SIZE[0] * SIZE[1]) as f64,
        size_prior: 0.0,
        aspect_prior: 0.0,
        aspect_limit: 2.0,
        least_scale: LEAST,
        largest_scale: 16.0,
        least_color: -1.0,
        size: SIZE.map(|side| side as f64),
        free_from: 2,
    };
    let (sums, clock) = (sums(true), Clock::new(device(), 1));
    let solver = GaussNewton::new(device(), &gaussians, &start.mosaic, &[objective], sums, 1).expect("a solver");
    let seen = start.look(sums);
    solver.step(device(), (&gaussians, &start.frames), (&start.lists, &seen), (&clock, 0));
    let repairs = solver.repairs().read().expect("repairs");
    (wide(gaussians.parameters.read().expect("parameters")), repairs)
}

/// The same of Adam, which starts with these raw numbers.
fn adam(raw: &[f64]) -> (Vec<f64>, Vec<u32>) {
    let start = Start::new();
    let gaussians = upload(&pair(), 1);
    let objective = descent::Objective {
        norm: 1.0 / (SIZE[0] * SIZE[1]) as f64,
        residual_norm: 1.0 / (SIZE[0] * SIZE[1]) as f64,
        shape_weight: 0.0,
        aspect_limit: 2.0,
        size_prior: 0.0,
        aspect_prior: 0.0,
        least_scale: LEAST,
        free_from: 2,
    };
    let maps = Maps {
        scale: ScaleMap::Softplus,
        rotation: RotationMap::Free,
        color: ColorMap::Tanh,
        opacity: false,
        shape_on: ShapeOn::Activated,
        shape_reduce: ShapeReduce::Mean,
    };
    let (sums, clock) = (sums(false), Clock::new(device(), 1));
    let before = rows(&pair(), 1);
    let rule = (Adam { rate: 0.125, ..Adam::default() }, 1);
    let descent = Descent::new(device(), &start.mosaic, (raw, &before), &[objective], (sums, maps), rule);
    let descent = descent.expect("a descent");
    let seen = start.look(sums);
    descent.step(device(), (&gaussians, &start.frames), (&start.lists, &seen), (&clock, 0)).expect("a step");
    let repairs = descent.repairs().read().expect("repairs");
    (wide(gaussians.parameters.read().expect("parameters")), repairs)
}

/// Compares a step with one in which number `at` of the first Gaussian is NaN.
fn stays(step: impl Fn(&[f64]) -> (Vec<f64>, Vec<u32>), numbers: &[f64], at: usize) {
    let (healthy, none) = step(numbers);
    assert_eq!(none, [0, 0]);
    let mut broken = numbers.to_vec();
    broken[at] = f64::NAN;
    let (parameters, repairs) = step(&broken);
    assert_eq!(repairs, [1, 0]);
    assert_eq!(parameters[STRIDE..], healthy[STRIDE..], "the neighbour's bits");
    // The color, which nothing is wrong with, has not moved either.
    let before = rows(&pair(), 1);
    assert!(healthy[6] != before[6] && healthy[STRIDE + 2] != before[STRIDE + 2], "no step at all");
    assert_eq!(parameters[6], before[6]);
}

#[test]
fn gauss_newton_leaves_what_has_no_step() {
    stays(gauss_newton, &rows(&pair(), 1), 2);
}

#[test]
fn adam_leaves_what_has_no_step() {
    let mut raw = rows(&pair(), 1);
    for row in raw.chunks_exact_mut(STRIDE) {
        let softplus = |scale: f64| ((scale - LEAST).exp() - 1.0).ln();
        (row[2], row[3], row[6]) = (softplus(row[2]), softplus(row[3]), row[6].atanh());
    }
    stays(adam, &raw, 2);
}
