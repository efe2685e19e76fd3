//! The paper's deformity loss (Eq. 10): what a Gaussian pays for an aspect above the limit.

use cubecl::prelude::*;

use super::maps::ShapeReduce;
use crate::real::Real;

/// Derivatives of the deformity loss by the two numbers whose ratio is the aspect (paper, Eq. 10).
#[derive(CubeType, Clone, Copy)]
pub(super) struct ShapePull<F: Real> {
    pub by0: F,
    pub by1: F,
}

/// Where the deformity loss stands before a step: the Gaussian's own aspect, its image's [`note_aspect`], and where the image's
/// aspects start.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Deformity<F: Real> {
    /// Aspect above which it acts, and its factor.
    pub limit: F,
    pub weight: F,
    pub aspect: F,
    pub worst: u32,
    pub shared: u32,
    pub n: u32,
    pub first: u32,
    pub count: u32,
}

/// Bits of an aspect in single precision, which sort like the numbers. A raw number below 0 makes an aspect below 0, whose sign
/// would sort above them all; it pays nothing, and counts as 0.
#[cube]
fn bits_of<F: Real>(aspect: F) -> u32 {
    u32::reinterpret(f32::cast_from(select(aspect > F::new(0.0), aspect, F::new(0.0))))
}

/// Takes a Gaussian's aspect into the two numbers of its image: the largest, and the largest that another one was found to have,
/// which are equal only if the largest is shared.
#[cube]
pub(super) fn note_aspect<F: Real>(worst: &mut Array<Atomic<u32>>, at: usize, aspect: F) {
    let bits = bits_of::<F>(aspect);
    // Most stay below what is there already, and need not wait for their turn.
    if worst[at].load() <= bits {
        if worst[at].fetch_max(bits) == bits {
            worst[at + 1].fetch_max(bits);
        }
    }
}

/// [`note_aspect`] of all Gaussians of an image, on the host.
pub(super) fn noted_aspects(aspects: &[f64]) -> [u32; 2] {
    let bits = aspects.iter().map(|&aspect| (aspect as f32).max(0.0).to_bits());
    bits.fold([0, 0], |[worst, shared], bits| [worst.max(bits), if bits == worst { shared.max(bits) } else { shared }])
}

/// Aspects that are compared in one round of a loop.
const A_ROUND: u32 = 8;

/// Whether one of the aspects `first .. end` has these bits.
#[cube]
fn is_among<F: Real>(aspects: &Array<F>, first: u32, end: u32, bits: u32) -> bool {
    let mut found = false;
    let mut at = first;
    while at < end {
        #[unroll]
        for next in 0..A_ROUND {
            if at + next < end {
                if bits_of::<F>(aspects[(at + next) as usize]) == bits {
                    found = true;
                }
            }
        }
        at = select(found, end, at + A_ROUND);
    }
    found
}

#[cube]
pub(super) fn shape_pull<F: Real>(
    a: F,
    b: F,
    aspects: &Array<F>,
    deformity: &Deformity<F>,
    #[comptime] reduce: ShapeReduce,
) -> ShapePull<F> {
    let mut weight = F::new(0.0);
    if deformity.aspect > deformity.limit {
        weight = match comptime!(reduce) {
            ShapeReduce::Mean => deformity.weight / F::cast_from(deformity.count),
            ShapeReduce::Max => {
                let mut active = F::new(0.0);
                if bits_of::<F>(deformity.aspect) == deformity.worst {
                    active = deformity.weight;
                    // A maximum's subgradient belongs to one of those that attain it: the first. Hardly ever is there another.
                    if deformity.shared == deformity.worst {
                        if is_among::<F>(aspects, deformity.first, deformity.n, deformity.worst) {
                            active = F::new(0.0);
                        }
                    }
                }
                active
            }
        };
    }
    let (long, short) = (max(a, b), min(a, b));
    let (by_long, by_short) = (weight / short, F::new(0.0) - weight * long / (short * short));
    ShapePull::<F> { by0: select(a >= b, by_long, by_short), by1: select(a >= b, by_short, by_long) }
}
