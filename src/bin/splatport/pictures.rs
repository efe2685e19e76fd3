//! The pictures of a splat on a device.

use anyhow::Result;
use clap::ValueEnum;
use splatport::{Grid, Image, Precision, Runtime, Splat, draw};

/// Standard deviations at which Gaussians are outlined: where the recommended background begins.
const OUTLINE: f32 = 1.5;

/// What to show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum View {
    /// The photo with the Gaussians outlined at 1.5 standard deviations.
    Ellipses,
    /// The photo as the Gaussians rebuild it.
    Reconstruction,
    /// The difference of photo and reconstruction around grey.
    Residual,
    /// Which point every pixel belongs to.
    Ownership,
}

impl View {
    /// Draws it; the splat must know its photo.
    pub fn of<R: Runtime, P: Precision>(self, photo: &Image, splat: &Splat<R, P>) -> Result<Image> {
        let (width, height, channels) = (photo.width(), photo.height(), photo.channels());
        let table = splat.table()?;
        Ok(match self {
            Self::Ellipses => draw::ellipses(photo, &table.means, &table.scales, &table.rotations, OUTLINE)?,
            Self::Reconstruction => draw::reconstruction(width, height, channels, &splat.reconstruction()?)?,
            Self::Residual => {
                let rebuilt = splat.reconstruction()?;
                let around_grey = |(photo, rebuilt): (f32, f32)| 0.5 + 0.5 * (photo - rebuilt);
                let values: Vec<f32> = photo.to_f32().into_iter().zip(rebuilt).map(around_grey).collect();
                draw::reconstruction(width, height, channels, &values)?
            }
            Self::Ownership => {
                let owners = splat.kernel(Grid::strided(photo, 1)).build()?.owners()?;
                let points = &table.means[..splat.annotations()];
                draw::ownership(width, height, &owners.owner, &owners.weight, 1, points)?
            }
        })
    }
}
