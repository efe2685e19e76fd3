//! What every column comes to, and how far that is from its target.

use cubecl::prelude::*;

use super::{Terms, carry::Carried};
use crate::{
    arithmetic::sum_range,
    buffer::Buffer,
    correspondence::Correspondence,
    device::Device,
    discrepancy::{Discrepancy, Kind, slope_of, value_of},
    grid::{Count, Plots},
    real::{Precision, Real, real},
};

pub(super) struct Compared<R: Runtime, F: Real> {
    pub mass: Buffer<R, F>,
    pub value: Buffer<R, F>,
    pub slope: Buffer<R, F>,
}

pub(super) fn settle<R: Runtime, P: Precision>(
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
    #[comptime] kind: Kind,
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
