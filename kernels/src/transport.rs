//! Carrying densities to annotations and values back, with what a loss needs on the way: three launches in all.
//!
//! **Carry**: a unit for every (tile, annotation) slot adds what its cells bring, a unit for every tile what they leave to the
//! background and what they cost. **Settle**: a unit for every column adds its slots (or tiles) in order and compares with the
//! target. **Pull**: a unit for every cell gathers its gradient, a unit for every image adds its loss. No atomics: the same
//! bits every time.

use cubecl::prelude::*;

use crate::{
    Result,
    arithmetic::sum_range,
    bins::TILE,
    buffer::Buffer,
    correspondence::Correspondence,
    device::Device,
    discrepancy::{Discrepancy, slope_of, value_of},
    grid::{Count, Plots},
    real::{Precision, Real, real},
};

/// What a loss adds to the kernel.
#[derive(Debug)]
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

/// One evaluation.
#[derive(Debug)]
pub struct Evaluation<R: Runtime, F: Real> {
    /// Loss of every image, `[images]`.
    pub value: Buffer<R, F>,
    /// Its derivative by the density, `[cells]`.
    pub gradient: Buffer<R, F>,
    /// Transported mass, `[columns]`.
    pub mass: Buffer<R, F>,
}

/// `scale` times the loss and its gradient, and the transported mass, of a density, `[cells]`.
///
/// # Errors
/// [`crate::Error::Length`] when an array has another length than the kernel asks for.
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
    Ok(Evaluation { value, gradient, mass: compared.mass })
}

/// Carries a density to the annotations: `(K' z)_n`, `[columns]`: each image's annotations, then its background.
///
/// # Errors
/// [`crate::Error::Length`] when the density has not one element per cell.
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
/// [`crate::Error::Length`] when there is not one value per column.
pub fn pull_back<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    values: &Buffer<R, P::Real>,
) -> Result<Buffer<R, P::Real>> {
    values.expect("values", kernel.columns_in_all())?;
    Ok(pull(device, kernel, values, None))
}

/// Mass by slot, and what tiles leave to the background and cost.
struct Carried<R: Runtime, F: Real> {
    slots: Buffer<R, F>,
    /// `[2, tiles]`: mass of the background, cost.
    tiles: Buffer<R, F>,
}

fn carry<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    density: &Buffer<R, P::Real>,
    costs: Option<&Buffer<R, P::Real>>,
) -> Result<Carried<R, P::Real>> {
    density.expect("density", kernel.cells())?;
    let (slots, tiles) = (kernel.transposed.entry_starts.len() - 1, kernel.mosaic.total(Count::Tiles));
    let carried = Carried { slots: device.uninit(slots), tiles: device.uninit(2 * tiles) };
    let (cubes, dim) = device.per_unit(slots + tiles);
    carry_mass::launch::<P::Real, P::Weight, R>(
        device.client(),
        cubes,
        dim,
        kernel.transposed.entry_starts.arg(),
        kernel.transposed.rows.arg(),
        kernel.transposed.weights.arg(),
        kernel.background.arg(),
        costs.unwrap_or(density).arg(),
        density.arg(),
        carried.slots.arg(),
        carried.tiles.arg(),
        kernel.mosaic.arg(),
        slots as u32,
        costs.is_some(),
    );
    Ok(carried)
}

struct Compared<R: Runtime, F: Real> {
    mass: Buffer<R, F>,
    value: Buffer<R, F>,
    slope: Buffer<R, F>,
}

fn settle<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    carried: &Carried<R, P::Real>,
    terms: Option<&Terms<R, P::Real>>,
) -> Compared<R, P::Real> {
    let columns = kernel.columns_in_all();
    let mass = device.uninit(columns);
    let compared = if terms.is_some() { columns } else { 0 };
    let (value, slope) = (device.uninit(compared), device.uninit(compared));
    let (target, weight) = terms.map_or((&carried.slots, &carried.slots), |terms| (&terms.target, &terms.weight));
    let discrepancy = terms.map_or(Discrepancy::L1, |terms| terms.discrepancy);
    let (cubes, dim) = device.per_unit(columns);
    settle_columns::launch::<P::Real, R>(
        device.client(),
        cubes,
        dim,
        kernel.transposed.slot_starts.arg(),
        carried.slots.arg(),
        carried.tiles.arg(),
        target.arg(),
        weight.arg(),
        SettledLaunch::new(mass.arg(), value.arg(), slope.arg()),
        kernel.mosaic.arg(),
        real(discrepancy.width()),
        discrepancy.kind(),
        terms.is_some(),
    );
    Compared { mass, value, slope }
}

/// What makes a loss of a pull: its terms, the columns' values, what was carried, where the images' losses go, and the factor.
type Whole<'a, R, F> = (&'a Terms<R, F>, &'a Buffer<R, F>, &'a Carried<R, F>, &'a Buffer<R, F>, f64);

fn pull<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    values: &Buffer<R, P::Real>,
    whole: Option<Whole<'_, R, P::Real>>,
) -> Buffer<R, P::Real> {
    let pulled = device.uninit(kernel.cells());
    let images = kernel.mosaic.images().len();
    let unwritten = device.uninit(1);
    let (cost, scale) = whole.map_or((None, 1.0), |(terms, .., scale)| (terms.cost.as_ref(), scale));
    let (of_columns, of_tiles, losses) = match whole {
        Some((_, value, carried, losses, _)) => (value, &carried.tiles, losses),
        None => (values, values, &unwritten),
    };
    // Behind the cells, a unit for every image.
    let (cubes, dim) = device.per_unit(kernel.cells() + if whole.is_some() { images } else { 0 });
    pull_values::launch::<P::Real, P::Weight, R>(
        device.client(),
        cubes,
        dim,
        RowsLaunch::new(
            kernel.row_starts.arg(),
            kernel.columns.arg(),
            kernel.weights.arg(),
            kernel.background.arg(),
            cost.map_or(values, |(_, costs)| costs).arg(),
        ),
        values.arg(),
        of_columns.arg(),
        of_tiles.arg(),
        pulled.arg(),
        losses.arg(),
        kernel.mosaic.arg(),
        real(cost.map_or(0.0, |(factor, _)| *factor)),
        real(scale),
        cost.is_some(),
        whole.is_some(),
    );
    pulled
}

/// One unit per slot, then one per tile.
#[cube(launch)]
fn carry_mass<F: Real, W: Real>(
    entry_starts: &Array<u32>,
    rows: &Array<u32>,
    weights: &Array<W>,
    background: &Array<W>,
    costs: &Array<F>,
    density: &Array<F>,
    of_slots: &mut Array<F>,
    of_tiles: &mut Array<F>,
    plots: &Plots<F>,
    slots: u32,
    #[comptime] has_cost: bool,
) {
    let unit = ABSOLUTE_POS as u32;
    let tiles = plots.total(Count::Tiles);
    if unit < slots {
        let mut sum = F::new(0.0);
        for entry in entry_starts[unit as usize]..entry_starts[unit as usize + 1] {
            sum += F::cast_from(weights[entry as usize]) * density[rows[entry as usize] as usize];
        }
        of_slots[unit as usize] = sum;
    } else if unit < slots + tiles {
        let tile = unit - slots;
        let place = plots.place(tile);
        let mut left = F::new(0.0);
        let mut paid = F::new(0.0);
        for row in place.row..u32::min(place.row + TILE, place.lattice.rows) {
            for column in place.column..u32::min(place.column + TILE, place.lattice.columns) {
                let cell = (place.first_cell + row * place.lattice.columns + column) as usize;
                left += F::cast_from(background[cell]) * density[cell];
                if comptime!(has_cost) {
                    paid += costs[cell] * density[cell];
                }
            }
        }
        of_tiles[tile as usize] = left;
        of_tiles[(tiles + tile) as usize] = paid;
    }
}

#[derive(CubeType, CubeLaunch)]
struct Settled<F: Real> {
    mass: Array<F>,
    value: Array<F>,
    slope: Array<F>,
}

/// One unit per column.
#[cube(launch)]
fn settle_columns<F: Real>(
    slot_starts: &Array<u32>,
    of_slots: &Array<F>,
    of_tiles: &Array<F>,
    target: &Array<F>,
    weight: &Array<F>,
    settled: &mut Settled<F>,
    plots: &Plots<F>,
    width: F,
    #[comptime] kind: crate::discrepancy::Kind,
    #[comptime] compare: bool,
) {
    let column = ABSOLUTE_POS as u32;
    if column < plots.total(Count::Gaussians) + plots.images() {
        let image = plots.image_of_column(column);
        let mut mass = F::new(0.0);
        if column == plots.background(image) {
            let end = plots.before(image + 1u32, Count::Tiles);
            mass += sum_range::<F>(of_tiles, plots.before(image, Count::Tiles), end);
        } else {
            let annotation = (column - image) as usize;
            mass += sum_range::<F>(of_slots, slot_starts[annotation], slot_starts[annotation + 1]);
        }
        let at = column as usize;
        settled.mass[at] = mass;
        if comptime!(compare) {
            settled.value[at] = weight[at] * value_of::<F>(mass, target[at], width, kind);
            settled.slope[at] = weight[at] * slope_of::<F>(mass, target[at], width, kind);
        }
    }
}

/// The matrix by cells, and the cells' costs.
#[derive(CubeType, CubeLaunch)]
struct Rows<F: Real, W: Real> {
    starts: Array<u32>,
    columns: Array<u32>,
    weights: Array<W>,
    background: Array<W>,
    costs: Array<F>,
}

/// One unit per cell, then (`whole`) one per image.
#[cube(launch)]
fn pull_values<F: Real, W: Real>(
    rows: &Rows<F, W>,
    values: &Array<F>,
    of_columns: &Array<F>,
    of_tiles: &Array<F>,
    pulled: &mut Array<F>,
    losses: &mut Array<F>,
    plots: &Plots<F>,
    cost_factor: F,
    scale: F,
    #[comptime] has_cost: bool,
    #[comptime] whole: bool,
) {
    let cells = plots.total(Count::Cells);
    let unit = ABSOLUTE_POS as u32;
    if unit < cells {
        let row = ABSOLUTE_POS;
        let image = plots.holding(unit, Count::Cells);
        let mut sum = F::cast_from(rows.background[row]) * values[plots.background(image) as usize];
        for entry in rows.starts[row]..rows.starts[row + 1] {
            let column = plots.column(rows.columns[entry as usize], image);
            sum += F::cast_from(rows.weights[entry as usize]) * values[column as usize];
        }
        if comptime!(has_cost) {
            sum += cost_factor * rows.costs[row];
        }
        pulled[row] = scale * sum;
    } else if comptime!(whole) {
        let image = unit - cells;
        if image < plots.images() {
            let first = plots.before(image, Count::Gaussians) + image;
            let mut sum = sum_range::<F>(of_columns, first, plots.background(image) + 1u32);
            if comptime!(has_cost) {
                let tiles = plots.total(Count::Tiles);
                let end = tiles + plots.before(image + 1u32, Count::Tiles);
                sum += cost_factor * sum_range::<F>(of_tiles, tiles + plots.before(image, Count::Tiles), end);
            }
            losses[image as usize] = scale * sum;
        }
    }
}
