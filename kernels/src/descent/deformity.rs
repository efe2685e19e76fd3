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

/// Where the deformity loss stands before a step: the Gaussian's own aspect, the largest of its image as bits, and where the
/// image's aspects start.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Deformity<F: Real> {
    /// Aspect above which it acts, and its factor.
    pub limit: F,
    pub weight: F,
    pub aspect: F,
    pub worst: u32,
    pub n: usize,
    pub first: usize,
    pub count: u32,
}

/// Bits of an aspect in single precision; aspects are positive, so they sort like the numbers.
#[cube]
pub(super) fn bits_of<F: Real>(aspect: F) -> u32 {
    u32::reinterpret(f32::cast_from(aspect))
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
                    // A maximum's subgradient belongs to one of those that attain it: the first.
                    active = deformity.weight;
                    for earlier in deformity.first..deformity.n {
                        if bits_of::<F>(aspects[earlier]) == deformity.worst {
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
