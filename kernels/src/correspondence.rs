//! Posterior rows: the annotations that a cell belongs to, as a sparse matrix.
//!
//! Row `i` is the softmax over all Gaussians of their log densities `l_n = -q_n/2 - log|Sigma_n|/2` and of the
//! background's `l_0 = q*/2 - b* - log|Sigma*|/2`, where `*` is the nearest Gaussian (paper, Eqs. 5 and 11; equal
//! priors). A tile's list leaves out what a bound proves to be below `exp(-range)` of the largest. From the list, a row
//! drops the lightest entries while its share of `tau` lasts, scales up the rest, and reports what it dropped. One cube
//! per tile, one unit per cell.

mod floor;
mod merge;
mod mirrored;
mod nucleus;
mod order;
mod parts;
mod round;
mod rows;

use cubecl::prelude::*;

use crate::{
    Result,
    bins::{self, Rule, settled},
    buffer::Buffer,
    device::Device,
    gaussian::Frames,
    grid::{Cells, Count, Mosaic},
    real::{HostReal, Precision, Real, Storage},
    reduce::{Reduction, reduce_images},
    scan,
};

pub(crate) use self::mirrored::Mirrored;
use self::{
    floor::background_floor,
    round::rounded,
    rows::{Entries, Kept, Stage},
};
pub use self::{order::tiles, parts::Part};

/// How the background competes for cells far from every Gaussian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Background {
    /// There is no background: such a cell still belongs to the Gaussians.
    None,
    /// Soft, with log odds `q* - b*` of the background against the nearest Gaussian.
    Odds,
    /// Hard: a cell belongs wholly to the background where `q* > b*`, and not at all elsewhere.
    Hard,
    /// Soft, with the logit `log density of a Gaussian at its mean - b* / (v* (v* q* + 1e-5))` of the background, where
    /// `v*` is the square root of the nearest Gaussian's `|Sigma|`. This is the rule of Bayesian loss, where `v* q*` is
    /// the squared distance in px.
    Reciprocal,
}

impl Background {
    /// Whether the background competes with the Gaussians.
    pub(crate) fn is_soft(self) -> bool {
        matches!(self, Self::Odds | Self::Reciprocal)
    }
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

    /// What the tile lists drop at most.
    fn tile_bound(self) -> f64 {
        TILE_SHARE * self.dropped()
    }

    /// What a row drops of its tile's list at most; nothing where a member's part of it might be below the normal
    /// floats, whose logarithms devices do not know.
    fn row_bound<F: Real + num_traits::Float>(self) -> f64 {
        let bound = (1.0 - TILE_SHARE) * self.dropped();
        let least = <F as num_traits::Float>::min_positive_value().cast_to_f64() * f64::from(u32::MAX);
        if bound < least { 0.0 } else { bound }
    }
}

/// The sparse matrices of a batch of images, in one numbering: rows are cells, columns are annotations, and the
/// background is stored beside them. They are stored pixel-major for the gradient and annotation-major for the sums.
#[derive(Debug, Clone)]
pub struct Correspondence<R: Runtime, P: Precision> {
    /// Where the rows are, and how many annotations each image has.
    pub mosaic: Mosaic<R, P::Real>,
    /// Entries of row `i`: `row_starts[i] .. row_starts[i + 1]`, `[cells + 1]`.
    pub row_starts: Buffer<R, u32>,
    /// Annotation of each entry, ascending within a row; with a mixture, one entry for every Gaussian of the
    /// annotation.
    pub columns: Buffer<R, u32>,
    /// Weight of each entry.
    pub weights: Buffer<R, P::Weight>,
    /// Weight of the background, `[cells]`.
    pub background: Buffer<R, P::Weight>,
    /// The same entries by annotation.
    pub transposed: Transposed<R, P::Weight>,
    /// The components, if this is a mixture.
    pub components: Option<Components<R, P>>,
    /// The mass that the rows of every image dropped.
    pub dropped: Vec<Dropped>,
}

/// What a mixture has in place of annotations.
#[derive(Debug, Clone)]
pub struct Components<R: Runtime, P: Precision> {
    /// Where the rows are, and how many components each image has.
    pub mosaic: Mosaic<R, P::Real>,
    /// Slots of component `c`: `slot_starts[c] .. slot_starts[c + 1]`, `[components + 1]`.
    pub slot_starts: Buffer<R, u32>,
}

/// The mass that the rows of an image dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropped {
    /// The largest mass that any row dropped from its tile's list.
    pub worst: f64,
    /// The largest mass that any row can have dropped, including what tile lists left out.
    pub bound: f64,
}

/// Entries in annotation-major order, grouped by the tiles that an annotation reaches.
#[derive(Debug, Clone)]
pub struct Transposed<R: Runtime, W: Storage> {
    /// Slots of annotation `n`: `slot_starts[n] .. slot_starts[n + 1]`, `[annotations + 1]`.
    pub slot_starts: Buffer<R, u32>,
    /// Entries of slot `s`: `entry_starts[s] .. entry_starts[s + 1]`.
    pub entry_starts: Buffer<R, u32>,
    /// Cell of each entry.
    pub rows: Buffer<R, u32>,
    /// Weight of each entry.
    pub weights: Buffer<R, W>,
}

impl<R: Runtime, W: Storage> Transposed<R, W> {
    /// What there are of slots and entries, of what there was room for.
    fn first(self, slots: usize, entries: usize) -> Self {
        Self {
            entry_starts: self.entry_starts.first(slots + 1),
            rows: self.rows.first(entries),
            weights: self.weights.first(entries),
            ..self
        }
    }
}

impl<R: Runtime, P: Precision> Correspondence<R, P> {
    /// The number of cells of all images.
    pub fn cells(&self) -> usize {
        self.mosaic.total(Count::Cells)
    }

    /// The number of columns of all images: every image's annotations, then its background.
    pub fn columns_in_all(&self) -> usize {
        self.mosaic.total(Count::Gaussians) + self.mosaic.images().len()
    }
}

/// How much memory was needed, kept from one build to the next.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    lists: bins::Room,
    entries: usize,
}

impl Room {
    /// How many (tile, Gaussian) pairs there is room for.
    pub fn pairs(&self) -> usize {
        self.lists.pairs()
    }

    /// How many entries there is room for.
    pub fn entries(&self) -> usize {
        self.entries
    }
}

/// Entries with the backgrounds' weights, as stored.
type Stored<R, P> = (Entries<R, <P as Precision>::Weight>, Buffer<R, <P as Precision>::Weight>);

/// Builds the matrix of one grid. A row's L1 error stays below `tau`.
///
/// # Errors
/// [`crate::Error::TooLarge`] when 32-bit indices do not suffice for it, [`crate::Error::NoRoom`] when the device has
/// no buffer for it; [`crate::Error::Device`].
pub fn correspondence<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    frames: &Frames<R, P::Real>,
    cells: Cells,
    background: Background,
    tau: f64,
) -> Result<Correspondence<R, P>> {
    let mosaic = Mosaic::new(device, &[(cells, frames.len())])?;
    correspondence_of_batch(device, frames, &mosaic, background, tau, &mut Room::default())
}

/// Builds the matrices of many grids; each has the same bits as if built alone. With the `room` of an earlier build,
/// only the size and what was dropped are read back.
///
/// # Errors
/// [`crate::Error::Length`] when the mosaic has other numbers of Gaussians; otherwise as [`correspondence`].
pub fn correspondence_of_batch<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    frames: &Frames<R, P::Real>,
    mosaic: &Mosaic<R, P::Real>,
    background: Background,
    tau: f64,
    room: &mut Room,
) -> Result<Correspondence<R, P>> {
    let tolerance = Tolerance { tau };
    let floor =
        (background.is_soft() && !frames.is_empty()).then(|| background_floor(device, frames, mosaic, background));
    let rule = (Rule::Posterior { dropped: tolerance.tile_bound() }, 0.0);
    let first = room.lists.guess(frames.len());
    loop {
        let draft = bins::draft(device, frames, mosaic, rule, floor.as_ref(), room.lists)?;
        let stage = Stage { device, frames, bins: &draft.bins, background, tolerance };
        let rows = StoredRows::count(&stage, &draft.totals)?;
        // Of a first build nobody knows how many entries there will be.
        let entries = if room.entries > 0 { Some(rows.fill(&stage, room.entries)?) } else { None };
        let worst = reduce_images(device, mosaic, rows.dropped(), Count::Cells, Reduction::Largest);
        let (totals, worst) = draft.totals.read_with(&worst)?;
        if !draft.fits(device, &totals, &mut room.lists)? {
            continue;
        }
        let count = scan::addressable(totals[3], "transport kernel")?;
        let fitting = entries.filter(|_| count <= room.entries);
        room.entries = settled(room.entries, count, first);
        let (entries, background) = match fitting {
            Some(entries) => entries,
            None => rows.fill(&stage, room.entries)?,
        };
        room.lists.settle(totals[1] as usize, first);
        let dropped = |worst: &P::Real| {
            let worst = worst.cast_to_f64();
            Dropped { worst, bound: worst + tolerance.tile_bound() }
        };
        return Ok(Correspondence {
            mosaic: mosaic.clone(),
            row_starts: entries.row_starts,
            columns: entries.columns.first(count),
            weights: entries.weights.first(count),
            background,
            transposed: entries.transposed.first(totals[1] as usize, count),
            components: None,
            dropped: worst.iter().map(dropped).collect(),
        });
    }
}

/// Rows that are counted but not written, by what their weights are written in at first.
enum StoredRows<R: Runtime, P: Precision> {
    AsStored(Kept<R, P, P::Weight>),
    Whole(Kept<R, P, P::Real>),
}

impl<R: Runtime, P: Precision> StoredRows<R, P> {
    fn count(stage: &Stage<'_, R, P>, totals: &Buffer<R, u32>) -> Result<Self> {
        Ok(match P::Weight::UNIT {
            1.0 => Self::AsStored(stage.count(totals)?),
            _ => Self::Whole(stage.count(totals)?),
        })
    }

    /// Entries and the backgrounds' weights.
    fn fill(&self, stage: &Stage<'_, R, P>, room: usize) -> Result<Stored<R, P>> {
        match self {
            Self::AsStored(kept) => Ok((stage.fill(kept, room)?, kept.background.clone())),
            Self::Whole(kept) => rounded(stage, kept, room),
        }
    }

    fn dropped(&self) -> &Buffer<R, P::Real> {
        match self {
            Self::AsStored(kept) => &kept.dropped,
            Self::Whole(kept) => &kept.dropped,
        }
    }
}
