//! A Gaussian's share of a step's change against its prediction; and the sums that the decision about the step needs.

use cubecl::prelude::*;

use super::{
    BLOCK, Terms,
    point::{Layout, load},
    settle::Verdicts,
    system::{block, predicted},
};
use crate::{
    arithmetic::sum_range,
    clock::is_running,
    grid::{Count, Plots},
    moments::total,
    penalty::bundle_sum,
    real::{Quad, Real},
};

/// What a look found.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Looks<F: Real> {
    partial: Array<Quad<F>>,
    slot_starts: Array<u32>,
    strips: Array<Quad<F>>,
}

/// One unit per Gaussian, then one per bundle of tiles, then one per block of Gaussians, whose priors it adds.
#[cube(launch)]
pub(super) fn weigh_step<F: Real>(
    looks: &Looks<F>,
    state: &Array<F>,
    verdicts: &mut Verdicts<F>,
    priors: &Array<F>,
    table: &Array<F>,
    plots: &Plots<F>,
    clock: &Array<u32>,
    step: u32,
    #[comptime] layout: Layout,
) {
    let unit = ABSOLUTE_POS as u32;
    let gaussians = plots.total(Count::Gaussians);
    let bundles = plots.total(Count::Bundles);
    if unit < gaussians {
        let image = plots.holding(unit, Count::Gaussians);
        if is_running(clock, image, step) {
            let terms = Terms::<F>::load(table, image);
            weigh::<F>(looks, state, verdicts, unit, image, plots.images(), &terms, step, layout);
        }
    } else if unit < gaussians + bundles {
        let bundle = unit - gaussians;
        verdicts.bundles[bundle as usize] = bundle_sum::<F>(&looks.strips, plots, bundle);
    } else if unit - gaussians - bundles < plots.counts.groups_before(plots.images(), Count::Gaussians, BLOCK) {
        let block = unit - gaussians - bundles;
        let image = plots.counts.holding_group(block, Count::Gaussians, BLOCK);
        let local = block - plots.counts.groups_before(image, Count::Gaussians, BLOCK);
        let first = plots.before(image, Count::Gaussians) + local * BLOCK;
        let end = u32::min(first + BLOCK, plots.before(image + 1u32, Count::Gaussians));
        // The last block of an image may be empty.
        verdicts.blocks[block as usize] = sum_range(priors, first, end);
    }
}

/// Sums at the trial, and the Gaussian's share of the change against its prediction.
#[cube]
fn weigh<F: Real>(
    looks: &Looks<F>,
    state: &Array<F>,
    verdicts: &mut Verdicts<F>,
    n: u32,
    image: u32,
    images: u32,
    terms: &Terms<F>,
    step: u32,
    #[comptime] layout: Layout,
) {
    let size = comptime!(layout.point());
    let at = n as usize * comptime!(layout.size());
    let fresh = n as usize * comptime!(layout.fresh());
    let sum = total(&looks.partial, &looks.slot_starts, n, layout.sums);
    #[unroll]
    for k in 0..comptime!(layout.kinds()) {
        verdicts.fresh[fresh + k] = sum[k];
    }
    if step > 0 {
        let kept = load::<F>(state, at, size);
        let trial = load::<F>(state, at + 3 * size, size);
        let saved = load::<F>(state, at + comptime!(layout.saved()), comptime!(layout.kinds()));
        let start = state[at + comptime!(layout.controls() + 3)];
        let last = ((step - 1u32) * images + image) as usize;
        let unit = terms.prior * terms.residual_norm * verdicts.kept[last];
        let before = block::<F>(&saved, &kept, start, unit, terms, layout);
        let after = block::<F>(&sum, &trial, start, unit, terms, layout);
        let mut change = F::new(0.0);
        let mut uphill = F::new(0.0);
        let mut moved = Array::<F>::new(size);
        #[unroll]
        for k in 0..size {
            moved[k] = trial[k] - kept[k];
            change += (before.gradient[k] + after.gradient[k]) / F::new(2.0) * moved[k];
            uphill += after.gradient[k] * moved[k];
        }
        let wanted = predicted::<F>(&before, &kept, &moved, unit, terms, layout);
        let mut ratio = F::new(-1.0);
        if wanted < F::new(0.0) {
            ratio = change / wanted;
        } else if change < F::new(0.0) {
            ratio = F::new(1.0);
        }
        let to = fresh + comptime!(layout.kinds());
        verdicts.fresh[to] = change;
        verdicts.fresh[to + 1] = ratio;
        verdicts.fresh[to + 2] = uphill;
        if change > F::new(0.0) {
            verdicts.rises[(step * images + image) as usize].fetch_max(1u32);
        }
    }
}
