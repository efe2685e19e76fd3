//! What every column comes to, and how far that is from its target.

use cubecl::prelude::*;

use super::{Terms, carry::Carried, lanes};
use crate::{
    arithmetic::sum_range,
    buffer::Buffer,
    correspondence::Correspondence,
    device::{Device, Shape},
    discrepancy::{Discrepancy, Kind, slope_of, value_of},
    grid::{Count, Counts},
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
    let (images, annotations) = (kernel.mosaic.images().len(), kernel.mosaic.total(Count::Gaussians));
    let (cubes, dim) = lanes::spread(device, images, annotations);
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
        kernel.mosaic.counts(),
        real(discrepancy.width()),
        discrepancy.kind(),
        terms.is_some(),
        device.shape(),
    );
    Compared { mass, value, slope }
}

#[derive(CubeType, CubeLaunch)]
struct Settled<F: Real> {
    mass: Array<F>,
    value: Array<F>,
    slope: Array<F>,
}

/// One unit per annotation, and as many per background as [`lanes`] has.
#[cube(launch)]
fn settle_columns<F: Real>(
    slot_starts: &Array<u32>,
    of_slots: &Array<F>,
    of_tiles: &Array<F>,
    target: &Array<F>,
    weight: &Array<F>,
    settled: &mut Settled<F>,
    counts: &Counts,
    width: F,
    #[comptime] kind: Kind,
    #[comptime] compare: bool,
    #[comptime] shape: Shape,
) {
    let annotations = counts.total(Count::Gaussians);
    let annotation = lanes::element(counts.images(), shape);
    let background = lanes::image(annotations, shape);
    let mut mass = F::new(0.0);
    let mut column = 0u32.runtime();
    let mut settles = annotation < annotations;
    if settles {
        let (first, end) = (slot_starts[annotation as usize], slot_starts[annotation as usize + 1]);
        mass += sum_range::<F>(of_slots, first, end);
        column = counts.column(annotation, counts.holding(annotation, Count::Gaussians));
    }
    if background < counts.images() {
        let end = counts.before(background + 1u32, Count::Tiles);
        mass += lanes::sum::<F>(of_tiles, counts.before(background, Count::Tiles), end, shape);
        column = counts.background(background);
        settles = lanes::has_sum(shape);
    }
    if settles {
        let at = column as usize;
        settled.mass[at] = mass;
        if comptime!(compare) {
            settled.value[at] = weight[at] * value_of::<F>(mass, target[at], width, kind);
            settled.slope[at] = weight[at] * slope_of::<F>(mass, target[at], width, kind);
        }
    }
}
