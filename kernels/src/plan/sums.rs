//! The sums over the cells of every component that its derivatives are made of.

use cubecl::prelude::*;

use super::{Origin, Slopes};
use crate::{
    Result,
    bins::{self, Rule, TILE},
    buffer::Buffer,
    correspondence::{Background, Correspondence, Mirrored},
    device::Device,
    gaussian::{Frame, Frames, Point},
    grid::{Count, Mosaic, Plots},
    moments::total_of_quads,
    nearest::nearest_of,
    real::{Precision, Quad, Real, Storage, quad, real, weight_of},
    scan::owner,
};

/// Quads of a slot or a component: the sum of `a`, of `a v` and the first of `a v v'`; the rest of `a v v'`, and the sum of the
/// background's `a`, which has the opposite sign in the others; both weighted where the background is no odds.
pub(super) const QUADS: u32 = 2;
/// What errors call the sums of slots.
const PARTIAL: &str = "derivatives by the plan";

/// Sums of every component, `[components, 4 QUADS]`.
pub(super) fn sums<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    origin: &Origin<'_, R, P>,
    slopes: &Slopes<'_, R, P::Real>,
) -> Result<Buffer<R, P::Real>> {
    let kernel = origin.kernel;
    let slot_starts =
        kernel.components.as_ref().map_or(&kernel.transposed.slot_starts, |components| &components.slot_starts);
    slot_starts.expect("slots of components", origin.mixture.len() + 1)?;
    let slots = kernel.transposed.entry_starts.len() - 1;
    let partial = device.room(PARTIAL, slots * 4 * QUADS as usize)?;
    if slots > 0 {
        let (count, dim) = device.per_unit(slots);
        add_entries::launch::<P::Real, P::Weight, R>(
            device.client(),
            count,
            dim,
            origin.frames.packed.arg(),
            slot_starts.arg(),
            origin.mixture.annotations.arg(),
            slopes.cost.map(|(_, places)| places.packed.arg()).into(),
            entries(kernel),
            stand(slopes),
            kernel.mosaic.arg(),
            partial.arg(),
            slots as u32,
        );
    }
    let sums = device.uninit(origin.mixture.len() * 4 * QUADS as usize);
    gather(device, &partial, (slot_starts, QUADS), &sums, false);
    if origin.background.is_soft() && !origin.mixture.is_empty() {
        add_background(device, origin, slopes, &sums)?;
    }
    Ok(sums)
}

/// Adds what the background's logits bring to the nearest Gaussians.
fn add_background<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    origin: &Origin<'_, R, P>,
    slopes: &Slopes<'_, R, P::Real>,
    sums: &Buffer<R, P::Real>,
) -> Result<()> {
    let kernel = origin.kernel;
    let plots: Vec<_> = kernel
        .mosaic
        .images()
        .iter()
        .zip(origin.mixture.counts())
        .map(|(&(cells, _), &count)| (cells, count))
        .collect();
    let mosaic = Mosaic::new(device, &plots)?;
    let rule = (Rule::Nearest(1), 0.0);
    let bins = bins::bins_of_batch(device, origin.frames, &mosaic, rule, &mut bins::Room::default())?;
    let nearest = nearest_of(device, origin.frames, &bins, 1)?;
    let partial = device.room(PARTIAL, bins.pairs() * 4 * QUADS as usize)?;
    if bins.pairs() > 0 {
        let (count, dim) = device.per_unit(bins.pairs());
        add_nearest::launch::<P::Real, P::Weight, R>(
            device.client(),
            count,
            dim,
            origin.frames.packed.arg(),
            bins.slot_tiles.arg(),
            bins.slot_owners.arg(),
            nearest.index.arg(),
            kernel.background.arg(),
            stand(slopes),
            kernel.mosaic.arg(),
            partial.arg(),
            bins.pairs() as u32,
            origin.background,
        );
    }
    gather(device, &partial, (&bins.slot_starts, QUADS), sums, true);
    Ok(())
}

/// `sum_i z_i K_in (x_i - mean_n)` of every annotation, `[annotations, 4]`, in the first two.
pub(super) fn displacements<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    density: &Buffer<R, P::Real>,
    places: &Frames<R, P::Real>,
) -> Result<Buffer<R, P::Real>> {
    let slots = kernel.transposed.entry_starts.len() - 1;
    let partial = device.room(PARTIAL, slots * 4)?;
    if slots > 0 {
        let (count, dim) = device.per_unit(slots);
        add_displacements::launch::<P::Real, P::Weight, R>(
            device.client(),
            count,
            dim,
            places.packed.arg(),
            kernel.transposed.slot_starts.arg(),
            entries(kernel),
            density.arg(),
            kernel.mosaic.arg(),
            partial.arg(),
            slots as u32,
        );
    }
    let sums = device.uninit(places.len() * 4);
    gather(device, &partial, (&kernel.transposed.slot_starts, 1), &sums, false);
    Ok(sums)
}

fn stand<R: Runtime, F: Real>(slopes: &Slopes<'_, R, F>) -> StandLaunch<F, R> {
    let price = slopes.cost.map_or(0.0, |(price, _)| price);
    let factors = [slopes.scale, slopes.scale * price].map(real);
    StandLaunch::new(slopes.density.arg(), slopes.by_mass.arg(), slopes.by_density.arg(), factors[0], factors[1])
}

fn entries<R: Runtime, P: Precision>(kernel: &Correspondence<R, P>) -> EntriesLaunch<P::Weight, R> {
    let by_annotation = &kernel.transposed;
    EntriesLaunch::new(by_annotation.entry_starts.arg(), by_annotation.rows.arg(), by_annotation.weights.arg())
}

/// Adds the slots of every component, of so many quads, to what is there or not.
fn gather<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    partial: &Buffer<R, P::Real>,
    (slot_starts, quads): (&Buffer<R, u32>, u32),
    sums: &Buffer<R, P::Real>,
    more: bool,
) {
    if !sums.is_empty() {
        let components = slot_starts.len() - 1;
        let (count, dim) = device.per_unit(components);
        let (partial, starts) = (partial.arg(), slot_starts.arg());
        add_slots::launch::<P::Real, R>(
            device.client(),
            count,
            dim,
            partial,
            starts,
            sums.arg(),
            components as u32,
            quads,
            more,
        );
    }
}

/// [`Slopes`] as device functions see them.
#[derive(CubeType, CubeLaunch)]
struct Stand<F: Real> {
    density: Array<F>,
    by_mass: Array<F>,
    by_density: Array<F>,
    scale: F,
    /// Of the transport cost, times the scale.
    price: F,
}

#[cube]
impl<F: Real> Stand<F> {
    /// Derivative by the logit of an entry of row `cell`: `z K (s + lambda C - g)`.
    fn by_logit(&self, cell: usize, column: u32, weight: F, cost: F) -> F {
        let slope = self.scale * self.by_mass[column as usize] + self.price * cost;
        self.density[cell] * weight * (slope - self.by_density[cell])
    }
}

/// The matrix by annotations.
#[derive(CubeType, CubeLaunch)]
struct Entries<W: Storage> {
    starts: Array<u32>,
    rows: Array<u32>,
    weights: Array<W>,
}

/// Sums of a slot.
#[derive(CubeType, Clone, Copy)]
struct Moments<F: Real> {
    zeroth: F,
    x: F,
    y: F,
    xx: F,
    xy: F,
    yy: F,
}

#[cube]
impl<F: Real> Moments<F> {
    fn none() -> Moments<F> {
        let zero = F::new(0.0);
        Moments::<F> { zeroth: zero, x: zero, y: zero, xx: zero, xy: zero, yy: zero }
    }

    fn add(&mut self, v: Point<F>, a: F) {
        self.zeroth += a;
        self.x += a * v.x;
        self.y += a * v.y;
        self.xx += a * v.x * v.x;
        self.xy += a * v.x * v.y;
        self.yy += a * v.y * v.y;
    }
}

/// One unit per slot: what its entries bring.
#[cube(launch)]
fn add_entries<F: Real, W: Storage>(
    frames: &Array<Quad<F>>,
    slot_starts: &Array<u32>,
    annotations: &Array<u32>,
    places: &ComptimeOption<Array<Quad<F>>>,
    entries: &Entries<W>,
    stand: &Stand<F>,
    plots: &Plots<F>,
    partial: &mut Array<Quad<F>>,
    slots: u32,
) {
    let slot = ABSOLUTE_POS as u32;
    if slot < slots {
        let component = owner(slot_starts, slot_starts.len() as u32 - 1u32, slot);
        let annotation = annotations[component as usize];
        let image = plots.holding(annotation, Count::Gaussians);
        let column = plots.column(annotation, image);
        let frame = Frame::load(frames, component);
        let mut sum = Moments::<F>::none();
        for entry in entries.starts[ABSOLUTE_POS]..entries.starts[ABSOLUTE_POS + 1] {
            let cell = entries.rows[entry as usize];
            let weight = weight_of::<F, W>(entries.weights[entry as usize]);
            let centre = plots.centre(cell);
            let mut cost = F::new(0.0);
            #[comptime]
            if let ComptimeOption::Some(places) = places {
                let place = Frame::load(places, annotation).mean;
                let (dx, dy) = (centre.x - place.x, centre.y - place.y);
                cost = dx * dx + dy * dy;
            }
            sum.add(frame.whiten(centre), stand.by_logit(cell as usize, column, weight, cost));
        }
        partial[2 * ABSOLUTE_POS] = quad::<F>(sum.zeroth, sum.x, sum.y, sum.xx);
        partial[2 * ABSOLUTE_POS + 1] = quad::<F>(sum.xy, sum.yy, F::new(0.0), F::new(0.0));
    }
}

/// One unit per slot: how far its mass is from the annotation's place.
#[cube(launch)]
fn add_displacements<F: Real, W: Storage>(
    places: &Array<Quad<F>>,
    slot_starts: &Array<u32>,
    entries: &Entries<W>,
    density: &Array<F>,
    plots: &Plots<F>,
    partial: &mut Array<Quad<F>>,
    slots: u32,
) {
    let slot = ABSOLUTE_POS as u32;
    if slot < slots {
        let place = Frame::load(places, owner(slot_starts, slot_starts.len() as u32 - 1u32, slot)).mean;
        let (mut x, mut y, zero) = (F::new(0.0), F::new(0.0), F::new(0.0));
        for entry in entries.starts[ABSOLUTE_POS]..entries.starts[ABSOLUTE_POS + 1] {
            let cell = entries.rows[entry as usize];
            let moved = density[cell as usize] * weight_of::<F, W>(entries.weights[entry as usize]);
            let centre = plots.centre(cell);
            x += moved * (centre.x - place.x);
            y += moved * (centre.y - place.y);
        }
        partial[ABSOLUTE_POS] = quad::<F>(x, y, zero, zero);
    }
}

/// One unit per slot: what the background brings in the cells to which the slot's Gaussian is the nearest.
#[cube(launch)]
fn add_nearest<F: Real, W: Storage>(
    frames: &Array<Quad<F>>,
    slot_tiles: &Array<u32>,
    slot_owners: &Array<u32>,
    nearest: &Array<u32>,
    background: &Array<W>,
    stand: &Stand<F>,
    plots: &Plots<F>,
    partial: &mut Array<Quad<F>>,
    slots: u32,
    #[comptime] rule: Background,
) {
    if (ABSOLUTE_POS as u32) < slots {
        let (tile, component) = (slot_tiles[ABSOLUTE_POS], slot_owners[ABSOLUTE_POS]);
        let frame = Frame::load(frames, component);
        let place = plots.place(tile);
        let column = plots.background(place.image);
        let mut sum = Moments::<F>::none();
        let mut by_area = F::new(0.0);
        for y in place.row..u32::min(place.row + TILE, place.lattice.rows) {
            for x in place.column..u32::min(place.column + TILE, place.lattice.columns) {
                let cell = (place.first_cell + y * place.lattice.columns + x) as usize;
                if nearest[cell] == component {
                    let a = stand.by_logit(cell, column, weight_of::<F, W>(background[cell]), F::new(0.0));
                    let v = frame.whiten(place.lattice.centre(x, y));
                    if comptime!(rule == Background::Reciprocal) {
                        let q = v.x * v.x + v.y * v.y;
                        let mirrored = Mirrored::<F>::of(q, frame.threshold, frame.inverse_area());
                        let by_q = mirrored.by_q(frame.threshold);
                        sum.add(v, F::new(2.0) * by_q * a);
                        by_area += a * (F::new(1.0) - mirrored.exponent - q * by_q);
                    } else {
                        sum.add(v, a);
                        by_area += a;
                    }
                }
            }
        }
        let zero = F::new(0.0);
        partial[2 * ABSOLUTE_POS] = quad::<F>(zero, zero - sum.x, zero - sum.y, zero - sum.xx);
        partial[2 * ABSOLUTE_POS + 1] = quad::<F>(zero - sum.xy, zero - sum.yy, by_area, zero);
    }
}

#[cube(launch)]
fn add_slots<F: Real>(
    partial: &Array<Quad<F>>,
    slot_starts: &Array<u32>,
    sums: &mut Array<Quad<F>>,
    components: u32,
    #[comptime] quads: u32,
    #[comptime] more: bool,
) {
    let n = ABSOLUTE_POS as u32;
    if n < components {
        let total = total_of_quads(partial, slot_starts, n, quads);
        #[unroll]
        for k in 0..comptime!(quads as usize) {
            let at = ABSOLUTE_POS * comptime!(quads as usize) + k;
            if comptime!(more) {
                sums[at] += total[k];
            } else {
                sums[at] = total[k];
            }
        }
    }
}
