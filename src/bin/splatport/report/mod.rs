//! `splatport report`: one page a photo or a data set, with everything in it.

mod photo;
mod picture;
mod plot;

use std::fmt::{self, Display};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use minijinja::{Environment, context};
use serde::Serialize;
use splatport::{Annotations, Device, Image, Precision, Runtime, write_whole};

use self::photo::Photo;
use crate::answer::Answer;
use crate::authors::{self, authors};
use crate::dataset::{Manifest, Outputs};
use crate::device::{DeviceArgs, Job};
use crate::folder::has_ending;
use crate::options::{FitArgs, TABLES, ending};
use crate::origin::Origin;
use crate::pictures;

/// Write an HTML page that opens without a network: pictures, plots and certificate of a photo, or of a data set's results.
#[derive(Args)]
pub struct Report {
    /// A photo, and its points, which are fitted, or its Gaussians: .npz, .safetensors, or .h5 of the authors' code.
    #[arg(num_args = 2, value_names = ["PHOTO", "POINTS_OR_GAUSSIANS"], required_unless_present = "manifest")]
    input: Vec<PathBuf>,
    /// The photos of a data set instead, whose results are there.
    #[arg(short, long, requires = "results", conflicts_with = "input")]
    manifest: Option<PathBuf>,
    /// The folder of the results, as `splatport run` wrote it.
    #[arg(short, long)]
    results: Option<PathBuf>,
    /// Photos of the data set that are shown at most, the first of the manifest.
    #[arg(long, default_value_t = 20)]
    most: usize,
    /// Where to write the page.
    #[arg(short, long, value_parser = ending(&["html"]))]
    output: PathBuf,
    /// Side of a cell of the kernel, px.
    #[arg(long, default_value_t = 8)]
    stride: u32,
    #[command(flatten)]
    fit: FitArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

impl Report {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let photos = self.device.clone().run(Show(&self))?;
        let mut environment = Environment::new();
        // The name's ending makes every value's text safe in HTML.
        environment.add_template("page.html", include_str!("page.html"))?;
        let version = env!("CARGO_PKG_VERSION");
        let page = environment.get_template("page.html")?.render(context! { photos, version })?;
        write_whole(&self.output, |file| Ok(file.write_all(page.as_bytes())?))?;
        let missing: Vec<String> =
            photos.iter().filter(|photo| photo.error.is_some()).map(|photo| photo.id.clone()).collect();
        let failed = !missing.is_empty();
        Ok(Answer::of(&Summary { photos: photos.len(), missing, bytes: page.len(), output: self.output })?
            .failed(failed))
    }
}

struct Show<'a>(&'a Report);

impl Job for Show<'_> {
    type Output = Vec<Photo>;

    fn run<R: Runtime, P: Precision>(self, device: &Device<R, P>) -> Result<Vec<Photo>> {
        let report = self.0;
        let (Some(manifest), Some(results)) = (&report.manifest, &report.results) else {
            let (photo, path) = (&report.input[0], &report.input[1]);
            let id = photo.file_stem().unwrap_or_default().to_string_lossy();
            if authors(path) || has_ending(path, TABLES) {
                return Ok(vec![stored(device, photo, path, &id, report.stride)?]);
            }
            let (image, points) = (Image::open(photo)?, Annotations::open(path)?);
            let splat = report.fit.recipe().fit_all(device, &[(&image, &points)])?.remove(0);
            return Ok(vec![Photo::of(&id, &image, &splat, splat.report(), report.stride)?]);
        };
        let manifest = Manifest::open(manifest)?;
        let shown = manifest.entries.iter().take(report.most);
        Ok(shown
            .map(|entry| {
                let image = manifest.locate(&entry.photo);
                result(results, &entry.id)
                    .and_then(|path| stored(device, &image, &path, &entry.id, report.stride))
                    .unwrap_or_else(|error| Photo::missing(&entry.id, format!("{error:#}")))
            })
            .collect())
    }
}

/// The file of a photo's Gaussians in a folder of results.
fn result(folder: &Path, id: &str) -> Result<PathBuf> {
    let mut files = TABLES.iter().map(|ending| Outputs { folder: folder.to_owned(), ending }.gaussians(id));
    files.find(|path| path.exists()).context("no results: `splatport run` makes them")
}

/// A photo whose Gaussians are in a file.
fn stored<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    photo: &Path,
    path: &Path,
    id: &str,
    stride: u32,
) -> Result<Photo> {
    let image = Image::open(photo)?;
    let table = authors::gaussians(path, &image)?;
    let fit = Origin::read(&table.origin).and_then(|origin| origin.fit).unwrap_or_default();
    Photo::of(id, &image, &pictures::splat(device, &table, &image)?, &fit, stride)
}

#[derive(Serialize)]
struct Summary {
    photos: usize,
    missing: Vec<String>,
    bytes: usize,
    output: PathBuf,
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.missing.iter().try_for_each(|id| writeln!(f, "missing  {id}"))?;
        writeln!(f, "wrote    {}: {} photos, {} KiB", self.output.display(), self.photos, self.bytes >> 10)
    }
}
