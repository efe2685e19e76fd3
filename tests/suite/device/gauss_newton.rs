//! The first Gauss-Newton step, put into the oracle's normal equations; and what the whole fit promises.

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

/// Parameters after one step of the solver.
fn step_on_device(picture: &Picture, means: bool, kind: Penalty) -> (Vec<f64>, usize) {
    let n = picture.set.len();
    let gaussians = upload(&picture.set, picture.channels);
    let objective = Objective {
        residual_norm: 1.0 / picture.base.len() as f64,
        size_prior: 0.0,
        aspect_prior: 0.0,
        aspect_limit: 1e3,
        least_scale: 1e-2,
        largest_scale: 1e4,
        least_color: -1.0,
        size: [picture.width as f64, picture.height as f64],
        free_from: 0,
    };
    let sums = Sums { channels: picture.channels as u32, means, curvature: true, penalty: kind, over: false };
    let mosaic = Mosaic::new(device(), &[(picture.cells(), n)]).expect("a mosaic");
    let solver = GaussNewton::new(device(), &gaussians, &mosaic, &[objective], sums, 1).expect("a solver");
    let frames = frames(device(), &gaussians, n, Framing::default()).expect("frames");
    let margin = Margin { growth: 1.0, shift: 0.0 };
    let lists =
        Listed::new(device(), &gaussians, &mosaic, picture.support, margin, &mut Room::default()).expect("lists");
    let scene = Scene { frames: &frames, bins: &lists.bins, support: picture.support, compositing: Compositing::Sum };
    let pairs = lists.bins.pairs();
    poison(&[picture.base.len(), picture.pixels(), 24 * pairs, 64 * n]);
    let target = Target::Plain(device().upload_f64(&picture.base));
    // Either shape of the sums makes the same system.
    let shape = if picture.width.is_multiple_of(2) { Shape::Tiled } else { Shape::Gathered };
    let look = look(&scene, &target, sums, FLOOR, &device().with_shape(shape));
    solver.step(device(), (&gaussians, &frames), (&lists, &look), (&Clock::new(device(), 1), 0));
    assert_eq!(solver.repairs().read().expect("repairs"), vec![0; n]);
    (wide(gaussians.parameters.read().expect("parameters")), pairs)
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

/// Puts the step into `(J' W J + damping diag(J' W J) + floor) s = -J' G`.
///
/// Every sum is off by the errors of its terms (a weight's and a displacement's, `(6 a + 8) U (2 + q)`) and its roundings, a
/// coordinate read from the parameters by 20 U and by what `exp` and `ln` lose; the elimination of 8 unknowns adds a few times
/// as much, which the sums' worst case covers. Measured: 0.1 of the tolerance.
fn check(picture: &Picture, means: bool, kind: Penalty, tally: &mut Tally) {
    let Picture { width, height, channels, support, .. } = *picture;
    if (0..picture.pixels()).any(|pixel| picture.is_on_an_edge(pixel)) {
        return;
    }
    let (parameters, slots) = step_on_device(picture, means, kind);
    let e = splat::render(&picture.set, width, height, channels, &picture.base, support);
    let white: Vec<_> = picture.set.iter().map(|g| Gaussian { color: [1.0; 3], ..*g }).collect();
    let coverage = splat::render(&white, width, height, 1, &vec![0.0; width * height], support);
    let drawn = Drawn { picture, e, coverage, kind, roundings: 140.0 + slots as f64 };
    for (n, (g, row)) in picture.set.iter().zip(parameters.chunks(6 + channels)).enumerate() {
        let mut after = Gaussian { mean: [row[0], row[1]], scales: [row[2], row[3]], rotation: row[4], ..*g };
        after.color[..channels].copy_from_slice(&row[6..]);
        let (from, to) = (point(g, channels), point(&after, channels));
        let step: Vec<f64> = from.iter().zip(&to).map(|(from, to)| to - from).collect();
        if !means {
            tally.equal("mean", &after.mean, &g.mean);
        }
        if !is_limited(g, &after, &step, channels, picture) {
            drawn.put(n, &step[..if means { 5 + channels } else { 3 + channels }], &from, tally);
        }
    }
}

/// The oracle's picture at the start: residual, summed weights.
struct Drawn<'a> {
    picture: &'a Picture,
    e: Vec<f64>,
    coverage: Vec<f64>,
    kind: Penalty,
    roundings: f64,
}

impl Drawn<'_> {
    /// Puts gaussian `n`'s step into its equations.
    fn put(&self, n: usize, step: &[f64], from: &[f64], tally: &mut Tally) {
        let (g, channels) = (&self.picture.set[n], self.picture.channels);
        let (rows, sizes) = turned_jacobian(self.picture, g);
        let weight = |at| curvature(self.picture, g, &self.coverage, &self.e, self.kind, at);
        let weights: Vec<f64> = (0..rows.len()).map(weight).collect();
        let floor = rows.iter().zip(&weights).map(|(row, f)| row[3] * row[3] * f).sum::<f64>() / 1e4;
        let relative = (6.0 * aspect(g) + 8.0) * U * (2.0 + self.picture.support) + self.roundings * U;
        for i in 0..step.len() {
            let added = match i {
                0..3 => floor,
                _ if i < 3 + channels => 0.0,
                _ => floor * (-2.0 * from[0]).exp(),
            };
            let (mut left, mut right, mut scale) = (added * step[i], 0.0, 0.0);
            for (at, row) in rows.iter().enumerate().filter(|&(at, _)| weights[at] > 0.0) {
                let (pull, slope) = match self.kind {
                    Penalty::Squared => (self.e[at], 1.0),
                    Penalty::Absolute => (self.e[at] / self.e[at].abs().max(FLOOR), 1.0 / FLOOR),
                };
                right -= row[i] * pull;
                let drawing = self.picture.error(at / channels, at % channels);
                scale += sizes[at][i] * (pull.abs() * relative + slope * drawing);
                for (j, step) in step.iter().enumerate() {
                    let damped = if i == j { 1.0 + DAMPING } else { 1.0 };
                    left += weights[at] * row[i] * row[j] * damped * step;
                    let off = relative * step.abs() + 20.0 * U * (1.0 + from[j].abs());
                    scale += weights[at] * sizes[at][i] * sizes[at][j] * off;
                }
            }
            tally.near("equation", 10 * n + i, (left, right), scale);
        }
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

/// One compiled solver each: they are long.
fn steps_solve(name: &str, channels: usize, means: bool, kind: Penalty) {
    let shift = || -0.04..0.04;
    let drawn = (pictures(6), [shift(), shift(), shift(), shift(), shift()]);
    property(name, 16, drawn, |(picture, shift), tally| {
        let base = vec![0.0; picture.pixels() * channels];
        check(&near_optimum(&Picture { channels, base, ..picture.clone() }, shift), means, kind, tally);
    });
}

#[test]
fn a_step_solves_the_normal_equations() {
    steps_solve("normal equations", 1, false, Penalty::Squared);
}

#[test]
fn a_step_of_free_gaussians_solves_the_normal_equations() {
    steps_solve("normal equations with means", 1, true, Penalty::Absolute);
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
        let (row, _) = step_on_device(&picture, false, Penalty::Squared);
        let off = (row[4] - long).sin().abs();
        assert!(row[2] > 1.1 * row[3] && off < 0.05, "from {start} to {long}: {row:?}");
    }
}
