//! How the rows of one side are spread over a device's units.
//!
//! Where units run one after the other a unit has four rows, and loads every column once for all of them. On a GPU several units
//! share a row, fewer the more rows there are, until a unit has two.

use cubecl::prelude::*;

use super::{
    Ground,
    sides::{CUBE, Round, Ruler, SCALE, cost},
};
use crate::{
    device::{Device, Shape},
    gaussian::Point,
    grid::{Count, Counts, Mosaic},
    real::{Precision, Quad, Real},
};

/// Units that keep the largest GPUs busy.
const BUSY: usize = 1 << 16;
/// Rows of a unit on a GPU where there are more than enough, and how many lanes of each fit its registers.
const PAIR: u32 = 2;
const MOST_LANES: u32 = 16;
/// Rows of a unit, and units of a cube, where they run one after the other: eight fill a vector register of software Vulkan.
const ROWS: u32 = 4;
const FEW: u32 = 8;

/// Rows and columns of a launch, and who has which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Spread {
    /// Whether rows are the cells and columns the points, else the other way round.
    pub cells: bool,
    /// Parts in which a row's sum is kept, whatever number of units shares them.
    pub lanes: u32,
    /// Of a row, or of as many as a unit has; a divisor of the lanes.
    pub units: u32,
    /// Of a unit.
    pub rows: u32,
}

impl Spread {
    /// `lanes` of every row are shared by as many units as keep the device busy.
    pub fn shared<R: Runtime, P: Precision>(
        device: &Device<R, P>,
        mosaic: &Mosaic<R, P::Real>,
        cells: bool,
        lanes: u32,
    ) -> Self {
        let own = Self::own(device, mosaic, cells, lanes);
        if device.shape() == Shape::Gathered {
            return own;
        }
        let total = mosaic.total(own.of_rows()).max(1);
        let [least, most] = [lanes.div_ceil(MOST_LANES), lanes.min(CUBE)].map(|units| units as usize);
        let units = 1 << (BUSY / total).clamp(least, most).ilog2();
        Self { units, rows: if total * least >= BUSY { PAIR } else { 1 }, ..own }
    }

    /// Every lane of a row is a unit.
    pub fn own<R: Runtime, P: Precision>(
        device: &Device<R, P>,
        mosaic: &Mosaic<R, P::Real>,
        cells: bool,
        lanes: u32,
    ) -> Self {
        let one = Self { cells, lanes: 1, units: 1, rows: 1 };
        match device.shape() {
            Shape::Tiled => Self { lanes, units: lanes, ..one },
            Shape::Gathered if mosaic.total(one.of_rows()) < (ROWS * FEW) as usize => one,
            Shape::Gathered => Self { rows: ROWS, ..one },
        }
    }

    /// The launch of all rows.
    pub fn launch<R: Runtime, P: Precision>(
        self,
        device: &Device<R, P>,
        mosaic: &Mosaic<R, P::Real>,
    ) -> (CubeCount, CubeDim) {
        // See `Counts::groups_before`.
        let groups = mosaic.total(self.of_rows()) / self.rows as usize + mosaic.images().len();
        let cube = if device.shape() == Shape::Tiled { CUBE } else { FEW };
        device.per_cube(groups * self.units as usize, cube)
    }

    pub fn of_rows(self) -> Count {
        if self.cells { Count::Cells } else { Count::Gaussians }
    }

    pub fn of_columns(self) -> Count {
        if self.cells { Count::Gaussians } else { Count::Cells }
    }

    /// Lanes of a unit.
    pub fn own_lanes(self) -> usize {
        (self.lanes / self.units) as usize
    }
}

/// A launch with one cube an image.
pub(super) fn per_image<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    images: usize,
    lanes: u32,
) -> (CubeCount, CubeDim) {
    if lanes == 1 { device.per_unit(images) } else { device.per_cube(images * lanes as usize, lanes) }
}

/// Rows of a unit and their columns; none of either where the image has stopped or has no columns: rows then stay as they are.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Reach {
    pub image: u32,
    /// Of those that share the row.
    pub unit: u32,
    pub first: u32,
    /// Behind the last row of the image.
    pub end: u32,
    pub columns: u32,
    pub columns_end: u32,
}

#[cube]
pub(super) fn reach_of<F: Real>(counts: &Counts, round: &Round<F>, #[comptime] spread: Spread) -> Reach {
    let (of_rows, of_columns) = comptime!((spread.of_rows(), spread.of_columns()));
    let (group, unit) = (ABSOLUTE_POS as u32 / spread.units, ABSOLUTE_POS as u32 % spread.units);
    let image = counts.holding_group(group, of_rows, spread.rows);
    let in_image = group - counts.groups_before(image, of_rows, spread.rows);
    let first = counts.before(image, of_rows) + in_image * spread.rows;
    let last = counts.before(image + 1u32, of_rows);
    let columns = counts.before(image, of_columns);
    let mut columns_end = columns;
    if first < last {
        if round.runs(image, counts.images()) {
            columns_end = counts.before(image + 1u32, of_columns);
        }
    }
    Reach { image, unit, first, end: select(columns < columns_end, last, 0u32), columns, columns_end }
}

/// Where the rows of a unit are, and what a cost is in an exponent.
#[derive(CubeType)]
pub(super) struct Spots<F: Real> {
    x: Array<F>,
    y: Array<F>,
    sharpness: F,
    ruler: Ruler<F>,
}

#[cube]
pub(super) fn spots_of<F: Real>(
    rows: &Array<Quad<F>>,
    reach: &Reach,
    round: &Round<F>,
    images: u32,
    #[comptime] spread: Spread,
) -> Spots<F> {
    let count = comptime!(spread.rows as usize);
    let mut x = Array::<F>::new(count);
    let mut y = Array::<F>::new(count);
    #[unroll]
    for k in 0..count {
        let r = reach.first + k as u32;
        x[k] = F::new(0.0);
        y[k] = F::new(0.0);
        if r < reach.end {
            x[k] = rows[r as usize][0];
            y[k] = rows[r as usize][1];
        }
    }
    let sharpness = round.constant(reach.image, images, SCALE) / round.epsilon(reach.image, images);
    Spots::<F> { x, y, sharpness, ruler: round.ruler(reach.image, images) }
}

#[cube]
impl<F: Real> Spots<F> {
    /// `charge_c - C_rc / epsilon` of a unit's row `k` and a column.
    pub fn exponent(&self, k: usize, column: Quad<F>, #[comptime] ground: Ground) -> F {
        let place = Point::<F> { x: self.x[k], y: self.y[k] };
        column[2] - cost::<F>(&place, column[0], column[1], &self.ruler, ground) * self.sharpness
    }
}
