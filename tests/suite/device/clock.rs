//! Steps that pause until there are new tile lists, and images that stand still: neither changes a bit of the others.

use splatport::kernels::{
    Cells, Device, Mosaic, Shape,
    adam::Adam,
    bins::Room,
    clock::Clock,
    descent::{self, ColorMap, Descent, Maps, RotationMap, ScaleMap, ShapeOn, ShapeReduce},
    evaluate::{Look, evaluate},
    gauss_newton::{self, GaussNewton},
    gaussian::{Framing, frames},
    listed::{Listed, Margin},
    moments::Sums,
    penalty::Penalty,
    rasterize::{Compositing, Scene},
    target::Target,
};
use splatport::reference::{gaussian::Gaussian, splat};
use splatport::{Buffer, Gaussians};

use super::{Frames, R, device, poison, rows, single};

const SUPPORT: f64 = 11.0;
/// Steps queued at a time.
const BUNCH: u32 = 6;
/// Least residual of the absolute penalty.
const FLOOR: f64 = 0.003;

/// Photos of drawn objects, and round Gaussians of 2 px to explain them with.
struct Batch {
    images: Vec<(Cells, usize)>,
    start: Vec<Gaussian<f64>>,
    /// Minus the photos.
    base: Vec<f64>,
}

fn batch(sizes: &[[usize; 2]]) -> Batch {
    let mut made = Batch { images: Vec::new(), start: Vec::new(), base: Vec::new() };
    for (image, &[width, height]) in sizes.iter().enumerate() {
        let wave = |n: usize, k: usize| (1.7 * (n + 11 * image) as f64 + 2.3 * k as f64).sin();
        let places = (0..height / 12).flat_map(|y| (0..width / 12).map(move |x| [x, y].map(|v| 12.0 * v as f64 + 6.0)));
        let object = |(n, [x, y]): (usize, [f64; 2])| Gaussian {
            scales: [3.6 + wave(n, 0), 2.4 + 0.6 * wave(n, 1)],
            rotation: 1.5 * wave(n, 2),
            color: [0.6 + 0.2 * wave(n, 3); 3],
            ..Gaussian::round([x + 2.0 * wave(n, 4), y + 2.0 * wave(n, 5)], 1.0)
        };
        let objects: Vec<_> = places.enumerate().map(object).collect();
        let photo = splat::render(&objects, width, height, 1, &vec![0.0; width * height], 30.0);
        made.base.extend(photo.into_iter().map(|v| single(-v)));
        let guess = |(n, g): (usize, &Gaussian<f64>)| Gaussian {
            rotation: single(n as f64),
            color: [0.5; 3],
            ..Gaussian::round([single(g.mean[0] + wave(n, 6)), single(g.mean[1] + wave(n, 7))], 2.0)
        };
        made.start.extend(objects.iter().enumerate().map(guess));
        made.images.push((Cells::pixels(width as u32, height as u32), objects.len()));
    }
    made
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Newton,
    Adam,
}

/// How a fit is run: none of it but `kind`, `means` and `steps` may change a bit, and `finished` none of other images.
#[derive(Debug, Clone, Copy)]
struct Course<'a> {
    kind: Kind,
    /// Every mean is free; with the absolute penalty for Gauss-Newton.
    means: bool,
    shape: Shape,
    growth: f64,
    steps: u32,
    finished: &'a [Option<u32>],
}

impl Course<'_> {
    fn sums(self) -> Sums {
        let curvature = matches!(self.kind, Kind::Newton);
        let penalty = if curvature && self.means { Penalty::Absolute } else { Penalty::Squared };
        Sums { channels: 1, means: self.means, curvature, penalty, over: false }
    }
}

enum Solver {
    Newton(Box<GaussNewton<R, f32>>),
    Adam(Box<Descent<R, f32>>),
}

impl Solver {
    fn new(course: Course, batch: &Batch, mosaic: &Mosaic<R, f32>, gaussians: &Gaussians<R, f32>) -> Self {
        match course.kind {
            Kind::Newton => Self::newton(course, batch, mosaic, gaussians),
            Kind::Adam => Self::adam(course, batch, mosaic),
        }
    }

    fn newton(course: Course, batch: &Batch, mosaic: &Mosaic<R, f32>, gaussians: &Gaussians<R, f32>) -> Self {
        let objective = |&(cells, count): &(Cells, usize)| gauss_newton::Objective {
            residual_norm: 1.0 / cells.len() as f64,
            size_prior: 0.0,
            aspect_prior: 0.0,
            aspect_limit: 3.0,
            least_scale: 0.5,
            largest_scale: 20.0,
            least_color: 0.0,
            size: [f64::from(cells.columns), f64::from(cells.rows)],
            free_from: if course.means { 0 } else { count as u32 },
        };
        let objectives: Vec<_> = batch.images.iter().map(objective).collect();
        let made = GaussNewton::new(device(), gaussians, mosaic, &objectives, course.sums(), course.steps);
        Self::Newton(Box::new(made.expect("a solver")))
    }

    fn adam(course: Course, batch: &Batch, mosaic: &Mosaic<R, f32>) -> Self {
        let objective = |&(cells, count): &(Cells, usize)| descent::Objective {
            norm: 1.0 / cells.len() as f64,
            residual_norm: 1.0 / cells.len() as f64,
            shape_weight: 0.2,
            aspect_limit: 1.5,
            size_prior: 0.0,
            aspect_prior: 0.0,
            least_scale: 0.5,
            free_from: if course.means { 0 } else { count as u32 },
        };
        let objectives: Vec<_> = batch.images.iter().map(objective).collect();
        let initial = rows(&batch.start, 1);
        let mut raw = initial.clone();
        for row in raw.chunks_exact_mut(7) {
            // Of the softplus from 0.5 on, and of the hyperbolic tangent.
            (row[2], row[3], row[6]) = ((1.5f64.exp() - 1.0).ln(), (1.5f64.exp() - 1.0).ln(), row[6].atanh());
        }
        let maps = Maps {
            scale: ScaleMap::Softplus,
            rotation: RotationMap::Free,
            color: ColorMap::Tanh,
            opacity: false,
            shape_on: ShapeOn::Activated,
            shape_reduce: ShapeReduce::Max,
        };
        let rule = Adam { rate: 0.05, ..Adam::default() };
        let taken = (rule, course.steps);
        let made = Descent::new(device(), mosaic, (&raw, &initial), &objectives, (course.sums(), maps), taken);
        Self::Adam(Box::new(made.expect("a descent")))
    }

    fn step(
        &self,
        device: &Device<R>,
        moved: (&Gaussians<R, f32>, &Frames),
        seen: (&Listed<R, f32>, &Look<R, f32>),
        at: (&Clock<R>, u32),
    ) {
        match self {
            Self::Newton(solver) => solver.step(device, moved, seen, at),
            Self::Adam(descent) => descent.step(device, moved, seen, at).expect("a step"),
        }
    }

    /// Summed penalties of the steps `from .. end` and those before, `[_, images]`.
    fn penalties(&self, from: u32, end: u32) -> &Buffer<R, f32> {
        match self {
            Self::Newton(solver) => solver.kept(),
            Self::Adam(descent) => {
                if let Some(last) = end.checked_sub(1) {
                    descent.gather(device(), from, last);
                }
                descent.history()
            }
        }
    }
}

/// Where a fit ended, as bits, image by image: parameters and penalties of the steps.
#[derive(Debug, PartialEq)]
struct Outcome {
    parameters: Vec<Vec<u32>>,
    penalties: Vec<Vec<u32>>,
}

fn bits(values: Vec<f32>) -> Vec<u32> {
    values.into_iter().map(f32::to_bits).collect()
}

/// Runs a fit as the library does; gives the number of times that new lists were asked for, too.
fn run(batch: &Batch, course: Course) -> (Outcome, usize) {
    let device = &device().with_shape(course.shape);
    let mosaic = Mosaic::new(device, &batch.images).expect("a mosaic");
    let gaussians = Gaussians { parameters: device.upload_f64(&rows(&batch.start, 1)), channels: 1 };
    let solver = Solver::new(course, batch, &mosaic, &gaussians);
    let frames = frames(device, &gaussians, gaussians.len(), Framing::default()).expect("frames");
    let target = Target::Plain(device.upload_f64(&batch.base));
    let margin = Margin { growth: course.growth, shift: if course.means { 8.0 * (course.growth - 1.0) } else { 0.0 } };
    let prepare = || {
        let listed = Listed::new(device, &gaussians, &mosaic, SUPPORT, margin, &mut Room::default()).expect("lists");
        let scene = Scene { frames: &frames, bins: &listed.bins, support: SUPPORT, compositing: Compositing::Sum };
        poison(&[64 * listed.bins.tiles(), 8 * listed.bins.tiles(), 24 * listed.bins.pairs()]);
        let look = Look::new(device, &scene, &target, course.sums()).expect("room for a look");
        (listed, look, Clock::with_stops(device, course.finished))
    };
    let (mut next, mut pauses) = (0, 0);
    let (mut listed, mut look, mut clock) = prepare();
    while next < course.steps {
        let end = course.steps.min(next + BUNCH);
        for step in next..end {
            let scene = Scene { frames: &frames, bins: &listed.bins, support: SUPPORT, compositing: Compositing::Sum };
            evaluate(device, &scene, &target, &look, (&clock, step), FLOOR);
            solver.step(device, (&gaussians, &frames), (&listed, &look), (&clock, step));
        }
        let (_, stop) = clock.read_with(solver.penalties(next, end), 0..batch.images.len()).expect("the clock");
        next = end;
        if let Some(stop) = stop {
            (next, pauses) = (stop, pauses + 1);
            (listed, look, clock) = prepare();
        }
    }
    let parameters = bits(gaussians.parameters.read().expect("parameters"));
    let penalties = bits(solver.penalties(next.saturating_sub(1), next).read().expect("penalties"));
    let mut rest = parameters.as_slice();
    let own = |&(_, count): &(Cells, usize)| rest.split_off(..7 * count).expect("rows").to_vec();
    let images = batch.images.len();
    let of_image = |image| penalties.chunks(images).take(next as usize).map(|row: &[u32]| row[image]).collect();
    let outcome =
        Outcome { parameters: batch.images.iter().map(own).collect(), penalties: (0..images).map(of_image).collect() };
    (outcome, pauses)
}

const SHAPES: [Shape; 2] = [Shape::Gathered, Shape::Tiled];

/// The Gaussians grow by a half and move by a pixel: lists with little margin are made again and again, those with much stand.
fn margins_agree(kind: Kind, means: bool, steps: u32) {
    let batch = batch(&[[61, 45], [30, 27]]);
    for shape in SHAPES {
        let course = |growth| Course { kind, means, shape, growth, steps, finished: &[None, None] };
        let (tight, tight_pauses) = run(&batch, course(1.0001));
        assert!(tight.parameters.concat().iter().all(|&v| f32::from_bits(v).is_finite()), "{shape:?}");
        for growth in [1.15, 2.0] {
            let (outcome, pauses) = run(&batch, course(growth));
            println!("{kind:?} {means} {shape:?}: {tight_pauses} pauses, {pauses} with growth {growth}");
            assert!(outcome == tight, "{kind:?} {means} {shape:?}: growth {growth} gives other bits");
            let most = if growth < 2.0 { 2 * tight_pauses / 3 } else { tight_pauses / 5 };
            assert!(pauses <= most, "{kind:?} {shape:?}: {pauses} pauses, {tight_pauses} when tight");
        }
        assert!(tight_pauses >= steps as usize / 2, "{kind:?} {shape:?}: {tight_pauses} pauses in {steps} steps");
    }
}

#[test]
fn newton_does_not_see_the_margin() {
    margins_agree(Kind::Newton, false, 12);
}

#[test]
fn newton_with_free_means_does_not_see_the_margin() {
    margins_agree(Kind::Newton, true, 12);
}

#[test]
fn adam_does_not_see_the_margin() {
    margins_agree(Kind::Adam, false, 40);
}

#[test]
fn adam_with_free_means_does_not_see_the_margin() {
    margins_agree(Kind::Adam, true, 40);
}

/// An image that is finished keeps its bits from then on, and the others keep those that they have beside a running one.
#[test]
fn finished_images_stand_still() {
    let batch = batch(&[[40, 26], [30, 27], [25, 50]]);
    let [gathered, tiled] = SHAPES;
    for (kind, shape, stop) in
        [(Kind::Newton, gathered, 4), (Kind::Newton, tiled, 0), (Kind::Adam, gathered, 0), (Kind::Adam, tiled, 4)]
    {
        let run = |steps, finished: &[Option<u32>]| {
            run(&batch, Course { kind, means: false, shape, growth: 1.15, steps, finished }).0
        };
        let (whole, short) = (run(7, &[None; 3]), run(stop, &[None; 3]));
        let got = run(7, &[None, Some(stop), None]);
        for image in [0, 2] {
            let same = got.parameters[image] == whole.parameters[image];
            assert!(same, "{kind:?} {shape:?}: image {image} beside one that stops at {stop}");
            assert_eq!(got.penalties[image], whole.penalties[image], "{kind:?} {shape:?}");
        }
        assert!(got.parameters[1] == short.parameters[1], "{kind:?} {shape:?}: moved after {stop}");
        assert!(got.parameters[1] != whole.parameters[1], "{kind:?} {shape:?}: {stop} steps are as good as 7");
    }
}
