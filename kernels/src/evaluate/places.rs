//! Where covered tiles lie: a table, so that nobody searches for a tile's image and pixels at every step.

use cubecl::prelude::*;

use crate::{
    buffer::Buffer,
    device::Device,
    rasterize::{Lists, Scene},
    real::{Precision, Quad, Real, quad},
};

/// Four numbers of a place, loaded at once.
pub(super) type Marks = Vector<u32, Const<4>>;

/// Where the covered tiles lie, in the look's order.
#[derive(Debug)]
pub(super) struct Places<R: Runtime, F: Real> {
    /// Tile, image, first member, members; first pixel, pixels from row to row, columns and rows inside the image. `[covered, 8]`.
    pub marks: Buffer<R, u32>,
    /// Centre of the first pixel, size of a pixel, 0. `[covered, 4]`.
    pub origins: Buffer<R, F>,
}

impl<R: Runtime, F: Real> Places<R, F> {
    pub fn new<P: Precision<Real = F>>(
        device: &Device<R, P>,
        scene: &Scene<'_, R, F>,
        order: &Buffer<R, u32>,
        covered: usize,
    ) -> Self {
        let places = Self { marks: device.uninit(8 * covered), origins: device.uninit(4 * covered) };
        if covered > 0 {
            let (cubes, dim) = device.per_unit(covered);
            let (marks, origins) = (places.marks.arg(), places.origins.arg());
            find_places::launch::<F, R>(
                device.client(),
                cubes,
                dim,
                scene.lists(),
                order.arg(),
                marks,
                origins,
                covered as u32,
            );
        }
        places
    }

    pub fn bytes(&self) -> usize {
        self.marks.bytes() + self.origins.bytes()
    }
}

#[cube(launch)]
fn find_places<F: Real>(
    lists: &Lists<F>,
    order: &Array<u32>,
    marks: &mut Array<Marks>,
    origins: &mut Array<Quad<F>>,
    covered: u32,
) {
    let rank = ABSOLUTE_POS;
    if rank < covered as usize {
        let tile = order[rank];
        let place = lists.plots.place(tile);
        let first = lists.starts[tile as usize];
        let mut mark = Marks::empty();
        mark[0] = tile;
        mark[1] = place.image;
        mark[2] = first;
        mark[3] = lists.starts[tile as usize + 1] - first;
        marks[2 * rank] = mark;
        mark[0] = place.first_cell + place.row * place.lattice.columns + place.column;
        mark[1] = place.lattice.columns;
        mark[2] = place.lattice.columns - place.column;
        mark[3] = place.lattice.rows - place.row;
        marks[2 * rank + 1] = mark;
        let centre = place.lattice.centre(place.column, place.row);
        origins[rank] = quad::<F>(centre.x, centre.y, place.lattice.stride, F::new(0.0));
    }
}
