//! How little of a row its tolerance lets one keep.

use cubecl::prelude::*;

use crate::{
    gaussian::{Frame, Point},
    real::{Quad, Real},
};

/// Parts into which the range of the threshold is cut, twice: it ends within 1/1024 of the range, some hundredths of a nat.
const PARTS: u32 = 32;

/// The least logit to keep: about the largest for which what is left out weighs at most `droppable` of the row; of 0, lower than any.
/// `odds` is the background's weight, as a share of the largest.
#[cube]
pub(super) fn nucleus<F: Real>(
    frames: &Array<Quad<F>>,
    members: &Array<u32>,
    first: u32,
    end: u32,
    centre: Point<F>,
    largest: F,
    odds: F,
    droppable: F,
) -> F {
    let parts = comptime!(PARTS as usize);
    let mut low = F::min_value();
    if droppable > F::new(0.0) {
        // Each of the members below this weighs at most droppable / members of the largest.
        low = largest + (droppable / F::cast_from(u32::max(end - first, 1u32))).ln();
    }
    if end - first > 1u32 && droppable > F::new(0.0) {
        let mut width = (largest - low) / F::cast_from(PARTS);
        // Two looks at the members, not ten: each finds what is lighter than any of the thresholds.
        for _cut in 0..2u32 {
            let mut lighter = Array::<F>::new(parts);
            #[unroll]
            for part in 0..parts {
                lighter[part] = F::new(0.0);
            }
            let mut mass = odds;
            for at in first..end {
                let l = Frame::load(frames, members[at as usize]).log_density(centre);
                let e = (l - largest).exp();
                mass += e;
                #[unroll]
                for part in 0..parts {
                    let threshold = low + F::cast_from(comptime!(part as u32)) * width;
                    lighter[part] += select(l < threshold, e, F::new(0.0));
                }
            }
            let mut cut = F::new(0.0);
            #[unroll]
            for part in 1..parts {
                if lighter[part] <= droppable * mass {
                    cut = F::cast_from(comptime!(part as u32));
                }
            }
            low += cut * width;
            width /= F::cast_from(PARTS);
        }
    }
    low
}
