//! Exclusive prefix sum of counts: where each list starts, and how long all lists are together.
//!
//! One unit adds up a chunk; the chunk totals are scanned the same way until one chunk is left. Integer sums saturate, so
//! that an overflow shows as `u32::MAX` instead of a small number.

use cubecl::prelude::*;

use crate::{Error, Result, buffer::Buffer, device::Device, real::Precision};

/// Counts per unit: few enough to keep many units busy, enough that four levels reach 16 million.
const CHUNK: u32 = 64;

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
        u32::MAX => Err(Error::TooLarge { what }),
        total => Ok(total as usize),
    }
}

/// Scans `counts [n]`.
pub fn starts<R: Runtime, P: Precision>(device: &Device<R, P>, counts: &Buffer<R, u32>) -> Starts<R> {
    let starts = device.uninit(counts.len() + 1);
    let total = device.uninit(1);
    let offsets = chunk_offsets(device, counts);
    let chunks = counts.len().div_ceil(CHUNK as usize).max(1);
    let (count, dim) = device.per_unit(chunks);
    scan_chunk::launch::<R>(
        device.client(),
        count,
        dim,
        counts.arg(),
        offsets.arg(),
        starts.arg(),
        total.arg(),
        counts.len() as u32,
    );
    Starts { starts, total }
}

/// What precedes each chunk: the scan of the chunk totals.
fn chunk_offsets<R: Runtime, P: Precision>(device: &Device<R, P>, counts: &Buffer<R, u32>) -> Buffer<R, u32> {
    let chunks = counts.len().div_ceil(CHUNK as usize);
    if chunks <= 1 {
        return device.upload(&[0, 0]);
    }
    let totals = device.uninit(chunks);
    let (count, dim) = device.per_unit(chunks);
    total_of_chunk::launch::<R>(device.client(), count, dim, counts.arg(), totals.arg());
    self::starts(device, &totals).starts
}

#[cube]
fn saturating(a: u32, b: u32) -> u32 {
    let sum = a + b;
    select(sum < a, 4294967295u32, sum)
}

#[cube(launch)]
fn total_of_chunk(counts: &Array<u32>, totals: &mut Array<u32>) {
    let chunk = ABSOLUTE_POS as u32;
    if ABSOLUTE_POS < totals.len() {
        let mut sum = 0u32;
        for i in chunk * CHUNK..u32::min((chunk + 1u32) * CHUNK, counts.len() as u32) {
            sum = saturating(sum, counts[i as usize]);
        }
        totals[ABSOLUTE_POS] = sum;
    }
}

#[cube(launch)]
fn scan_chunk(counts: &Array<u32>, offsets: &Array<u32>, starts: &mut Array<u32>, total: &mut Array<u32>, length: u32) {
    let first = ABSOLUTE_POS as u32 * CHUNK;
    if first < length || ABSOLUTE_POS == 0 {
        let mut sum = offsets[ABSOLUTE_POS];
        let end = u32::min(first + CHUNK, length);
        for i in first..end {
            starts[i as usize] = sum;
            sum = saturating(sum, counts[i as usize]);
        }
        if end == length {
            starts[length as usize] = sum;
            total[0] = sum;
        }
    }
}
