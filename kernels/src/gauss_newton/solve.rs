//! The system solved exactly with its bounds.

use cubecl::prelude::*;

use super::{
    Terms,
    point::Layout,
    system::{Block, diagonal, squared_colors},
};
use crate::real::Real;

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
    #[unroll(!layout.sums.means)]
    for i in 0..size {
        right[i] = system.coupling[i] * along - system.gradient[i];
        #[unroll(!layout.sums.means)]
        for j in 0..size {
            let coupled = system.coupling[i] * system.coupling[j];
            matrix[i * size + j] = squares * system.gram[i * size + j] - free_squares / weight * coupled;
        }
        matrix[i * size + i] += damping * squares * system.gram[i * size + i] + added[i];
    }
    #[unroll(!layout.sums.means)]
    for i in 0..comptime!(layout.t() + 1) {
        if held[i] != zero {
            right[i] = zero;
            #[unroll(!layout.sums.means)]
            for j in 0..size {
                matrix[i * size + j] = zero;
                matrix[j * size + i] = zero;
            }
            matrix[i * size + i] = F::new(1.0);
        }
    }
    // Everything but (d, o) is eliminated, (d, o) is solved in its disc, the rest follows. (Loops over free means are not
    // unrolled, here and in the assembly: drivers take minutes to compile what comes of it.)
    for k in 0..comptime!(layout.t() + 1) {
        for i in k + 1..size {
            let factor = matrix[i * size + k] / matrix[k * size + k];
            let taken = factor * right[k];
            right[i] -= taken;
            for j in k..size {
                let entry = factor * matrix[k * size + j];
                matrix[i * size + j] -= entry;
            }
        }
    }
    disc_step::<F>(step, &matrix, &right, point, terms.disc, layout);
    for back in 0..comptime!(layout.t() + 1) {
        let k = comptime!(layout.t()) - back;
        let mut rest = right[k];
        for j in k + 1..size {
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
