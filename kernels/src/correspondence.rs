//! Posterior rows: which annotation a cell belongs to, as a sparse matrix.
//!
//! Row `i` is the softmax over all Gaussians of their log densities `l_n = -q_n/2 - log|Sigma_n|/2` and of the background's
//! `l_0 = q*/2 - b* - log|Sigma*|/2`, where `*` is the nearest Gaussian (paper, Eqs. 5 and 11; equal priors). A tile's list
//! leaves out what a bound proves to be below `exp(-range)` of the largest; of the list, a row stores what is within `range`
//! of its largest logit, renormalised, and reports what it dropped. One cube per tile, one unit per cell.

mod rows;
mod transpose;

use cubecl::prelude::*;

use crate::{
    Result,
    bins::{Rule, bins},
    buffer::Buffer,
    device::Device,
    gaussian::{Frame, Frames},
    grid::Cells,
    real::{HostReal, Precision, Quad, Real},
    reduce::{Reduction, reduce},
    scan,
};

use self::{rows::Stage, transpose::transpose};

/// What a cell far from every Gaussian belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Background {
    /// To the Gaussians all the same: there is no background.
    None,
    /// Softly to the background, with log odds `q* - b*` against the nearest Gaussian.
    Odds,
    /// Wholly to the background where `q* > b*`, not at all elsewhere.
    Hard,
}

/// Share of the tolerated dropped mass that tile lists may take; rows take the rest.
const TILE_SHARE: f64 = 0.1;

/// What may be dropped: a row's L1 error is twice its dropped mass, once the rest is scaled up to 1.
#[derive(Debug, Clone, Copy)]
struct Tolerance {
    tau: f64,
}

impl Tolerance {
    fn dropped(self) -> f64 {
        self.tau / 2.0
    }

    /// Range of logits that a tile list covers: each of at most `gaussians` left out weighs `exp(-range)` or less. Widened
    /// by the rounding of two logits of size up to twice the range.
    fn tile_range<F: Real>(self, gaussians: usize) -> f64 {
        let range = (gaussians.max(1) as f64 / self.tile_bound()).ln().max(0.0);
        range * (1.0 + 800.0 * F::EPSILON.cast_to_f64())
    }

    /// What the tile lists drop at most.
    fn tile_bound(self) -> f64 {
        TILE_SHARE * self.dropped()
    }

    /// What a row drops of its tile's list at most.
    fn row_bound(self) -> f64 {
        (1.0 - TILE_SHARE) * self.dropped()
    }
}

/// The sparse matrix: rows are cells, columns annotations, background beside it. Pixel-major for the gradient,
/// annotation-major for the sums.
#[derive(Debug)]
pub struct Correspondence<R: Runtime, P: Precision> {
    /// Where the rows are.
    pub cells: Cells,
    /// Entries of row `i`: `row_starts[i] .. row_starts[i + 1]`, `[cells + 1]`.
    pub row_starts: Buffer<R, u32>,
    /// Annotation of each entry, ascending within a row.
    pub columns: Buffer<R, u32>,
    /// Weight of each entry.
    pub weights: Buffer<R, P::Weight>,
    /// Weight of the background, `[cells]`.
    pub background: Buffer<R, P::Weight>,
    /// The same entries by annotation.
    pub transposed: Transposed<R, P>,
    /// Largest mass that any row dropped from its tile's list.
    pub worst_dropped: f64,
    /// Largest mass that any row can have dropped, tile lists included.
    pub bound: f64,
}

/// Entries in annotation-major order, grouped by the tiles that an annotation reaches.
#[derive(Debug)]
pub struct Transposed<R: Runtime, P: Precision> {
    /// Slots of annotation `n`: `slot_starts[n] .. slot_starts[n + 1]`, `[annotations + 1]`.
    pub slot_starts: Buffer<R, u32>,
    /// Entries of slot `s`: `entry_starts[s] .. entry_starts[s + 1]`.
    pub entry_starts: Buffer<R, u32>,
    /// Cell of each entry.
    pub rows: Buffer<R, u32>,
    /// Weight of each entry.
    pub weights: Buffer<R, P::Weight>,
}

impl<R: Runtime, P: Precision> Correspondence<R, P> {
    /// Bytes of device memory, both orders.
    pub fn bytes(&self) -> usize {
        let transposed = &self.transposed;
        [&self.row_starts, &self.columns, &transposed.slot_starts, &transposed.entry_starts, &transposed.rows]
            .map(Buffer::bytes)
            .iter()
            .chain(&[&self.weights, &self.background, &transposed.weights].map(Buffer::bytes))
            .sum()
    }
}

/// Builds the matrix. A row's L1 error stays below `tau`.
///
/// # Errors
/// [`crate::Error::TooLarge`] when it does not fit a 32-bit index; [`crate::Error::Device`].
pub fn correspondence<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    frames: &Frames<R, P::Real>,
    cells: Cells,
    background: Background,
    tau: f64,
) -> Result<Correspondence<R, P>> {
    let tolerance = Tolerance { tau };
    let floor = match background {
        Background::Odds if !frames.is_empty() => Some(background_floor(device, frames)?),
        _ => None,
    };
    let rule = Rule::Posterior { range: tolerance.tile_range::<P::Real>(frames.len()), floor };
    let bins = bins(device, frames, cells, rule)?;
    let stage = Stage { device, frames, bins: &bins, background, tolerance };
    let kept = stage.count();
    let starts = scan::starts(device, &kept.counts);
    let entries = starts.total("transport kernel")?;
    let columns = device.room("transport kernel", entries)?;
    let weights = device.room("transport kernel", entries)?;
    stage.fill(&kept, &starts.starts, &columns, &weights);
    let worst = reduce(device, &kept.dropped, Reduction::Largest).read_one()?.cast_to_f64();
    let transposed = transpose(device, &bins, &starts.starts, &columns, &weights);
    Ok(Correspondence {
        cells,
        row_starts: starts.starts,
        columns,
        weights,
        background: kept.background,
        transposed,
        worst_dropped: worst,
        bound: worst + tolerance.tile_bound(),
    })
}

/// A logit that every cell reaches: where the nearest Gaussian's falls, the background's rises, and the two cross at
/// `-(b + log|Sigma|) / 2` or above.
fn background_floor<R: Runtime, P: Precision>(device: &Device<R, P>, frames: &Frames<R, P::Real>) -> Result<f64> {
    let crossings = device.uninit(frames.len());
    let (count, dim) = device.per_unit(frames.len());
    write_crossings::launch::<P::Real, R>(device.client(), count, dim, frames.packed.arg(), crossings.arg());
    Ok(-reduce(device, &crossings, Reduction::Largest).read_one()?.cast_to_f64())
}

/// Minus the logit at which each Gaussian and its background cross.
#[cube(launch)]
fn write_crossings<F: Real>(frames: &Array<Quad<F>>, crossings: &mut Array<F>) {
    if ABSOLUTE_POS < crossings.len() {
        let frame = Frame::load(frames, ABSOLUTE_POS as u32);
        crossings[ABSOLUTE_POS] = frame.threshold / F::new(2.0) - frame.log_normaliser;
    }
}
