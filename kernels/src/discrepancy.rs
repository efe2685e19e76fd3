//! How far the transported mass is from the target (paper, Eq. 6).

use cubecl::prelude::*;

use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    real::{Precision, Real},
};

/// The L1 discrepancy of transported mass and target, per column.
pub struct Discrepancy<R: Runtime, F: Real> {
    /// `|r_n|` with `r = mass - target`, `[annotations + 1]`.
    pub value: Buffer<R, F>,
    /// `sgn(r_n)`, 0 at 0.
    pub slope: Buffer<R, F>,
}

/// `|mass_n - target_n|` and its derivative.
///
/// # Errors
/// [`crate::Error::Length`] when the two disagree.
pub fn l1<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    mass: &Buffer<R, P::Real>,
    target: &Buffer<R, P::Real>,
) -> Result<Discrepancy<R, P::Real>> {
    target.expect("target", mass.len())?;
    let result = Discrepancy { value: device.uninit(mass.len()), slope: device.uninit(mass.len()) };
    let (count, dim) = device.per_unit(mass.len());
    absolute::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        mass.arg(),
        target.arg(),
        result.value.arg(),
        result.slope.arg(),
    );
    Ok(result)
}

#[cube(launch)]
fn absolute<F: Real>(mass: &Array<F>, target: &Array<F>, value: &mut Array<F>, slope: &mut Array<F>) {
    if ABSOLUTE_POS < mass.len() {
        let r = mass[ABSOLUTE_POS] - target[ABSOLUTE_POS];
        value[ABSOLUTE_POS] = r.abs();
        let mut sign = F::new(0.0);
        if r > F::new(0.0) {
            sign = F::new(1.0);
        }
        if r < F::new(0.0) {
            sign = F::new(-1.0);
        }
        slope[ABSOLUTE_POS] = sign;
    }
}
