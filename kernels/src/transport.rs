//! The loss step on a fixed kernel: push-forward, discrepancy, pull-back (paper, Eq. 6).

use cubecl::prelude::*;

use crate::{
    Result,
    buffer::Buffer,
    correspondence::Correspondence,
    device::Device,
    gaussian::Gaussians,
    grid::Lattice,
    real::{Precision, Real, real},
    reduce::{Reduction, reduce},
};

/// Carries a density to the annotations: `(K' z)_n`, `[annotations + 1]`, the background last.
///
/// One unit per (tile, annotation) slot, then one per annotation, adding in order.
///
/// # Errors
/// [`crate::Error::Length`] when the density has not one element per cell.
pub fn push_forward<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    density: &Buffer<R, P::Real>,
) -> Result<Buffer<R, P::Real>> {
    density.expect("density", kernel.cells.len())?;
    let transposed = &kernel.transposed;
    let slots = transposed.entry_starts.len() - 1;
    let partial = device.uninit::<P::Real>(slots);
    if slots > 0 {
        let (count, dim) = device.per_unit(slots);
        sum_entries::launch::<P::Real, P::Weight, R>(
            device.client(),
            count,
            dim,
            transposed.entry_starts.arg(),
            transposed.rows.arg(),
            transposed.weights.arg(),
            density.arg(),
            partial.arg(),
        );
    }
    let products = device.uninit::<P::Real>(kernel.cells.len());
    let (count, dim) = device.per_unit(kernel.cells.len());
    weigh::launch::<P::Real, P::Weight, R>(
        device.client(),
        count,
        dim,
        kernel.background.arg(),
        density.arg(),
        products.arg(),
    );
    let background = reduce(device, &products, Reduction::Sum);
    let annotations = transposed.slot_starts.len() - 1;
    let mass = device.uninit(annotations + 1);
    let (count, dim) = device.per_unit(annotations + 1);
    sum_slots::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        transposed.slot_starts.arg(),
        partial.arg(),
        background.arg(),
        mass.arg(),
    );
    Ok(mass)
}

#[cube(launch)]
fn sum_entries<F: Real, W: Real>(
    entry_starts: &Array<u32>,
    rows: &Array<u32>,
    weights: &Array<W>,
    density: &Array<F>,
    partial: &mut Array<F>,
) {
    let slot = ABSOLUTE_POS;
    if slot < partial.len() {
        let mut sum = F::new(0.0);
        for entry in entry_starts[slot]..entry_starts[slot + 1] {
            sum += F::cast_from(weights[entry as usize]) * density[rows[entry as usize] as usize];
        }
        partial[slot] = sum;
    }
}

#[cube(launch)]
fn weigh<F: Real, W: Real>(weights: &Array<W>, density: &Array<F>, products: &mut Array<F>) {
    if ABSOLUTE_POS < products.len() {
        products[ABSOLUTE_POS] = F::cast_from(weights[ABSOLUTE_POS]) * density[ABSOLUTE_POS];
    }
}

#[cube(launch)]
fn sum_slots<F: Real>(slot_starts: &Array<u32>, partial: &Array<F>, background: &Array<F>, mass: &mut Array<F>) {
    let n = ABSOLUTE_POS;
    if n < mass.len() - 1 {
        let mut sum = F::new(0.0);
        for slot in slot_starts[n]..slot_starts[n + 1] {
            sum += partial[slot as usize];
        }
        mass[n] = sum;
    }
    if n == mass.len() - 1 {
        mass[n] = background[0];
    }
}

/// Carries values on the annotations back to the cells: `(K v)_i`, `[cells]`; `values` is `[annotations + 1]`, background
/// last.
///
/// # Errors
/// [`crate::Error::Length`] when there is not one value per column.
pub fn pull_back<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    values: &Buffer<R, P::Real>,
) -> Result<Buffer<R, P::Real>> {
    values.expect("values", kernel.transposed.slot_starts.len())?;
    let pulled = device.uninit(kernel.cells.len());
    let (count, dim) = device.per_unit(kernel.cells.len());
    gather::launch::<P::Real, P::Weight, R>(
        device.client(),
        count,
        dim,
        kernel.row_starts.arg(),
        kernel.columns.arg(),
        kernel.weights.arg(),
        kernel.background.arg(),
        values.arg(),
        pulled.arg(),
    );
    Ok(pulled)
}

#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn gather<F: Real, W: Real>(
    row_starts: &Array<u32>,
    columns: &Array<u32>,
    weights: &Array<W>,
    background: &Array<W>,
    values: &Array<F>,
    pulled: &mut Array<F>,
) {
    let row = ABSOLUTE_POS;
    if row < pulled.len() {
        let mut sum = F::cast_from(background[row]) * values[values.len() - 1];
        for entry in row_starts[row]..row_starts[row + 1] {
            sum += F::cast_from(weights[entry as usize]) * values[columns[entry as usize] as usize];
        }
        pulled[row] = sum;
    }
}

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

/// Cost of one unit of mass at every cell: `c_i = sum_n K_in |x_i - mean_n|^2`, px²; the background costs nothing. So
/// `W(diag(z) K) = <z, c>`, and its gradient is `c`.
pub fn cell_costs<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    gaussians: &Gaussians<R, P::Real>,
) -> Buffer<R, P::Real> {
    let costs = device.uninit(kernel.cells.len());
    let (count, dim) = device.per_unit(kernel.cells.len());
    expected_distance::launch::<P::Real, P::Weight, R>(
        device.client(),
        count,
        dim,
        kernel.row_starts.arg(),
        kernel.columns.arg(),
        kernel.weights.arg(),
        gaussians.parameters.arg(),
        kernel.cells.launch(),
        costs.arg(),
        gaussians.stride() as u32,
    );
    costs
}

#[cube(launch)]
fn expected_distance<F: Real, W: Real>(
    row_starts: &Array<u32>,
    columns: &Array<u32>,
    weights: &Array<W>,
    parameters: &Array<F>,
    lattice: &Lattice<F>,
    costs: &mut Array<F>,
    stride: u32,
) {
    let row = ABSOLUTE_POS;
    if row < costs.len() {
        let centre = lattice.centre(row as u32 % lattice.columns, row as u32 / lattice.columns);
        let mut sum = F::new(0.0);
        for entry in row_starts[row]..row_starts[row + 1] {
            let row_of_n = (columns[entry as usize] * stride) as usize;
            let (dx, dy) = (centre.x - parameters[row_of_n], centre.y - parameters[row_of_n + 1]);
            sum += F::cast_from(weights[entry as usize]) * (dx * dx + dy * dy);
        }
        costs[row] = sum;
    }
}

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

#[cube(launch)]
fn copy_all<F: Real>(from: &Array<F>, to: &mut Array<F>) {
    if ABSOLUTE_POS < from.len() {
        to[ABSOLUTE_POS] = from[ABSOLUTE_POS];
    }
}

/// Who owns each cell: the column with the largest weight (ties: background, then the lowest index), and that weight.
pub struct Ownership<R: Runtime, F: Real> {
    /// Annotation, or `u32::MAX` for the background, `[cells]`.
    pub owner: Buffer<R, u32>,
    /// Its weight, `[cells]`.
    pub weight: Buffer<R, F>,
}

/// Finds every cell's owner.
pub fn ownership<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
) -> Ownership<R, P::Real> {
    let cells = kernel.cells.len();
    let result = Ownership { owner: device.uninit(cells), weight: device.uninit(cells) };
    let (count, dim) = device.per_unit(cells);
    find_owner::launch::<P::Real, P::Weight, R>(
        device.client(),
        count,
        dim,
        kernel.row_starts.arg(),
        kernel.columns.arg(),
        kernel.weights.arg(),
        kernel.background.arg(),
        result.owner.arg(),
        result.weight.arg(),
    );
    result
}

#[cube(launch)]
fn find_owner<F: Real, W: Real>(
    row_starts: &Array<u32>,
    columns: &Array<u32>,
    weights: &Array<W>,
    background: &Array<W>,
    owner: &mut Array<u32>,
    weight: &mut Array<F>,
) {
    let row = ABSOLUTE_POS;
    if row < owner.len() {
        let mut best = F::cast_from(background[row]);
        let mut found = 4294967295u32.runtime();
        for entry in row_starts[row]..row_starts[row + 1] {
            let w = F::cast_from(weights[entry as usize]);
            if w > best {
                best = w;
                found = columns[entry as usize];
            }
        }
        owner[row] = found;
        weight[row] = best;
    }
}
