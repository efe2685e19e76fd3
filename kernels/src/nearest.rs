//! Finds the Gaussians nearest to every cell by Mahalanobis distance.
//!
//! One unit per cell searches its tile's candidates, which provably include the nearest ones; ties go to the lowest
//! index.

use cubecl::prelude::*;

use crate::{
    Error, Result,
    bins::{Bins, Rule, bins},
    buffer::Buffer,
    device::Device,
    gaussian::{Frame, Frames},
    grid::Cells,
    rasterize::{Lists, ListsLaunch},
    real::{Precision, Quad, Real},
};

/// The most neighbors that can be requested; they are kept in registers.
pub const MOST: u32 = 32;

/// The nearest Gaussians of every cell, nearest first, with their distances.
#[derive(Debug)]
pub struct Nearest<R: Runtime, F: Real> {
    /// Indices, `[cells, count]`; `u32::MAX` where there are fewer Gaussians.
    pub index: Buffer<R, u32>,
    /// Squared Mahalanobis distances to them, `[cells, count]`; the largest finite value where there are fewer.
    pub mahalanobis_sq: Buffer<R, F>,
}

/// Finds the `count` nearest of `frames` for every cell.
///
/// # Errors
/// [`Error::Count`] unless `count` is within 1..=[`MOST`]; [`Error::TooLarge`] when the candidate lists do not fit a
/// 32-bit index; [`Error::NoRoom`] when the device has no buffer for them or for the result.
pub fn nearest<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    frames: &Frames<R, P::Real>,
    cells: Cells,
    count: u32,
) -> Result<Nearest<R, P::Real>> {
    if !(1..=MOST).contains(&count) {
        return Err(Error::Count { what: "nearest Gaussians", value: count, min: 1, max: MOST });
    }
    nearest_of(device, frames, &bins(device, frames, cells, Rule::Nearest(count))?, count)
}

/// Finds the `count` nearest of `frames` for every cell, of lists that hold so many.
pub(crate) fn nearest_of<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    frames: &Frames<R, P::Real>,
    bins: &Bins<R, P::Real>,
    count: u32,
) -> Result<Nearest<R, P::Real>> {
    let places = bins.cells().saturating_mul(count as usize);
    let what = "nearest Gaussians";
    let nearest = Nearest { index: device.room(what, places)?, mahalanobis_sq: device.room(what, places)? };
    let (cubes, dim) = device.per_tile(bins.tiles());
    find::launch::<P::Real, R>(
        device.client(),
        cubes,
        dim,
        frames.packed.arg(),
        ListsLaunch::new(bins.tile_starts.arg(), bins.members.arg(), bins.mosaic.arg()),
        nearest.index.arg(),
        nearest.mahalanobis_sq.arg(),
        count,
    );
    Ok(nearest)
}

#[cube(launch)]
fn find<F: Real>(
    frames: &Array<Quad<F>>,
    lists: &Lists<F>,
    index: &mut Array<u32>,
    mahalanobis_sq: &mut Array<F>,
    #[comptime] count: u32,
) {
    let tile = CUBE_POS as u32;
    let cell = lists.plots.cell(tile, UNIT_POS);
    if cell.inside {
        let places = comptime!(count as usize);
        let mut best = Array::<F>::new(places);
        let mut found = Array::<u32>::new(places);
        #[unroll]
        for place in 0..places {
            best[place] = F::max_value();
            found[place] = 4294967295u32;
        }
        for at in lists.starts[tile as usize]..lists.starts[tile as usize + 1] {
            let mut n = lists.members[at as usize];
            let mut q = Frame::load(frames, n).mahalanobis_sq(cell.centre);
            // Into its place; what it displaces moves on.
            #[unroll]
            for place in 0..places {
                if q < best[place] {
                    let (farther, other) = (best[place], found[place]);
                    best[place] = q;
                    found[place] = n;
                    q = farther;
                    n = other;
                }
            }
        }
        #[unroll]
        for place in 0..places {
            let at = cell.index as usize * places + place;
            index[at] = found[place];
            mahalanobis_sq[at] = best[place];
        }
    }
}
