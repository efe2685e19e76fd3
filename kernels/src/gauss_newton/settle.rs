//! Whether a step is kept, and how bold the next one is.

use cubecl::prelude::*;

use super::point::Layout;
use crate::real::Real;

const LEAST_DAMPING: f32 = 0.0009765625;
const LARGEST_DAMPING: f32 = 10000.0;
const LARGEST_LIMIT: f32 = 0.5;

#[derive(CubeType, CubeLaunch)]
pub(super) struct Shares<F: Real> {
    pub fresh: Array<F>,
    pub verdicts: Array<F>,
    pub any_rise: Array<F>,
}

#[derive(CubeType, CubeLaunch)]
pub(super) struct Objectives<F: Real> {
    pub penalties: Array<F>,
    pub trial_priors: Array<F>,
    pub kept: Array<F>,
    pub kept_priors: Array<F>,
}

/// Keeps or drops the trial, and adapts damping, limit and momentum.
#[cube(launch)]
pub(super) fn settle<F: Real>(
    state: &mut Array<F>,
    shares: &Shares<F>,
    objectives: &mut Objectives<F>,
    residual_norm: F,
    gaussians: u32,
    step: u32,
    #[comptime] layout: Layout,
) {
    let n = ABSOLUTE_POS;
    if (n as u32) < gaussians {
        let at = n * comptime!(layout.size());
        let now = step as usize;
        let mut accepted = step == 0u32;
        if step > 0 {
            let before = objectives.kept[now - 1];
            let unit = residual_norm * before;
            let old = before + unit * objectives.kept_priors[now - 1];
            let new = objectives.penalties[now] + unit * objectives.trial_priors[now];
            // Sums in f32 of a million squares wobble in the last digits: what is level is kept.
            accepted = new < old * F::new(1.000001);
            adapt::<F>(state, shares, n, accepted, step, layout);
        }
        if accepted {
            #[unroll]
            for k in 0..comptime!(layout.kinds()) {
                state[at + comptime!(layout.saved()) + k] = shares.fresh[n * comptime!(layout.kinds()) + k];
            }
        }
        if n == 0 {
            // Units read the elements before this one: none reads what is written here.
            if accepted {
                objectives.kept[now] = objectives.penalties[now];
                objectives.kept_priors[now] = objectives.trial_priors[now];
            } else {
                objectives.kept[now] = objectives.kept[now - 1];
                objectives.kept_priors[now] = objectives.kept_priors[now - 1];
            }
        }
    }
}

#[cube]
fn adapt<F: Real>(
    state: &mut Array<F>,
    shares: &Shares<F>,
    n: usize,
    accepted: bool,
    step: u32,
    #[comptime] layout: Layout,
) {
    let size = comptime!(layout.point());
    let at = n * comptime!(layout.size());
    let controls = at + comptime!(layout.controls());
    let (change, ratio, uphill) = (shares.verdicts[3 * n], shares.verdicts[3 * n + 1], shares.verdicts[3 * n + 2]);
    let mut damping = state[controls];
    let mut limit = state[controls + 1];
    let mut momentum = state[controls + 2];
    let (zero, four) = (F::new(0.0), F::new(4.0));
    if !accepted && momentum > zero && change > zero {
        // Momentum pays first.
        momentum = zero;
    } else if ratio >= F::new(0.25) {
        if ratio > F::new(0.75) && accepted {
            damping = max(damping / four, F::new(LEAST_DAMPING));
        }
    } else {
        damping = min(damping * four, F::new(LARGEST_DAMPING));
    }
    if accepted {
        if ratio > F::new(0.5) {
            limit = min(limit * F::new(2.0), F::new(LARGEST_LIMIT));
        }
        // A step that ends uphill went too far along its momentum.
        momentum = select(uphill > zero, zero, momentum + F::new(1.0));
        #[unroll]
        for k in 0..size {
            state[at + size + k] = state[at + 2 * size + k];
            state[at + k] = state[at + 3 * size + k];
        }
    } else if shares.any_rise[step as usize] < F::new(0.5) {
        // Nobody's own share rose, yet all together did: everybody is too bold.
        damping = min(damping * four, F::new(LARGEST_DAMPING));
        momentum = zero;
    }
    state[controls] = damping;
    state[controls + 1] = limit;
    state[controls + 2] = momentum;
}
