//! What rounding may hide in a plan: once potentials stop moving a probe sees no error, however far off their plan is.
//!
//! An entry's exponent `(f + g - C) / epsilon` is a difference of numbers that may be far larger than itself. In units of the roundoff,
//! with the errors that Vulkan allows (2.5 ulp a division, 3 a logarithm, `3 + 2 |x|` an exponential), `f / epsilon` is off by 9 of
//! itself and `C / epsilon` by 13, or by 20 where a square root is taken; where mass goes `C` is `f + g` up to epsilon times logarithms.
//! So exponents are off by 22 or 29 of `(|f| + |g|) / epsilon` at most, and by 32 of the logarithms of masses. An exponential cost has
//! `(6 + 32 x) (1 + C)` more, with `x = ln(1 + C)`. Adding a column up costs 8: a sum, the sum's rescaling and its exponential.
//!
//! An entry changes by `exp(h(f) + h(g)) - 1` of itself, which is at most the mean of `exp(2 h(f)) - 1` and of the same for `g`: so cells and
//! points are looked at one by one, each with the mass that it moves.

use cubecl::prelude::*;

use super::{
    Ground, Problem, State,
    halves::{CELL_LANES, POINT_LANES},
    judge::bounded_exp,
    rules::Criterion,
    sides::Round,
};
use crate::{
    buffer::Buffer,
    device::{Device, Shape},
    grid::{Count, Counts},
    real::{HostReal, Precision, Quad, Real, quad, real},
    totals::totals,
};

/// Roundoffs of an exponent, times the potentials that it is a difference of, over epsilon.
const OF_SQUARES: f32 = 22.0;
const OF_DISTANCES: f32 = 29.0;
/// Those of an exponential cost, and of logarithms.
const OF_LOGARITHMS: f32 = 32.0;
/// Those of an entry whatever its exponent: its own exponential and the logarithm of a sum of less than `e^11` of them.
const OF_ENTRIES: f32 = 64.0;
/// Those of a column in a sum.
const OF_COLUMNS: f32 = 8.0;
/// Exponents may be off by more, but that is enough to know nothing.
const MOST: f32 = 10.0;

impl<R: Runtime, P: Precision> Problem<R, P> {
    /// For every image, `[images, 4]` each, of points and of cells: the mass that they should move, and how far rounding may change it.
    /// `None` for published rounds, which end where they end.
    pub(super) fn roundings(
        &self,
        device: &Device<R, P>,
        state: &State<R, P::Real>,
    ) -> Option<[Buffer<R, P::Real>; 2]> {
        if self.rules.criterion() == Criterion::Squares {
            return None;
        }
        let lanes = if device.shape() == Shape::Tiled { [POINT_LANES, CELL_LANES] } else { [1, 1] };
        let rules = &self.rules;
        let sides = [
            (Count::Gaussians, &state.points, rules.of_points.softness()),
            (Count::Cells, &state.cells, rules.of_cells.softness()),
        ];
        Some(sides.map(|(of, side, softness)| {
            let len = self.mosaic.total(of);
            let changes = device.uninit(4 * len);
            if len > 0 {
                let (cubes, dim) = device.per_unit(len);
                side_roundings::launch::<P::Real, R>(
                    device.client(),
                    cubes,
                    dim,
                    self.mosaic.counts(),
                    self.round(state, [self.stages; 2]),
                    side.arg(),
                    changes.arg(),
                    real(softness),
                    real(P::Real::EPSILON.cast_to_f64() / 2.0),
                    of,
                    lanes[0],
                    lanes[1],
                    rules.ground,
                );
            }
            totals(device, &self.mosaic, &changes, of)
        }))
    }
}

#[cube(launch)]
fn side_roundings<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    side: &Array<Quad<F>>,
    changes: &mut Array<Quad<F>>,
    softness: F,
    unit: F,
    #[comptime] of: Count,
    #[comptime] point_lanes: u32,
    #[comptime] cell_lanes: u32,
    #[comptime] ground: Ground,
) {
    let at = ABSOLUTE_POS as u32;
    let all = counts.total(of);
    if at < all {
        let image = counts.holding(at, of);
        let epsilon = round.epsilon(image, counts.images());
        let cells = counts.before(image + 1u32, Count::Cells) - counts.before(image, Count::Cells);
        let points = counts.before(image + 1u32, Count::Gaussians) - counts.before(image, Count::Gaussians);
        let added = F::cast_from(u32::max(cells / point_lanes, points / cell_lanes) + 1u32);
        let (mass, far, zero) = (side[at as usize][3], side[(all + at) as usize], F::new(0.0));
        let mut change = quad::<F>(zero, zero, zero, zero);
        if mass > zero {
            // Twice, see above.
            let size = F::new(2.0) * far[0].abs();
            let mut off = F::new(OF_SQUARES) * size;
            if comptime!(ground == Ground::Distance) {
                off = F::new(OF_DISTANCES) * size;
            }
            if comptime!(ground == Ground::Exponential) {
                let growth = F::new(OF_LOGARITHMS) * (size + F::new(1.0)).ln() + F::new(6.0);
                off = F::new(OF_DISTANCES) * size + growth * (size + F::new(1.0));
            }
            let logarithms = F::new(2.0 * OF_LOGARITHMS) * far[1].abs();
            let others = logarithms + F::new(OF_COLUMNS) * added + F::new(OF_ENTRIES);
            let exponent = min(unit * (off / epsilon + others), F::new(MOST));
            // `exp(x) - 1`, without what subtracting would cancel.
            let more = select(exponent < F::new(1.0), exponent + exponent * exponent, exponent.exp());
            let moved = mass * bounded_exp::<F>(-softness * far[0]);
            change = quad::<F>(moved, moved * more / F::new(2.0), zero, zero);
        }
        changes[at as usize] = change;
    }
}
