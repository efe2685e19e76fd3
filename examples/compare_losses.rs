//! Runs every loss on one photo and prints a table of value, gradient norm, time and trained count; draws the
//! gradients.
//!
//! `cargo run --release --example compare_losses -- [--steps N] [--folder FOLDER]` writes `gradients.png` to `FOLDER`,
//! by default `target/compare_losses`.
//!
//! The photo has 61 trees with hand-drawn boxes. All losses are evaluated at the same density, a plausible prediction:
//! Gaussians of 12 px, 6 px to the right and 4 px below their trees, with every fifth tree missed. In the picture, mass
//! should move from red to blue. Every map has its own scale, on which the strongest hundredth of its cells has full
//! color. Then each loss trains a free density (one number per cell, all equal at first) with Adam.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Result;
use clap::Parser;
use splatport::{
    Annotations, Buffer, Device, Grid, HostReal, Image, Precision, Runtime, Splat, draw,
    kernels::{
        adam::{Adam, AdamState, adam},
        softplus::{softplus, softplus_backward},
    },
    losses::{
        Bayesian, DensityLoss, DmCount, DmProfile, Generalized, GlProfile, L2, Scales, Scene, Sinkhorn, Unbalanced,
    },
};

const PHOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/trees_osbs_029.png");
const POINTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/trees_osbs_029_points.csv");

/// Pixels per cell of the density, as in every published counting network.
const STRIDE: u32 = 8;
/// Largest number of rounds of the losses that solve, in training and for the picture.
const ROUNDS: usize = 100;
/// Adam's step size, and the mass per cell at which a free density starts.
const RATE: f64 = 0.1;
const START: f64 = 0.01;
/// Number of maps in a row of the picture.
const ACROSS: usize = 4;

/// Compares every loss on one photo.
#[derive(Parser)]
struct Arguments {
    /// Steps that every loss trains.
    #[arg(long, default_value_t = 50)]
    steps: u32,
    /// Where the picture goes.
    #[arg(long, default_value = "target/compare_losses")]
    folder: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.folder)?;
    #[cfg(feature = "cuda")]
    let device = splatport::Cuda::device(0)?;
    #[cfg(not(feature = "cuda"))]
    let device = splatport::Wgpu::best()?;
    compare(&device, &arguments)
}

type Losses<R, P> = Vec<(&'static str, Box<dyn DensityLoss<R, P>>)>;

/// All losses, the method's own first. Each takes one line.
fn losses<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    image: &Image,
    points: &Annotations,
    scenes: &[Scene<'_>],
) -> Result<Losses<R, P>> {
    let sides = points.numeric("box_w")?.into_iter().zip(points.numeric("box_h")?);
    let boxes: Vec<[f64; 2]> = sides.map(|(width, height)| [width / 6.0, height / 6.0]).collect();
    let general = |profile| Generalized::new(profile).rounds(ROUNDS).on(device, scenes);
    Ok(vec![
        ("GST", Box::new(Splat::of(image, points).fit(device)?.kernel(scenes[0].0).build()?.loss())),
        ("Bayesian", Box::new(Bayesian::default().on(device, scenes)?)),
        ("heuristic plan, 8 px", Box::new(Bayesian::heuristic().on(device, scenes)?)),
        ("plan of true scales", Box::new(Bayesian::true_scale(boxes.clone()).on(device, scenes)?)),
        ("L2, 8 px", Box::new(L2::new(Scales::Fixed(8.0)).on(device, scenes)?)),
        ("L2, true scales", Box::new(L2::new(Scales::True(boxes)).on(device, scenes)?)),
        ("DM-Count, published", Box::new(DmCount::new(DmProfile::Reference).on(device, scenes)?)),
        ("DM-Count, exact", Box::new(DmCount::new(DmProfile::default()).rounds(ROUNDS).on(device, scenes)?)),
        ("unbalanced", Box::new(Unbalanced::default().rounds(ROUNDS).on(device, scenes)?)),
        ("generalized, published", Box::new(general(GlProfile::Reference)?)),
        ("generalized, converged", Box::new(general(GlProfile::Converged)?)),
        ("Sinkhorn", Box::new(Sinkhorn::default().rounds(ROUNDS).on(device, scenes)?)),
    ])
}

fn compare<R: Runtime, P: Precision>(device: &Device<R, P>, arguments: &Arguments) -> Result<()> {
    let (image, points) = (Image::open(PHOTO)?, Annotations::from_csv(POINTS)?);
    let grid = Grid::strided(&image, STRIDE);
    let scenes = [(grid, &points)];
    let density = prediction(device, grid, &points)?;
    println!("device   {}", device.name());
    println!(
        "photo    {} x {} px, {} annotations, {} cells\n",
        image.width(),
        image.height(),
        points.len(),
        grid.len()
    );
    println!("| {:<22} | {:>9} | {:>13} | {:>9} | {:>13} |", "loss", "value", "gradient norm", "time", "trained count");
    println!("|{:-<24}|----------:|--------------:|----------:|--------------:|", "");
    let mut maps = Vec::new();
    for (name, loss) in losses(device, &image, &points, &scenes)? {
        // The first use compiles the device functions.
        loss.value_and_gradient(&density)?;
        let start = Instant::now();
        let (value, gradient) = loss.value_and_gradient(&density)?;
        let slopes = read(&gradient)?;
        let time = 1e3 * start.elapsed().as_secs_f64();
        let norm = slopes.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
        let count: f64 = read(&train(device, loss.as_ref(), grid.len(), arguments.steps)?)?.iter().sum();
        println!("| {name:<22} | {value:>9.3} | {norm:>13.3} | {time:>6.1} ms | {count:>13.2} |");
        maps.push((name, slopes));
    }
    draw_maps(&arguments.folder, grid, &points, &maps)
}

/// A density that a network might predict.
fn prediction<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    grid: Grid,
    points: &Annotations,
) -> Result<Buffer<R, P::Real>> {
    let found = points.points().iter().enumerate().filter(|(n, _)| n % 5 != 0);
    let moved = Annotations::new(found.map(|(_, [x, y])| [x + 6.0, y + 4.0]).collect::<Vec<_>>())?;
    Ok(L2::new(Scales::Fixed(12.0)).on(device, &[(grid, &moved)])?.target().clone())
}

/// A free density after some steps: the softplus of one number per cell.
fn train<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    loss: &dyn DensityLoss<R, P>,
    cells: usize,
    steps: u32,
) -> Result<Buffer<R, P::Real>> {
    let raw = device.filled(P::Real::cast_from_f64(START.exp_m1().ln()), cells);
    let state = AdamState::new(device, cells);
    let rule = Adam { rate: RATE, ..Adam::default() };
    for step in 1..=steps {
        let (_, gradient) = loss.value_and_gradient(&softplus(device, &raw))?;
        adam(device, &raw, &softplus_backward(device, &raw, &gradient)?, &state, rule, step)?;
    }
    Ok(softplus(device, &raw))
}

fn read<R: Runtime, F: splatport::Real>(buffer: &Buffer<R, F>) -> Result<Vec<f64>> {
    Ok(buffer.read()?.into_iter().map(HostReal::cast_to_f64).collect())
}

fn draw_maps(folder: &Path, grid: Grid, points: &Annotations, maps: &[(&str, Vec<f64>)]) -> Result<()> {
    let map = |slopes: &Vec<f64>| -> Result<Image> {
        let mut sizes: Vec<f64> = slopes.iter().map(|slope| slope.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let full = sizes[sizes.len() - 1 - sizes.len() / 100].max(f64::MIN_POSITIVE);
        let values: Vec<f32> = slopes.iter().map(|slope| (slope / full) as f32).collect();
        Ok(draw::signed(grid.columns(), grid.rows(), &values, grid.stride(), points.points())?)
    };
    let pictures = maps.iter().map(|(_, slopes)| map(slopes)).collect::<Result<Vec<_>>>()?;
    let row = |row: &[Image]| draw::beside(&row.iter().collect::<Vec<_>>());
    let rows = pictures.chunks(ACROSS).map(row).collect::<splatport::Result<Vec<_>>>()?;
    draw::below(&rows.iter().collect::<Vec<_>>())?.save(folder.join("gradients.png"))?;
    println!(
        "\nwrote {}: gradients by the density, blue where mass should come, red where it should go:",
        folder.join("gradients.png").display()
    );
    for row in maps.chunks(ACROSS) {
        println!("  {}", row.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" | "));
    }
    Ok(())
}
