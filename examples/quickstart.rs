//! From one photo and its points to Gaussians, a transport kernel, a loss and its gradient, with pictures of all of
//! them.
//!
//! `cargo run --release --example quickstart [FOLDER]` writes to `FOLDER`, by default `target/quickstart`.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use splatport::{
    Annotations, Buffer, CsrTable, Device, Grid, HostReal, Image, Kernel, Loss, Pixels, Precision, Profile, Runtime,
    Splat, draw,
    kernel::{Background, Owners},
    splat::{BackgroundImage, Prior},
    train::{FreeDensity, Trainer},
};

// Either feature is enough; `required-features` cannot express that.
#[cfg(not(any(feature = "cuda", feature = "wgpu")))]
compile_error!("the quickstart runs on a device: it needs the feature `vulkan`, `wgpu` or `cuda`");

const PHOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/nuclei_dsb2018.png");
const POINTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/nuclei_dsb2018_points.csv");
const MASKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/nuclei_dsb2018_mask.png");

/// Pixels per cell of the density, as in every published counting network.
const STRIDE: u32 = 8;
/// The cut-offs that are tried, in standard deviations.
const CUT_OFFS: [f64; 5] = [1.25, 1.5, 1.75, 2.0, 3.0];

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("target/quickstart"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    #[cfg(feature = "cuda")]
    let device = splatport::Cuda::device(0)?;
    #[cfg(all(feature = "wgpu", not(feature = "cuda")))]
    let device = splatport::Wgpu::best()?;
    let start = Instant::now();
    run(&device, &folder)?;
    println!("in all {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn run<R: Runtime, P: Precision>(device: &Device<R, P>, folder: &Path) -> Result<()> {
    println!("device   {}", device.name());
    let image = Image::open(PHOTO)?;
    let points = Annotations::from_csv(POINTS)?;
    println!("photo    {} x {} px, {} annotations", image.width(), image.height(), points.len());
    println!("profile  {}\n", Profile::default().name());

    let mut clock = Stages::default();
    let splat = clock.time("fit the Gaussians", || Ok(Splat::of(&image, &points).fit(device)?))?;
    let kernel = clock.time("build the kernel", || Ok(splat.kernel(Grid::strided(&image, STRIDE)).build()?))?;
    let (table, certificate) = (kernel.table()?, kernel.certificate());
    let loss = kernel.loss();
    let density = device.filled(P::Real::cast_from_f64(0.01), loss.kernel().grid().len());
    let (value, gradient, mass) = clock.time("loss and gradient", || {
        let step = loss.evaluate(&density)?;
        Ok((step.value()?, step.gradient().read()?, step.transported().read()?))
    })?;
    let (first, last) = clock.time("train a density map", || train(device, &loss))?;
    clock.print();

    let report = splat.report();
    println!(
        "\nfit          error {:.6} -> {:.6} in {} steps, largest aspect {:.2}, {} repairs",
        report.losses[0],
        report.losses[report.losses.len() - 1],
        report.steps,
        report.largest_aspect,
        report.repairs
    );
    println!(
        "kernel       {} x {} cells, {} weights, {} bytes on the device",
        table.grid_width, table.grid_height, certificate.entries, certificate.bytes
    );
    println!(
        "certificate  dropping moves a row by at most tau = {}: worst dropped mass seen {:.2e}, proven {:.2e}",
        certificate.tau, certificate.worst_dropped, certificate.bound
    );
    let range = |values: &[P::Real]| {
        let values = values.iter().map(|v| v.cast_to_f64());
        values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)))
    };
    let ((low, high), background) = (range(&gradient), mass[points.len()].cast_to_f64());
    println!(
        "loss         {value:.3} for 0.01 per cell, gradient {low:.3} .. {high:.3}, background mass {background:.2}"
    );
    println!(
        "training     loss {:.3} -> {:.3}, count {:.1} -> {:.1} of {}",
        first.0,
        last.0,
        first.1,
        last.1,
        points.len()
    );

    let owners = compare_ownership(device, &image, &points, &splat)?;
    write(folder, &image, &points, &splat, &table, &owners)
}

/// Trains one free number per cell, and reports loss and count before and after.
fn train<R: Runtime, P: Precision>(device: &Device<R, P>, loss: &Loss<R, P>) -> Result<((f64, f64), (f64, f64))> {
    let count =
        |density: &Buffer<R, P::Real>| -> Result<f64> { Ok(density.read()?.iter().map(|v| v.cast_to_f64()).sum()) };
    let mut trainer = Trainer::new(device, loss, FreeDensity::new(device, loss, 0.01)?).rate(0.1);
    let before = (trainer.epoch()?.loss, 0.01 * loss.kernel().grid().len() as f64);
    for _ in 0..199 {
        trainer.epoch()?;
    }
    let after = trainer.model().current();
    Ok((before, (loss.evaluate(&after)?.value()?, count(&after)?)))
}

/// Measures how well each plan's cells match the true masks, at one cell per pixel. Returns the owners of `best`'s
/// plan.
fn compare_ownership<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    image: &Image,
    points: &Annotations,
    best: &Splat<R, P>,
) -> Result<Owners> {
    let masks = Image::open(MASKS)?;
    let Pixels::U8(labels) = masks.pixels() else { bail!("the masks must have 8 bits") };
    let labels: Vec<u32> = labels.iter().map(|&label| u32::from(label)).collect();
    let label_of: Vec<u32> = points.numeric("label")?.into_iter().map(|label| label as u32).collect();
    let fit = |background, prior| Splat::of(image, points).background_image(background).prior(prior).fit(device);
    let plans = [
        ("fixed scale 8 px", &Splat::round(device, points, [image.width(), image.height()], 8.0)?),
        ("fitted, no background", &fit(BackgroundImage::None, None)?),
        ("fitted, authors' mask", &fit(BackgroundImage::KnnMask, None)?),
        ("fitted, inpainted", best),
        ("fitted, inpainted, priors", &fit(BackgroundImage::Inpainted, Some(Prior { size: 0.1, aspect: 0.1 }))?),
    ];
    println!("\nmean IoU of owned cells with the true masks, by cut-off d (standard deviations)");
    println!("| {:<26} | {} |", "kernel", CUT_OFFS.map(|d| format!("{d:>5}")).join(" | "));
    println!("|{:-<28}|{}", "", "------:|".repeat(CUT_OFFS.len()));
    for (name, splat) in plans {
        let mut row = Vec::new();
        for cut_off in CUT_OFFS {
            let kernel = splat.kernel(Grid::strided(image, 1)).background(Background::Hard { cut_off }).build()?;
            let iou = kernel.owners()?.mean_iou(&labels, &label_of)?.unwrap_or(0.0);
            row.push(format!("{iou:>5.3}"));
        }
        println!("| {name:<26} | {} |", row.join(" | "));
    }
    let kernel: Kernel<R, P> = best.kernel(Grid::strided(image, 1)).build()?;
    Ok(kernel.owners()?)
}

/// Writes the tables and the pictures.
fn write<R: Runtime, P: Precision>(
    folder: &Path,
    image: &Image,
    points: &Annotations,
    splat: &Splat<R, P>,
    kernel: &CsrTable,
    owners: &Owners,
) -> Result<()> {
    let gaussians = splat.table()?;
    for format in ["npz", "safetensors"] {
        gaussians.save(folder.join("gaussians").with_extension(format))?;
        kernel.save(folder.join("kernel").with_extension(format))?;
    }
    let (width, height) = (image.width(), image.height());
    let ellipses = draw::ellipses(image, &gaussians.means, &gaussians.scales, &gaussians.rotations, 1.5)?;
    let reconstruction = draw::reconstruction(width, height, image.channels(), &splat.reconstruction()?)?;
    let ownership = draw::ownership(width, height, &owners.owner, &owners.weight, 1, points.points())?;
    ellipses.save(folder.join("ellipses.png"))?;
    reconstruction.save(folder.join("reconstruction.png"))?;
    ownership.save(folder.join("ownership.png"))?;
    draw::beside(&[&ellipses, &reconstruction, &ownership])?.save(folder.join("overview.png"))?;
    println!("\nwrote gaussians and kernel, each as .npz (scipy.sparse.load_npz) and .safetensors, ellipses.png,");
    println!("reconstruction.png, ownership.png and overview.png, all three side by side, to {}", folder.display());
    Ok(())
}

/// Times of the stages. The first use of a device function includes its compilation.
#[derive(Default)]
struct Stages(Vec<(&'static str, Duration)>);

impl Stages {
    fn time<T>(&mut self, name: &'static str, stage: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let result = stage()?;
        self.0.push((name, start.elapsed()));
        Ok(result)
    }

    fn print(&self) {
        println!("| stage (device functions compiled on first use) | time |\n|---|---:|");
        for (name, time) in &self.0 {
            println!("| {name} | {:.2} s |", time.as_secs_f64());
        }
    }
}
