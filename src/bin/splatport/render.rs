//! `splatport render`: pictures of Gaussians.

use std::fmt::{self, Display};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use splatport::{Device, GaussianTable, Image, Precision, Runtime, draw};

use crate::answer::Answer;
use crate::authors;
use crate::device::{DeviceArgs, Job};
use crate::options::ending;
use crate::pictures::{self, View};

/// Draw Gaussians: outlines on the photo, the photo rebuilt from them, the pixels that belong to every point.
#[derive(Args)]
pub struct Render {
    /// The Gaussians, as `splatport splat` or, as .h5, the authors' code wrote them.
    gaussians: PathBuf,
    /// The photo that they were fitted to.
    photo: PathBuf,
    /// Where to write the picture: .png.
    #[arg(short, long, value_parser = ending(&["png"]))]
    output: PathBuf,
    /// What to show, side by side.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "ellipses,reconstruction,ownership")]
    show: Vec<View>,
    #[command(flatten)]
    device: DeviceArgs,
}

impl Render {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let photo = Image::open(&self.photo)?;
        let table = authors::gaussians(&self.gaussians, &photo)?;
        let picture = self.device.clone().run(Draw { table: &table, photo: &photo, show: &self.show })?;
        picture.save(&self.output)?;
        Answer::of(&Summary { width: picture.width(), height: picture.height(), output: self.output })
    }
}

struct Draw<'a> {
    table: &'a GaussianTable,
    photo: &'a Image,
    show: &'a [View],
}

impl Job for Draw<'_> {
    type Output = Image;

    fn run<R: Runtime, P: Precision>(self, device: &Device<R, P>) -> Result<Image> {
        let splat = pictures::splat(device, self.table, self.photo)?;
        let pictures = self.show.iter().map(|view| view.of(self.photo, &splat)).collect::<Result<Vec<_>>>()?;
        Ok(draw::beside(&pictures.iter().collect::<Vec<_>>())?)
    }
}

#[derive(Serialize)]
struct Summary {
    width: u32,
    height: u32,
    output: PathBuf,
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrote  {}, {} x {} px", self.output.display(), self.width, self.height)
    }
}
