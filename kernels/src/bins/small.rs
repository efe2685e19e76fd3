//! Lists of images that are one coarse tile each, as most crops are: no coarse lists, and no search for the transposed ones.
//!
//! What a tile keeps is a bit for each of the image's Gaussians; read the other way, a Gaussian has a bit for each of the image's
//! tiles, 64 at most. Counting bits gives the places in both orders.

use cubecl::prelude::*;

use super::{
    COARSE, TILE, UNASKED,
    criterion::{Bound, Criteria, Reach},
    members::{Lists, Request},
    slots::Slots,
};
use crate::{
    Result,
    buffer::Buffer,
    device::{Device, Shape},
    gaussian::{Area, Frame},
    grid::{Cells, Count, Counts, Plots},
    real::{Precision, Quad, Real},
    scan::{Of, starts_of_both},
};

/// Most Gaussians of an image: a unit goes through all of them where units run one after the other.
const MOST: u32 = 8192;
/// Bits of a word.
const WORD: u32 = 32;
/// Units of one tile at most, where many run at once.
const PARTS: usize = 32;
/// As many units keep a GPU busy.
const BUSY: usize = 65_536;

/// Whether an image is small.
pub(super) fn is_small(&(cells, gaussians): &(Cells, usize)) -> bool {
    cells.columns <= COARSE && cells.rows <= COARSE && gaussians <= MOST as usize
}

/// The same on the device. Lists of such an image are made of all its Gaussians, alone or beside larger images: they are the same.
#[cube]
pub(super) fn is_small_image<F: Real>(plots: &Plots<F>, image: u32) -> bool {
    let lattice = plots.lattice(image);
    let gaussians = plots.before(image + 1u32, Count::Gaussians) - plots.before(image, Count::Gaussians);
    lattice.columns <= COARSE && lattice.rows <= COARSE && gaussians <= MOST
}

/// Makes the lists and their transpose, as much as there is room for; `totals` as in [`Request::lists`].
pub(super) fn lists<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    request: &Request<'_, R, P::Real>,
    room: usize,
    totals: &Buffer<R, u32>,
) -> Result<(Lists<R>, Slots<R>)> {
    let (tiles, gaussians) = (request.mosaic.total(Count::Tiles), request.frames.len());
    let parts = match device.shape() {
        Shape::Gathered => 1,
        Shape::Tiled => (BUSY / tiles.max(1)).clamp(1, PARTS),
    };
    // Nearest ones are compared within a part: of many parts too many would be kept.
    let parts = if matches!(request.bound(), Bound::Nearest(count) if count > 1) { 1 } else { parts };
    let most = request.mosaic.images().iter().map(|image| image.1).max().unwrap_or(0);
    let words = most.div_ceil(WORD as usize).max(1);
    // A part is a word at least: more would have nothing to do, and be counted and scanned all the same.
    let parts = parts.min(words);
    let units = tiles * parts;
    let kept: Buffer<R, u32> = device.room("tile lists", tiles * words)?;
    let best: Buffer<R, P::Real> = device.uninit(2 * units);
    let (counts, marks) = (device.uninit(units), device.uninit(2 * gaussians));
    let client = device.client();
    let task = || {
        TaskLaunch::new(
            request.frames.packed.arg(),
            request.mosaic.arg(),
            request.criteria(),
            parts as u32,
            words as u32,
        )
    };
    let (cubes, dim) = device.per_unit(units);
    let bound = request.bound();
    if bound != Bound::Within && units > 0 {
        let floor = request.floor.unwrap_or(&request.frames.packed);
        let has_floor = request.floor.is_some();
        find_best::launch::<P::Real, R>(client, cubes.clone(), dim, task(), floor.arg(), best.arg(), bound, has_floor);
    }
    if units > 0 {
        let (kept, counts) = (kept.arg(), counts.arg());
        let totals = totals.arg();
        choose::launch::<P::Real, R>(client, cubes.clone(), dim, task(), best.arg(), kept, counts, totals, bound);
    }
    if gaussians > 0 {
        let (cubes, dim) = device.per_unit(gaussians);
        let counts = request.mosaic.counts();
        mark_tiles::launch::<R>(client, cubes, dim, counts, kept.arg(), marks.arg(), words as u32);
    }
    let both = [(&counts, Of::Counts), (&marks, Of::Marks)];
    let [starts, slot_starts] = starts_of_both(device, both, totals, [1, UNASKED]);
    let tile_starts = device.uninit(tiles + 1);
    let members = device.room("tile lists", room)?;
    let slots = Slots {
        starts: slot_starts,
        tiles: device.uninit(room),
        owners: device.uninit(room),
        of_members: device.uninit(room),
    };
    let (cubes, dim) = device.per_unit(units + 1);
    fill::launch::<R>(
        client,
        cubes,
        dim,
        PartsLaunch::new(request.mosaic.counts(), parts as u32, words as u32),
        KeptLaunch::new(kept.arg(), marks.arg(), starts.arg(), slots.starts.arg()),
        FilledLaunch::new(
            tile_starts.arg(),
            members.arg(),
            slots.of_members.arg(),
            slots.tiles.arg(),
            slots.owners.arg(),
        ),
        room as u32,
    );
    Ok((Lists { starts: tile_starts, members }, slots))
}

#[derive(CubeType, CubeLaunch)]
struct Task<F: Real> {
    frames: Array<Quad<F>>,
    plots: Plots<F>,
    criteria: Criteria<F>,
    /// Units of a tile.
    parts: u32,
    /// Words of a tile's bits.
    words: u32,
}

/// Gaussians of a tile's image that one unit looks at.
#[derive(CubeType, Clone, Copy)]
struct Range {
    tile: u32,
    image: u32,
    /// The image's first Gaussian.
    base: u32,
    first: u32,
    end: u32,
}

/// What of a [`Task`] says which Gaussians a unit has.
#[derive(CubeType, CubeLaunch)]
struct Parts {
    counts: Counts,
    parts: u32,
    words: u32,
}

#[cube]
impl Range {
    /// Ranges begin where a word does.
    fn of(counts: &Counts, unit: u32, parts: u32) -> Range {
        let tile = unit / parts;
        let image = counts.holding(tile, Count::Tiles);
        let base = counts.before(image, Count::Gaussians);
        let gaussians = counts.before(image + 1u32, Count::Gaussians) - base;
        let each = gaussians.div_ceil(parts).div_ceil(WORD) * WORD;
        let first = u32::min(unit % parts * each, gaussians);
        Range { tile, image, base, first: base + first, end: base + u32::min(first + each, gaussians) }
    }

    /// Where the word is that has a tile's bit of a Gaussian.
    fn word(&self, n: u32, words: u32) -> usize {
        (self.tile * words + (n - self.base) / WORD) as usize
    }
}

#[cube]
impl<F: Real> Task<F> {
    fn range(&self, unit: u32) -> Range {
        Range::of(&self.plots.counts, unit, self.parts)
    }

    fn area(&self, range: Range) -> Area<F> {
        let local = range.tile - self.plots.before(range.image, Count::Tiles);
        self.criteria.widen(self.plots.lattice(range.image).area(local, TILE))
    }
}

/// What a range reaches at every cell of its tile; of those that count as near, the last.
#[cube(launch)]
fn find_best<F: Real>(
    task: &Task<F>,
    floor: &Array<F>,
    best: &mut Array<F>,
    #[comptime] bound: Bound,
    #[comptime] has_floor: bool,
) {
    if 2 * ABSOLUTE_POS < best.len() {
        let range = task.range(ABSOLUTE_POS as u32);
        let area = task.area(range);
        let criterion = task.criteria.of(range.image);
        let mut logit = F::min_value();
        if comptime!(has_floor) {
            logit = F::new(0.0) - floor[range.image as usize];
        }
        let count = comptime!(bound.nearest());
        let mut nearest = Array::<F>::new(count);
        #[unroll]
        for at in 0..count {
            nearest[at] = F::min_value();
        }
        for n in range.first..range.end {
            let surely = criterion.surely(&Frame::load(&task.frames, n), area);
            logit = max(logit, surely.logit);
            // Into its place among the nearest so far.
            let mut carried = surely.nearness;
            #[unroll]
            for at in 0..count {
                let (nearer, farther) = (max(nearest[at], carried), min(nearest[at], carried));
                nearest[at] = nearer;
                carried = farther;
            }
        }
        best[2 * ABSOLUTE_POS] = nearest[count - 1];
        best[2 * ABSOLUTE_POS + 1] = logit;
    }
}

/// Which of its range a tile keeps, and how many.
#[cube(launch)]
fn choose<F: Real>(
    task: &Task<F>,
    best: &Array<F>,
    kept: &mut Array<u32>,
    counts: &mut Array<u32>,
    totals: &mut Array<Atomic<u32>>,
    #[comptime] bound: Bound,
) {
    if ABSOLUTE_POS < counts.len() {
        let range = task.range(ABSOLUTE_POS as u32);
        let area = task.area(range);
        let criterion = task.criteria.of(range.image);
        let mut reached = Reach::<F> { nearness: F::min_value(), logit: F::min_value() };
        if comptime!(bound != Bound::Within) {
            for unit in range.tile * task.parts..(range.tile + 1u32) * task.parts {
                reached.nearness = max(reached.nearness, best[2 * unit as usize]);
                reached.logit = max(reached.logit, best[2 * unit as usize + 1]);
            }
        }
        let mut count = 0u32;
        let mut word = 0u32;
        for n in range.first..range.end {
            let bit = (n - range.base) % WORD;
            if criterion.keeps(&Frame::load(&task.frames, n), area, &reached, bound) {
                word |= 1u32 << bit;
                count += 1u32;
            }
            if bit == WORD - 1 || n + 1u32 == range.end {
                kept[range.word(n, task.words)] = word;
                word = 0u32;
            }
        }
        counts[ABSOLUTE_POS] = count;
        totals[2].fetch_max(count);
    }
}

/// One unit per Gaussian: a bit for each of its image's tiles.
#[cube(launch)]
fn mark_tiles(counts: &Counts, kept: &Array<u32>, marks: &mut Array<u32>, words: u32) {
    if 2 * ABSOLUTE_POS < marks.len() {
        let n = ABSOLUTE_POS as u32;
        let image = counts.holding(n, Count::Gaussians);
        let local = n - counts.before(image, Count::Gaussians);
        let first = counts.before(image, Count::Tiles);
        let mut low = 0u32;
        let mut high = 0u32;
        for tile in first..counts.before(image + 1u32, Count::Tiles) {
            let bit = (kept[(tile * words + local / WORD) as usize] >> (local % WORD)) & 1u32;
            let at = tile - first;
            if at < WORD {
                low |= bit << at;
            } else {
                high |= bit << (at - WORD);
            }
        }
        marks[2 * ABSOLUTE_POS] = low;
        marks[2 * ABSOLUTE_POS + 1] = high;
    }
}

/// What [`fill`] reads.
#[derive(CubeType, CubeLaunch)]
struct Kept {
    kept: Array<u32>,
    marks: Array<u32>,
    starts: Array<u32>,
    slot_starts: Array<u32>,
}

/// What [`fill`] writes.
#[derive(CubeType, CubeLaunch)]
struct Filled {
    tile_starts: Array<u32>,
    members: Array<u32>,
    slots: Array<u32>,
    slot_tiles: Array<u32>,
    slot_owners: Array<u32>,
}

/// Writes the members of every range, and behind the last where they end.
#[cube(launch)]
fn fill(task: &Parts, found: &Kept, filled: &mut Filled, room: u32) {
    let unit = ABSOLUTE_POS as u32;
    let tiles = filled.tile_starts.len() as u32 - 1u32;
    if unit < tiles * task.parts {
        let range = Range::of(&task.counts, unit, task.parts);
        let mut at = found.starts[unit as usize];
        if unit == range.tile * task.parts {
            filled.tile_starts[range.tile as usize] = at;
        }
        let tile = range.tile - task.counts.before(range.image, Count::Tiles);
        for n in range.first..range.end {
            if ((found.kept[range.word(n, task.words)] >> ((n - range.base) % WORD)) & 1u32) != 0u32 {
                let mut slot = found.slot_starts[n as usize];
                let low = found.marks[2 * n as usize];
                if tile < WORD {
                    slot += (low & ((1u32 << tile) - 1u32)).count_ones();
                } else {
                    let high = found.marks[2 * n as usize + 1];
                    slot += low.count_ones() + (high & ((1u32 << (tile - WORD)) - 1u32)).count_ones();
                }
                if u32::max(at, slot) < room {
                    filled.members[at as usize] = n;
                    filled.slots[at as usize] = slot;
                    filled.slot_tiles[slot as usize] = range.tile;
                    filled.slot_owners[slot as usize] = n;
                }
                at += 1u32;
            }
        }
    } else if unit == tiles * task.parts {
        filled.tile_starts[tiles as usize] = found.starts[unit as usize];
    }
}
