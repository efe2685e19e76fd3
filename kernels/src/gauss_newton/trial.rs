//! The next trial: the system's solution, momentum, and limits.

use cubecl::prelude::*;

use super::{
    Terms,
    point::{Layout, project},
    solve::solve,
    system::Block,
};
use crate::real::{Real, is_finite};

/// Solves the Gaussian's system and writes the next target and trial; `point` becomes the trial. False when the solution is
/// not finite: the Gaussian then stays.
#[cube]
pub(super) fn next_trial<F: Real>(
    point: &mut Array<F>,
    state: &mut Array<F>,
    at: usize,
    system: &Block<F>,
    unit: F,
    terms: &Terms<F>,
    #[comptime] layout: Layout,
) -> bool {
    let size = comptime!(layout.point());
    let t = comptime!(layout.t());
    let controls = at + comptime!(layout.controls());
    let (limit, count) = (state[controls + 1], state[controls + 2]);
    let free = state[controls + 4] > F::new(0.5);
    let solution = solve::<F>(system, point, state[controls], free, unit, terms, layout);
    let mut good = true;
    let mut target = Array::<F>::new(size);
    #[unroll]
    for k in 0..size {
        good = good && is_finite::<F>(solution[k]);
        target[k] = point[k] + solution[k];
    }
    if good {
        project::<F>(&mut target, free, terms, layout);
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
        project::<F>(&mut trial, free, terms, layout);
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
