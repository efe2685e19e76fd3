//! Which plan gives pixels to the objects they belong to: fitted Gaussians, fixed and true scales, balanced transport.
//!
//! `cargo run --example ownership [OUT [FOLDER...]]` scores every plan on the shipped photos, on three synthetic crowds, and on the
//! folders of `scripts/fetch_data`, against true masks, boxes and id maps, and writes `rows.csv`, `table.md` and a picture of every
//! photo to `OUT`, by default `target/ownership`. What is in `rows.csv` already is not computed again.

mod rows;
mod truth;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use splatport::{
    Device, Grid, HostReal, Image, Precision, Runtime, Splat,
    data::{Dataset, Layout, Sample},
    draw,
    kernel::{Background, Owners},
    losses::Sinkhorn,
    splat::{BackgroundImage, Prior},
};

use self::{rows::Row, truth::Photo};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data");
/// Cut-offs tried, in standard deviations.
const CUT_OFFS: [f64; 7] = [1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0];
/// Pixels per cell of the transport problem; a pixel has the owner of its cell.
const COARSE: u32 = 4;

/// How cells get their owners.
#[derive(Clone, Copy)]
enum Plan {
    /// Round Gaussians of one scale, px: the paper's heuristic has 8.
    Round(f64),
    /// Gaussians with the covariances of the true objects.
    True,
    Fitted(BackgroundImage, Option<Prior>),
    /// Balanced transport from a uniform density. It knows no background, so no cut-off.
    Transport,
}

const PRIOR: Option<Prior> = Some(Prior { size: 0.1, aspect: 0.1 });
const PLANS: [(&str, Plan); 10] = [
    ("fixed sigma 8", Plan::Round(8.0)),
    ("fixed sigma 4", Plan::Round(4.0)),
    ("true covariances", Plan::True),
    ("fitted, no background", Plan::Fitted(BackgroundImage::None, None)),
    ("fitted, no background, priors", Plan::Fitted(BackgroundImage::None, PRIOR)),
    ("fitted, authors' mask", Plan::Fitted(BackgroundImage::KnnMask, None)),
    ("fitted, authors' mask, priors", Plan::Fitted(BackgroundImage::KnnMask, PRIOR)),
    ("fitted, inpainted", Plan::Fitted(BackgroundImage::Inpainted, None)),
    ("fitted, inpainted, priors", Plan::Fitted(BackgroundImage::Inpainted, PRIOR)),
    ("balanced transport", Plan::Transport),
];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(|| PathBuf::from("target/ownership"), PathBuf::from);
    fs::create_dir_all(&folder)?;
    #[cfg(feature = "cuda")]
    let device = splatport::Cuda::device(0)?;
    #[cfg(not(feature = "cuda"))]
    let device = splatport::Wgpu::best()?;
    let mut rows = rows::read(&folder)?;
    for folder_of_photos in [SHIPPED.to_owned()].into_iter().chain(arguments) {
        let set = Dataset::open(Layout::Folder, &folder_of_photos)?;
        for index in 0..set.len() {
            let name = set.id(index).unwrap_or_default().to_owned();
            match Photo::of(name.clone(), set.sample(index)?, Path::new(&folder_of_photos))? {
                Some(photo) => score(&device, &photo, &folder, &mut rows)?,
                None => println!("{name}: neither masks nor boxes, left out"),
            }
        }
    }
    for seed in 1..=3 {
        score(&device, &Photo::crowd(seed)?, &folder, &mut rows)?;
    }
    let table = rows::table(&rows);
    fs::write(folder.join("table.md"), &table)?;
    println!("{table}");
    Ok(())
}

/// Adds the rows that are missing, and the picture.
fn score<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    photo: &Photo,
    folder: &Path,
    rows: &mut Vec<Row>,
) -> Result<()> {
    for (name, plan) in PLANS {
        if rows.iter().any(|row| row.photo == photo.name && row.plan == name) {
            continue;
        }
        let found = scores(device, photo, plan)?;
        println!("{:<20} {name:<30} {found:.3?}", photo.name);
        let row = |(cut_off, iou)| Row {
            set: photo.set.clone(),
            photo: photo.name.clone(),
            plan: name.to_owned(),
            cut_off,
            iou,
        };
        rows.extend(found.into_iter().map(row));
        rows::write(folder, rows)?;
    }
    let picture = folder.join(format!("{}.png", photo.name));
    if !picture.exists() {
        draw(device, photo, rows)?.save(picture)?;
    }
    Ok(())
}

/// IoU by cut-off.
fn scores<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    photo: &Photo,
    plan: Plan,
) -> Result<Vec<(Option<f64>, f64)>> {
    let Some(splat) = splat(device, photo, plan)? else {
        return Ok(vec![(None, photo.iou(&transported(device, photo)?)?)]);
    };
    CUT_OFFS.iter().map(|&d| Ok((Some(d), photo.iou(&owners(&splat, photo.grid, d)?)?))).collect()
}

/// The Gaussians of a plan, where it has any.
fn splat<R: Runtime, P: Precision>(device: &Device<R, P>, photo: &Photo, plan: Plan) -> Result<Option<Splat<R, P>>> {
    let Sample { image, annotations, .. } = &photo.sample;
    Ok(Some(match plan {
        Plan::Round(scale) => Splat::round(device, annotations, [image.width(), image.height()], scale)?,
        Plan::True => Splat::from_table(device, &photo.true_gaussians())?,
        Plan::Fitted(kind, prior) => Splat::of(image, annotations).background_image(kind).prior(prior).fit(device)?,
        Plan::Transport => return Ok(None),
    }))
}

fn owners<R: Runtime, P: Precision>(splat: &Splat<R, P>, grid: Grid, cut_off: f64) -> Result<Owners> {
    Ok(splat.kernel(grid).background(Background::Hard { cut_off }).build()?.owners()?)
}

/// The annotation that most of every cell's mass goes to.
fn transported<R: Runtime, P: Precision>(device: &Device<R, P>, photo: &Photo) -> Result<Owners> {
    let coarse = Grid::strided(&photo.sample.image, COARSE);
    let loss = Sinkhorn::default().on(device, &[(coarse, &photo.sample.annotations)])?;
    let step = loss.evaluate(&device.filled(P::Real::cast_from_f64(0.01), coarse.len()))?;
    let report = &step.reports()[0];
    if !report.converged {
        println!(
            "{}: transport not converged, residual {:.3} and rounding {:.3} after {} rounds",
            photo.name, report.residual, report.rounding, report.rounds
        );
    }
    // The largest of n entries is at least 1/n of its row.
    let plan = step.plan(0.9)?;
    let (starts, columns, masses) = (plan.row_starts.read()?, plan.columns.read()?, plan.masses.read()?);
    let largest = |row: usize| {
        let entries = starts[row] as usize..starts[row + 1] as usize;
        entries.max_by(|&a, &b| masses[a].cast_to_f64().total_cmp(&masses[b].cast_to_f64())).map(|at| columns[at])
    };
    let of_cell: Vec<Option<u32>> = (0..coarse.len()).map(largest).collect();
    let cell = |at| {
        let [x, y] = photo.grid.centre(at).map(|v| v as u32 / COARSE);
        of_cell[(y.min(coarse.rows() - 1) * coarse.columns() + x.min(coarse.columns() - 1)) as usize]
    };
    let owner: Vec<Option<u32>> = (0..photo.grid.len()).map(cell).collect();
    Ok(Owners { weight: vec![1.0; owner.len()], owner })
}

/// Truth; owners of the default fit, of the fixed scale and of transport, each at its best cut-off.
fn draw<R: Runtime, P: Precision>(device: &Device<R, P>, photo: &Photo, rows: &[Row]) -> Result<Image> {
    let (image, grid) = (&photo.sample.image, photo.grid);
    let dots: Vec<[f32; 2]> = photo.sample.annotations.points().iter().map(|point| point.map(|v| v as f32)).collect();
    let map = |owners: &Owners| {
        let (columns, rows) = (grid.columns(), grid.rows());
        draw::ownership(columns, rows, &owners.owner, &owners.weight, grid.stride(), &dots)
    };
    let best = |plan: &str| {
        let rows = rows.iter().filter(|row| row.photo == photo.name && row.plan == plan);
        rows.max_by(|a, b| a.iou.total_cmp(&b.iou)).and_then(|row| row.cut_off)
    };
    let truth = Owners { owner: photo.truth.clone(), weight: vec![1.0; photo.truth.len()] };
    let mut pictures = vec![image.clone(), map(&truth)?];
    for (name, plan) in [PLANS[7], PLANS[0], PLANS[9]] {
        pictures.push(match splat(device, photo, plan)?.zip(best(name)) {
            Some((splat, cut_off)) => map(&owners(&splat, grid, cut_off)?)?,
            None => map(&transported(device, photo)?)?,
        });
    }
    Ok(draw::beside(&pictures.iter().collect::<Vec<_>>())?)
}
