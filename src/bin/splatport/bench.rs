//! `splatport bench`: the times of the stages on a device.

use std::f64::consts::TAU;
use std::fmt::{self, Display};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::{Args, value_parser};
use serde::Serialize;
use splatport::{Annotations, Device, Grid, HostReal, Image, Precision, Runtime};

use crate::answer::Answer;
use crate::device::{DeviceArgs, Job};
use crate::options::{FitArgs, points};

/// Time the stages on a device, with a photo of yours or a made one.
#[derive(Args)]
pub struct Bench {
    /// A photo and its points.
    #[arg(num_args = 2, value_names = ["PHOTO", "POINTS"])]
    input: Vec<PathBuf>,
    /// Side of the made photo, px.
    #[arg(long, default_value_t = 512, conflicts_with = "input", value_parser = value_parser!(u32).range(1..=16384))]
    side: u32,
    /// Points on the made photo.
    #[arg(long, default_value_t = 125, conflicts_with = "input", value_parser = value_parser!(u32).range(..=1_000_000))]
    points: u32,
    /// Times that every stage runs; the median is told, and the first time, which compiles device functions, apart.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..))]
    repeat: u32,
    /// Side of a cell, px.
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u32).range(1..))]
    stride: u32,
    #[command(flatten)]
    fit: FitArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

impl Bench {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let (image, points) = match self.input.as_slice() {
            [photo, file] => (Image::open(photo)?, points(file)?),
            _ => made(self.side, self.points)?,
        };
        Answer::of(&self.device.clone().run(Stages { command: &self, image: &image, points: &points })?)
    }
}

/// Dark discs with soft edges on a ramp, evenly spread: positions of the sequence with the least discrepancy in two dimensions
/// (R2, powers of the plastic number).
fn made(side: u32, count: u32) -> Result<(Image, Annotations)> {
    const STEPS: [f64; 2] = [0.754_877_666_246_693, 0.569_840_290_998_053];
    let size = f64::from(side);
    let place = |n: u32| STEPS.map(|step| (0.5 + f64::from(n + 1) * step).fract() * size);
    let points: Vec<[f64; 2]> = (0..count).map(place).collect();
    // Discs cover a sixth of the photo.
    let radius = size / (f64::from(count.max(1)) * TAU * 3.0).sqrt();
    let mut values: Vec<f64> = (0..side * side).map(|at| 0.6 + 0.3 * f64::from(at % side) / size).collect();
    let reach = (3.0 * radius).ceil();
    for &[x, y] in &points {
        let span = |centre: f64| (centre - reach).max(0.0) as u32..((centre + reach).min(size - 1.0) as u32 + 1);
        for (row, column) in span(y).flat_map(|row| span(x).map(move |column| (row, column))) {
            let (dx, dy) = (f64::from(column) + 0.5 - x, f64::from(row) + 0.5 - y);
            values[(row * side + column) as usize] *=
                1.0 - 0.7 * (-(dx * dx + dy * dy) / (2.0 * radius * radius)).exp();
        }
    }
    let bytes: Vec<u8> = values.iter().map(|value| (value * 255.0).round() as u8).collect();
    Ok((Image::from_u8(side, side, 1, bytes)?, Annotations::new(points)?))
}

struct Stages<'a> {
    command: &'a Bench,
    image: &'a Image,
    points: &'a Annotations,
}

impl Job for Stages<'_> {
    type Output = Summary;

    fn run<R: Runtime, P: Precision>(self, device: &Device<R, P>) -> Result<Summary> {
        let Self { command, image, points } = self;
        let recipe = command.fit.recipe();
        let grid = Grid::strided(image, command.stride);
        // `filled` panics where there is none.
        device.check_room::<P::Real>("density", grid.len())?;
        let density = device.filled(P::Real::cast_from_f64(points.len() as f64 / grid.len() as f64), grid.len());
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..=command.repeat {
            let mut time = |stage: usize, start: Instant| times[stage].push(start.elapsed().as_secs_f64());
            let start = Instant::now();
            let splat = recipe.fit_all(device, &[(image, points)])?.remove(0);
            device.wait()?;
            time(0, start);
            let start = Instant::now();
            let kernel = splat.kernel(grid).build()?;
            device.wait()?;
            time(1, start);
            let loss = kernel.loss();
            let start = Instant::now();
            loss.evaluate(&density)?.value()?;
            time(2, start);
        }
        let stage = |(name, times): (&'static str, Vec<f64>)| {
            let (first, mut rest) = (times[0], times[1..].to_vec());
            rest.sort_by(f64::total_cmp);
            Stage { name, first, median: rest[rest.len() / 2] }
        };
        Ok(Summary {
            device: device.name().to_owned(),
            precision: P::NAME,
            photo: crate::options::size(image),
            points: points.len(),
            stages: ["fit", "kernel", "loss and gradient"].into_iter().zip(times).map(stage).collect(),
        })
    }
}

#[derive(Serialize)]
struct Summary {
    device: String,
    precision: &'static str,
    photo: String,
    points: usize,
    stages: Vec<Stage>,
}

/// Seconds of a stage: the first time, which compiles device functions, and the median of the further ones.
#[derive(Serialize)]
struct Stage {
    name: &'static str,
    first: f64,
    median: f64,
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {}; {}, {} points", self.device, self.precision, self.photo, self.points)?;
        writeln!(f, "{:<20} {:>12} {:>12}", "stage", "first", "median")?;
        let milliseconds = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
        self.stages.iter().try_for_each(|Stage { name, first, median }| {
            writeln!(f, "{name:<20} {:>12} {:>12}", milliseconds(*first), milliseconds(*median))
        })
    }
}
