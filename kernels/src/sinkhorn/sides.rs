//! What an update of potentials is made of: epsilons, how a side's potential and charge follow, costs, sums of exponentials.

use cubecl::prelude::*;

use super::{Ground, NOTHING};
use crate::{
    gaussian::Point,
    real::{Quad, Real},
};

/// Units of a cube where several share a row.
pub(super) const CUBE: u32 = 128;

/// Where the rounds are in the table of the problem.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Round<F: Real> {
    pub table: Array<F>,
    /// `[images]` of (1 while running, rounds made, error, residual).
    pub status: Array<Quad<F>>,
    pub stage: u32,
    /// Stage of the next round.
    pub next: u32,
    /// First row behind the stages.
    pub constants: u32,
}

/// Rows behind the stages.
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

    pub fn runs(&self, image: u32) -> bool {
        self.status[image as usize][0] > F::new(0.5)
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
    let factor = (-above.abs()).exp();
    let rises = above > F::new(0.0);
    LogSum::<F> {
        largest: max(exponent, so_far.largest),
        sum: select(rises, so_far.sum * factor + times, so_far.sum + times * factor),
    }
}

/// Joins the lanes of a row; lane 0 has the result. Every unit of the cube must come here.
#[cube]
pub(super) fn join_lanes<F: Real>(own: LogSum<F>, #[comptime] lanes: u32) -> F {
    let mut largest = own.largest;
    let mut sum = own.sum;
    if comptime!(lanes > 1) {
        let mut all_largest = SharedMemory::<F>::new(comptime!(CUBE as usize));
        let mut all_sums = SharedMemory::<F>::new(comptime!(CUBE as usize));
        let (unit, lane) = (UNIT_POS as usize, UNIT_POS % lanes);
        all_largest[unit] = largest;
        all_sums[unit] = sum;
        let mut half = comptime!(lanes / 2).runtime();
        while half > 0u32 {
            sync_cube();
            if lane < half {
                let other = unit + half as usize;
                let so_far = LogSum::<F> { largest, sum };
                let joined = extend::<F>(so_far, all_largest[other], all_sums[other]);
                largest = joined.largest;
                sum = joined.sum;
                all_largest[unit] = largest;
                all_sums[unit] = sum;
            }
            half /= 2u32;
        }
    }
    largest + sum.ln()
}

/// The sum over the lanes of a row, for all of them. Every unit of the cube must come here.
#[cube]
pub(super) fn sum_lanes<F: Real>(own: F, #[comptime] lanes: u32) -> F {
    let mut sum = own;
    if comptime!(lanes > 1) {
        let mut all = SharedMemory::<F>::new(comptime!(CUBE as usize));
        let (unit, lane) = (UNIT_POS as usize, UNIT_POS % lanes);
        all[unit] = sum;
        let mut half = comptime!(lanes / 2).runtime();
        while half > 0u32 {
            sync_cube();
            if lane < half {
                sum += all[unit + half as usize];
                all[unit] = sum;
            }
            half /= 2u32;
        }
        sync_cube();
        sum = all[unit - lane as usize];
    }
    sum
}
