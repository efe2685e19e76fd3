//! Exclusive prefix sum of counts: where each list starts, and how long all lists are together.
//!
//! One cube scans what its units can add up in a few rounds, in one launch, because launches are what short lists cost. Of more, one
//! unit adds up a chunk, and the chunk totals are scanned the same way. Integer sums saturate, so that an overflow shows as
//! `u32::MAX` instead of a small number.

use cubecl::prelude::*;

use crate::{Error, Result, buffer::Buffer, device::Device, real::Precision};

/// Counts of a chunk: few enough to keep many units busy.
const CHUNK: u32 = 64;
/// Units of the cube that scans alone.
const UNITS: u32 = 256;
/// Halvings of them.
const LEVELS: u32 = UNITS.ilog2();
/// Most counts that it scans.
const AT_ONCE: usize = (UNITS * CHUNK) as usize;

/// What is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Of {
    /// Counts.
    Counts,
    /// Two words each, whose bits are counted.
    Marks,
}

impl Of {
    fn words(self) -> usize {
        match self {
            Self::Counts => 1,
            Self::Marks => 2,
        }
    }
}

/// Start of every list and, in the last of `n + 1` elements, the total.
pub struct Starts<R: Runtime> {
    /// `[n + 1]`.
    pub starts: Buffer<R, u32>,
    /// One element.
    pub(crate) total: Buffer<R, u32>,
}

impl<R: Runtime> Starts<R> {
    /// Reads the total back, the only number that the host needs to allocate the lists.
    ///
    /// # Errors
    /// [`Error::TooLarge`] naming `what` when it does not fit a 32-bit index.
    pub fn total(&self, what: &'static str) -> Result<usize> {
        addressable(self.total.read_one()?, what)
    }
}

/// A total that did not saturate.
///
/// # Errors
/// [`Error::TooLarge`] naming `what` when it did.
pub(crate) fn addressable(total: u32, what: &'static str) -> Result<usize> {
    match total {
        u32::MAX => Err(Error::TooLarge { what, count: total.into(), most: (u32::MAX - 1).into() }),
        total => Ok(total as usize),
    }
}

/// Scans `counts [n]`.
pub fn starts<R: Runtime, P: Precision>(device: &Device<R, P>, counts: &Buffer<R, u32>) -> Starts<R> {
    let total = device.uninit(1);
    Starts { starts: starts_of(device, (counts, Of::Counts), (&total, 0)), total }
}

/// Scans what there is, and writes the total to a place among others.
pub(crate) fn starts_of<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    (values, of): (&Buffer<R, u32>, Of),
    (totals, place): (&Buffer<R, u32>, u32),
) -> Buffer<R, u32> {
    let length = values.len() / of.words();
    let starts = device.uninit(length + 1);
    let (client, values, to) = (device.client(), || values.arg(), || (starts.arg(), totals.arg()));
    if length <= AT_ONCE {
        let (count, dim) = device.per_cube(UNITS as usize, UNITS);
        let (starts, totals) = to();
        scan_at_once::launch::<R>(client, count, dim, values(), starts, totals, place, length as u32, of);
    } else {
        let chunks = length.div_ceil(CHUNK as usize);
        let (of_chunks, total) = (device.uninit(chunks), device.uninit(1));
        let (count, dim) = device.per_unit(chunks);
        total_of_chunk::launch::<R>(client, count.clone(), dim, values(), of_chunks.arg(), length as u32, of);
        let offsets = starts_of(device, (&of_chunks, Of::Counts), (&total, 0));
        let (starts, totals) = to();
        scan_chunk::launch::<R>(client, count, dim, values(), offsets.arg(), starts, totals, place, length as u32, of);
    }
    starts
}

/// Scans two things, in one launch where one cube each can do it; the totals go to two places of one array.
pub(crate) fn starts_of_both<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    both: [(&Buffer<R, u32>, Of); 2],
    totals: &Buffer<R, u32>,
    places: [u32; 2],
) -> [Buffer<R, u32>; 2] {
    let lengths = both.map(|(values, of)| values.len() / of.words());
    if lengths.iter().any(|&length| length > AT_ONCE) {
        return [0, 1].map(|k| starts_of(device, both[k], (totals, places[k])));
    }
    let starts = lengths.map(|length| device.uninit(length + 1));
    let (count, dim) = device.per_cube(2 * UNITS as usize, UNITS);
    let one = |k: usize| ScanLaunch::new(both[k].0.arg(), starts[k].arg(), places[k], lengths[k] as u32);
    scan_both::launch::<R>(device.client(), count, dim, one(0), one(1), totals.arg(), both[0].1, both[1].1);
    starts
}

#[cube]
fn count_at(values: &Array<u32>, at: u32, #[comptime] of: Of) -> u32 {
    match comptime!(of) {
        Of::Counts => values[at as usize],
        Of::Marks => values[2 * at as usize].count_ones() + values[2 * at as usize + 1].count_ones(),
    }
}

#[cube]
fn saturating(a: u32, b: u32) -> u32 {
    let sum = a + b;
    select(sum < a, 4294967295u32, sum)
}

#[cube]
fn sum_of(values: &Array<u32>, first: u32, end: u32, #[comptime] of: Of) -> u32 {
    let mut sum = 0u32;
    for at in first..end {
        sum = saturating(sum, count_at(values, at, of));
    }
    sum
}

/// Writes where the lists `first .. end` start, of which the first starts at `sum`; gives where the last ends.
#[cube]
fn write_starts(
    values: &Array<u32>,
    starts: &mut Array<u32>,
    first: u32,
    end: u32,
    sum: u32,
    #[comptime] of: Of,
) -> u32 {
    let mut sum = sum;
    for at in first..end {
        starts[at as usize] = sum;
        sum = saturating(sum, count_at(values, at, of));
    }
    sum
}

#[cube(launch)]
fn total_of_chunk(values: &Array<u32>, totals: &mut Array<u32>, length: u32, #[comptime] of: Of) {
    if ABSOLUTE_POS < totals.len() {
        let first = ABSOLUTE_POS as u32 * CHUNK;
        totals[ABSOLUTE_POS] = sum_of(values, first, u32::min(first + CHUNK, length), of);
    }
}

#[cube(launch)]
fn scan_chunk(
    values: &Array<u32>,
    offsets: &Array<u32>,
    starts: &mut Array<u32>,
    totals: &mut Array<u32>,
    place: u32,
    length: u32,
    #[comptime] of: Of,
) {
    let first = ABSOLUTE_POS as u32 * CHUNK;
    if first < length {
        let end = u32::min(first + CHUNK, length);
        let sum = write_starts(values, starts, first, end, offsets[ABSOLUTE_POS], of);
        if end == length {
            starts[length as usize] = sum;
            totals[place as usize] = sum;
        }
    }
}

/// What a cube scans alone.
#[derive(CubeType, CubeLaunch)]
struct Scan {
    values: Array<u32>,
    starts: Array<u32>,
    place: u32,
    length: u32,
}

/// Two cubes with a scan each.
#[cube(launch)]
fn scan_both(
    first: &mut Scan,
    second: &mut Scan,
    totals: &mut Array<u32>,
    #[comptime] of_first: Of,
    #[comptime] of_second: Of,
) {
    if CUBE_POS == 0 {
        scan_alone(&first.values, &mut first.starts, totals, first.place, first.length, of_first);
    } else if CUBE_POS == 1 {
        scan_alone(&second.values, &mut second.starts, totals, second.place, second.length, of_second);
    }
}

/// One cube.
#[cube(launch)]
fn scan_at_once(
    values: &Array<u32>,
    starts: &mut Array<u32>,
    totals: &mut Array<u32>,
    place: u32,
    length: u32,
    #[comptime] of: Of,
) {
    scan_alone(values, starts, totals, place, length, of);
}

/// Every unit of a cube adds up its part; what precedes it is found by doubling, between two halves of shared memory.
#[cube]
fn scan_alone(
    values: &Array<u32>,
    starts: &mut Array<u32>,
    totals: &mut Array<u32>,
    place: u32,
    length: u32,
    #[comptime] of: Of,
) {
    let mut sums = SharedMemory::<u32>::new(comptime!(2 * UNITS as usize));
    let each = length.div_ceil(UNITS);
    let first = u32::min(UNIT_POS * each, length);
    let end = u32::min(first + each, length);
    sums[UNIT_POS as usize] = sum_of(values, first, end, of);
    sync_cube();
    #[unroll]
    for level in 0..LEVELS {
        let from = comptime!(level % 2 * UNITS);
        let to = comptime!(UNITS - level % 2 * UNITS);
        let reach = comptime!(1u32 << level);
        let mut sum = sums[(from + UNIT_POS) as usize];
        if UNIT_POS >= reach {
            sum = saturating(sum, sums[(from + UNIT_POS - reach) as usize]);
        }
        sums[(to + UNIT_POS) as usize] = sum;
        sync_cube();
    }
    let last = comptime!(LEVELS % 2 * UNITS);
    let mut before = 0u32;
    if UNIT_POS > 0 {
        before = sums[(last + UNIT_POS - 1) as usize];
    }
    let sum = write_starts(values, starts, first, end, before, of);
    if UNIT_POS == UNITS - 1 {
        starts[length as usize] = sum;
        totals[place as usize] = sum;
    }
}

/// Who has number `index`: the last of `count` that does not start after it.
#[cube]
pub(crate) fn owner(starts: &Array<u32>, count: u32, index: u32) -> u32 {
    let mut low = 0u32;
    let mut high = count;
    while low + 1u32 < high {
        let middle = (low + high) / 2u32;
        if starts[middle as usize] <= index {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}
