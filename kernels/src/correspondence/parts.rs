//! What every image of a batch has of the matrix.

use cubecl::prelude::*;

use super::Correspondence;
use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    grid::{Cells, Count, Counts},
    real::Precision,
};

/// What one image has of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Stored weights, the background's aside.
    pub entries: usize,
    /// Bytes of device memory that it would take as the only image, both orders.
    pub bytes: usize,
}

/// What the memory of a matrix follows from.
struct Lengths {
    cells: usize,
    annotations: usize,
    /// Of a mixture.
    components: Option<usize>,
    slots: usize,
    entries: usize,
}

impl Lengths {
    fn bytes<P: Precision>(&self) -> usize {
        let starts = [Some(self.cells), Some(self.annotations), self.components, Some(self.slots)];
        let indices = starts.into_iter().flatten().map(|lists| lists + 1).sum::<usize>() + 2 * self.entries;
        let weights = 2 * self.entries + self.cells;
        indices * size_of::<u32>() + weights * size_of::<P::Weight>()
    }
}

impl<R: Runtime, P: Precision> Correspondence<R, P> {
    /// Bytes of device memory, both orders.
    pub fn bytes(&self) -> usize {
        let lengths = Lengths {
            cells: self.cells(),
            annotations: self.mosaic.total(Count::Gaussians),
            components: self.components.as_ref().map(|components| components.mosaic.total(Count::Gaussians)),
            slots: self.transposed.entry_starts.len() - 1,
            entries: self.columns.len(),
        };
        lengths.bytes::<P>()
    }

    /// What every image has of it.
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    pub fn parts(&self, device: &Device<R, P>) -> Result<Vec<Part>> {
        let images = self.mosaic.images();
        let starts: Buffer<R, u32> = device.uninit(2 * (images.len() + 1));
        let (count, dim) = device.per_unit(images.len() + 1);
        let (rows, slots) = (self.row_starts.arg(), self.transposed.slot_starts.arg());
        pick_starts::launch::<R>(device.client(), count, dim, rows, slots, self.mosaic.counts(), starts.arg());
        let starts = starts.read()?;
        let part = |(image, &(cells, annotations)): (usize, &(Cells, usize))| {
            let [entries, slots] = [0, 1].map(|of| (starts[2 * image + 2 + of] - starts[2 * image + of]) as usize);
            let components = self.components.as_ref().map(|components| components.mosaic.images()[image].1);
            let lengths = Lengths { cells: cells.len(), annotations, components, slots, entries };
            Part { entries, bytes: lengths.bytes::<P>() }
        };
        Ok(images.iter().enumerate().map(part).collect())
    }
}

/// Where the entries and the slots of every image start, `[images + 1, 2]`.
#[cube(launch)]
fn pick_starts(row_starts: &Array<u32>, slot_starts: &Array<u32>, counts: &Counts, picked: &mut Array<u32>) {
    let image = ABSOLUTE_POS as u32;
    if image <= counts.images() {
        picked[2 * ABSOLUTE_POS] = row_starts[counts.before(image, Count::Cells) as usize];
        picked[2 * ABSOLUTE_POS + 1] = slot_starts[counts.before(image, Count::Gaussians) as usize];
    }
}
