//! Predicts the densities of whole photos.

use burn_core::tensor::{Tensor, backend::Backend};

use super::networks::{DensityNetwork, STRIDE, image_tensor};
use crate::{Error, Grid, Image, Result};

/// The windows in which a photo that is too large for one pass is processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Side of a window, px: a multiple of 8.
    pub side: u32,
    /// Distance from one window to the next, px: a multiple of 8, at most the side.
    pub step: u32,
}

/// Predicts the density of a photo, `[channels, cells]` of [`Grid::over`] with [`STRIDE`].
///
/// With windows, the network sees one window after the other, and a cell gets the mean over all windows that contain
/// it, because a network's answer is worst at the border of what it sees. The last window of a row or column ends where
/// the photo's cells end. Without windows, or if one window holds the whole photo, a single pass is made.
///
/// ```
/// use burn_flex::Flex;
/// use splatport::{Image, burn::{Windows, networks::SmallDensity, predict}};
///
/// let photo = Image::from_u8(100, 60, 1, vec![90; 6000])?;
/// let network = SmallDensity::<Flex>::new(&Default::default());
/// let windows = Windows { side: 64, step: 32 };
/// assert_eq!(predict(&network, &photo, Some(windows), &Default::default())?.len(), 13 * 8);
/// # Ok::<(), splatport::Error>(())
/// ```
///
/// # Errors
/// [`Error::Option`] for windows whose side or step is not as [`Windows`] requires.
pub fn predict<B: Backend>(
    network: &impl DensityNetwork<B>,
    photo: &Image,
    windows: Option<Windows>,
    place: &B::Device,
) -> Result<Vec<f32>> {
    let grid = Grid::over(photo.width(), photo.height(), STRIDE);
    let size = [grid.columns(), grid.rows()];
    let image = image_tensor::<B>(photo, place);
    let Some(windows) = windows else { return Ok(values(network.density(image))) };
    for (name, side, most) in [("side", windows.side, u32::MAX), ("step", windows.step, windows.side)] {
        if side == 0 || side % STRIDE != 0 || side > most {
            let why = "must be a multiple of 8 above 0, a step at most the side";
            return Err(Error::Option { name, value: side.into(), why });
        }
    }
    let (side, step) = (windows.side / STRIDE, windows.step / STRIDE);
    let starts = size.map(|cells| {
        let last = cells.saturating_sub(side);
        (0..last).step_by(step as usize).chain([last]).collect::<Vec<_>>()
    });
    let mut sums: Vec<f64> = Vec::new();
    let mut times = vec![0.0; grid.len()];
    for (&top, &left) in starts[1].iter().flat_map(|top| starts[0].iter().map(move |left| (top, left))) {
        let [columns, rows] = [0, 1].map(|axis| side.min(size[axis] - [left, top][axis]) as usize);
        // The last cells may extend beyond the photo's edge.
        let part = |start: u32, cells: usize, end: u32| {
            let start = start * STRIDE;
            (start as usize, (cells * STRIDE as usize).min((end - start) as usize))
        };
        let ((x, width), (y, height)) = (part(left, columns, photo.width()), part(top, rows, photo.height()));
        let seen = values(network.density(image.clone().narrow(2, y, height).narrow(3, x, width)));
        let cell = |index: usize| (top as usize + index / columns) * size[0] as usize + left as usize + index % columns;
        let cells = columns * rows;
        sums.resize(seen.len() / cells * grid.len(), 0.0);
        for (index, value) in seen.into_iter().enumerate() {
            sums[index / cells * grid.len() + cell(index % cells)] += f64::from(value);
        }
        (0..cells).for_each(|index| times[cell(index)] += 1.0);
    }
    Ok(sums.iter().zip(times.iter().cycle()).map(|(sum, times)| (sum / times) as f32).collect())
}

fn values<B: Backend>(density: Tensor<B, 4>) -> Vec<f32> {
    density.into_data().iter::<f32>().collect()
}
