//! The nearest Gaussian of every cell, by Mahalanobis distance; exact, ties to the lowest index.
//!
//! One cube per tile, one unit per cell, over the Gaussians that a bound could not exclude from the tile.

use cubecl::prelude::*;

use crate::{
    Result,
    bins::{Rule, bins},
    buffer::Buffer,
    device::Device,
    gaussian::{Frame, Frames},
    grid::Cells,
    rasterize::{Lists, ListsLaunch},
    real::{Precision, Quad, Real},
};

/// Per cell: which Gaussian is nearest, and how far it is.
#[derive(Debug)]
pub struct Nearest<R: Runtime, F: Real> {
    /// Index of the nearest Gaussian, `[cells]`; `u32::MAX` when there is none.
    pub index: Buffer<R, u32>,
    /// Squared Mahalanobis distance to it, `[cells]`; the largest finite value when there is none.
    pub mahalanobis_sq: Buffer<R, F>,
}

/// Finds the nearest of `frames` for every cell.
///
/// # Errors
/// [`crate::Error::TooLarge`] when the candidate lists do not fit a 32-bit index.
pub fn nearest<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    frames: &Frames<R, P::Real>,
    cells: Cells,
) -> Result<Nearest<R, P::Real>> {
    let bins = bins(device, frames, cells, Rule::Nearest)?;
    let nearest = Nearest { index: device.uninit(cells.len()), mahalanobis_sq: device.uninit(cells.len()) };
    let (count, dim) = device.per_tile(bins.tiles());
    find::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        frames.packed.arg(),
        ListsLaunch::new(bins.tile_starts.arg(), bins.members.arg(), bins.mosaic.arg()),
        nearest.index.arg(),
        nearest.mahalanobis_sq.arg(),
    );
    Ok(nearest)
}

#[cube(launch)]
fn find<F: Real>(frames: &Array<Quad<F>>, lists: &Lists<F>, index: &mut Array<u32>, mahalanobis_sq: &mut Array<F>) {
    let tile = CUBE_POS as u32;
    let cell = lists.plots.cell(tile, UNIT_POS);
    if cell.inside {
        let centre = cell.centre;
        let mut best = F::max_value();
        let mut found = 4294967295u32.runtime();
        for at in lists.starts[tile as usize]..lists.starts[tile as usize + 1] {
            let n = lists.members[at as usize];
            let q = Frame::load(frames, n).mahalanobis_sq(centre);
            if q < best {
                best = q;
                found = n;
            }
        }
        index[cell.index as usize] = found;
        mahalanobis_sq[cell.index as usize] = best;
    }
}
