//! The pictures of a splat on a device.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use image::RgbImage;
use splatport::{Device, GaussianTable, Grid, Image, Pixels, Precision, Runtime, Splat, draw};

use crate::origin::Origin;

/// Standard deviations at which Gaussians are outlined: where the recommended background begins.
const OUTLINE: f64 = 1.5;

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
        let table = splat.table()?;
        let (width, height, channels) = (photo.width(), photo.height(), table.channels);
        Ok(match self {
            Self::Ellipses => draw::ellipses(photo, &table.means, &table.scales, &table.rotations, OUTLINE)?,
            Self::Reconstruction => draw::reconstruction(width, height, channels, &splat.reconstruction()?)?,
            Self::Residual => {
                let rebuilt = splat.reconstruction()?;
                let around_grey = |(photo, rebuilt): (f32, f32)| 0.5 + 0.5 * (photo - rebuilt);
                let values: Vec<f32> =
                    in_channels(photo, channels)?.to_f32().into_iter().zip(rebuilt).map(around_grey).collect();
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

/// A picture in three channels of eight bits.
pub fn rgb(picture: &Image) -> Result<RgbImage> {
    let rgb = draw::beside(&[picture])?;
    let (Pixels::U8(samples), 3) = (rgb.pixels(), rgb.channels()) else { bail!("a picture without colors") };
    RgbImage::from_raw(rgb.width(), rgb.height(), samples.clone()).context("a picture without pixels")
}

/// Gaussians of a table, with their photo given back, so that they can be drawn.
pub fn splat<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    table: &GaussianTable,
    photo: &Image,
) -> Result<Splat<R, P>> {
    let splat = Splat::from_table(device, table)?;
    let recipe = Origin::read(&table.origin).map(|origin| origin.recipe);
    let options = recipe.map_or(splat.profile().splat(), |recipe| *recipe.options());
    Ok(splat.over(&*in_channels(photo, table.channels)?, &options)?)
}

/// A photo in as many channels as its Gaussians have: those of the authors' code are coloured where it is grey, too.
fn in_channels(photo: &Image, channels: u8) -> Result<Cow<'_, Image>> {
    if (photo.channels(), channels) != (1, 3) {
        return Ok(Cow::Borrowed(photo));
    }
    let values: Vec<f32> = photo.to_f32().into_iter().flat_map(|value| [value; 3]).collect();
    Ok(Cow::Owned(Image::from_f32(photo.width(), photo.height(), 3, &values)?))
}
