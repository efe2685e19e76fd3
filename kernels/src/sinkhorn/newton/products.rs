//! The Hessian times a direction: a pass over the cells, then one over the points.

use cubecl::prelude::*;

use crate::{
    grid::{Count, Counts},
    real::{Quad, Real},
    sinkhorn::{
        Ground,
        sides::{Round, sum_lanes},
        spread::{Spread, reach_of, spots_of},
    },
};

/// Conjugate gradients end where the preconditioned residual has fallen by this, squared.
pub(super) const ENOUGH: f32 = 0.01;

/// Whether an image's residual has not fallen far enough yet.
#[cube]
pub(super) fn goes_on<F: Real>(squares: Quad<F>) -> bool {
    squares[0] > F::new(ENOUGH) * squares[1]
}

/// What of a mass of 1 at most goes to a point: never more than 1, whatever an extreme epsilon makes of rounding.
#[cube]
fn portion<F: Real>(exponent: F) -> F {
    min(exponent, F::new(0.0)).exp()
}

/// The mean of the direction over the points that a cell's mass goes to; `weighted`, times the cell's fourth number.
#[cube(launch)]
pub(super) fn average<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    cells: &Array<Quad<F>>,
    points: &Array<Quad<F>>,
    vectors: &Array<Quad<F>>,
    squares: &Array<Quad<F>>,
    means: &mut Array<F>,
    #[comptime] ground: Ground,
    #[comptime] spread: Spread,
    #[comptime] weighted: bool,
) {
    let (all, images) = (counts.total(Count::Cells), counts.images());
    let reach = reach_of::<F>(counts, round, spread);
    let goes = goes_on::<F>(squares[reach.image as usize]);
    let spots = spots_of::<F>(cells, &reach, round, images, spread);
    let epsilon = round.epsilon(reach.image, images);
    let count = comptime!(spread.rows as usize);
    let mut own = Array::<F>::new(count);
    let mut sums = Array::<F>::new(count);
    #[unroll]
    for k in 0..count {
        let i = u32::min(reach.first + k as u32, all - 1u32);
        own[k] = cells[(all + i) as usize][0] / epsilon;
        sums[k] = F::new(0.0);
    }
    let mut n = reach.columns + reach.unit;
    let end = select(goes, reach.columns_end, 0u32);
    while n < end {
        let (near, along) = (points[n as usize], vectors[n as usize][2]);
        #[unroll]
        for k in 0..count {
            sums[k] += portion::<F>(spots.exponent(k, near, ground) + own[k]) * along;
        }
        n += spread.units;
    }
    #[unroll]
    for k in 0..count {
        let mean = sum_lanes::<F>(sums[k], spread.units);
        let i = reach.first + k as u32;
        if i < reach.end {
            if goes && reach.unit == 0u32 {
                means[i as usize] = if comptime!(weighted) { cells[i as usize][3] * mean } else { mean };
            }
        }
    }
}

/// `m_n p_n - sum_i P_in u_i`, with the cells' means `u`.
#[cube(launch)]
pub(super) fn multiply<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    cells: &Array<Quad<F>>,
    points: &Array<Quad<F>>,
    means: &Array<F>,
    masses: &Array<F>,
    squares: &Array<Quad<F>>,
    vectors: &mut Array<Quad<F>>,
    #[comptime] ground: Ground,
    #[comptime] spread: Spread,
) {
    let (all, images) = (counts.total(Count::Gaussians), counts.images());
    let reach = reach_of::<F>(counts, round, spread);
    let goes = goes_on::<F>(squares[reach.image as usize]);
    let spots = spots_of::<F>(points, &reach, round, images, spread);
    let count = comptime!(spread.rows as usize);
    let mut own = Array::<F>::new(count);
    let mut sums = Array::<F>::new(count);
    #[unroll]
    for k in 0..count {
        let n = u32::min(reach.first + k as u32, all - 1u32);
        own[k] = points[n as usize][2];
        sums[k] = F::new(0.0);
    }
    let mut i = reach.columns + reach.unit;
    let end = select(goes, reach.columns_end, 0u32);
    while i < end {
        let (near, mean) = (cells[i as usize], means[i as usize]);
        #[unroll]
        for k in 0..count {
            sums[k] += portion::<F>(spots.exponent(k, near, ground) + own[k]) * mean;
        }
        i += spread.units;
    }
    #[unroll]
    for k in 0..count {
        let sum = sum_lanes::<F>(sums[k], spread.units);
        let n = reach.first + k as u32;
        if n < reach.end {
            if goes && reach.unit == 0u32 {
                let mut vector = vectors[n as usize];
                vector[3] = masses[n as usize] * vector[2] - sum;
                vectors[n as usize] = vector;
            }
        }
    }
}
