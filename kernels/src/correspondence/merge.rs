//! From the components of mixtures to their annotations.

use cubecl::prelude::*;

use super::{Components, Correspondence, Transposed};
use crate::{Result, buffer::Buffer, device::Device, grid::Mosaic, mixture::Mixture, real::Precision};

impl<R: Runtime, P: Precision> Correspondence<R, P> {
    /// Names the columns of a matrix over the components of `mixture` after their annotations, which `mosaic` counts. Entries and
    /// slots stay as they are: those of an annotation's components follow one another, and sums over them add up.
    ///
    /// # Errors
    /// [`crate::Error::Length`] when the matrix is not over these components.
    pub fn merged(
        self,
        device: &Device<R, P>,
        mixture: &Mixture<R, P::Real>,
        mosaic: Mosaic<R, P::Real>,
    ) -> Result<Self> {
        let of_components = self.transposed.slot_starts;
        of_components.expect("slots of components", mixture.len() + 1)?;
        if !self.columns.is_empty() {
            let (count, dim) = device.per_unit(self.columns.len());
            let (columns, names) = (self.columns.arg(), mixture.annotations.arg());
            rename::launch::<R>(device.client(), count, dim, columns, names, self.columns.len() as u32);
        }
        let slot_starts: Buffer<R, u32> = device.uninit(mixture.starts.len());
        let (count, dim) = device.per_unit(slot_starts.len());
        let (starts, firsts) = (of_components.arg(), mixture.starts.arg());
        pick::launch::<R>(device.client(), count, dim, starts, firsts, slot_starts.arg());
        Ok(Self {
            mosaic,
            transposed: Transposed { slot_starts, ..self.transposed },
            components: Some(Components { mosaic: self.mosaic, slot_starts: of_components }),
            ..self
        })
    }
}

#[cube(launch)]
fn rename(columns: &mut Array<u32>, names: &Array<u32>, entries: u32) {
    if (ABSOLUTE_POS as u32) < entries {
        columns[ABSOLUTE_POS] = names[columns[ABSOLUTE_POS] as usize];
    }
}

#[cube(launch)]
fn pick(values: &Array<u32>, at: &Array<u32>, picked: &mut Array<u32>) {
    if ABSOLUTE_POS < picked.len() {
        picked[ABSOLUTE_POS] = values[at[ABSOLUTE_POS] as usize];
    }
}
