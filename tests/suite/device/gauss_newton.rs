//! The first two Gauss-Newton steps, put into the oracle's normal equations.

use splatport::kernels::{
    Mosaic, Shape,
    bins::Room,
    clock::Clock,
    gauss_newton::{GaussNewton, Objective},
    gaussian::{Framing, frames},
    listed::{Listed, Margin},
    moments::Sums,
    penalty::Penalty,
    rasterize::{Compositing, Scene},
    target::Target,
};
use splatport::reference::{gaussian::Gaussian, normal_matrix::jacobian, splat};

use super::evaluate::look;
use super::rasterize::{Picture, pictures};
use super::{Tally, U, aspect, device, poison, property, single, upload, wide};

/// First damping and first limit of a step in log scale, as the solver starts.
const DAMPING: f64 = 0.125;
const LIMIT: f64 = 0.125;
/// Least residual of the absolute penalty.
const FLOOR: f64 = 0.125;

/// Half way up the axes' circle: `t`, `d`, `o` of a gaussian (half the logarithm of its covariance), its colors, its mean.
fn point(g: &Gaussian<f64>, channels: usize) -> Vec<f64> {
    let [l0, l1] = g.scales.map(f64::ln);
    let half = (l0 - l1) / 2.0;
    let (sin, cos) = (2.0 * g.rotation).sin_cos();
    let shape = [(l0 + l1) / 2.0, half * cos, half * sin];
    shape.into_iter().chain(g.color.into_iter().take(channels)).chain(g.mean).collect()
}

/// The Jacobian by [`point`]'s coordinates, from the oracle's by log scales, rotation and amplitudes; and its absolute terms.
fn turned_jacobian(picture: &Picture, g: &Gaussian<f64>) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let Picture { width, height, channels, support, .. } = *picture;
    let (sin, cos) = (2.0 * g.rotation).sin_cos();
    let spread = g.scales[0].ln() - g.scales[1].ln();
    let (mut rows, mut sizes) = (Vec::new(), Vec::new());
    for (at, row) in jacobian(g, width, height, channels, support).into_iter().enumerate() {
        let (centre, channel) = (picture.centre(at / channels), at % channels);
        let (stretch, turn) = (row[0] - row[1], row[2] / spread);
        let by_mean =
            g.mahalanobis_sq_gradient(centre).0.map(|by| -g.amplitude()[channel] * row[3 + channel] * by / 2.0);
        let shape = [row[0] + row[1], cos * stretch - sin * turn, sin * stretch + cos * turn];
        let size = row[0].abs() + row[1].abs() + turn.abs();
        rows.push(shape.into_iter().chain(row[3..].iter().copied()).chain(by_mean).collect());
        let long = by_mean.map(f64::abs).iter().sum::<f64>();
        sizes.push([size; 3].into_iter().chain(row[3..].iter().map(|v| v.abs())).chain([long; 2]).collect());
    }
    (rows, sizes)
}

/// Factors of the priors, large enough for steps near the optimum, where their unit is small.
const SIZE_PRIOR: f64 = 1000.0;
const ASPECT_PRIOR: f64 = 300.0;

/// What the solver is compiled for, and whether there are priors.
#[derive(Debug, Clone, Copy)]
struct Variant {
    channels: usize,
    means: bool,
    kind: Penalty,
    priors: bool,
}

impl Variant {
    fn objective(self, picture: &Picture) -> Objective {
        let prior = |factor: f64| if self.priors { factor } else { 0.0 };
        Objective {
            residual_norm: 1.0 / picture.base.len() as f64,
            size_prior: prior(SIZE_PRIOR),
            aspect_prior: prior(ASPECT_PRIOR),
            aspect_limit: 1e3,
            least_scale: 1e-2,
            largest_scale: 1e4,
            least_color: -1.0,
            size: [picture.width as f64, picture.height as f64],
            free_from: 0,
        }
    }

    /// Coordinates of a point that move.
    fn moving(self) -> usize {
        if self.means { 5 + self.channels } else { 3 + self.channels }
    }
}

/// What the solver did on the device.
struct Course {
    /// Parameters after every step.
    parameters: Vec<Vec<f64>>,
    /// Penalty of what was kept, at every step.
    kept: Vec<f64>,
    slots: usize,
}

/// A step for every base that the picture is looked at over.
fn steps_on_device(picture: &Picture, bases: &[&[f64]], variant: Variant) -> Course {
    let Variant { channels, means, kind, .. } = variant;
    let n = picture.set.len();
    let gaussians = upload(&picture.set, channels);
    let sums = Sums { channels: channels as u32, means, curvature: true, penalty: kind, over: false };
    let mosaic = Mosaic::new(device(), &[(picture.cells(), n)]).expect("a mosaic");
    let objectives = [variant.objective(picture)];
    let solver = GaussNewton::new(device(), &gaussians, &mosaic, &objectives, sums, 2).expect("a solver");
    let frames = frames(device(), &gaussians, n, Framing::default()).expect("frames");
    // Either shape of the sums makes the same system.
    let shape = if picture.width.is_multiple_of(2) { Shape::Tiled } else { Shape::Gathered };
    let clock = Clock::new(device(), 1);
    let mut course = Course { parameters: Vec::new(), kept: Vec::new(), slots: 0 };
    for (step, base) in (0..).zip(bases) {
        let (margin, support) = (Margin { growth: 2.0, shift: 16.0 }, picture.support);
        let lists = Listed::new(device(), &gaussians, &mosaic, support, margin, &mut Room::default()).expect("lists");
        let scene = Scene { frames: &frames, bins: &lists.bins, support, compositing: Compositing::Sum };
        let pairs = lists.bins.pairs();
        poison(&[picture.base.len(), picture.pixels(), 24 * pairs, 64 * n]);
        let target = Target::Plain(device().upload_f64(base));
        let look = look(&scene, &target, sums, FLOOR, &device().with_shape(shape));
        solver.step(device(), (&gaussians, &frames), (&lists, &look), (&clock, step));
        course.parameters.push(wide(gaussians.parameters.read().expect("parameters")));
        course.slots = pairs.max(course.slots);
    }
    assert_eq!(solver.repairs().read().expect("repairs"), vec![0; n]);
    course.kept = wide(solver.kept().read().expect("penalties"));
    course
}

/// Weight of a pixel's row of the normal matrix over the plain `w^2`: half way to all gaussians' weight there, times the
/// reweighting of the absolute penalty.
fn curvature(picture: &Picture, g: &Gaussian<f64>, coverage: &[f64], e: &[f64], kind: Penalty, at: usize) -> f64 {
    let (pixel, channels) = (at / picture.channels, picture.channels);
    let w = g.weight(picture.centre(pixel), picture.support).unwrap_or(0.0);
    if w == 0.0 {
        return 0.0;
    }
    let shared = (w + coverage[pixel]) / (2.0 * w);
    match kind {
        Penalty::Squared => shared,
        Penalty::Absolute => {
            let inverse = e[pixel * channels..][..channels].iter().map(|e| 1.0 / e.abs().max(FLOOR));
            shared * inverse.sum::<f64>() / channels as f64
        }
    }
}

/// Puts two steps into `(J' W J + damping diag(J' W J) + floor + priors) s = -J' G - pull of the priors`.
///
/// Every sum is off by the errors of its terms (a weight's and a displacement's, `(6 a + 8) U (2 + q)`) and its roundings, a
/// coordinate read from the parameters by 20 U and by what `exp` and `ln` lose; the elimination of 8 unknowns adds a few times
/// as much, which the sums' worst case covers. Measured: 0.3 of the tolerance.
fn check(picture: &Picture, next: &[f64], variant: Variant, tally: &mut Tally) {
    if picture.set.is_empty() || (0..picture.pixels()).any(|pixel| picture.is_on_an_edge(pixel)) {
        return;
    }
    let course = steps_on_device(picture, &[&picture.base, next], variant);
    let moved: Vec<_> = picture.set.iter().zip(course.parameters[0].chunks(6 + variant.channels)).map(placed).collect();
    let tried = Picture { set: moved, base: next.to_vec(), ..*picture };
    let first = Drawn::new(picture.clone(), &picture.set, variant, course.slots);
    tally.near("penalty", 0, (course.kept[0], first.penalty), first.penalty_error);
    for (n, g) in picture.set.iter().enumerate() {
        let step = step_of(g, &tried.set[n], variant.channels);
        if !variant.means {
            tally.equal("mean", &tried.set[n].mean, &g.mean);
        }
        if !is_limited(g, &tried.set[n], &step, variant.channels, picture) {
            first.put(n, &step[..variant.moving()], DAMPING, tally);
        }
    }
    if (0..picture.pixels()).any(|pixel| tried.is_on_an_edge(pixel)) {
        return;
    }
    let second = Drawn::new(tried, &picture.set, variant, course.slots);
    let Some(accepted) = first.accepts(&second) else { return };
    let kept = if accepted { &second } else { &first };
    tally.near("penalty", 1, (course.kept[1], kept.penalty), kept.penalty_error);
    let shares: Vec<_> = (0..picture.set.len()).map(|n| first.share(&second, n)).collect();
    let rises = shares.iter().map(Share::rises).collect::<Option<Vec<bool>>>();
    for (n, row) in course.parameters[1].chunks(6 + variant.channels).enumerate() {
        let (g, from) = (&picture.set[n], &kept.picture.set[n]);
        let step = step_of(g, &second.picture.set[n], variant.channels);
        let after = placed((from, row));
        let next = step_of(from, &after, variant.channels);
        let limited = is_limited(g, &second.picture.set[n], &step, variant.channels, picture)
            || is_limited(from, &after, &next, variant.channels, picture);
        let everybody = rises.as_ref().map(|rises| !rises.contains(&true));
        if let Some((damping, momentum)) = shares[n].settled(accepted, everybody).filter(|_| !limited) {
            // The step from where the last one ended, and a share of it more: the trial that was kept was the last target.
            let factor = 1.0 + momentum / (momentum + 3.0);
            let solved: Vec<f64> = next[..variant.moving()].iter().map(|step| step / factor).collect();
            kept.put(n, &solved, damping, tally);
        }
    }
}

/// The Gaussian with these parameters.
fn placed((g, row): (&Gaussian<f64>, &[f64])) -> Gaussian<f64> {
    let mut after = Gaussian { mean: [row[0], row[1]], scales: [row[2], row[3]], rotation: row[4], ..*g };
    after.color[..row.len() - 6].copy_from_slice(&row[6..]);
    after
}

fn step_of(from: &Gaussian<f64>, to: &Gaussian<f64>, channels: usize) -> Vec<f64> {
    point(from, channels).iter().zip(&point(to, channels)).map(|(from, to)| to - from).collect()
}

/// The oracle's picture at a point: residual, summed weights, penalty.
struct Drawn {
    picture: Picture,
    /// `t` at the start.
    starts: Vec<f64>,
    e: Vec<f64>,
    coverage: Vec<f64>,
    penalty: f64,
    penalty_error: f64,
    variant: Variant,
    objective: Objective,
    roundings: f64,
}

/// A gaussian's system, with the priors' part.
struct System {
    rows: Vec<Vec<f64>>,
    sizes: Vec<Vec<f64>>,
    weights: Vec<f64>,
    from: Vec<f64>,
    /// Half the derivative of the objective, and its absolute terms times what they are off by.
    slope: Vec<f64>,
    slope_error: Vec<f64>,
    /// On the diagonal.
    added: Vec<f64>,
}

impl Drawn {
    fn new(picture: Picture, start: &[Gaussian<f64>], variant: Variant, slots: usize) -> Self {
        let Picture { width, height, channels, support, .. } = picture;
        let e = splat::render(&picture.set, width, height, channels, &picture.base, support);
        let white: Vec<_> = picture.set.iter().map(|g| Gaussian { color: [1.0; 3], ..*g }).collect();
        let coverage = splat::render(&white, width, height, 1, &vec![0.0; width * height], support);
        let (mut penalty, mut penalty_error) = (0.0, 0.0);
        for (at, e) in e.iter().enumerate() {
            let drawing = picture.error(at / channels, at % channels);
            let (term, slope) = match variant.kind {
                Penalty::Squared => (e * e, 2.0 * e.abs() + drawing),
                Penalty::Absolute => (e.abs(), 1.0),
            };
            (penalty, penalty_error) = (penalty + term, penalty_error + slope * drawing);
        }
        // Roundings of a strip, a bundle and an image.
        penalty_error += (28.0 + 256.0 + 16.0) * U * penalty;
        let starts = start.iter().map(|g| point(g, 0)[0]).collect();
        let (objective, roundings) = (variant.objective(&picture), 140.0 + slots as f64);
        Self { picture, starts, e, coverage, penalty, penalty_error, variant, objective, roundings }
    }

    /// The priors' unit; the derivative of the absolute penalty is taken whole, and so is theirs.
    fn unit(&self) -> f64 {
        self.objective.residual_norm * self.penalty * if self.variant.kind == Penalty::Absolute { 2.0 } else { 1.0 }
    }

    /// The system of gaussian `n`, with priors in this unit.
    fn system(&self, n: usize, unit: f64) -> System {
        let (g, channels) = (&self.picture.set[n], self.picture.channels);
        let (rows, sizes) = turned_jacobian(&self.picture, g);
        let weight = |at| curvature(&self.picture, g, &self.coverage, &self.e, self.variant.kind, at);
        let weights: Vec<f64> = (0..rows.len()).map(weight).collect();
        let floor = rows.iter().zip(&weights).map(|(row, f)| row[3] * row[3] * f).sum::<f64>() / 1e4;
        let relative = self.relative(g);
        let from = point(g, channels);
        let Objective { size_prior, aspect_prior, .. } = self.objective;
        let (mut slope, mut slope_error, mut added) = (Vec::new(), Vec::new(), Vec::new());
        for (i, &place) in from[..self.variant.moving()].iter().enumerate() {
            let (stiff, from_rest) = match i {
                0 => (unit * size_prior, from[0] - self.starts[n]),
                1 | 2 => (unit * 4.0 * aspect_prior, place),
                _ => (0.0, 0.0),
            };
            let off = self.penalty_error / self.penalty * from_rest.abs() + 20.0 * U * (1.0 + place.abs());
            let (mut sum, mut error) = (stiff * from_rest, stiff * off);
            for (at, row) in rows.iter().enumerate().filter(|&(at, _)| weights[at] > 0.0) {
                let (pull, steep) = match self.variant.kind {
                    Penalty::Squared => (self.e[at], 1.0),
                    Penalty::Absolute => (self.e[at] / self.e[at].abs().max(FLOOR), 1.0 / FLOOR),
                };
                let drawing = self.picture.error(at / channels, at % channels);
                sum += row[i] * pull;
                error += sizes[at][i] * (pull.abs() * relative + steep * drawing);
            }
            slope.push(sum);
            slope_error.push(error);
            added.push(match i {
                0..3 => floor + stiff,
                _ if i < 3 + channels => 0.0,
                _ => floor * (-2.0 * from[0]).exp(),
            });
        }
        System { rows, sizes, weights, from, slope, slope_error, added }
    }

    /// Relative error of a sum's terms and roundings.
    fn relative(&self, g: &Gaussian<f64>) -> f64 {
        (6.0 * aspect(g) + 8.0) * U * (2.0 + self.picture.support) + self.roundings * U
    }

    /// Puts gaussian `n`'s step into its equations.
    fn put(&self, n: usize, step: &[f64], damping: f64, tally: &mut Tally) {
        let System { rows, sizes, weights, from, slope, slope_error, added } = self.system(n, self.unit());
        let relative = self.relative(&self.picture.set[n]);
        for (i, &own) in step.iter().enumerate() {
            let off = |j: usize| relative * step[j].abs() + 20.0 * U * (1.0 + from[j].abs());
            let (mut left, mut scale) = (added[i] * own, slope_error[i] + added[i] * off(i));
            for (at, row) in rows.iter().enumerate().filter(|&(at, _)| weights[at] > 0.0) {
                for (j, step) in step.iter().enumerate() {
                    let damped = if i == j { 1.0 + damping } else { 1.0 };
                    left += weights[at] * row[i] * row[j] * damped * step;
                    scale += weights[at] * sizes[at][i] * sizes[at][j] * off(j);
                }
            }
            tally.near("equation", 10 * n + i, (left, -slope[i]), scale);
        }
    }

    /// Whether a trial's objective is below this one's, in its unit; none where it is close.
    fn accepts(&self, trial: &Drawn) -> Option<bool> {
        let prior = |drawn: &Drawn| -> f64 {
            let one = |(g, start): (&Gaussian<f64>, &f64)| {
                let [t, d, o] = [0, 1, 2].map(|k| point(g, 0)[k]);
                self.objective.size_prior * (t - start).powi(2) + self.objective.aspect_prior * 4.0 * (d * d + o * o)
            };
            drawn.picture.set.iter().zip(&self.starts).map(one).sum()
        };
        let unit = self.objective.residual_norm * self.penalty;
        let (old, new) = (self.penalty + unit * prior(self), trial.penalty + unit * prior(trial));
        ((new / old - 1.0).abs() > CLEAR).then_some(new < old)
    }

    /// Gaussian `n`'s share of the change to a trial.
    fn share(&self, trial: &Drawn, n: usize) -> Share {
        let (before, after) = (self.system(n, self.unit()), trial.system(n, self.unit()));
        let moved = step_of(&self.picture.set[n], &trial.picture.set[n], self.picture.channels);
        let moved = &moved[..self.variant.moving()];
        let along = |slope: &[f64]| slope.iter().zip(moved).map(|(slope, moved)| slope * moved).sum::<f64>();
        let size = |slope: &[f64]| slope.iter().zip(moved).map(|(slope, moved)| (slope * moved).abs()).sum::<f64>();
        let bend = |(row, weight): (&Vec<f64>, &f64)| weight * along(row).powi(2);
        let bends = before.rows.iter().zip(&before.weights).map(bend).sum::<f64>()
            + before.added.iter().zip(moved).map(|(added, moved)| added * moved * moved).sum::<f64>();
        Share {
            change: (along(&before.slope) + along(&after.slope)) / 2.0,
            wanted: along(&before.slope) + bends / 2.0,
            uphill: along(&after.slope),
            size: size(&before.slope) + size(&after.slope) + bends,
            unseen: before.weights.iter().all(|&weight| weight == 0.0),
        }
    }
}

/// Decisions closer than this share of their terms are left to rounding, which is ten times less.
const CLEAR: f64 = 1e-2;

/// What a step did to the objective by one gaussian's share.
struct Share {
    change: f64,
    wanted: f64,
    uphill: f64,
    /// Absolute terms.
    size: f64,
    /// No pixel sees it, and it stays.
    unseen: bool,
}

impl Share {
    fn rises(&self) -> Option<bool> {
        let clear = self.change.abs() > CLEAR * self.size;
        if self.unseen { Some(false) } else { clear.then_some(self.change > 0.0) }
    }

    /// Damping and count of momentum after the first step, if they are clear. `together`: nobody's share rose.
    fn settled(&self, accepted: bool, together: Option<bool>) -> Option<(f64, f64)> {
        let clear = |value: f64| value.abs() > CLEAR * self.size;
        let ratio = self.change / self.wanted;
        if self.unseen || !clear(self.wanted) || self.wanted > 0.0 {
            return None;
        }
        if [0.25, 0.75].iter().any(|edge| (ratio - edge).abs() < CLEAR) {
            return None;
        }
        let own = match ratio {
            0.75.. if accepted => DAMPING / 4.0,
            0.25.. => DAMPING,
            _ => 4.0 * DAMPING,
        };
        if !accepted {
            return Some((if together? { 4.0 * own } else { own }, 0.0));
        }
        clear(self.uphill).then_some((own, if self.uphill > 0.0 { 0.0 } else { 1.0 }))
    }
}

/// Whether some bound had its say: those are met in other ways.
fn is_limited(g: &Gaussian<f64>, after: &Gaussian<f64>, step: &[f64], channels: usize, picture: &Picture) -> bool {
    let far = step[0].abs() > 0.99 * LIMIT || step[1].hypot(step[2]) > 0.99 * LIMIT;
    let pale = after.color[..channels].iter().any(|c| c.abs() > 0.999);
    let away = step[3 + channels..].iter().map(|v| v * v).sum::<f64>().sqrt();
    let moved = away > 0.99 * 2.0 * LIMIT * (g.scales[0] * g.scales[1]).sqrt();
    let [x, y] = after.mean;
    let out = x <= 0.0 || y <= 0.0 || x >= picture.width as f64 || y >= picture.height as f64;
    far || pale || moved || out
}

/// A set, and a photo that differs a little from it: colors within the box, axes that tell apart, means inside.
fn near_optimum(picture: &Picture, shift: &[f64; 5]) -> Picture {
    let [a, b, turn, fade, dx] = shift;
    let inside = |g: &&Gaussian<f64>| {
        let [x, y] = g.mean;
        aspect(g) > 1.2 && x > 0.5 && y > 0.5 && x < picture.width as f64 - 0.5 && y < picture.height as f64 - 0.5
    };
    let paint = |c: f64| single(c.signum() * (0.1 + 0.8 * c.abs()));
    let plain = |g: &Gaussian<f64>| Gaussian { opacity: 1.0, color: g.color.map(paint), ..*g };
    let set: Vec<_> = picture.set.iter().filter(inside).map(plain).collect();
    let moved = |g: &Gaussian<f64>| Gaussian {
        mean: [g.mean[0] + dx * g.scales[0], g.mean[1] - dx * g.scales[1]],
        scales: [g.scales[0] * (1.0 + a), g.scales[1] * (1.0 + b)],
        rotation: g.rotation + turn,
        color: g.color.map(|c| c * (1.0 + fade)),
        ..*g
    };
    let Picture { width, height, channels, support, .. } = *picture;
    let photo: Vec<_> = set.iter().map(moved).collect();
    let drawn = splat::render(&photo, width, height, channels, &vec![0.0; picture.base.len()], support);
    Picture { set, base: drawn.into_iter().map(|v| single(-v)).collect(), ..picture.clone() }
}

/// One compiled solver each: they are long. The second look is over another base in one case of three, so that the step is dropped.
fn steps_solve(name: &str, variant: Variant) {
    let shift = || -0.04..0.04;
    let drawn = (pictures(6), [shift(), shift(), shift(), shift(), shift()], 0..3);
    property(name, 16, drawn, |(picture, shift, course), tally| {
        let channels = variant.channels;
        let picture = Picture { channels, base: vec![0.0; picture.pixels() * channels], ..picture.clone() };
        let picture = near_optimum(&picture, shift);
        let worse = |(at, base): (usize, &f64)| single(base + 0.1 * (0.7 * at as f64).sin());
        let next = picture.base.iter().enumerate();
        let next: Vec<f64> = if *course == 0 { next.map(worse).collect() } else { picture.base.clone() };
        check(&picture, &next, variant, tally);
    });
}

#[test]
fn steps_solve_the_normal_equations() {
    let variant = Variant { channels: 1, means: false, kind: Penalty::Squared, priors: false };
    steps_solve("normal equations", variant);
}

#[test]
fn steps_of_free_gaussians_with_priors_solve_the_normal_equations() {
    let variant = Variant { channels: 1, means: true, kind: Penalty::Absolute, priors: true };
    steps_solve("normal equations with means", variant);
}

#[test]
fn steps_of_colors_with_priors_solve_the_normal_equations() {
    let variant = Variant { channels: 3, means: false, kind: Penalty::Squared, priors: true };
    steps_solve("normal equations of colors", variant);
}

/// A round start has no axes, whatever its rotation says: the first step stretches it along the object's.
#[test]
fn a_round_start_stretches_the_right_way() {
    for (start, long) in [(0.0, 0.0), (0.7, 0.0), (2.3, 0.9), (-1.1, 2.0)] {
        let object = Gaussian { scales: [4.0, 3.0], rotation: long, ..Gaussian::round([16.0, 15.0], 1.0) };
        let drawn = splat::render(&[object], 33, 29, 1, &[0.0; 957], 21.0);
        let set = vec![Gaussian { rotation: single(start), ..Gaussian::round([16.0, 15.0], 3.5) }];
        let base = drawn.into_iter().map(|v| single(-v)).collect();
        let picture = Picture { set, base, width: 33, height: 29, channels: 1, support: 21.0 };
        let variant = Variant { channels: 1, means: false, kind: Penalty::Squared, priors: false };
        let row = &steps_on_device(&picture, &[&picture.base], variant).parameters[0];
        let off = (row[4] - long).sin().abs();
        assert!(row[2] > 1.1 * row[3] && off < 0.05, "from {start} to {long}: {row:?}");
    }
}
