//! Whether a step is kept, how bold the next one is, and where it goes.

use cubecl::prelude::*;

use super::{
    BLOCK, Terms,
    point::{Layout, load, prior_of, write_row},
    system::block,
    trial::next_trial,
};
use crate::{
    arithmetic::sum_range,
    clock::{still_running, stop_at},
    gaussian::{Point, write_frame},
    grid::{Count, Plots},
    listed::Ellipses,
    penalty::image_sum,
    real::{Quad, Real},
};

const LEAST_DAMPING: f32 = 0.0009765625;
const LARGEST_DAMPING: f32 = 10000.0;
const LARGEST_LIMIT: f32 = 0.5;

#[derive(CubeType, CubeLaunch)]
pub(super) struct Verdicts<F: Real> {
    pub fresh: Array<F>,
    pub rises: Array<Atomic<u32>>,
    pub bundles: Array<F>,
    pub blocks: Array<F>,
    pub kept: Array<F>,
    pub kept_priors: Array<F>,
}

#[derive(CubeType, CubeLaunch)]
pub(super) struct Output<F: Real> {
    parameters: Array<F>,
    frames: Array<Quad<F>>,
    priors: Array<F>,
    repairs: Array<u32>,
}

/// Keeps or drops the trial, adapts damping, limit and momentum, and writes the next trial.
#[cube(launch)]
pub(super) fn settle_and_propose<F: Real>(
    state: &mut Array<F>,
    verdicts: &mut Verdicts<F>,
    output: &mut Output<F>,
    listed: &Ellipses<F>,
    table: &Array<F>,
    plots: &Plots<F>,
    clock: &mut Array<Atomic<u32>>,
    step: u32,
    #[comptime] layout: Layout,
) {
    let n = ABSOLUTE_POS as u32;
    if n < plots.total(Count::Gaussians) {
        let image = plots.holding(n, Count::Gaussians);
        if still_running(clock, image, step) {
            let terms = Terms::<F>::load(table, image);
            let kept = settle::<F>(state, verdicts, plots, n, image, &terms, step, layout);
            propose::<F>(state, output, n, kept, &terms, layout);
            let row = n as usize * comptime!(layout.row());
            let scales = Point::<F> { x: output.parameters[row + 2], y: output.parameters[row + 3] };
            // Drawing needs no logits.
            let logit = Point::<F> { x: F::new(0.0), y: F::new(0.0) };
            write_frame::<F>(&mut output.frames, n, &output.parameters, row, scales, logit, layout.sums.channels);
            if !listed.hold(n, &output.parameters, row) {
                stop_at(clock, step + 1u32);
            }
        }
    }
}

/// Keeps or drops the trial; gives the penalty of what is kept.
#[cube]
fn settle<F: Real>(
    state: &mut Array<F>,
    verdicts: &mut Verdicts<F>,
    plots: &Plots<F>,
    n: u32,
    image: u32,
    terms: &Terms<F>,
    step: u32,
    #[comptime] layout: Layout,
) -> F {
    let at = n as usize * comptime!(layout.size());
    let images = plots.images();
    let now = (step * images + image) as usize;
    let mut penalty = image_sum::<F>(&verdicts.bundles, plots, image, 0u32);
    let mut priors = F::new(0.0);
    if terms.size_prior + terms.aspect_prior > F::new(0.0) {
        let first = plots.counts.groups_before(image, Count::Gaussians, BLOCK);
        let end = plots.counts.groups_before(image + 1u32, Count::Gaussians, BLOCK);
        priors = sum_range(&verdicts.blocks, first, end);
    }
    let mut accepted = step == 0u32;
    if step > 0 {
        let last = now - images as usize;
        let before = verdicts.kept[last];
        let unit = terms.residual_norm * before;
        let old = before + unit * verdicts.kept_priors[last];
        let new = penalty + unit * priors;
        // Sums in f32 of a million squares wobble in the last digits: what is level is kept.
        accepted = new < old * F::new(1.000001);
        adapt::<F>(state, verdicts, n, now, accepted, layout);
        if !accepted {
            penalty = before;
            priors = verdicts.kept_priors[last];
        }
    }
    if accepted {
        #[unroll]
        for k in 0..comptime!(layout.kinds()) {
            state[at + comptime!(layout.saved()) + k] = verdicts.fresh[n as usize * comptime!(layout.fresh()) + k];
        }
    }
    if n == plots.before(image, Count::Gaussians) {
        // Units read the rows before this one: none reads what is written here.
        verdicts.kept[now] = penalty;
        verdicts.kept_priors[now] = priors;
    }
    penalty
}

#[cube]
fn adapt<F: Real>(
    state: &mut Array<F>,
    verdicts: &Verdicts<F>,
    n: u32,
    now: usize,
    accepted: bool,
    #[comptime] layout: Layout,
) {
    let size = comptime!(layout.point());
    let at = n as usize * comptime!(layout.size());
    let controls = at + comptime!(layout.controls());
    let verdict = n as usize * comptime!(layout.fresh()) + comptime!(layout.kinds());
    let (change, ratio, uphill) = (verdicts.fresh[verdict], verdicts.fresh[verdict + 1], verdicts.fresh[verdict + 2]);
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
    } else if verdicts.rises[now].load() == 0u32 {
        // Nobody's own share rose, yet all together did: everybody is too bold.
        damping = min(damping * four, F::new(LARGEST_DAMPING));
        momentum = zero;
    }
    state[controls] = damping;
    state[controls + 1] = limit;
    state[controls + 2] = momentum;
}

/// Writes the next trial, from the system at the kept point of penalty `kept`.
#[cube]
fn propose<F: Real>(
    state: &mut Array<F>,
    output: &mut Output<F>,
    n: u32,
    kept: F,
    terms: &Terms<F>,
    #[comptime] layout: Layout,
) {
    let at = n as usize * comptime!(layout.size());
    let mut point = load::<F>(state, at, comptime!(layout.point()));
    let start = state[at + comptime!(layout.controls() + 3)];
    let unit = terms.prior * terms.residual_norm * kept;
    let saved = load::<F>(state, at + comptime!(layout.saved()), comptime!(layout.kinds()));
    let system = block::<F>(&saved, &point, start, unit, terms, layout);
    if !next_trial::<F>(&mut point, state, at, &system, unit, terms, layout) {
        output.repairs[n as usize] += 1u32;
    }
    output.priors[n as usize] = prior_of::<F>(&point, start, terms, layout);
    write_row::<F>(&mut output.parameters, &point, n as usize, layout);
}
