//! DM-Count's loss around a transport solution: its gradient, the count, and the total variation against the dots.

use cubecl::prelude::*;

use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    grid::{Count, Plots},
    real::{Precision, Quad, Real, real},
    sinkhorn::{Outcome, Problem, Solution},
    totals::totals,
};

/// Mass below which a density counts as none.
const LEAST: f32 = 1e-20;
/// Added to sums of densities and to numbers of points, as published code does.
const PAD: f64 = 1e-6;

/// What the terms weigh in one image's share of the batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Of the transport term.
    pub transport: f64,
    /// Of `|S - N|`.
    pub count: f64,
    /// Of `N sum_i |z_i / S - d_i / N|`.
    pub variation: f64,
    /// Added to `S²` where the transport's gradient divides by it: 1e-8 in published code.
    pub pad: f64,
    /// Whether the transport's value is part of the loss: in published code it is 0.
    pub valued: bool,
}

/// Values and gradient of a batch.
#[derive(Debug)]
pub struct Terms<R: Runtime, F: Real> {
    /// The weighted sum of the three terms, `[images]`.
    pub values: Buffer<R, F>,
    /// Its derivative by the density, `[cells]`.
    pub gradient: Buffer<R, F>,
}

#[derive(CubeType, CubeLaunch)]
struct Shares<F: Real> {
    transport: F,
    count: F,
    variation: F,
    pad_squared: F,
    pad: F,
}

/// Adds the terms up. `dots` is the number of points in every cell, `[cells]`.
///
/// # Errors
/// [`crate::Error::Length`] when density or dots have not one element per cell.
pub fn terms<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    problem: &Problem<R, P>,
    solution: &Solution<R, P::Real>,
    outcome: &Outcome<R, P::Real>,
    density: &Buffer<R, P::Real>,
    dots: Option<&Buffer<R, P::Real>>,
    weights: Weights,
) -> Result<Terms<R, P::Real>> {
    let (client, mosaic) = (device.client(), problem.mosaic());
    let cells = outcome.slope.len();
    density.expect("density", cells)?;
    // Without them the variation has no weight, and what stands in their place is not seen.
    let (dots, weights) = match dots {
        Some(dots) => (dots, weights),
        None => (density, Weights { variation: 0.0, ..weights }),
    };
    dots.expect("dots", cells)?;
    let shares = || {
        let [transport, count, variation, squared, pad] =
            [weights.transport, weights.count, weights.variation, weights.pad, PAD].map(real);
        SharesLaunch::new(transport, count, variation, squared, pad)
    };
    let parts = device.room("terms of all cells", 4 * cells)?;
    let (cubes, dim) = device.per_unit(cells);
    let (z, sums) = (|| density.arg(), || solution.sums().arg());
    let (slope, plots) = (|| outcome.slope.arg(), || mosaic.arg());
    part::launch::<P::Real, R>(
        client,
        cubes.clone(),
        dim,
        plots(),
        sums(),
        z(),
        slope(),
        dots.arg(),
        parts.arg(),
        real(PAD),
    );
    let parts = totals(device, mosaic, &parts, Count::Cells);
    let gradient = device.uninit(cells);
    differentiate::launch::<P::Real, R>(
        client,
        cubes,
        dim,
        plots(),
        sums(),
        parts.arg(),
        z(),
        slope(),
        dots.arg(),
        gradient.arg(),
        shares(),
    );
    let images = mosaic.images().len();
    let values = device.uninit(images);
    let (cubes, dim) = device.per_unit(images);
    let transport = outcome.values.arg();
    add::launch::<P::Real, R>(
        client,
        cubes,
        dim,
        plots(),
        sums(),
        parts.arg(),
        transport,
        values.arg(),
        shares(),
        weights.valued,
    );
    Ok(Terms { values, gradient })
}

/// What a cell holds, none if that is no valid mass.
#[cube]
fn mass_of<F: Real>(z: F) -> F {
    let mut mass = F::new(0.0);
    if z > F::new(0.0) {
        mass = z;
    }
    mass
}

/// How far a cell's share of the density is from its share of the points.
#[cube]
fn apart<F: Real>(z: F, dots: F, total: F, points: F, pad: F) -> F {
    z / (total + pad) - dots / (points + pad)
}

#[cube]
pub(crate) fn sign<F: Real>(x: F) -> F {
    let mut sign = F::new(0.0);
    if x > F::new(0.0) {
        sign = F::new(1.0);
    }
    if x < F::new(0.0) {
        sign = F::new(-1.0);
    }
    sign
}

/// Points of an image.
#[cube]
fn points_of<F: Real>(plots: &Plots<F>, image: u32) -> F {
    F::cast_from(plots.before(image + 1u32, Count::Gaussians) - plots.before(image, Count::Gaussians))
}

/// Per cell: mass times potential, distance of the shares, its sign times the mass.
#[cube(launch)]
fn part<F: Real>(
    plots: &Plots<F>,
    sums: &Array<Quad<F>>,
    density: &Array<F>,
    slope: &Array<F>,
    dots: &Array<F>,
    parts: &mut Array<Quad<F>>,
    pad: F,
) {
    let i = ABSOLUTE_POS as u32;
    if i < plots.total(Count::Cells) {
        let image = plots.holding(i, Count::Cells);
        let z = mass_of::<F>(density[i as usize]);
        let total = sums[image as usize][0];
        let apart = apart::<F>(z, dots[i as usize], total, points_of::<F>(plots, image), pad);
        let mut part = Quad::<F>::new(F::new(0.0));
        part[0] = z * slope[i as usize];
        part[1] = apart.abs();
        part[2] = sign::<F>(apart) * z;
        parts[i as usize] = part;
    }
}

#[cube(launch)]
fn differentiate<F: Real>(
    plots: &Plots<F>,
    sums: &Array<Quad<F>>,
    parts: &Array<Quad<F>>,
    density: &Array<F>,
    slope: &Array<F>,
    dots: &Array<F>,
    gradient: &mut Array<F>,
    shares: &Shares<F>,
) {
    let i = ABSOLUTE_POS as u32;
    if i < plots.total(Count::Cells) {
        let image = plots.holding(i, Count::Cells);
        let points = points_of::<F>(plots, image);
        let total = sums[image as usize][0];
        let part = parts[image as usize];
        let z = mass_of::<F>(density[i as usize]);
        let mut by_transport = F::new(0.0);
        if total > F::new(LEAST) {
            // (potential S - <z, potential>) / (S² + pad), without the square of a small S.
            by_transport = (slope[i as usize] - part[0] / total) / (total + shares.pad_squared / total);
        }
        let side = sign::<F>(apart::<F>(z, dots[i as usize], total, points, shares.pad));
        let padded = total + shares.pad;
        let by_variation = points * (side - part[2] / padded) / padded;
        gradient[i as usize] = shares.transport * by_transport
            + shares.count * sign::<F>(total - points)
            + shares.variation * by_variation;
    }
}

#[cube(launch)]
fn add<F: Real>(
    plots: &Plots<F>,
    sums: &Array<Quad<F>>,
    parts: &Array<Quad<F>>,
    transport: &Array<F>,
    values: &mut Array<F>,
    shares: &Shares<F>,
    #[comptime] valued: bool,
) {
    let image = ABSOLUTE_POS as u32;
    if image < plots.images() {
        let points = points_of::<F>(plots, image);
        let total = sums[image as usize][0];
        let mut value = shares.count * (total - points).abs() + shares.variation * points * parts[image as usize][1];
        if comptime!(valued) {
            if total > F::new(LEAST) {
                value += shares.transport * transport[image as usize];
            }
        }
        values[image as usize] = value;
    }
}
