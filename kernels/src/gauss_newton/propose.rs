//! The next trial: the system's solution, momentum, and limits.

use cubecl::prelude::*;

use super::{
    Terms,
    point::{Layout, load, prior_of, project, write_row},
    solve::solve,
    system::{Block, block},
};
use crate::real::Real;

#[cube(launch)]
pub(super) fn propose<F: Real>(
    parameters: &mut Array<F>,
    state: &mut Array<F>,
    priors: &mut Array<F>,
    kept: &Array<F>,
    repairs: &mut Array<u32>,
    terms: &Terms<F>,
    step: u32,
    #[comptime] layout: Layout,
) {
    let n = ABSOLUTE_POS;
    if n < priors.len() {
        let at = n * comptime!(layout.size());
        let mut point = load::<F>(state, at, comptime!(layout.point()));
        let start = state[at + comptime!(layout.controls() + 3)];
        let unit = terms.prior * terms.residual_norm * kept[step as usize];
        let saved = load::<F>(state, at + comptime!(layout.saved()), comptime!(layout.kinds()));
        let system = block::<F>(&saved, &point, start, unit, terms, layout);
        if !next_trial::<F>(&mut point, state, at, &system, n as u32, unit, terms, layout) {
            repairs[n] += 1u32;
        }
        priors[n] = prior_of::<F>(&point, start, terms, layout);
        write_row::<F>(parameters, &point, n, layout);
    }
}

/// Solves the Gaussian's system and writes the next target and trial; `point` becomes the trial. False when the solution is
/// not finite: the Gaussian then stays.
#[cube]
fn next_trial<F: Real>(
    point: &mut Array<F>,
    state: &mut Array<F>,
    at: usize,
    system: &Block<F>,
    n: u32,
    unit: F,
    terms: &Terms<F>,
    #[comptime] layout: Layout,
) -> bool {
    let size = comptime!(layout.point());
    let t = comptime!(layout.t());
    let controls = at + comptime!(layout.controls());
    let (limit, count) = (state[controls + 1], state[controls + 2]);
    let solution = solve::<F>(system, point, state[controls], n >= terms.free_from, unit, terms, layout);
    let mut good = true;
    let mut target = Array::<F>::new(size);
    #[unroll]
    for k in 0..size {
        good = good && solution[k] - solution[k] == F::new(0.0);
        target[k] = point[k] + solution[k];
    }
    if good {
        project::<F>(&mut target, n, terms, layout);
        let factor = count / (count + F::new(3.0));
        let mut trial = Array::<F>::new(size);
        #[unroll]
        for k in 0..size {
            trial[k] = target[k] + factor * (target[k] - state[at + size + k]);
        }
        if comptime!(layout.sums.means) {
            shorten::<F>(&mut trial, point, 0usize, F::new(2.0) * limit * point[t].exp());
        }
        trial[t] = clamp(trial[t], point[t] - limit, point[t] + limit);
        shorten::<F>(&mut trial, point, comptime!(layout.t() + 1), limit);
        project::<F>(&mut trial, n, terms, layout);
        #[unroll]
        for k in 0..size {
            point[k] = trial[k];
        }
    } else {
        #[unroll]
        for k in 0..size {
            target[k] = point[k];
        }
    }
    #[unroll]
    for k in 0..size {
        state[at + 2 * size + k] = target[k];
        state[at + 3 * size + k] = point[k];
    }
    good
}

/// Limits the length of the move of two coordinates.
#[cube]
fn shorten<F: Real>(trial: &mut Array<F>, from: &Array<F>, #[comptime] at: usize, limit: F) {
    let (dx, dy) = (trial[at] - from[at], trial[at + 1] - from[at + 1]);
    let length = (dx * dx + dy * dy).sqrt();
    if length > limit {
        trial[at] = from[at] + dx * limit / length;
        trial[at + 1] = from[at + 1] + dy * limit / length;
    }
}
