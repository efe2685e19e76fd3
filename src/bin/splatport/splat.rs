//! `splatport splat`: a photo and its points to a file of Gaussians.

use std::fmt::{self, Display};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use splatport::{Annotations, Device, GaussianTable, Image, Precision, Runtime, splat::Report};

use crate::answer::Answer;
use crate::device::{DeviceArgs, Job};
use crate::options::{FitArgs, TABLES, ending, points, size};
use crate::origin::{Origin, digested};

/// Fit one Gaussian to the object under every point of a photo.
#[derive(Args)]
pub struct Splat {
    /// The photo: PNG or JPEG.
    photo: PathBuf,
    /// The points: .csv with columns x and y, .npy of shape [n, 2], px, .mat, .txt or .json of a crowd data set; for a COCO file
    /// see `manifest --coco`.
    points: PathBuf,
    /// Where to write the Gaussians: .npz or .safetensors.
    #[arg(short, long, value_parser = ending(TABLES))]
    output: PathBuf,
    #[command(flatten)]
    fit: FitArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

impl Splat {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let (image, photo) = digested(&self.photo, |path| Ok(Image::open(path)?))?;
        let (points, of_points) = digested(&self.points, points)?;
        let (mut table, mut summary) =
            self.device.clone().run(Fit { command: &self, image: &image, points: &points })?;
        let origin =
            Origin::new(summary.precision, [photo, of_points], self.fit.recipe()).of_gaussians(&summary.report);
        table.origin = origin.text()?;
        summary.photo = size(&image);
        table.save(&self.output)?;
        summary.output = self.output;
        Answer::of(&summary)
    }
}

struct Fit<'a> {
    command: &'a Splat,
    image: &'a Image,
    points: &'a Annotations,
}

impl Job for Fit<'_> {
    type Output = (GaussianTable, Summary);

    fn run<R: Runtime, P: Precision>(self, device: &Device<R, P>) -> Result<Self::Output> {
        let (bar, start) = (bar(), Instant::now());
        let recipe = splatport::Splat::of(self.image, self.points).with_options(*self.command.fit.recipe().options());
        let recipe = recipe.on_step(|progress| {
            bar.set_length(progress.steps.into());
            bar.set_position(progress.step.into());
            bar.set_message(format!("error {:.6}", progress.loss));
            ControlFlow::Continue(())
        });
        let splat = recipe.fit(device)?;
        bar.finish_and_clear();
        let summary = Summary {
            device: device.name().to_owned(),
            precision: P::NAME,
            profile: splat.profile().name(),
            gaussians: splat.len(),
            report: splat.report().clone(),
            seconds: start.elapsed().as_secs_f64(),
            photo: String::new(),
            output: PathBuf::new(),
        };
        Ok((splat.table()?, summary))
    }
}

/// Steps of a fit; nothing where no one watches.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}").unwrap_or(ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

#[derive(Serialize)]
struct Summary {
    device: String,
    precision: &'static str,
    profile: &'static str,
    photo: String,
    gaussians: usize,
    report: Report,
    seconds: f64,
    output: PathBuf,
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { losses, steps, largest_aspect, outside, duplicates, .. } = &self.report;
        writeln!(f, "device     {}, {}", self.device, self.precision)?;
        writeln!(f, "photo      {}", self.photo)?;
        writeln!(f, "gaussians  {} ({} profile)", self.gaussians, self.profile)?;
        if let (Some(first), Some(last)) = (losses.first(), losses.last()) {
            writeln!(f, "fit        error {first:.6} -> {last:.6} in {steps} steps, {:.2} s", self.seconds)?;
            writeln!(f, "aspect     {largest_aspect:.2} at most")?;
        }
        if *outside > 0 || *duplicates > 0 {
            writeln!(f, "points     {outside} outside the photo, {duplicates} at the place of an earlier one")?;
        }
        writeln!(f, "wrote      {}", self.output.display())
    }
}
