//! A Gaussian's share of a step's change against its prediction.

use cubecl::prelude::*;

use super::{
    Terms,
    point::{Layout, load},
    system::{block, predicted},
};
use crate::{moments::total, real::Real};

/// Sums at the trial, and the Gaussian's share of the change against its prediction.
#[cube(launch)]
pub(super) fn weigh_step<F: Real>(
    partial: &Array<F>,
    slot_starts: &Array<u32>,
    state: &Array<F>,
    fresh: &mut Array<F>,
    verdicts: &mut Array<F>,
    rises: &mut Array<F>,
    kept_penalties: &Array<F>,
    terms: &Terms<F>,
    step: u32,
    #[comptime] layout: Layout,
) {
    let n = ABSOLUTE_POS;
    if n < rises.len() {
        let size = comptime!(layout.point());
        let at = n * comptime!(layout.size());
        let sum = total(partial, slot_starts, n as u32, layout.sums);
        #[unroll]
        for k in 0..comptime!(layout.kinds()) {
            fresh[n * comptime!(layout.kinds()) + k] = sum[k];
        }
        rises[n] = F::new(0.0);
        if step > 0 {
            let kept = load::<F>(state, at, size);
            let trial = load::<F>(state, at + 3 * size, size);
            let saved = load::<F>(state, at + comptime!(layout.saved()), comptime!(layout.kinds()));
            let start = state[at + comptime!(layout.controls() + 3)];
            let unit = terms.prior * terms.residual_norm * kept_penalties[step as usize - 1];
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
            verdicts[3 * n] = change;
            verdicts[3 * n + 1] = ratio;
            verdicts[3 * n + 2] = uphill;
            if change > F::new(0.0) {
                rises[n] = F::new(1.0);
            }
        }
    }
}
