//! Arithmetic on whole arrays.

use cubecl::prelude::*;

use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    real::{Precision, Real, real},
    reduce::{Reduction, reduce},
};

/// `sum_i a_i b_i`, one element.
///
/// # Errors
/// [`crate::Error::Length`] when the two disagree.
pub fn dot<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    a: &Buffer<R, P::Real>,
    b: &Buffer<R, P::Real>,
) -> Result<Buffer<R, P::Real>> {
    b.expect("second factor", a.len())?;
    let products = device.uninit::<P::Real>(a.len());
    if !a.is_empty() {
        let (count, dim) = device.per_unit(a.len());
        weigh::launch::<P::Real, P::Real, R>(device.client(), count, dim, a.arg(), b.arg(), products.arg());
    }
    Ok(reduce(device, &products, Reduction::Sum))
}

/// `scale (a + factor b)` element by element, for a loss of two terms and for the mean over a batch.
///
/// # Errors
/// [`crate::Error::Length`] when the two disagree.
pub fn combine<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    a: &Buffer<R, P::Real>,
    b: &Buffer<R, P::Real>,
    factor: f64,
    scale: f64,
) -> Result<Buffer<R, P::Real>> {
    b.expect("second term", a.len())?;
    let sum = device.uninit(a.len());
    if !a.is_empty() {
        let (count, dim) = device.per_unit(a.len());
        add_scaled::launch::<P::Real, R>(
            device.client(),
            count,
            dim,
            a.arg(),
            b.arg(),
            sum.arg(),
            real(factor),
            real(scale),
        );
    }
    Ok(sum)
}

#[cube(launch)]
fn add_scaled<F: Real>(a: &Array<F>, b: &Array<F>, sum: &mut Array<F>, factor: F, scale: F) {
    if ABSOLUTE_POS < a.len() {
        sum[ABSOLUTE_POS] = scale * (a[ABSOLUTE_POS] + factor * b[ABSOLUTE_POS]);
    }
}

/// Overwrites `to` with `from`.
///
/// # Errors
/// [`crate::Error::Length`] when the two disagree.
pub fn copy<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    from: &Buffer<R, P::Real>,
    to: &Buffer<R, P::Real>,
) -> Result<()> {
    to.expect("copy", from.len())?;
    if !from.is_empty() {
        let (count, dim) = device.per_unit(from.len());
        copy_all::launch::<P::Real, R>(device.client(), count, dim, from.arg(), to.arg());
    }
    Ok(())
}

/// Overwrites `len` elements of `to` from its element `at` on with those of `from` from its element `first` on.
///
/// # Errors
/// [`crate::Error::Length`] when one of them is too short.
pub fn copy_part<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    (from, first): (&Buffer<R, P::Real>, usize),
    (to, at): (&Buffer<R, P::Real>, usize),
    len: usize,
) -> Result<()> {
    for (what, buffer, end) in [("source", from, first + len), ("copy", to, at + len)] {
        if buffer.len() < end {
            return Err(crate::Error::Length { what, expected: end, got: buffer.len() });
        }
    }
    if len > 0 {
        let (count, dim) = device.per_unit(len);
        let (client, numbers) = (device.client(), [first, at, len].map(|n| n as u32));
        let [first, at, len] = numbers;
        copy_some::launch::<P::Real, R>(client, count, dim, from.arg(), to.arg(), first, at, len);
    }
    Ok(())
}

/// One array after the other.
///
/// # Errors
/// [`crate::Error::NoRoom`].
pub fn concatenate<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    parts: &[Buffer<R, P::Real>],
) -> Result<Buffer<R, P::Real>> {
    let whole = device.room("concatenation", parts.iter().map(Buffer::len).sum())?;
    let mut at = 0;
    for part in parts {
        copy_part(device, (part, 0), (&whole, at), part.len())?;
        at += part.len();
    }
    Ok(whole)
}

/// Arrays of the given lengths, out of one.
///
/// # Errors
/// [`crate::Error::Length`] when they are longer together.
pub fn split<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    whole: &Buffer<R, P::Real>,
    lengths: impl IntoIterator<Item = usize>,
) -> Result<Vec<Buffer<R, P::Real>>> {
    let mut first = 0;
    let mut next = |len: usize| {
        let part = device.uninit(len);
        copy_part(device, (whole, first), (&part, 0), len)?;
        first += len;
        Ok(part)
    };
    lengths.into_iter().map(&mut next).collect()
}

#[cube(launch)]
fn copy_some<F: Real>(from: &Array<F>, to: &mut Array<F>, first: u32, at: u32, len: u32) {
    if ABSOLUTE_POS < len as usize {
        to[at as usize + ABSOLUTE_POS] = from[first as usize + ABSOLUTE_POS];
    }
}

#[cube(launch)]
fn copy_all<F: Real>(from: &Array<F>, to: &mut Array<F>) {
    if ABSOLUTE_POS < from.len() {
        to[ABSOLUTE_POS] = from[ABSOLUTE_POS];
    }
}

/// `weights_i density_i`.
#[cube(launch)]
pub(crate) fn weigh<F: Real, W: Real>(weights: &Array<W>, density: &Array<F>, products: &mut Array<F>) {
    if ABSOLUTE_POS < products.len() {
        products[ABSOLUTE_POS] = F::cast_from(weights[ABSOLUTE_POS]) * density[ABSOLUTE_POS];
    }
}

/// Elements that [`sum_range`] adds in one round of a loop.
const A_ROUND: u32 = 8;

/// `values[first .. end]`, added in order. Some elements a round: software Vulkan ends a unit's loops after 65535 rounds in all.
#[cube]
pub(crate) fn sum_range<F: Real>(values: &Array<F>, first: u32, end: u32) -> F {
    let mut sum = F::new(0.0);
    let mut at = first;
    while at < end {
        #[unroll]
        for next in 0..A_ROUND {
            if at + next < end {
                sum += values[(at + next) as usize];
            }
        }
        at += A_ROUND;
    }
    sum
}
