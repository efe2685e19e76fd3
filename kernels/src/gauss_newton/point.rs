//! A Gaussian's point: its coordinates, their bounds, and the parameters they stand for.

use cubecl::prelude::*;

use super::Terms;
use crate::{
    gaussian::COLOR_AT,
    grid::{Count, Plots},
    moments::Sums,
    real::Real,
};

/// Places in a Gaussian's state: four points (kept, previous and current target, trial), damping, step limit, momentum
/// count, initial `t`, whether the mean is free, and the sums at the kept point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    pub sums: Sums,
}

impl Layout {
    /// Where `t` stands in a point; the mean comes before it.
    pub fn t(self) -> usize {
        if self.sums.means { 2 } else { 0 }
    }
    /// Numbers of a point before its colors.
    pub fn shape(self) -> usize {
        self.t() + 3
    }
    /// Numbers of a point.
    pub fn point(self) -> usize {
        self.shape() + self.channels()
    }
    pub fn channels(self) -> usize {
        self.sums.channels as usize
    }
    pub fn kinds(self) -> usize {
        self.sums.count() as usize
    }
    /// Row of [`crate::Gaussians`].
    pub fn row(self) -> usize {
        COLOR_AT + self.channels()
    }
    pub fn controls(self) -> usize {
        4 * self.point()
    }
    pub fn saved(self) -> usize {
        self.controls() + 5
    }
    pub fn size(self) -> usize {
        self.saved() + self.kinds()
    }
    /// Numbers of a Gaussian's verdict.
    pub fn fresh(self) -> usize {
        self.kinds() + 3
    }
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

/// Damping at the start.
const FIRST_DAMPING: f32 = 0.125;
/// First limit of a step in log scale: small enough that a Gaussian finds the optimum on its side.
const FIRST_LIMIT: f32 = 0.125;

#[cube(launch)]
pub(super) fn begin<F: Real>(
    parameters: &mut Array<F>,
    state: &mut Array<F>,
    priors: &mut Array<F>,
    table: &Array<F>,
    plots: &Plots<F>,
    #[comptime] layout: Layout,
) {
    let n = ABSOLUTE_POS;
    if n < priors.len() {
        let image = plots.holding(n as u32, Count::Gaussians);
        let terms = Terms::<F>::load(table, image);
        let free = F::cast_from(n as u32 - plots.before(image, Count::Gaussians)) >= terms.free_from;
        let (row, at) = (n * comptime!(layout.row()), n * comptime!(layout.size()));
        let mut point = Array::<F>::new(comptime!(layout.point()));
        let t = comptime!(layout.t());
        let (l0, l1) = (parameters[row + 2].ln(), parameters[row + 3].ln());
        let half = (l0 - l1) / F::new(2.0);
        if comptime!(layout.sums.means) {
            point[0] = parameters[row];
            point[1] = parameters[row + 1];
        }
        point[t] = (l0 + l1) / F::new(2.0);
        point[t + 1] = half * (F::new(2.0) * parameters[row + 4]).cos();
        point[t + 2] = half * (F::new(2.0) * parameters[row + 4]).sin();
        #[unroll]
        for c in 0..comptime!(layout.channels()) {
            point[comptime!(layout.shape()) + c] = parameters[row + COLOR_AT + c];
        }
        let start = point[t];
        project::<F>(&mut point, free, &terms, layout);
        // The first sums are taken along the axes that the system assumes, at the projected point.
        write_row::<F>(parameters, &point, n, layout);
        #[unroll]
        for k in 0..comptime!(layout.point()) {
            #[unroll]
            for copy in 0..4usize {
                state[at + copy * comptime!(layout.point()) + k] = point[k];
            }
        }
        let controls = at + comptime!(layout.controls());
        state[controls] = F::new(FIRST_DAMPING);
        state[controls + 1] = F::new(FIRST_LIMIT);
        state[controls + 2] = F::new(0.0);
        state[controls + 3] = start;
        state[controls + 4] = F::cast_from(free);
        for k in 0..comptime!(layout.kinds()) {
            state[at + comptime!(layout.saved()) + k] = F::new(0.0);
        }
        priors[n] = prior_of::<F>(&point, start, &terms, layout);
    }
}

/// Colors into their box, `t` into its range, the free mean into the image, `(d, o)` into the disc where both scales stay in
/// range.
#[cube]
pub(super) fn project<F: Real>(point: &mut Array<F>, free: bool, terms: &Terms<F>, #[comptime] layout: Layout) {
    let t = comptime!(layout.t());
    if comptime!(layout.sums.means) {
        if free {
            point[0] = clamp(point[0], F::new(0.0), terms.width);
            point[1] = clamp(point[1], F::new(0.0), terms.height);
        }
    }
    point[t] = clamp(point[t], terms.least_t, terms.largest_t);
    let room = min(terms.disc, min(point[t] - terms.least_t, terms.largest_t - point[t]));
    let r = (point[t + 1] * point[t + 1] + point[t + 2] * point[t + 2]).sqrt();
    if r > room {
        let shrink = room / r;
        point[t + 1] *= shrink;
        point[t + 2] *= shrink;
    }
    #[unroll]
    for c in comptime!(layout.shape())..comptime!(layout.point()) {
        point[c] = clamp(point[c], terms.least_color, F::new(1.0));
    }
}

#[cube]
pub(super) fn prior_of<F: Real>(point: &Array<F>, start: F, terms: &Terms<F>, #[comptime] layout: Layout) -> F {
    let t = comptime!(layout.t());
    let size = point[t] - start;
    let r2 = point[t + 1] * point[t + 1] + point[t + 2] * point[t + 2];
    terms.size_prior * size * size + F::new(4.0) * terms.aspect_prior * r2
}

#[cube]
pub(super) fn load<F: Real>(array: &Array<F>, at: usize, #[comptime] length: usize) -> Array<F> {
    let mut values = Array::<F>::new(length);
    #[unroll]
    for k in 0..length {
        values[k] = array[at + k];
    }
    values
}

#[cube]
pub(super) fn write_row<F: Real>(parameters: &mut Array<F>, point: &Array<F>, n: usize, #[comptime] layout: Layout) {
    let row = n * comptime!(layout.row());
    let t = comptime!(layout.t());
    let shape = shape_of::<F>(point, layout);
    if comptime!(layout.sums.means) {
        parameters[row] = point[0];
        parameters[row + 1] = point[1];
    }
    parameters[row + 2] = (point[t] + shape.r).exp();
    parameters[row + 3] = (point[t] - shape.r).exp();
    parameters[row + 4] = shape.theta;
    #[unroll]
    for c in 0..comptime!(layout.channels()) {
        parameters[row + COLOR_AT + c] = point[comptime!(layout.shape()) + c];
    }
}

#[cube(launch)]
pub(super) fn write_kept<F: Real>(
    parameters: &mut Array<F>,
    state: &Array<F>,
    gaussians: u32,
    #[comptime] layout: Layout,
) {
    let n = ABSOLUTE_POS;
    if (n as u32) < gaussians {
        let point = load::<F>(state, n * comptime!(layout.size()), comptime!(layout.point()));
        write_row::<F>(parameters, &point, n, layout);
    }
}
