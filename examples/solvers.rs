//! How the two solvers of a fit compare on your own photos: Gauss-Newton (the default) and Adam (the paper's).
//!
//! ```text
//! cargo run --release --example solvers -- [--adam-steps N] [photo.png points.csv]...
//! ```
//!
//! Without arguments it takes the photos of `examples/data`. The points are a CSV file as [`Annotations::from_csv`]
//! reads it. For every background that the Gaussians can be drawn over, it prints as Markdown: the loss by step, the
//! loss by time, and how each fit ended. The loss is the mean squared error over all values of the photo; the sum of
//! squared errors (SSE) is the loss times their number.
//!
//! The solvers look at the losses only every few steps, so a time says when a loss was known, a little after it was
//! reached. It includes the fit's work on the host before its first step. Device functions are compiled before the
//! clock starts.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Parser;
use splatport::{
    Annotations, Device, Image, Profile, Runtime, Splat,
    splat::{BackgroundImage, Report, Solver},
};

/// What the Gaussians are drawn over, and what to call it.
const BACKGROUNDS: [(BackgroundImage, &str); 3] = [
    (BackgroundImage::None, "none: black"),
    (BackgroundImage::KnnMask, "k-NN mask: the photo, discs around the points black"),
    (BackgroundImage::Inpainted, "inpainted: the photo, discs filled from around them"),
];
/// The steps whose loss is printed, as far as a fit gets.
const STEPS: [usize; 12] = [0, 1, 2, 5, 10, 20, 40, 60, 100, 200, 1000, 4000];
/// The paper's number of Adam steps.
const ADAM_STEPS: u32 = 4000;
/// Enough steps to run every device function of both solvers once.
const WARM_UP: u32 = 2;

/// Compares the two solvers of a fit on your own photos.
#[derive(Parser)]
struct Arguments {
    /// Steps of Adam; the paper takes 4000.
    #[arg(long, default_value_t = ADAM_STEPS, value_parser = clap::value_parser!(u32).range(1..))]
    adam_steps: u32,
    /// Photos, each followed by its points; by default those of `examples/data`.
    #[arg(value_name = "PHOTO POINTS")]
    files: Vec<String>,
}

impl Arguments {
    fn pairs(&self) -> Vec<[String; 2]> {
        if self.files.is_empty() {
            let data = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data");
            let shipped = ["nuclei_dsb2018", "trees_osbs_029"];
            return shipped.map(|name| [format!("{data}/{name}.png"), format!("{data}/{name}_points.csv")]).to_vec();
        }
        self.files.chunks_exact(2).map(|pair| [pair[0].clone(), pair[1].clone()]).collect()
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.files.len().is_multiple_of(2), "a photo needs its points: got {} files", arguments.files.len());
    #[cfg(feature = "cuda")]
    let device = splatport::Cuda::device(0)?;
    #[cfg(not(feature = "cuda"))]
    let device = splatport::Wgpu::best()?;
    println!("Device: {}", device.name());
    for [photo, points] in &arguments.pairs() {
        compare(&device, photo, points, arguments.adam_steps)?;
    }
    Ok(())
}

fn compare<R: Runtime>(device: &Device<R>, photo: &str, points: &str, adam_steps: u32) -> Result<()> {
    let (image, annotations) = (Image::open(photo)?, Annotations::from_csv(points)?);
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    println!("\n## {photo}\n\n{width} x {height} px, {channels} channels, {} points", annotations.len());
    let values = f64::from(width) * f64::from(height) * f64::from(channels);
    let Solver::Adam { rate, .. } = Solver::adam() else { unreachable!("Solver::adam is Adam") };
    let solvers = [
        ("Gauss-Newton", Profile::Recommended.splat().solver, Solver::GaussNewton { steps: WARM_UP }),
        ("Adam", Solver::Adam { steps: adam_steps, rate }, Solver::Adam { steps: WARM_UP, rate }),
    ];
    for (background, name) in BACKGROUNDS {
        let mut runs = Vec::new();
        for (_, solver, warm_up) in solvers {
            Run::new(device, &image, &annotations, background, warm_up)?;
            runs.push(Run::new(device, &image, &annotations, background, solver)?);
        }
        let [gauss_newton, adam] = [&runs[0], &runs[1]];
        println!("\n### Background {name}\n");
        by_step(gauss_newton, adam);
        println!();
        by_time(gauss_newton, adam);
        println!("\n| at the end | steps | seconds | loss | SSE | largest aspect |\n|---|---|---|---|---|---|");
        for (run, (solver, ..)) in runs.iter().zip(solvers) {
            let (report, seconds) = (&run.report, run.total.as_secs_f64());
            let loss = report.loss().unwrap_or(f64::NAN);
            let (steps, aspect) = (report.steps, report.largest_aspect);
            println!("| {solver} | {steps} | {seconds:.3} | {loss:.4e} | {:.2} | {aspect:.3} |", loss * values);
        }
    }
    Ok(())
}

/// A finished fit, and when its losses were known.
struct Run {
    report: Report,
    /// `known[k]`: when the loss after `k` steps was known.
    known: Vec<Duration>,
    total: Duration,
}

impl Run {
    fn new<R: Runtime>(
        device: &Device<R>,
        image: &Image,
        annotations: &Annotations,
        background: BackgroundImage,
        solver: Solver,
    ) -> Result<Self> {
        let (mut known, start) = (Vec::new(), Instant::now());
        let splat = Splat::of(image, annotations)
            .background_image(background)
            .solver(solver)
            .on_step(|_| {
                known.push(start.elapsed());
                ControlFlow::Continue(())
            })
            .fit(device)?;
        let total = start.elapsed();
        // The loss after the last step comes with the report.
        known.resize(splat.report().losses.len(), total);
        Ok(Self { report: splat.report().clone(), known, total })
    }

    /// Loss after `step` steps and when it was known.
    fn at_step(&self, step: usize) -> String {
        match (self.report.losses.get(step), self.known.get(step)) {
            (Some(loss), Some(time)) => format!("{loss:.4e} | {:.3}", time.as_secs_f64()),
            _ => "| ".to_owned(),
        }
    }

    /// The last loss that was known by `time`.
    fn at_time(&self, time: Duration) -> String {
        match self.known.partition_point(|known| *known <= time) {
            0 => String::new(),
            count => format!("{:.4e} | {}", self.report.losses[count - 1], count - 1),
        }
    }
}

fn by_step(gauss_newton: &Run, adam: &Run) {
    println!("| step | Gauss-Newton | known after s | Adam | known after s |\n|---|---|---|---|---|");
    let longest = gauss_newton.report.losses.len().max(adam.report.losses.len());
    for step in STEPS.into_iter().filter(|&step| step < longest) {
        println!("| {step} | {} | {} |", gauss_newton.at_step(step), adam.at_step(step));
    }
}

/// Prints the loss at 1, 2 and 5 times every power of ten of a second, from the first loss to the end of the longer
/// fit.
fn by_time(gauss_newton: &Run, adam: &Run) {
    println!("| seconds | Gauss-Newton | steps | Adam | steps |\n|---|---|---|---|---|");
    let end = gauss_newton.total.max(adam.total).as_secs_f64();
    let times = (-4..4).flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * 10f64.powi(power)));
    for seconds in times.take_while(|&seconds| seconds < 2.5 * end) {
        let rows = [gauss_newton, adam].map(|run| run.at_time(Duration::from_secs_f64(seconds)));
        if rows.iter().any(|row| !row.is_empty()) {
            let [left, right] = rows.map(|row| if row.is_empty() { "| ".to_owned() } else { row });
            println!("| {seconds} | {left} | {right} |");
        }
    }
}
