//! Runs the whole chain as one value, on an aerial photo of trees whose crowns were boxed by hand.
//!
//! `cargo run --release --example trees [FOLDER]` writes pictures to `FOLDER`, by default `target/trees`. It compares
//! the scales and cells that the fit finds, without ever seeing the boxes, with those of the boxes.

use std::path::PathBuf;

use anyhow::Result;
use splatport::{
    Annotations, Device, GaussianTable, Grid, Image, LossRecipe, Precision, Runtime, Splat, draw,
    kernel::{Background, Owners},
};

const PHOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/trees_yell_541000.jpg");
const POINTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/trees_yell_541000_points.csv");

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("target/trees"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    #[cfg(feature = "cuda")]
    let device = splatport::Cuda::device(0)?;
    #[cfg(all(feature = "wgpu", not(feature = "cuda")))]
    let device = splatport::Wgpu::best()?;
    run(&device, &folder)
}

fn run<R: Runtime, P: Precision>(device: &Device<R, P>, folder: &std::path::Path) -> Result<()> {
    let image = Image::open(PHOTO)?;
    let points = Annotations::from_csv(POINTS)?;
    println!("{}: {} x {} px, {} trees", device.name(), image.width(), image.height(), points.len());

    // A recipe needs neither device nor photo: it can be stored, and run on many photos.
    let recipe: LossRecipe = splatport::recipe().kernel(8).loss();
    let loss = recipe.run(device, &image, &points)?;
    let density = device.upload_f64(&vec![0.01; loss.kernel().grid().len()]);
    println!("loss of 0.01 per cell: {:.2}", loss.evaluate(&density)?.value()?);

    let splat = Splat::of(&image, &points).fit(device)?;
    let report = splat.report();
    println!("fit: error {:.6} -> {:.6} in {} steps", report.losses[0], report.loss().unwrap_or(0.0), report.steps);
    let fitted = splat.table()?;
    compare_sizes(&points, &fitted)?;

    // Half a box's side is three standard deviations; a fitted crown ends near one and a half.
    let grid = Grid::strided(&image, 2);
    let crowns = Splat::from_table(device, &boxes(&points, &fitted)?)?;
    let crowns = crowns.kernel(grid).background(Background::Hard { cut_off: 3.0 }).build()?.owners()?;
    let round = Splat::round(device, &points, [image.width(), image.height()], 8.0)?;
    let round = round.kernel(grid).background(Background::Hard { cut_off: 1.5 }).build()?.owners()?;
    let owners = splat.kernel(grid).build()?.owners()?;
    println!(
        "mean IoU of owned cells with the boxes' ellipses: fitted {:.3}, fixed scale of 8 px {:.3}",
        agreement(&owners, &crowns, points.len())?,
        agreement(&round, &crowns, points.len())?
    );

    draw::ellipses(&image, &fitted.means, &fitted.scales, &fitted.rotations, 1.5)?.save(folder.join("ellipses.png"))?;
    draw::ownership(grid.columns(), grid.rows(), &owners.owner, &owners.weight, 2, &fitted.means)?
        .save(folder.join("ownership.png"))?;
    println!("wrote ellipses.png and ownership.png to {}", folder.display());
    Ok(())
}

/// Prints the ratio of the fitted scale to a quarter of the box, which is close to the standard deviation of a uniform
/// rectangle.
fn compare_sizes(points: &Annotations, fitted: &GaussianTable) -> Result<()> {
    let (widths, heights) = (points.numeric("box_w")?, points.numeric("box_h")?);
    let mut ratios: Vec<f64> = fitted
        .scales
        .iter()
        .zip(widths.iter().zip(&heights))
        .map(|(scales, (w, h))| (scales[0] * scales[1]).sqrt() / ((w * h).sqrt() / 4.0))
        .collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| ratios[(share * (ratios.len() - 1) as f64) as usize];
    println!(
        "fitted scale / quarter of the box: median {:.2}, tenth {:.2}, nine tenths {:.2}",
        at(0.5),
        at(0.1),
        at(0.9)
    );
    Ok(())
}

/// Gaussians for which three standard deviations are half the sides of the boxes.
fn boxes(points: &Annotations, fitted: &GaussianTable) -> Result<GaussianTable> {
    let (widths, heights) = (points.numeric("box_w")?, points.numeric("box_h")?);
    let scales = widths.iter().zip(&heights).map(|(w, h)| [w / 6.0, h / 6.0]).collect();
    Ok(GaussianTable { scales, rotations: vec![0.0; points.len()], ..fitted.clone() })
}

/// Mean IoU of two ownerships. The background has a label that belongs to no annotation.
fn agreement(owners: &Owners, truth: &Owners, annotations: usize) -> Result<f64> {
    let labels: Vec<u32> = truth.owner.iter().map(|owner| owner.map_or(u32::MAX, |n| n)).collect();
    let label_of: Vec<u32> = (0..annotations as u32).collect();
    Ok(owners.mean_iou(&labels, &label_of)?.unwrap_or(0.0))
}
