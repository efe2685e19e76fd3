//! Densities painted from points, and the squared distance of a density from one.

use std::f64::consts::TAU;

use cubecl::prelude::*;

use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    gaussian::Point,
    grid::{Count, Mosaic, Plots},
    real::{Precision, Quad, Real, real},
    totals::totals,
};

/// What a cell gets of a Gaussian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sampling {
    /// Its integral over the cell.
    Integral,
    /// Its density at the cell's centre, times the cell's area.
    Centre,
}

/// Standard deviations from a cell's edge beyond which a Gaussian adds nothing: what lies farther is 1e-9 of it.
const REACH: f32 = 6.0;
/// Least part of a Gaussian inside the grid that is scaled up to 1; below it the rounding of `erf` would show.
const LEAST_INSIDE: f32 = 1e-3;

/// `sum_n w_n prod_axis (erf(b) - erf(a)) / 2` for every cell, `[cells]`, with its edges `a`, `b` in units of `sqrt(2)` standard
/// deviations from the mean. `gaussians` is `[n, 4]`, image after image: x, y, standard deviations along x and y, px.
///
/// `w_n` is 1 or, to `renormalise`, one over what of the Gaussian lies inside its grid; one of which less than a thousandth does is
/// left out.
///
/// # Errors
/// [`crate::Error::Length`] when there is not one row per Gaussian of the mosaic, [`crate::Error::Count`] for more of them on one
/// image than a unit can go through, [`crate::Error::NoRoom`].
pub fn pseudo_density<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    mosaic: &Mosaic<R, P::Real>,
    gaussians: &Buffer<R, P::Real>,
    sampling: Sampling,
    renormalise: bool,
) -> Result<Buffer<R, P::Real>> {
    let (cells, count) = (mosaic.total(Count::Cells), mosaic.total(Count::Gaussians));
    gaussians.expect("gaussians", 4 * count)?;
    let most = mosaic.images().iter().map(|image| image.1).max().unwrap_or(0);
    device.check_rounds("gaussians of one image", most as u32)?;
    let (painted, weights) =
        (device.room("painted density", cells)?, device.room::<P::Real>("painted density", count)?);
    let (client, plots) = (device.client(), || mosaic.arg());
    if count > 0 {
        let (cubes, dim) = device.per_unit(count);
        weigh::launch::<P::Real, R>(client, cubes, dim, plots(), gaussians.arg(), weights.arg(), renormalise);
    }
    if cells > 0 {
        let (cubes, dim) = device.per_unit(cells);
        let centre = real(1.0 / TAU);
        let (from, by) = (gaussians.arg(), weights.arg());
        paint::launch::<P::Real, R>(client, cubes, dim, plots(), from, by, painted.arg(), centre, sampling);
    }
    Ok(painted)
}

/// Values and gradient of a batch.
#[derive(Debug)]
pub struct Squares<R: Runtime, F: Real> {
    /// `weight_b sum_i (z_i - d_i)^2` of every image, `[images, 4]`, in the first of four numbers.
    pub values: Buffer<R, F>,
    /// `2 weight_b (z_i - d_i)`, `[cells]`.
    pub gradient: Buffer<R, F>,
}

/// The squared distance of `density` from `target`, both `[cells]`, with a weight for every image, `[images]`.
///
/// # Errors
/// [`crate::Error::Length`] when an array has another length, [`crate::Error::NoRoom`].
pub fn squares<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    mosaic: &Mosaic<R, P::Real>,
    [density, target, weights]: [&Buffer<R, P::Real>; 3],
) -> Result<Squares<R, P::Real>> {
    let cells = mosaic.total(Count::Cells);
    density.expect("density", cells)?;
    target.expect("target", cells)?;
    weights.expect("weights", mosaic.images().len())?;
    let (parts, gradient) = (device.room("squares of all cells", 4 * cells)?, device.uninit(cells));
    let (cubes, dim) = device.per_unit(cells);
    compare::launch::<P::Real, R>(
        device.client(),
        cubes,
        dim,
        mosaic.arg(),
        density.arg(),
        target.arg(),
        weights.arg(),
        parts.arg(),
        gradient.arg(),
    );
    Ok(Squares { values: totals(device, mosaic, &parts, Count::Cells), gradient })
}

/// What of a normal distribution of standard deviation `scale` lies between `low` and `high` from its mean.
#[cube]
fn between<F: Real>(low: F, high: F, scale: F) -> F {
    let unit = F::new(2.0).sqrt() * scale;
    ((high / unit).erf() - (low / unit).erf()) / F::new(2.0)
}

#[cube(launch)]
fn weigh<F: Real>(plots: &Plots<F>, gaussians: &Array<Quad<F>>, weights: &mut Array<F>, #[comptime] renormalise: bool) {
    let n = ABSOLUTE_POS as u32;
    if n < plots.total(Count::Gaussians) {
        let mut weight = F::new(1.0);
        if comptime!(renormalise) {
            let g = gaussians[n as usize];
            let lattice = plots.lattice(plots.holding(n, Count::Gaussians));
            let right = lattice.left + F::cast_from(lattice.columns) * lattice.stride;
            let bottom = lattice.top + F::cast_from(lattice.rows) * lattice.stride;
            let across = between::<F>(lattice.left - g[0], right - g[0], g[2]);
            let inside = across * between::<F>(lattice.top - g[1], bottom - g[1], g[3]);
            // A quotient that is not taken must be finite too.
            weight =
                select(inside < F::new(LEAST_INSIDE), F::new(0.0), F::new(1.0) / max(inside, F::new(LEAST_INSIDE)));
        }
        weights[n as usize] = weight;
    }
}

#[cube(launch)]
fn paint<F: Real>(
    plots: &Plots<F>,
    gaussians: &Array<Quad<F>>,
    weights: &Array<F>,
    painted: &mut Array<F>,
    centre: F,
    #[comptime] sampling: Sampling,
) {
    let i = ABSOLUTE_POS as u32;
    if i < plots.total(Count::Cells) {
        let image = plots.holding(i, Count::Cells);
        let stride = plots.lattice(image).stride;
        let middle = plots.centre(i);
        let mut sum = F::new(0.0);
        for n in plots.before(image, Count::Gaussians)..plots.before(image + 1u32, Count::Gaussians) {
            let g = gaussians[n as usize];
            let from = Point::<F> { x: middle.x - g[0], y: middle.y - g[1] };
            let half = stride / F::new(2.0);
            let near = from.x.abs() < half + F::new(REACH) * g[2];
            if near && from.y.abs() < half + F::new(REACH) * g[3] {
                let share = match comptime!(sampling) {
                    Sampling::Integral => {
                        between::<F>(from.x - half, from.x + half, g[2])
                            * between::<F>(from.y - half, from.y + half, g[3])
                    }
                    Sampling::Centre => {
                        let (u, v) = (from.x / g[2], from.y / g[3]);
                        centre * (stride / g[2]) * (stride / g[3]) * (-(u * u + v * v) / F::new(2.0)).exp()
                    }
                };
                sum += weights[n as usize] * share;
            }
        }
        painted[i as usize] = sum;
    }
}

#[cube(launch)]
fn compare<F: Real>(
    plots: &Plots<F>,
    density: &Array<F>,
    target: &Array<F>,
    weights: &Array<F>,
    parts: &mut Array<Quad<F>>,
    gradient: &mut Array<F>,
) {
    let i = ABSOLUTE_POS as u32;
    if i < plots.total(Count::Cells) {
        let weight = weights[plots.holding(i, Count::Cells) as usize];
        let apart = density[i as usize] - target[i as usize];
        let mut part = Quad::<F>::new(F::new(0.0));
        part[0] = weight * apart * apart;
        parts[i as usize] = part;
        gradient[i as usize] = F::new(2.0) * weight * apart;
    }
}
