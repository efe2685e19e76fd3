//! Carries densities to annotations and values back, and evaluates a loss on the way, in three launches.
//!
//! **Carry**: one unit per (tile, annotation) slot adds what its cells bring, and one unit per tile adds what they
//! leave to the background and what they cost. **Settle**: one unit per annotation adds its slots in order, and the
//! units of a cube together add the tiles of an image for its background; the sums are compared with the target.
//! **Pull**: one unit per cell gathers its gradient, and one cube per image adds its loss. No atomics: the same bits
//! every time.

mod carry;
mod lanes;
mod pull;
mod settle;

use cubecl::prelude::*;

use self::{carry::carry, pull::pull, settle::settle};
use crate::{
    Result,
    buffer::Buffer,
    correspondence::Correspondence,
    device::Device,
    discrepancy::Discrepancy,
    real::{Precision, Real},
};

/// The terms that a loss adds to the kernel.
#[derive(Debug, Clone)]
pub struct Terms<R: Runtime, F: Real> {
    /// How transported mass and target are compared.
    pub discrepancy: Discrepancy,
    /// Target of every column, `[columns]`: each image's annotations, then its background.
    pub target: Buffer<R, F>,
    /// Factor of every column's discrepancy, `[columns]`.
    pub weight: Buffer<R, F>,
    /// Factor of the transport cost, and the cost of one unit of mass at every cell, `[cells]`.
    pub cost: Option<(f64, Buffer<R, F>)>,
}

/// The result of one evaluation.
#[derive(Debug, Clone)]
pub struct Evaluation<R: Runtime, F: Real> {
    /// Loss of every image, `[images]`.
    pub value: Buffer<R, F>,
    /// Its derivative with respect to the density, `[cells]`.
    pub gradient: Buffer<R, F>,
    /// Transported mass, `[columns]`.
    pub mass: Buffer<R, F>,
    /// Derivative of the loss with respect to the transported mass, before `scale`, `[columns]`.
    pub slope: Buffer<R, F>,
}

/// Evaluates a density, `[cells]`: `scale` times the loss and its gradient, and the transported mass.
///
/// # Errors
/// [`crate::Error::Length`] when an array does not have the length that the kernel requires.
pub fn evaluate<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    density: &Buffer<R, P::Real>,
    terms: &Terms<R, P::Real>,
    scale: f64,
) -> Result<Evaluation<R, P::Real>> {
    terms.target.expect("targets", kernel.columns_in_all())?;
    terms.weight.expect("weights", kernel.columns_in_all())?;
    if let Some((_, costs)) = &terms.cost {
        costs.expect("costs", kernel.cells())?;
    }
    let carried = carry(device, kernel, density, terms.cost.as_ref().map(|(_, costs)| costs))?;
    let compared = settle(device, kernel, &carried, Some(terms));
    let value = device.uninit(kernel.mosaic.images().len());
    let gradient = pull(device, kernel, &compared.slope, Some((terms, &compared.value, &carried, &value, scale)));
    Ok(Evaluation { value, gradient, mass: compared.mass, slope: compared.slope })
}

/// Carries a density to the annotations: `(K' z)_n`, `[columns]`: each image's annotations, then its background.
///
/// # Errors
/// [`crate::Error::Length`] when the density does not have one element per cell.
pub fn push_forward<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    density: &Buffer<R, P::Real>,
) -> Result<Buffer<R, P::Real>> {
    let carried = carry(device, kernel, density, None)?;
    Ok(settle(device, kernel, &carried, None).mass)
}

/// Carries values on the columns back to the cells: `(K v)_i`, `[cells]`; `values` is `[columns]`.
///
/// # Errors
/// [`crate::Error::Length`] unless there is one value per column.
pub fn pull_back<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    values: &Buffer<R, P::Real>,
) -> Result<Buffer<R, P::Real>> {
    values.expect("values", kernel.columns_in_all())?;
    Ok(pull(device, kernel, values, None))
}
