//! One Gaussian's normal system: assembled from its moments, solved exactly with its bounds.

use cubecl::prelude::*;

use super::{Layout, Terms};
use crate::real::Real;

/// Half the derivatives of the objective and the Gauss-Newton matrix without the colors' factor.
#[derive(CubeType)]
pub(crate) struct Block<F: Real> {
    /// By every coordinate of a point, `[point]`.
    pub gradient: Array<F>,
    /// Shape against shape, `[shape, shape]`, to be multiplied by the sum of squared colors.
    pub gram: Array<F>,
    /// Shape against color, `[shape]`, to be multiplied by the color.
    pub coupling: Array<F>,
    /// Color against itself.
    pub weight: F,
}

/// Radius and angle of `(d, o)`.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Shape<F: Real> {
    pub r: F,
    pub theta: F,
}

#[cube]
pub(crate) fn shape_of<F: Real>(point: &Array<F>, #[comptime] layout: Layout) -> Shape<F> {
    let t = comptime!(layout.t());
    let (d, o) = (point[t + 1], point[t + 2]);
    let r = (d * d + o * o).sqrt();
    let mut theta = F::new(0.0);
    if r > F::new(0.0) {
        theta = o.atan2(d) / F::new(2.0);
    }
    Shape::<F> { r, theta }
}

/// `sinh(z) / z`, the factor between the rotation of the covariance's logarithm and that of the covariance.
#[cube]
fn sinh_ratio<F: Real>(z: F) -> F {
    let mut ratio = F::new(1.0) + z * z / F::new(6.0) + z * z * z * z / F::new(120.0);
    if z > F::new(0.25) {
        ratio = (z.exp() - (F::new(0.0) - z).exp()) / (F::new(2.0) * z);
    }
    ratio
}

/// Assembles the system at `point` from its sums. `unit` is the mean penalty, which the priors are measured in.
#[cube]
pub(crate) fn block<F: Real>(
    sum: &Array<F>,
    point: &Array<F>,
    start: F,
    unit: F,
    terms: &Terms<F>,
    #[comptime] layout: Layout,
) -> Block<F> {
    let size = comptime!(layout.shape());
    let t = comptime!(layout.t());
    let m = comptime!(layout.sums.curvature_at() as usize);
    let g = comptime!(layout.sums.shape_at() as usize);
    let shape = shape_of::<F>(point, layout);
    let bend = F::new(2.0) * sinh_ratio::<F>(F::new(2.0) * shape.r);
    let (s0, s1) = ((point[t] + shape.r).exp(), (point[t] - shape.r).exp());

    // Along the Gaussian's own axes: the mean, the two log scales, and what turns the axes.
    let mut frame = Array::<F>::new(comptime!(layout.shape() * layout.shape()));
    let mut pull = Array::<F>::new(size);
    let mut bond = Array::<F>::new(size);
    pull[t] = sum[g];
    pull[t + 1] = sum[g + 2];
    pull[t + 2] = bend * sum[g + 1];
    bond[t] = sum[m + 1];
    bond[t + 1] = sum[m + 3];
    bond[t + 2] = bend * sum[m + 2];
    set::<F>(&mut frame, t, t, sum[m + 4], layout);
    set::<F>(&mut frame, t, comptime!(t + 1), sum[m + 6], layout);
    set::<F>(&mut frame, t, comptime!(t + 2), bend * sum[m + 5], layout);
    set::<F>(&mut frame, comptime!(t + 1), comptime!(t + 1), sum[m + 8], layout);
    set::<F>(&mut frame, comptime!(t + 1), comptime!(t + 2), bend * sum[m + 7], layout);
    set::<F>(&mut frame, comptime!(t + 2), comptime!(t + 2), bend * bend * sum[m + 6], layout);
    if comptime!(layout.sums.means) {
        let a = comptime!(layout.sums.mean_at() as usize);
        pull[0] = sum[a] / s0;
        pull[1] = sum[a + 1] / s1;
        bond[0] = sum[m + 9] / s0;
        bond[1] = sum[m + 10] / s1;
        set::<F>(&mut frame, 0usize, 0usize, sum[m + 1] / (s0 * s0), layout);
        set::<F>(&mut frame, 0usize, 1usize, sum[m + 2] / (s0 * s1), layout);
        set::<F>(&mut frame, 1usize, 1usize, sum[m + 3] / (s1 * s1), layout);
        set::<F>(&mut frame, 0usize, 2usize, sum[m + 11] / s0, layout);
        set::<F>(&mut frame, 0usize, 3usize, sum[m + 13] / s0, layout);
        set::<F>(&mut frame, 0usize, 4usize, bend * sum[m + 12] / s0, layout);
        set::<F>(&mut frame, 1usize, 2usize, sum[m + 12] / s1, layout);
        set::<F>(&mut frame, 1usize, 3usize, sum[m + 14] / s1, layout);
        set::<F>(&mut frame, 1usize, 4usize, bend * sum[m + 13] / s1, layout);
    }

    // Turned to the image's axes.
    let turn = turning::<F>(shape.theta, layout);
    let mut gradient = Array::<F>::new(comptime!(layout.point()));
    let mut coupling = Array::<F>::new(size);
    let mut gram = Array::<F>::new(comptime!(layout.shape() * layout.shape()));
    #[unroll]
    for i in 0..size {
        let mut by = F::new(0.0);
        let mut with = F::new(0.0);
        #[unroll]
        for k in 0..size {
            by += turn[k * size + i] * pull[k];
            with += turn[k * size + i] * bond[k];
        }
        gradient[i] = by;
        coupling[i] = with;
        #[unroll]
        for j in 0..size {
            let mut entry = F::new(0.0);
            #[unroll]
            for k in 0..size {
                let mut inner = F::new(0.0);
                #[unroll]
                for l in 0..size {
                    inner += frame[k * size + l] * turn[l * size + j];
                }
                entry += turn[k * size + i] * inner;
            }
            gram[i * size + j] = entry;
        }
    }
    gradient[t] += unit * terms.size_prior * (point[t] - start);
    gradient[t + 1] += unit * F::new(4.0) * terms.aspect_prior * point[t + 1];
    gradient[t + 2] += unit * F::new(4.0) * terms.aspect_prior * point[t + 2];
    #[unroll]
    for c in 0..comptime!(layout.channels()) {
        gradient[size + c] = sum[c];
    }
    Block::<F> { gradient, gram, coupling, weight: sum[m] }
}

/// Sets an entry and its mirror image.
#[cube]
fn set<F: Real>(
    matrix: &mut Array<F>,
    #[comptime] row: usize,
    #[comptime] column: usize,
    value: F,
    #[comptime] layout: Layout,
) {
    let size = comptime!(layout.shape());
    matrix[comptime!(row * size + column)] = value;
    matrix[comptime!(column * size + row)] = value;
}

/// How the derivatives along the Gaussian's axes (rows) make those by the coordinates (columns).
#[cube]
fn turning<F: Real>(theta: F, #[comptime] layout: Layout) -> Array<F> {
    let size = comptime!(layout.shape());
    let t = comptime!(layout.t());
    let (c, s) = (theta.cos(), theta.sin());
    let (c2, s2) = (c * c - s * s, F::new(2.0) * s * c);
    let mut turn = Array::<F>::new(comptime!(layout.shape() * layout.shape()));
    #[unroll]
    for k in 0..comptime!(layout.shape() * layout.shape()) {
        turn[k] = F::new(0.0);
    }
    if comptime!(layout.sums.means) {
        turn[0] = c;
        turn[1] = s;
        turn[size] = F::new(0.0) - s;
        turn[size + 1] = c;
    }
    turn[t * size + t] = F::new(1.0);
    turn[t * size + t + 1] = c2;
    turn[t * size + t + 2] = s2;
    turn[(t + 1) * size + t] = F::new(1.0);
    turn[(t + 1) * size + t + 1] = F::new(0.0) - c2;
    turn[(t + 1) * size + t + 2] = F::new(0.0) - s2;
    turn[(t + 2) * size + t + 1] = F::new(0.0) - s2;
    turn[(t + 2) * size + t + 2] = c2;
    turn
}

/// Added to the diagonal of the shape: a share of the color's weight that keeps a faint Gaussian's system regular (for the
/// mean in units of the scale), and the prior.
#[cube]
fn diagonal<F: Real>(
    system: &Block<F>,
    point: &Array<F>,
    unit: F,
    terms: &Terms<F>,
    #[comptime] layout: Layout,
) -> Array<F> {
    let t = comptime!(layout.t());
    let mut added = Array::<F>::new(comptime!(layout.shape()));
    let floor = system.weight / F::new(10000.0);
    if comptime!(layout.sums.means) {
        let shrink = (F::new(-2.0) * point[t]).exp();
        added[0] = floor * shrink;
        added[1] = floor * shrink;
    }
    added[t] = floor + unit * terms.size_prior;
    added[t + 1] = floor + unit * F::new(4.0) * terms.aspect_prior;
    added[t + 2] = added[t + 1];
    added
}

#[cube]
fn squared_colors<F: Real>(point: &Array<F>, #[comptime] layout: Layout) -> F {
    let mut sum = F::new(0.0);
    #[unroll]
    for c in comptime!(layout.shape())..comptime!(layout.point()) {
        sum += point[c] * point[c];
    }
    sum
}

/// Half the change that the undamped system predicts for `moved`.
#[cube]
pub(crate) fn predicted<F: Real>(
    system: &Block<F>,
    point: &Array<F>,
    moved: &Array<F>,
    unit: F,
    terms: &Terms<F>,
    #[comptime] layout: Layout,
) -> F {
    let size = comptime!(layout.shape());
    let added = diagonal::<F>(system, point, unit, terms, layout);
    let squares = squared_colors::<F>(point, layout);
    let mut linear = F::new(0.0);
    let mut quadratic = F::new(0.0);
    let mut coupled = F::new(0.0);
    #[unroll]
    for i in 0..size {
        linear += system.gradient[i] * moved[i];
        coupled += system.coupling[i] * moved[i];
        quadratic += added[i] * moved[i] * moved[i];
        #[unroll]
        for j in 0..size {
            quadratic += squares * system.gram[i * size + j] * moved[i] * moved[j];
        }
    }
    #[unroll]
    for c in size..comptime!(layout.point()) {
        linear += system.gradient[c] * moved[c];
        quadratic += moved[c] * (F::new(2.0) * point[c] * coupled + system.weight * moved[c]);
    }
    linear + quadratic / F::new(2.0)
}

/// The damped step, with every bound met exactly: colors in their box, `t` in its range, `(d, o)` in the disc.
#[cube]
pub(crate) fn solve<F: Real>(
    system: &Block<F>,
    point: &Array<F>,
    damping: F,
    free: bool,
    unit: F,
    terms: &Terms<F>,
    #[comptime] layout: Layout,
) -> Array<F> {
    let zero = F::new(0.0);
    let size = comptime!(layout.shape());
    let t = comptime!(layout.t());
    let mut step = Array::<F>::new(comptime!(layout.point()));
    // 1 where a coordinate is held.
    let mut held = Array::<F>::new(comptime!(layout.point()));
    #[unroll]
    for k in 0..comptime!(layout.point()) {
        step[k] = zero;
        held[k] = zero;
    }
    if comptime!(layout.sums.means) {
        if !free {
            held[0] = F::new(1.0);
            held[1] = F::new(1.0);
        }
    }
    hold::<F>(&mut held, system, point, t, terms.least_t, terms.largest_t);
    #[unroll]
    for c in size..comptime!(layout.point()) {
        hold::<F>(&mut held, system, point, c, terms.least_color, F::new(1.0));
    }
    // A Gaussian out of sight, or of a weight that underflows, has no system.
    if system.weight > F::new(1.0e-12) {
        #[unroll]
        for _round in 0..3 {
            shape_step::<F>(&mut step, &held, system, point, damping, unit, terms, layout);
            let weight = system.weight * (F::new(1.0) + damping);
            let mut coupled = zero;
            #[unroll]
            for i in 0..size {
                coupled += system.coupling[i] * step[i];
            }
            #[unroll]
            for c in size..comptime!(layout.point()) {
                if held[c] == zero {
                    let wanted = (zero - system.gradient[c] - point[c] * coupled) / weight;
                    let allowed = clamp(wanted, terms.least_color - point[c], F::new(1.0) - point[c]);
                    step[c] = allowed;
                    if allowed != wanted {
                        held[c] = F::new(1.0);
                    }
                }
            }
        }
    }
    step
}

/// Holds a coordinate at its bound when the gradient points out of it.
#[cube]
fn hold<F: Real>(
    held: &mut Array<F>,
    system: &Block<F>,
    point: &Array<F>,
    #[comptime] at: usize,
    least: F,
    largest: F,
) {
    let slope = system.gradient[at];
    if point[at] <= least && slope > F::new(0.0) || point[at] >= largest && slope < F::new(0.0) {
        held[at] = F::new(1.0);
    }
}

/// Solves for the shape with the free colors eliminated and the held ones moved as `step` says.
#[cube]
#[allow(clippy::too_many_arguments)]
fn shape_step<F: Real>(
    step: &mut Array<F>,
    held: &Array<F>,
    system: &Block<F>,
    point: &Array<F>,
    damping: F,
    unit: F,
    terms: &Terms<F>,
    #[comptime] layout: Layout,
) {
    let zero = F::new(0.0);
    let size = comptime!(layout.shape());
    let weight = system.weight * (F::new(1.0) + damping);
    let squares = squared_colors::<F>(point, layout);
    let added = diagonal::<F>(system, point, unit, terms, layout);
    let mut free_squares = zero;
    let mut along = zero;
    #[unroll]
    for c in size..comptime!(layout.point()) {
        if held[c] == zero {
            free_squares += point[c] * point[c];
            along += point[c] * system.gradient[c] / weight;
        } else {
            along -= point[c] * step[c];
        }
    }
    let mut matrix = Array::<F>::new(comptime!(layout.shape() * layout.shape()));
    let mut right = Array::<F>::new(size);
    #[unroll]
    for i in 0..size {
        right[i] = system.coupling[i] * along - system.gradient[i];
        #[unroll]
        for j in 0..size {
            let coupled = system.coupling[i] * system.coupling[j];
            matrix[i * size + j] = squares * system.gram[i * size + j] - free_squares / weight * coupled;
        }
        matrix[i * size + i] += damping * squares * system.gram[i * size + i] + added[i];
    }
    #[unroll]
    for i in 0..comptime!(layout.t() + 1) {
        if held[i] != zero {
            right[i] = zero;
            #[unroll]
            for j in 0..size {
                matrix[i * size + j] = zero;
                matrix[j * size + i] = zero;
            }
            matrix[i * size + i] = F::new(1.0);
        }
    }
    // Everything but (d, o) is eliminated, (d, o) is solved in its disc, the rest follows.
    #[unroll]
    for k in 0..comptime!(layout.t() + 1) {
        #[unroll]
        for i in comptime!(k + 1)..size {
            let factor = matrix[i * size + k] / matrix[k * size + k];
            let taken = factor * right[k];
            right[i] -= taken;
            #[unroll]
            for j in k..size {
                let entry = factor * matrix[k * size + j];
                matrix[i * size + j] -= entry;
            }
        }
    }
    disc_step::<F>(step, &matrix, &right, point, terms.disc, layout);
    #[unroll]
    for back in 0..comptime!(layout.t() + 1) {
        let k = comptime!(layout.t() - back);
        let mut rest = right[k];
        #[unroll]
        for j in comptime!(k + 1)..size {
            rest -= matrix[k * size + j] * step[j];
        }
        step[k] = rest / matrix[k * size + k];
    }
    let t = comptime!(layout.t());
    step[t] = clamp(step[t], F::new(-0.5), F::new(0.5));
}

/// Minimises the remaining quadratic in `(d, o)` over the disc: its boundary's point is found by bisection of the
/// multiplier, in the eigenvectors' frame.
#[cube]
fn disc_step<F: Real>(
    step: &mut Array<F>,
    matrix: &Array<F>,
    right: &Array<F>,
    point: &Array<F>,
    radius: F,
    #[comptime] layout: Layout,
) {
    let size = comptime!(layout.shape());
    let (d, o) = (comptime!(layout.t() + 1), comptime!(layout.t() + 2));
    let (a, b, c) = (matrix[d * size + d], matrix[d * size + o], matrix[o * size + o]);
    let determinant = a * c - b * b;
    let (k0, k1) = (right[d], right[o]);
    let mut x = point[d] + (c * k0 - b * k1) / determinant;
    let mut y = point[o] + (a * k1 - b * k0) / determinant;
    if x * x + y * y > radius * radius {
        let half = (a - c) / F::new(2.0);
        let spread = (half * half + b * b).sqrt();
        let middle = (a + c) / F::new(2.0);
        let (high, low) = (middle + spread, max(middle - spread, F::new(0.0)));
        let mut angle = F::new(0.0);
        if spread > F::new(0.0) {
            angle = b.atan2(half) / F::new(2.0);
        }
        let (cos, sin) = (angle.cos(), angle.sin());
        // The gradient's zero, K x, is known without dividing by a small eigenvalue.
        let (w0, w1) = (a * point[d] + b * point[o] + k0, b * point[d] + c * point[o] + k1);
        let (p, q) = (cos * w0 + sin * w1, cos * w1 - sin * w0);
        let mut below = F::new(0.0);
        let mut above = (p * p + q * q).sqrt() / radius;
        for _round in 0..24 {
            let multiplier = (below + above) / F::new(2.0);
            let (u, v) = (p / (high + multiplier), q / (low + multiplier));
            if u * u + v * v > radius * radius {
                below = multiplier;
            } else {
                above = multiplier;
            }
        }
        let (u, v) = (p / (high + above), q / (low + above));
        x = cos * u - sin * v;
        y = sin * u + cos * v;
    }
    step[d] = x - point[d];
    step[o] = y - point[o];
}
