//! How residuals count, and what they come to: strips of tiles, bundles of tiles, images, each added in order.

use cubecl::prelude::*;

use crate::{
    Result,
    arithmetic::sum_range,
    buffer::Buffer,
    device::Device,
    evaluate::Look,
    grid::{BUNDLE, Count, Mosaic, Plots},
    real::{Precision, Quad, Real},
};

/// How a residual counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Penalty {
    /// Its square.
    Squared,
    /// Its absolute value.
    Absolute,
}

/// What the first channels of a residual come to.
#[cube]
pub(crate) fn penalty_of<F: Real>(residual: Quad<F>, #[comptime] channels: u32, #[comptime] penalty: Penalty) -> F {
    let mut sum = F::new(0.0);
    #[unroll]
    for c in 0..comptime!(channels as usize) {
        sum += match comptime!(penalty) {
            Penalty::Squared => residual[c] * residual[c],
            Penalty::Absolute => residual[c].abs(),
        };
    }
    sum
}

/// Sum over pixels and channels of the last look's penalty, for every image, written to row `at` of `history`
/// (`[_, images]`).
///
/// # Errors
/// [`crate::Error::Length`] when `history` has no such row.
pub fn penalties<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    mosaic: &Mosaic<R, P::Real>,
    look: &Look<R, P::Real>,
    history: &Buffer<R, P::Real>,
    at: usize,
) -> Result<()> {
    let bundles = device.uninit(mosaic.total(Count::Bundles));
    add_penalties(device, mosaic, look, &bundles, (history, at))
}

/// [`penalties`] with room for those of the bundles, `[bundles]`.
pub(crate) fn add_penalties<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    mosaic: &Mosaic<R, P::Real>,
    look: &Look<R, P::Real>,
    bundles: &Buffer<R, P::Real>,
    (history, at): (&Buffer<R, P::Real>, usize),
) -> Result<()> {
    let images = mosaic.images().len();
    if history.len() < (at + 1) * images {
        return Err(crate::Error::Length { what: "penalties", expected: (at + 1) * images, got: history.len() });
    }
    let (cubes, dim) = device.per_unit(bundles.len());
    add_strips::launch::<P::Real, R>(device.client(), cubes, dim, look.strips.arg(), mosaic.arg(), bundles.arg());
    let (cubes, dim) = device.per_unit(images);
    add_bundles::launch::<P::Real, R>(
        device.client(),
        cubes,
        dim,
        bundles.arg(),
        mosaic.arg(),
        history.arg(),
        (at * images) as u32,
    );
    Ok(())
}

/// Quads of a bundle that are added in one round of a loop: their loads do not wait for one another.
const A_ROUND: u32 = 16;

/// Sum of a bundle's strips.
#[cube]
pub(crate) fn bundle_sum<F: Real>(strips: &Array<Quad<F>>, plots: &Plots<F>, bundle: u32) -> F {
    let image = plots.holding(bundle, Count::Bundles);
    let local = bundle - plots.before(image, Count::Bundles);
    let first = plots.before(image, Count::Tiles) + local * BUNDLE;
    let end = 2u32 * u32::min(first + BUNDLE, plots.before(image + 1u32, Count::Tiles));
    let mut at = 2u32 * first;
    let mut sum = Quad::<F>::new(F::new(0.0));
    while at < end {
        #[unroll]
        for next in 0..A_ROUND {
            let strip = strips[u32::min(at + next, end - 1u32) as usize];
            if at + next < end {
                sum += strip;
            }
        }
        at += A_ROUND;
    }
    (sum[0] + sum[1]) + (sum[2] + sum[3])
}

/// Sum of an image's bundles, of which the first is at `from`.
#[cube]
pub(crate) fn image_sum<F: Real>(bundles: &Array<F>, plots: &Plots<F>, image: u32, from: u32) -> F {
    let (first, end) = (plots.before(image, Count::Bundles), plots.before(image + 1u32, Count::Bundles));
    sum_range::<F>(bundles, from + first, from + end)
}

#[cube(launch)]
fn add_strips<F: Real>(strips: &Array<Quad<F>>, plots: &Plots<F>, bundles: &mut Array<F>) {
    if ABSOLUTE_POS < bundles.len() {
        bundles[ABSOLUTE_POS] = bundle_sum::<F>(strips, plots, ABSOLUTE_POS as u32);
    }
}

#[cube(launch)]
fn add_bundles<F: Real>(bundles: &Array<F>, plots: &Plots<F>, history: &mut Array<F>, at: u32) {
    let image = ABSOLUTE_POS as u32;
    if image < plots.images() {
        history[(at + image) as usize] = image_sum::<F>(bundles, plots, image, 0u32);
    }
}
