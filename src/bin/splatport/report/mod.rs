//! `splatport report`: one page a photo or a data set, with everything in it.

mod photo;
mod picture;
mod plot;

use std::fmt::{self, Display};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use minijinja::{Environment, context};
use serde::Serialize;
use splatport::{CsrTable, Device, Image, Precision, Runtime, write_whole};

use self::photo::{Cells, Photo};
use crate::answer::Answer;
use crate::authors::{self, authors};
use crate::dataset::{Entry, Manifest, OTHER_GAUSSIANS, Outputs, result};
use crate::device::{DeviceArgs, Job};
use crate::folder::has_ending;
use crate::options::{FitArgs, TABLES, ending, points, wrong_usage};
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
    #[arg(short, long, requires = "manifest", conflicts_with = "input")]
    results: Option<PathBuf>,
    /// Photos of the data set that are shown at most, the first of the manifest.
    #[arg(long, default_value_t = 20, conflicts_with = "input")]
    most: usize,
    /// Where to write the page.
    #[arg(short, long, value_parser = ending(&["html"]))]
    output: PathBuf,
    /// Side of a cell of the kernel, px, where the results have none.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    stride: u32,
    #[command(flatten)]
    fit: FitArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

impl Report {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        if self.fit.asked() && self.input.get(1).is_none_or(|path| is_stored(path)) {
            return Err(wrong_usage("--profile and --steps are of a fit: these Gaussians are fitted already").into());
        }
        let (photos, of) = self.device.clone().run(Show(&self))?;
        let mut environment = Environment::new();
        // The name's ending makes every value's text safe in HTML.
        environment.add_template("page.html", include_str!("page.html"))?;
        let version = env!("CARGO_PKG_VERSION");
        let page = environment.get_template("page.html")?.render(context! { photos, of, version })?;
        write_whole(&self.output, |file| Ok(file.write_all(page.as_bytes())?))?;
        let missing: Vec<String> =
            photos.iter().filter(|photo| photo.error.is_some()).map(|photo| photo.id.clone()).collect();
        let failed = !missing.is_empty();
        Ok(Answer::of(&Summary { photos: photos.len(), of, missing, bytes: page.len(), output: self.output })?
            .failed(failed))
    }
}

struct Show<'a>(&'a Report);

impl Job for Show<'_> {
    /// The photos that are shown, and how many there are.
    type Output = (Vec<Photo>, usize);

    fn run<R: Runtime, P: Precision>(self, device: &Device<R, P>) -> Result<Self::Output> {
        let report = self.0;
        let (Some(manifest), Some(results)) = (&report.manifest, &report.results) else {
            let (photo, path) = (&report.input[0], &report.input[1]);
            let id = photo.file_stem().unwrap_or_default().to_string_lossy();
            if is_stored(path) {
                return Ok((vec![stored(device, photo, path, &id, Cells::Built(report.stride))?], 1));
            }
            let (image, points) = (Image::open(photo)?, points(path)?);
            let splat = report.fit.recipe().fit_all(device, &[(&image, &points)])?.remove(0);
            return Ok((vec![Photo::of(&id, &image, &splat, splat.report(), Cells::Built(report.stride))?], 1));
        };
        let manifest = Manifest::open(manifest)?;
        let shown = manifest.entries.iter().take(report.most);
        let photo = |entry: &Entry| -> Result<Photo> {
            let gaussians = result(results, &entry.id, Outputs::gaussians);
            let gaussians = gaussians.context("no results: `splatport run` makes them")?;
            let kernel = result(results, &entry.id, Outputs::kernel);
            let cells = match kernel.as_ref().map(CsrTable::open).transpose()? {
                Some(kernel) => Cells::Stored(Box::new(kernel)),
                None => Cells::Built(report.stride),
            };
            stored(device, &manifest.locate(&entry.photo), &gaussians, &entry.id, cells)
        };
        let photo =
            |entry: &Entry| photo(entry).unwrap_or_else(|error| Photo::missing(&entry.id, format!("{error:#}")));
        Ok((shown.map(photo).collect(), manifest.entries.len()))
    }
}

/// Whether a file is of Gaussians, not of points.
fn is_stored(path: &Path) -> bool {
    authors(path) || has_ending(path, TABLES)
}

/// A photo whose Gaussians are in a file.
fn stored<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    photo: &Path,
    path: &Path,
    id: &str,
    cells: Cells,
) -> Result<Photo> {
    let image = Image::open(photo)?;
    let table = authors::gaussians(path, &image)?;
    let origin = Origin::read(&table.origin);
    if let Cells::Stored(kernel) = &cells {
        let own = match (Origin::read(&kernel.origin), &origin) {
            (Some(kernel), Some(gaussians)) => kernel.belongs_to(gaussians),
            // What another program says is compared as it is.
            _ => kernel.origin == table.origin,
        };
        ensure!(own, "the kernel is {OTHER_GAUSSIANS}");
    }
    let fit = origin.and_then(|origin| origin.fit).unwrap_or_default();
    Photo::of(id, &image, &pictures::splat(device, &table, &image)?, &fit, cells)
}

#[derive(Serialize)]
struct Summary {
    photos: usize,
    /// Photos of the data set.
    of: usize,
    missing: Vec<String>,
    bytes: usize,
    output: PathBuf,
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.missing.iter().try_for_each(|id| writeln!(f, "missing  {id}"))?;
        let Self { photos, of, bytes, output, .. } = self;
        let more = if photos < of { "; --most shows more" } else { "" };
        writeln!(f, "wrote    {}: {photos} of {of} photos, {} KiB{more}", output.display(), bytes >> 10)
    }
}
