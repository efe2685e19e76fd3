//! The sums over a Gaussian's pixels that every derivative by its parameters, and its Gauss-Newton matrix, is made of.
//!
//! Every (tile, Gaussian) slot has a place of its own for its sums over the tile's pixels. They are taken column by column: down a
//! column one coordinate of the whitened displacement stays (see [`crate::gaussian`]), so that a pixel adds to moments of the other
//! one alone, and a column to those of both.

mod axes;

use cubecl::prelude::*;

pub(crate) use self::axes::{along, turn};
use crate::{
    gaussian::{Frame, Point},
    penalty::Penalty,
    rasterize::{Layers, Lists, Mode, alpha_of, largest_alpha},
    real::{Quad, Real, fast_exp, quad},
};

/// Which sums [`crate::evaluate::evaluate`] makes.
///
/// Sums over the pixels of every slot: with `w = exp(-q/2)`, whitened displacement `v`, amplitude `A`, residual `E` and
/// `G = E` (squared) or `E / max(|E|, floor)` (absolute):
/// `w G_c` per channel; `w (A . G)` times `v0^2, v0 v1, v1^2`, and with means times `v0, v1`;
/// curvature `k = w (w + coverage) / 2` (times the channels' mean of `1 / max(|E|, floor)` if absolute) times
/// `1, v0^2, v0 v1, v1^2, v0^4, v0^3 v1, v0^2 v1^2, v0 v1^3, v1^4`, and with means times
/// `v0, v1, v0^3, v0^2 v1, v0 v1^2, v1^3`. Where Gaussians lie over each other, `w G_c` is dimmed by those in
/// front, `A` is the opacity times the dimmed difference from what is behind, and `w (A . G)` itself is summed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sums {
    /// 1 or 3.
    pub channels: u32,
    /// First derivatives by the mean (`means`), and moments of the curvature too (`curvature`).
    pub means: bool,
    /// Moments of the Gauss-Newton matrix.
    pub curvature: bool,
    /// How a residual counts.
    pub penalty: Penalty,
    /// Whether Gaussians lie over each other.
    pub over: bool,
}

impl Sums {
    /// Numbers per slot: the sums, filled up to whole quads.
    pub(crate) fn count(self) -> u32 {
        let sums = self.curvature_at() + if self.curvature { if self.means { 15 } else { 9 } } else { 0 };
        sums.next_multiple_of(4)
    }

    pub(crate) fn mode(self) -> Mode {
        Mode { channels: self.channels, over: self.over }
    }

    /// Where `w (A . G)` stands, the derivative by the log opacity, where Gaussians lie over each other.
    pub(crate) fn opacity_at(self) -> u32 {
        self.mean_at() + if self.means { 2 } else { 0 }
    }

    /// Where the second moments `w (A . G) v_i v_j` start, after the channels' `w G_c`.
    pub(crate) fn shape_at(self) -> u32 {
        self.channels
    }

    /// Where the first moments `w (A . G) v_i` start.
    pub(crate) fn mean_at(self) -> u32 {
        self.channels + 3
    }

    /// Where the moments of the curvature start.
    pub(crate) fn curvature_at(self) -> u32 {
        self.opacity_at() + u32::from(self.over)
    }

    /// Numbers of a column: the channels' `w G_c`, `w (A . G)` times `1, t, t^2`, and the curvature times `1, t .. t^4`.
    pub(crate) fn of_column(self) -> u32 {
        self.channels + if self.curvature { 8 } else { 3 }
    }
}

/// So many sums of nothing.
#[cube]
pub(crate) fn no_sums<F: Real>(#[comptime] count: u32) -> Array<F> {
    let mut sum = Array::<F>::new(comptime!(count as usize));
    #[unroll]
    for k in 0..comptime!(count as usize) {
        sum[k] = F::new(0.0);
    }
    sum
}

/// Writes a slot's sums.
#[cube]
pub(crate) fn write_sums<F: Real>(partial: &mut Array<Quad<F>>, slot: u32, sum: &Array<F>, #[comptime] sums: Sums) {
    let quads = comptime!(sums.count() as usize / 4);
    #[unroll]
    for k in 0..quads {
        partial[slot as usize * quads + k] = quad::<F>(sum[4 * k], sum[4 * k + 1], sum[4 * k + 2], sum[4 * k + 3]);
    }
}

/// Adds what one pixel brings to its column: `down`, the coordinate that changes there, weight `w`, and `drawn`, its residual for
/// three channels and the sum of all weights.
#[cube]
pub(crate) fn add_pixel<F: Real>(
    sum: &mut Array<F>,
    down: F,
    w: F,
    effect: &Effect<F>,
    drawn: Quad<F>,
    floor: F,
    #[comptime] sums: Sums,
) {
    let channels = comptime!(sums.channels as usize);
    let mut along = F::new(0.0);
    let mut weight = F::new(0.0);
    #[unroll]
    for c in 0..channels {
        let pull = match comptime!(sums.penalty) {
            Penalty::Squared => drawn[c],
            Penalty::Absolute => {
                let inverse = F::new(1.0) / max(drawn[c].abs(), floor);
                weight += inverse;
                drawn[c] * inverse
            }
        };
        along += effect.amplitude[c] * pull;
        sum[c] += effect.by_color * pull;
    }
    add_powers::<F>(sum, w * along, down, channels, 2usize);
    if comptime!(sums.curvature) {
        let shared = w * (w + drawn[3]) / F::new(2.0);
        let k = match comptime!(sums.penalty) {
            Penalty::Squared => shared,
            Penalty::Absolute => shared * weight / F::cast_from(comptime!(sums.channels)),
        };
        add_powers::<F>(sum, k, down, comptime!(channels + 3), 4usize);
    }
}

/// Adds `value` times `1, t .. t^degree`.
#[cube]
fn add_powers<F: Real>(sum: &mut Array<F>, value: F, t: F, #[comptime] at: usize, #[comptime] degree: usize) {
    let mut power = value;
    sum[at] += power;
    #[unroll]
    for k in 0..degree {
        power *= t;
        sum[at + k + 1] += power;
    }
}

/// Adds what a column brings to its slot: `across` is the coordinate that all of it has.
#[cube]
pub(crate) fn add_column<F: Real>(sum: &mut Array<F>, column: &Array<F>, across: F, #[comptime] sums: Sums) {
    let channels = comptime!(sums.channels as usize);
    #[unroll]
    for c in 0..channels {
        sum[c] += column[c];
    }
    add_moments::<F>(sum, column, across, comptime!(sums.shape_at() as usize), channels, 2usize);
    if comptime!(sums.means) {
        add_moments::<F>(sum, column, across, comptime!(sums.mean_at() as usize), channels, 1usize);
    }
    if comptime!(sums.over) {
        add_moments::<F>(sum, column, across, comptime!(sums.opacity_at() as usize), channels, 0usize);
    }
    if comptime!(sums.curvature) {
        let (at, from) = comptime!((sums.curvature_at() as usize, channels + 3));
        add_moments::<F>(sum, column, across, at, from, 0usize);
        add_moments::<F>(sum, column, across, comptime!(at + 1), from, 2usize);
        add_moments::<F>(sum, column, across, comptime!(at + 4), from, 4usize);
        if comptime!(sums.means) {
            add_moments::<F>(sum, column, across, comptime!(at + 9), from, 1usize);
            add_moments::<F>(sum, column, across, comptime!(at + 11), from, 3usize);
        }
    }
}

/// Adds moments `across^(degree - j) t^j`, `j = 0 ..= degree`, to those from `at` on.
#[cube]
fn add_moments<F: Real>(
    sum: &mut Array<F>,
    column: &Array<F>,
    across: F,
    #[comptime] at: usize,
    #[comptime] from: usize,
    #[comptime] degree: usize,
) {
    let mut power = F::new(1.0);
    #[unroll]
    for k in 0..comptime!(degree + 1) {
        let j = comptime!(degree - k);
        sum[at + j] += power * column[from + j];
        power *= across;
    }
}

/// How a Gaussian of weight `w` changes a pixel: per unit of `w` (times what it does to the shape) and of color.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Effect<F: Real> {
    pub amplitude: Quad<F>,
    pub by_color: F,
}

/// Where Gaussians lie over each other.
#[cube]
pub(crate) fn layered<F: Real>(
    layers: &Layers<F>,
    lists: &Lists<F>,
    drawn: Quad<F>,
    tile: u32,
    n: u32,
    pixel: usize,
    top: Point<F>,
    stride: F,
    y: F,
    w: F,
    #[comptime] channels: u32,
) -> Effect<F> {
    let channel_count = comptime!(channels as usize);
    // What those in front show, and how much they let through.
    let mut front = Quad::<F>::new(F::new(0.0));
    let mut through = F::new(1.0);
    for member in lists.starts[tile as usize]..lists.starts[tile as usize + 1] {
        let m = lists.members[member as usize];
        if m < n {
            // As it was drawn, to the last bit: at the end of support rounding decides.
            let line = Frame::load(&layers.frames, m).line(top, stride);
            let q = line.mahalanobis_sq(line.down(y));
            if q <= layers.support {
                let amplitude = layers.amplitude(m);
                let alpha = alpha_of::<F>(amplitude, fast_exp::<F>(q / F::new(-2.0)));
                if alpha > F::new(0.0) {
                    #[unroll]
                    for c in 0..channel_count {
                        front[c] += through * alpha * layers.color(amplitude, pixel, c, channels);
                    }
                    through *= F::new(1.0) - alpha;
                }
            }
        }
    }
    // The raster is front + through (alpha color + (1 - alpha) behind): that gives what is behind.
    let own = layers.amplitude(n);
    let opacity = own[3];
    let alpha = alpha_of::<F>(own, w);
    // At the limit of alpha only the color still changes the pixel; without opacity nothing does.
    let mut gain = opacity;
    if alpha >= largest_alpha::<F>() {
        gain = F::new(0.0);
    }
    let mut amplitude = Quad::<F>::new(F::new(0.0));
    let mut by_color = F::new(0.0);
    if opacity > F::new(0.0) {
        by_color = through * alpha / opacity;
        #[unroll]
        for c in 0..channel_count {
            let color = layers.color(own, pixel, c, channels);
            let seen = (drawn[c] - front[c]) / through;
            let behind = (seen - alpha * color) / (F::new(1.0) - alpha);
            amplitude[c] = gain * through * (color - behind);
        }
    }
    Effect::<F> { amplitude, by_color }
}

/// Slots that are added in one round of a loop.
const SLOTS_A_ROUND: u32 = 8;

/// A Gaussian's total: its slots, added in order.
#[cube]
pub(crate) fn total<F: Real>(
    partial: &Array<Quad<F>>,
    slot_starts: &Array<u32>,
    n: u32,
    #[comptime] sums: Sums,
) -> Array<F> {
    let sum = total_of_quads(partial, slot_starts, n, comptime!(sums.count() / 4));
    let mut out = no_sums::<F>(comptime!(sums.count()));
    #[unroll]
    for k in 0..comptime!(sums.count() as usize) {
        out[k] = sum[k / 4][k % 4];
    }
    out
}

/// The same of so many quads a slot, whatever they hold.
#[cube]
pub(crate) fn total_of_quads<F: Real>(
    partial: &Array<Quad<F>>,
    slot_starts: &Array<u32>,
    n: u32,
    #[comptime] quads: u32,
) -> Array<Quad<F>> {
    let quads = comptime!(quads as usize);
    let mut sum = Array::<Quad<F>>::new(quads);
    #[unroll]
    for k in 0..quads {
        sum[k] = Quad::<F>::new(F::new(0.0));
    }
    // Some slots a round: software Vulkan ends a unit's loops after 65535 rounds in all.
    let end = slot_starts[n as usize + 1];
    let mut slot = slot_starts[n as usize];
    while slot < end {
        #[unroll]
        for next in 0..SLOTS_A_ROUND {
            if slot + next < end {
                #[unroll]
                for k in 0..quads {
                    sum[k] += partial[(slot + next) as usize * quads + k];
                }
            }
        }
        slot += SLOTS_A_ROUND;
    }
    sum
}
