//! The grids of many images in one numbering, and how device functions find their way in it.

use cubecl::prelude::*;

use super::{
    Cells, Lattice,
    counts::{COLUMNS, Count, Counts, CountsLaunch, ROW},
};
use crate::{
    Error, Result,
    bins::{COARSE, TILE},
    buffer::Buffer,
    device::Device,
    gaussian::Point,
    real::{Precision, Real},
};

/// The grids of a batch, in one numbering of cells, tiles and Gaussians: image after image.
#[derive(Debug)]
pub struct Mosaic<R: Runtime, F: Real> {
    images: Vec<(Cells, usize)>,
    /// `[images + 1, ROW]`, see [`Plots`].
    table: Buffer<R, u32>,
    /// Left, top, stride: `[images, 3]`.
    corners: Buffer<R, F>,
    totals: [u32; ROW as usize],
}

/// Gaussians that one unit looks at for a coarse tile.
pub(crate) const BLOCK: u32 = 256;
/// Tiles whose sums are added together first, by one unit. What is left is added by every Gaussian's unit of [`crate::gauss_newton`],
/// while this is done beside others that take as long.
pub(crate) const BUNDLE: u32 = 128;

impl<R: Runtime, F: Real> Mosaic<R, F> {
    /// Grids with the number of Gaussians of each.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when there are more cells than a 32-bit index can address.
    pub fn new<P: Precision<Real = F>>(device: &Device<R, P>, images: &[(Cells, usize)]) -> Result<Self> {
        let mut totals = [0u64; ROW as usize];
        let (mut table, mut corners) = (Vec::new(), Vec::new());
        for &(cells, gaussians) in images {
            totals[COLUMNS as usize] = u64::from(cells.columns);
            totals[COLUMNS as usize + 1] = u64::from(cells.rows);
            table.extend(totals.map(|v| v as u32));
            corners.extend([cells.left, cells.top, cells.stride]);
            let tiles = |side: u32| u64::from(cells.columns.div_ceil(side)) * u64::from(cells.rows.div_ceil(side));
            let blocks = gaussians.div_ceil(BLOCK as usize).max(1) as u64;
            let counts = [
                cells.len() as u64,
                tiles(TILE),
                tiles(COARSE) * blocks,
                gaussians as u64,
                tiles(TILE).div_ceil(u64::from(BUNDLE)),
            ];
            totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        }
        let most = Cells::MOST as u64;
        if let Some(&count) = totals.iter().find(|&&total| total > most) {
            return Err(Error::TooLarge { what: "batch of grids", count, most });
        }
        table.extend(totals.map(|v| v as u32));
        let totals = totals.map(|v| v as u32);
        let images = images.to_vec();
        Ok(Self { images, table: device.upload(&table), corners: device.upload_f64(&corners), totals })
    }

    /// The grids with the number of Gaussians of each.
    pub fn images(&self) -> &[(Cells, usize)] {
        &self.images
    }

    pub(crate) fn total(&self, count: Count) -> usize {
        self.totals[count as usize] as usize
    }

    pub(crate) fn table(&self) -> &Buffer<R, u32> {
        &self.table
    }

    pub(crate) fn arg(&self) -> PlotsLaunch<F, R> {
        PlotsLaunch::new(self.counts(), self.corners.arg())
    }

    pub(crate) fn counts(&self) -> CountsLaunch<R> {
        CountsLaunch::new(self.table.arg(), self.images.len() as u32)
    }
}

impl<R: Runtime, F: Real> Clone for Mosaic<R, F> {
    fn clone(&self) -> Self {
        Self {
            images: self.images.clone(),
            table: self.table.clone(),
            corners: self.corners.clone(),
            totals: self.totals,
        }
    }
}

/// [`Mosaic`] as device functions see it.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Plots<F: Real> {
    pub counts: Counts,
    corners: Array<F>,
}

/// A tile, by its top-left cell.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Place<F: Real> {
    pub image: u32,
    /// First cell of the image.
    pub first_cell: u32,
    pub lattice: Lattice<F>,
    pub column: u32,
    pub row: u32,
}

#[cube]
impl<F: Real> Plots<F> {
    /// See [`Counts::before`].
    pub fn before(&self, image: u32, #[comptime] count: Count) -> u32 {
        self.counts.before(image, count)
    }

    pub fn images(&self) -> u32 {
        self.counts.images
    }

    pub fn total(&self, #[comptime] count: Count) -> u32 {
        self.counts.total(count)
    }

    /// See [`Counts::holding`].
    pub fn holding(&self, index: u32, #[comptime] count: Count) -> u32 {
        self.counts.holding(index, count)
    }

    pub fn lattice(&self, image: u32) -> Lattice<F> {
        let at = image as usize * 3;
        let row = (image * ROW + COLUMNS) as usize;
        Lattice::<F> {
            left: self.corners[at],
            top: self.corners[at + 1],
            stride: self.corners[at + 2],
            columns: self.counts.table[row],
            rows: self.counts.table[row + 1],
        }
    }

    /// Centre of cell `cell` of the batch.
    pub fn centre(&self, cell: u32) -> Point<F> {
        let image = self.holding(cell, Count::Cells);
        let lattice = self.lattice(image);
        let local = cell - self.before(image, Count::Cells);
        lattice.centre(local % lattice.columns, local / lattice.columns)
    }

    /// See [`Counts::column`].
    pub fn column(&self, annotation: u32, image: u32) -> u32 {
        self.counts.column(annotation, image)
    }

    /// See [`Counts::background`].
    pub fn background(&self, image: u32) -> u32 {
        self.counts.background(image)
    }

    /// Where tile `tile` of the batch lies.
    pub fn place(&self, tile: u32) -> Place<F> {
        let corner = self.counts.corner(tile);
        Place::<F> {
            image: corner.image,
            first_cell: corner.first_cell,
            lattice: self.lattice(corner.image),
            column: corner.column,
            row: corner.row,
        }
    }

    /// The cell that unit `unit` of a cube on `tile` owns.
    pub fn cell(&self, tile: u32, unit: u32) -> Cell<F> {
        let mut inside = false;
        let mut index = 0u32;
        let mut centre = Point::<F> { x: F::new(0.0), y: F::new(0.0) };
        if tile < self.total(Count::Tiles) {
            let place = self.place(tile);
            let (column, row) = (place.column + unit % TILE, place.row + unit / TILE);
            inside = column < place.lattice.columns && row < place.lattice.rows;
            index = place.first_cell + row * place.lattice.columns + column;
            let point = place.lattice.centre(column, row);
            centre.x = point.x;
            centre.y = point.y;
        }
        Cell::<F> { centre, index, inside }
    }
}

/// A cell; `inside` is false beyond the grid's edge.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Cell<F: Real> {
    pub centre: Point<F>,
    pub index: u32,
    pub inside: bool,
}
