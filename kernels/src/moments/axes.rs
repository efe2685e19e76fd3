//! From the whitened displacement to the one along a Gaussian's own axes.

use cubecl::prelude::*;

use super::{Sums, no_sums};
use crate::{gaussian::Point, real::Real};

/// The sums with displacements along the Gaussian's own axes, which [`crate::gaussian::own_axes`] says.
#[cube]
pub(crate) fn along<F: Real>(sum: &Array<F>, axes: &Point<F>, #[comptime] sums: Sums) -> Array<F> {
    let mut out = no_sums::<F>(comptime!(sums.count()));
    #[unroll]
    for k in 0..comptime!(sums.count() as usize) {
        out[k] = sum[k];
    }
    turn::<F>(&mut out, axes, comptime!(sums.shape_at() as usize), 2usize);
    if comptime!(sums.means) {
        turn::<F>(&mut out, axes, comptime!(sums.mean_at() as usize), 1usize);
    }
    if comptime!(sums.curvature) {
        let at = comptime!(sums.curvature_at() as usize);
        turn::<F>(&mut out, axes, comptime!(at + 1), 2usize);
        turn::<F>(&mut out, axes, comptime!(at + 4), 4usize);
        if comptime!(sums.means) {
            turn::<F>(&mut out, axes, comptime!(at + 9), 1usize);
            turn::<F>(&mut out, axes, comptime!(at + 11), 3usize);
        }
    }
    out
}

/// Turns moments `v0^(degree - j) v1^j`, `j = 0 ..= degree`, from `at` on: every factor of a new one is `c v0 + s v1` or
/// `c v1 - s v0`, and takes one degree away.
#[cube]
pub(crate) fn turn<F: Real>(moments: &mut Array<F>, axes: &Point<F>, #[comptime] at: usize, #[comptime] degree: usize) {
    let (c, s) = (axes.x, axes.y);
    let mut turned = Array::<F>::new(comptime!(degree + 1));
    #[unroll]
    for j in 0..comptime!(degree + 1) {
        let mut left = Array::<F>::new(comptime!(degree + 1));
        #[unroll]
        for i in 0..comptime!(degree + 1) {
            left[i] = moments[at + i];
        }
        #[unroll]
        for factor in 0..degree {
            #[unroll]
            for i in 0..comptime!(degree - factor) {
                left[i] = match comptime!(factor < j) {
                    true => c * left[i + 1] - s * left[i],
                    false => c * left[i] + s * left[i + 1],
                };
            }
        }
        turned[j] = left[0];
    }
    #[unroll]
    for j in 0..comptime!(degree + 1) {
        moments[at + j] = turned[j];
    }
}
