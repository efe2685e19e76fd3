//! The photo with the objects painted out: masked pixels become the mean of the pixels around them.

use std::{ops::Range, sync::OnceLock};

use rayon::prelude::*;

/// Half the side of the first window that is averaged to paint a pixel out, px.
const FIRST_WINDOW: usize = 8;
/// Least number of unmasked pixels that the window must contain.
const SUPPORT: u64 = 30;
/// Number of rows that are painted together. They share column sums, which are computed anew for every band.
const BAND: usize = 64;

/// The value 1 in the sums. Sums are whole numbers, so that neither their order nor the bands change a bit. Levels
/// divided by 255 are multiples of 2^-31, and a photo has fewer than 2^30 pixels
/// ([`Cells::MOST`](splatport_kernels::Cells::MOST)).
const ONE: f64 = (1u64 << 34) as f64;

/// A sample of a photo.
pub(super) trait Sample: Copy + Send + Sync {
    /// The sample in units of 2^-34.
    fn fixed(self) -> u64;
    /// The sample nearest to a mean.
    fn of_mean(mean: f64) -> Self;
}

const LEVELS: [u64; 256] = {
    let mut levels = [0; 256];
    let mut level = 0;
    while level < 256 {
        levels[level] = ((level as f32 / 255.0) as f64 * ONE) as u64;
        level += 1;
    }
    levels
};

impl Sample for u8 {
    fn fixed(self) -> u64 {
        LEVELS[self as usize]
    }

    fn of_mean(mean: f64) -> Self {
        // In `f64` the sum is exact, so this rounds as `round` does, but without its function call.
        (f64::from(mean as f32 * 255.0) + 0.5) as u8
    }
}

impl Sample for f32 {
    fn fixed(self) -> u64 {
        (f64::from(self) * ONE).round() as u64
    }

    fn of_mean(mean: f64) -> Self {
        mean as f32
    }
}

/// Sums of up to three channels, and the number of pixels.
type Sums = [u64; 4];
const COUNT: usize = 3;

/// A photo of `C` channels and its mask.
struct Canvas<'a, S, const C: usize> {
    pixels: &'a [[S; C]],
    mask: &'a [bool],
    width: usize,
    height: usize,
    /// Mean of every channel over the whole photo, computed on first use.
    mean: OnceLock<[f64; C]>,
}

/// A pixel's row and column.
type Place = (usize, usize);

/// Replaces every masked pixel by the mean of the unmasked ones in a window. The window doubles until it contains
/// enough of them.
pub(super) fn inpainted<S: Sample>(samples: &[S], mask: &[bool], size: [usize; 2]) -> Vec<S> {
    if samples.len() == mask.len() {
        painted::<S, 1>(samples, mask, size)
    } else {
        painted::<S, 3>(samples, mask, size)
    }
}

fn painted<S: Sample, const C: usize>(samples: &[S], mask: &[bool], [width, height]: [usize; 2]) -> Vec<S> {
    let canvas = Canvas::<S, C> { pixels: samples.as_chunks().0, mask, width, height, mean: OnceLock::new() };
    let mut painted = samples.to_vec();
    let bands = painted.as_chunks_mut().0.par_chunks_mut(BAND * width).enumerate();
    bands.for_each(|(band, pixels)| canvas.paint(band * BAND, pixels));
    painted
}

impl<S: Sample, const C: usize> Canvas<'_, S, C> {
    /// Paints whole rows, starting with row `top`.
    fn paint(&self, top: usize, pixels: &mut [[S; C]]) {
        let rows = self.mask.chunks_exact(self.width).enumerate().skip(top).take(BAND);
        let masked =
            rows.flat_map(|(row, mask)| mask.iter().enumerate().filter(|(_, m)| **m).map(move |(at, _)| (row, at)));
        let mut left: Vec<Place> = masked.collect();
        let mut half = FIRST_WINDOW;
        while !left.is_empty() {
            // A window that covers the image cannot see more by growing.
            let all = half >= self.width.max(self.height);
            left = self.sweep(&left, half, |(row, column), seen| {
                if seen[COUNT] < SUPPORT && !all {
                    return false;
                }
                let count = seen[COUNT] as f64;
                let mean = |channel: usize| seen[channel] as f64 / ONE / count;
                pixels[(row - top) * self.width + column] = std::array::from_fn(|channel| {
                    S::of_mean(if seen[COUNT] > 0 { mean(channel) } else { self.mean()[channel] })
                });
                true
            });
            half *= 2;
        }
    }

    /// Calls `paint` for `places`, row after row, with the sums of the window around each. Returns the places that
    /// `paint` did not accept.
    fn sweep(&self, places: &[Place], half: usize, mut paint: impl FnMut(Place, &Sums) -> bool) -> Vec<Place> {
        // Sums over the window's rows: of every column, and of all columns before it.
        let (mut columns, mut before) = (vec![Sums::default(); self.width], vec![Sums::default(); self.width + 1]);
        let mut rows = 0..0;
        let mut left = Vec::new();
        let sides = |(_, column): Place| (column.saturating_sub(half), (column + half + 1).min(self.width));
        for line in places.chunk_by(|a, b| a.0 == b.0) {
            let window = line[0].0.saturating_sub(half)..(line[0].0 + half + 1).min(self.height);
            self.count(rows.start..window.start.min(rows.end), &mut columns, u64::wrapping_sub);
            self.count(window.start.max(rows.end)..window.end, &mut columns, u64::wrapping_add);
            rows = window;
            let (first, end) = (sides(line[0]).0, sides(line[line.len() - 1]).1);
            let mut sums = Sums::default();
            before[first] = sums;
            for (column, before) in columns[first..end].iter().zip(&mut before[first + 1..=end]) {
                sums.iter_mut().zip(column).for_each(|(sum, own)| *sum += own);
                *before = sums;
            }
            left.extend(line.iter().copied().filter(|&place| {
                let (start, end) = sides(place);
                !paint(place, &std::array::from_fn(|k| before[end][k] - before[start][k]))
            }));
        }
        left
    }

    /// Adds the unmasked pixels of `rows` to the sums of their columns, or subtracts them.
    fn count(&self, rows: Range<usize>, columns: &mut [Sums], add: impl Fn(u64, u64) -> u64) {
        for row in rows {
            let row = row * self.width..(row + 1) * self.width;
            for ((sums, masked), pixel) in columns.iter_mut().zip(&self.mask[row.clone()]).zip(&self.pixels[row]) {
                if !masked {
                    (0..C).for_each(|channel| sums[channel] = add(sums[channel], pixel[channel].fixed()));
                    sums[COUNT] = add(sums[COUNT], 1);
                }
            }
        }
    }

    fn mean(&self) -> &[f64; C] {
        self.mean.get_or_init(|| {
            let mut sums = [0u64; C];
            for pixel in self.pixels {
                sums.iter_mut().zip(pixel).for_each(|(sum, sample)| *sum += sample.fixed());
            }
            sums.map(|sum| sum as f64 / ONE / self.mask.len() as f64)
        })
    }
}
