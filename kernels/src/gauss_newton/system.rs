//! One Gaussian's normal system, assembled from its moments.

use cubecl::prelude::*;

use super::{
    Terms,
    point::{Layout, shape_of},
};
use crate::{
    gaussian::{Point, own_axes},
    moments::along,
    real::Real,
};

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
    let sum = along::<F>(sum, &own_axes::<F>(Point::<F> { x: s0, y: s1 }, shape.theta), layout.sums);

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
    #[unroll(!layout.sums.means)]
    for i in 0..size {
        let mut by = F::new(0.0);
        let mut with = F::new(0.0);
        #[unroll(!layout.sums.means)]
        for k in 0..size {
            by += turn[k * size + i] * pull[k];
            with += turn[k * size + i] * bond[k];
        }
        gradient[i] = by;
        coupling[i] = with;
        #[unroll(!layout.sums.means)]
        for j in 0..size {
            let mut entry = F::new(0.0);
            #[unroll(!layout.sums.means)]
            for k in 0..size {
                let mut inner = F::new(0.0);
                #[unroll(!layout.sums.means)]
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
pub(super) fn diagonal<F: Real>(
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
pub(super) fn squared_colors<F: Real>(point: &Array<F>, #[comptime] layout: Layout) -> F {
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
    #[unroll(!layout.sums.means)]
    for i in 0..size {
        linear += system.gradient[i] * moved[i];
        coupled += system.coupling[i] * moved[i];
        quadratic += added[i] * moved[i] * moved[i];
        #[unroll(!layout.sums.means)]
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
