//! Generalized loss around a transport solution: what the plan misses on either side, and its entropy.

use cubecl::prelude::*;

use super::{
    Ground, Problem, Solution,
    judge::bounded_exp,
    sides::{Round, SCALE, cost},
};
use crate::{
    Result, arithmetic,
    buffer::Buffer,
    device::Device,
    dm_count::{Terms, sign},
    gaussian::Point,
    grid::{Count, Counts},
    real::{Precision, Quad, Real, real},
    totals::totals,
};

/// The most that a cell can be seen to miss: its square times a million cells stays in `f32`.
const MOST_OFF: f32 = 1e16;
/// Added to every entry of the plan in its entropy, as published code does.
const TINY: f32 = 1e-20;

/// What the terms weigh.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Price of mass that stays or is missing, in the unit of the costs.
    pub rho: f64,
    /// Of what the plan misses on either side.
    pub tau: f64,
    /// Of an image in the batch.
    pub share: f64,
    /// Of an image's entropy in the batch.
    pub entropy: f64,
    /// What a unit of mass costs in an image without points.
    pub alone: f64,
}

#[derive(CubeType, CubeLaunch)]
struct Shares<F: Real> {
    rho: F,
    tau: F,
    share: F,
    entropy: F,
    alone: F,
}

impl<R: Runtime, P: Precision> Problem<R, P> {
    /// For every image `share (W + tau (sum_i ((P1)_i - z_i)^2 + sum_n |(P'1)_n - t_n|)) + entropy epsilon mean(p ln p)`, with
    /// `W = (rho + epsilon / 2) (<z, 1 - exp(-f / rho)> + <t, 1 - exp(-g / rho)>)` and the plan's entries `p = z_i k_in`; and
    /// its derivative by the density with the potentials, `k` and the first square's `P1` held. `received` is `P'1`, `[points]`.
    ///
    /// # Errors
    /// [`crate::Error::Length`] when `received` has not one element per point.
    pub fn generalized(
        &self,
        device: &Device<R, P>,
        solution: &Solution<R, P::Real>,
        received: &Buffer<R, P::Real>,
        weights: Weights,
    ) -> Result<Terms<R, P::Real>> {
        let (cells, points) = (self.mosaic.total(Count::Cells), self.mosaic.total(Count::Gaussians));
        received.expect("received mass", points)?;
        let (client, state) = (device.client(), &solution.state);
        let round = || self.round(state, [self.stages; 2]);
        let shares = || {
            let Weights { rho, tau, share, entropy, alone } = weights;
            let [rho, tau, share, entropy, alone] = [rho, tau, share, entropy, alone].map(real);
            SharesLaunch::new(rho, tau, share, entropy, alone)
        };
        let (of_cells, gradient) = (device.uninit(4 * cells), device.uninit(cells));
        let (cubes, dim) = device.per_unit(cells);
        cell_terms::launch::<P::Real, R>(
            client,
            cubes,
            dim,
            self.mosaic.counts(),
            round(),
            state.cells.arg(),
            state.points.arg(),
            received.arg(),
            of_cells.arg(),
            gradient.arg(),
            shares(),
            self.rules.ground,
        );
        let of_points = device.uninit(4 * points);
        if points > 0 {
            let (cubes, dim) = device.per_unit(points);
            point_terms::launch::<P::Real, R>(
                client,
                cubes,
                dim,
                self.mosaic.counts(),
                round(),
                state.points.arg(),
                received.arg(),
                of_points.arg(),
                shares(),
            );
        }
        let of_cells = totals(device, &self.mosaic, &of_cells, Count::Cells);
        let of_points = totals(device, &self.mosaic, &of_points, Count::Gaussians);
        let sums = arithmetic::combine(device, &of_cells, &of_points, 1.0, 1.0)?;
        Ok(Terms { values: super::demand::pick(device, &sums, 0, 4, self.mosaic.images().len()), gradient })
    }
}

/// `(rho + epsilon / 2) (1 - exp(-p / rho))`.
#[cube]
fn price<F: Real>(potential: F, rho: F, epsilon: F) -> F {
    (rho + epsilon / F::new(2.0)) * (F::new(1.0) - bounded_exp::<F>(-potential / rho))
}

#[cube(launch)]
fn cell_terms<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    cells: &Array<Quad<F>>,
    points: &Array<Quad<F>>,
    received: &Array<F>,
    parts: &mut Array<Quad<F>>,
    gradient: &mut Array<F>,
    shares: &Shares<F>,
    #[comptime] ground: Ground,
) {
    let i = ABSOLUTE_POS as u32;
    let all = counts.total(Count::Cells);
    if i < all {
        let image = counts.holding(i, Count::Cells);
        let (first, end) = (counts.before(image, Count::Gaussians), counts.before(image + 1u32, Count::Gaussians));
        let epsilon = round.epsilon(image, counts.images());
        let sharpness = round.constant(image, counts.images(), SCALE) / epsilon;
        let ruler = round.ruler(image, counts.images());
        let cell = cells[i as usize];
        let (potential, z) = (cells[(all + i) as usize][0], cell[3]);
        let centre = Point::<F> { x: cell[0], y: cell[1] };
        let exponent = potential / epsilon;
        let mut mass = F::new(0.0);
        let mut signed = F::new(0.0);
        let mut entropy = F::new(0.0);
        let mut by_entropy = F::new(0.0);
        for n in first..end {
            let near = points[n as usize];
            let distance = cost::<F>(&centre, near[0], near[1], &ruler, ground);
            let k = bounded_exp::<F>(near[2] + exponent - distance * sharpness);
            let log = (z * k + F::new(TINY)).ln();
            mass += z * k;
            signed += k * sign::<F>(received[n as usize] - near[3]);
            entropy += (z * k + F::new(TINY)) * log;
            by_entropy += k * (log + F::new(1.0));
        }
        let in_image = counts.before(image + 1u32, Count::Cells) - counts.before(image, Count::Cells);
        let pairs = F::cast_from(u32::max(end - first, 1u32)) * F::cast_from(in_image);
        let per_pair = shares.entropy * epsilon / pairs;
        let paid = price::<F>(potential, shares.rho, epsilon);
        let off = clamp(z - mass, F::new(-MOST_OFF), F::new(MOST_OFF));
        let mut value = shares.share * (z * paid + shares.tau * off * off) + per_pair * entropy;
        let by_plan = F::new(2.0) * off + signed;
        let mut slope = shares.share * (paid + shares.tau * by_plan) + per_pair * by_entropy;
        if first == end {
            slope = shares.share * shares.alone;
            value = slope * z;
        }
        let mut part = Quad::<F>::new(F::new(0.0));
        part[0] = value;
        parts[i as usize] = part;
        gradient[i as usize] = slope;
    }
}

#[cube(launch)]
fn point_terms<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    points: &Array<Quad<F>>,
    received: &Array<F>,
    parts: &mut Array<Quad<F>>,
    shares: &Shares<F>,
) {
    let n = ABSOLUTE_POS as u32;
    let all = counts.total(Count::Gaussians);
    if n < all {
        let epsilon = round.epsilon(counts.holding(n, Count::Gaussians), counts.images());
        let (due, potential) = (points[n as usize][3], points[(all + n) as usize][0]);
        let missed = (received[n as usize] - due).abs();
        let mut part = Quad::<F>::new(F::new(0.0));
        part[0] = shares.share * (due * price::<F>(potential, shares.rho, epsilon) + shares.tau * missed);
        parts[n as usize] = part;
    }
}
