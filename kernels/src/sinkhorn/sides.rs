//! What an update of potentials is made of: epsilons, how a side's potential and charge follow, costs, sums of exponentials.

use cubecl::prelude::*;

use super::{Ground, NOTHING};
use crate::{
    gaussian::Point,
    grid::{Count, Counts},
    real::{Quad, Real, fast_exp, quad},
    totals::add_totals,
};

/// Units of a cube where several share a row.
pub(super) const CUBE: u32 = 128;

/// Where the rounds are in the table of the problem.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Round<F: Real> {
    /// `[rows, images]`: the rows of the status, the epsilons of every stage, the constants.
    pub table: Array<F>,
    /// Row of the round's epsilon.
    pub stage: u32,
    /// That of the next round.
    pub next: u32,
    /// First row behind the epsilons.
    pub constants: u32,
}

/// The first rows, of every image: 1 while it runs, rounds made, error, residual.
pub(super) const RUNS: u32 = 0;
pub(super) const MADE: u32 = 1;
pub(super) const ERROR: u32 = 2;
pub(super) const RESIDUAL: u32 = 3;
/// Rows before the epsilons.
pub(super) const STATUS: u32 = 4;

/// Rows behind the epsilons.
pub(super) const SCALE: u32 = 0;
pub(super) const LOG_MEASURE: u32 = 1;
pub(super) const RATIO: u32 = 2;
pub(super) const STAGES: u32 = 3;
pub(super) const BASE: u32 = 4;
pub(super) const SLOPE: u32 = 5;
pub(super) const BOUND: u32 = 6;

#[cube]
impl<F: Real> Round<F> {
    pub fn epsilon(&self, image: u32, images: u32) -> F {
        self.table[(self.stage * images + image) as usize]
    }

    pub fn next_epsilon(&self, image: u32, images: u32) -> F {
        self.table[(self.next * images + image) as usize]
    }

    pub fn constant(&self, image: u32, images: u32, #[comptime] row: u32) -> F {
        self.table[((self.constants + row) * images + image) as usize]
    }

    pub fn ruler(&self, image: u32, images: u32) -> Ruler<F> {
        Ruler::<F> { base: self.constant(image, images, BASE), slope: self.constant(image, images, SLOPE) }
    }

    pub fn note(&mut self, image: u32, images: u32, #[comptime] row: u32, value: F) {
        self.table[(row * images + image) as usize] = value;
    }

    pub fn runs(&self, image: u32, images: u32) -> bool {
        self.table[(RUNS * images + image) as usize] > F::new(0.5)
    }
}

/// How one side's potentials and charges follow.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Side<F: Real> {
    pub damping: F,
    pub less: F,
    /// 1: the side's mass is part of its charge; 0: it is the offset.
    pub share: F,
    /// Logarithm of what is added to every sum of exponentials.
    pub floor: F,
}

#[cube]
impl<F: Real> Side<F> {
    /// The potential, given the logarithm of the sum of exponentials.
    pub fn potential(&self, log_sum: F, log_mass: F, epsilon: F) -> F {
        let largest = max(log_sum, self.floor);
        let total = largest + (F::new(1.0) + (-(log_sum - self.floor).abs()).exp()).ln();
        let offset = (F::new(1.0) - self.share) * log_mass;
        let best = epsilon * ((offset - total) / (F::new(1.0) + epsilon * self.damping));
        // Against nothing every potential is as good.
        select(total > F::new(NOTHING) / F::new(8.0), best, F::new(0.0))
    }

    pub fn charge(&self, potential: F, log_mass: F, epsilon: F) -> F {
        self.share * log_mass + (F::new(1.0) / epsilon - self.less) * potential
    }
}

/// The distance at which an exponential cost is `e - 1`: `base + slope (y_a + y_b)`, px.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Ruler<F: Real> {
    pub base: F,
    pub slope: F,
}

/// Exponents of costs: with them costs over the least epsilon stay in `f32`.
const LARGEST: f32 = 40.0;
/// Least length of a ruler, px.
const SHORTEST: f32 = 1e-6;

/// Times the image's scale it is the cost.
#[cube]
pub(super) fn cost<F: Real>(a: &Point<F>, x: F, y: F, ruler: &Ruler<F>, #[comptime] ground: Ground) -> F {
    let (dx, dy) = (a.x - x, a.y - y);
    let squared = dx * dx + dy * dy;
    match comptime!(ground) {
        Ground::Squared => squared,
        Ground::Distance => squared.sqrt(),
        Ground::Exponential => {
            let length = max(ruler.base + ruler.slope * (a.y + y), F::new(SHORTEST));
            min(squared.sqrt() / length, F::new(LARGEST)).exp() - F::new(1.0)
        }
    }
}

/// `largest` and `sum`, of `sum_c exp(e_c) = exp(largest) sum`, as far as it is known.
#[derive(CubeType, Clone, Copy)]
pub(super) struct LogSum<F: Real> {
    pub largest: F,
    pub sum: F,
}

/// Adds `exp(exponent) times`. One exponential, whichever is larger.
#[cube]
pub(super) fn extend<F: Real>(so_far: LogSum<F>, exponent: F, times: F) -> LogSum<F> {
    let above = exponent - so_far.largest;
    let factor = fast_exp::<F>(-above.abs());
    let rises = above > F::new(0.0);
    LogSum::<F> {
        largest: max(exponent, so_far.largest),
        sum: select(rises, so_far.sum * factor + times, so_far.sum + times * factor),
    }
}

/// The logarithm of the sum of a row's units; unit 0 of them has it. Every unit of the cube must come here.
#[cube]
pub(super) fn join<F: Real>(own: LogSum<F>, #[comptime] units: u32) -> F {
    let mut largest = own.largest;
    let mut sum = own.sum;
    if comptime!(units > 1) {
        let mut all_largest = SharedMemory::<F>::new(comptime!(CUBE as usize));
        let mut all_sums = SharedMemory::<F>::new(comptime!(CUBE as usize));
        let (at, unit) = (UNIT_POS as usize, UNIT_POS % units);
        all_largest[at] = largest;
        all_sums[at] = sum;
        let mut half = comptime!(units / 2).runtime();
        while half > 0u32 {
            sync_cube();
            if unit < half {
                let other = at + half as usize;
                let so_far = LogSum::<F> { largest, sum };
                let joined = extend::<F>(so_far, all_largest[other], all_sums[other]);
                largest = joined.largest;
                sum = joined.sum;
                all_largest[at] = largest;
                all_sums[at] = sum;
            }
            half /= 2u32;
        }
    }
    largest + sum.ln()
}

/// The three sums and the largest of the lanes of a row, for all of them. Every unit of the cube must come here.
#[cube]
pub(super) fn total_lanes<F: Real>(own: Quad<F>, #[comptime] lanes: u32) -> Quad<F> {
    let mut total = own;
    if comptime!(lanes > 1) {
        let mut all = SharedMemory::<Quad<F>>::new(comptime!(CUBE as usize));
        let (unit, lane) = (UNIT_POS as usize, UNIT_POS % lanes);
        all[unit] = total;
        let mut half = comptime!(lanes / 2).runtime();
        while half > 0u32 {
            sync_cube();
            if lane < half {
                total = add_totals::<F>(total, all[unit + half as usize]);
                all[unit] = total;
            }
            half /= 2u32;
        }
        sync_cube();
        total = all[unit - lane as usize];
    }
    total
}

/// The sum over the lanes of a row, for all of them. Every unit of the cube must come here.
#[cube]
pub(super) fn sum_lanes<F: Real>(own: F, #[comptime] lanes: u32) -> F {
    let zero = F::new(0.0);
    total_lanes::<F>(quad::<F>(own, zero, zero, zero), lanes)[0]
}

/// The points of a cube's image that one of its lanes looks at: every `lanes`-th from `first` on; none of an image that has stopped.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Share {
    pub image: u32,
    pub runs: bool,
    pub lane: u32,
    pub first: u32,
    pub end: u32,
}

/// The share of a unit where every image has a cube of `lanes` units.
#[cube]
pub(super) fn share_of<F: Real>(counts: &Counts, round: &Round<F>, #[comptime] lanes: u32) -> Share {
    let images = counts.images();
    let image = u32::min(ABSOLUTE_POS as u32 / lanes, images - 1u32);
    let lane = ABSOLUTE_POS as u32 % lanes;
    let runs = ABSOLUTE_POS as u32 / lanes < images && round.runs(image, images);
    let first = counts.before(image, Count::Gaussians) + lane;
    let end = select(runs, counts.before(image + 1u32, Count::Gaussians), 0u32);
    Share { image, runs, lane, first, end }
}
