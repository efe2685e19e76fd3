//! Photos whose objects are known: by masks, by boxes, or because they were drawn.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, bail};
use splatport::{GaussianTable, Grid, Image, Pixels, data::Sample, kernel::Owners};

use crate::task::{self, Kind};

/// Photos with more pixels than this are scored at every second pixel.
const LARGE: u32 = 600_000;

/// A photo with its truth.
pub struct Photo {
    pub name: String,
    /// What its results are averaged with.
    pub set: &'static str,
    pub sample: Sample,
    pub grid: Grid,
    /// Annotation that every cell's centre shows; none for the background.
    pub truth: Vec<Option<u32>>,
}

/// The photos of a kind: the shipped ones with the masks beside them or with ellipses in their boxes, or a crowd for
/// each seed from 1. One cell a pixel, of large photos every second pixel; every fourth where it is only whether it
/// runs.
pub fn photos(kind: Kind, seeds: u64, quick: bool) -> impl Iterator<Item = anyhow::Result<Photo>> {
    let (shipped, crowds): (&[_], _) = match kind {
        Kind::Nuclei => (&[("nuclei", "nuclei_dsb2018.png")], 0),
        Kind::Scratch => (&SCRATCH, 0),
        Kind::Trees => (&TREES, 0),
        Kind::Crowds => (&[], seeds),
    };
    shipped
        .iter()
        .map(move |(set, file)| Photo::shipped(set, file, quick))
        .chain((1..=crowds).map(move |seed| Photo::crowd(seed, quick)))
}

const SCRATCH: [(&str, &str); 5] = [
    ("scratch", "scratch_t00.png"),
    ("scratch", "scratch_t01.png"),
    ("scratch", "scratch_t02.png"),
    ("scratch", "scratch_t03.png"),
    ("scratch", "scratch_t04.png"),
];

const TREES: [(&str, &str); 3] = [
    ("trees-osbs", "trees_osbs_029.png"),
    ("trees-541000", "trees_yell_541000.jpg"),
    ("trees-528000", "trees_yell_528000_half.jpg"),
];

impl Photo {
    fn shipped(set: &'static str, file: &str, quick: bool) -> anyhow::Result<Self> {
        let (sample, path) = (task::open(file)?, task::shipped(file));
        let name = path.file_stem().unwrap_or_default().display().to_string();
        let mask = path.with_file_name(format!("{name}_mask.png"));
        let owners = match &sample.scales {
            _ if mask.is_file() => masked(&sample, &mask)?,
            Some(scales) => boxed(&sample, scales),
            None => bail!("{}: neither a mask nor boxes", path.display()),
        };
        Ok(Self::new(name, set, sample, owners, quick))
    }

    fn crowd(seed: u64, quick: bool) -> anyhow::Result<Self> {
        let scene = task::CROWD.scene(seed)?;
        Ok(Self::new(format!("crowd_{seed}"), "crowds", scene.sample, scene.owners, quick))
    }

    fn new(name: String, set: &'static str, sample: Sample, owners: Vec<Option<u32>>, quick: bool) -> Self {
        let [width, height] = [sample.image.width(), sample.image.height()];
        let stride = match quick {
            true => 4,
            false if width * height > LARGE => 2,
            false => 1,
        };
        let grid = Grid::strided(&sample.image, stride);
        let pixel = |cell| {
            let [x, y] = grid.centre(cell).map(|v| v as u32);
            owners[(y.min(height - 1) * width + x.min(width - 1)) as usize]
        };
        let truth = (0..grid.len()).map(pixel).collect();
        Self { name, set, sample, grid, truth }
    }

    /// Mean IoU of what is owned with the true objects.
    pub fn iou(&self, owners: &Owners) -> anyhow::Result<f64> {
        let labels: Vec<u32> = self.truth.iter().map(|owner| owner.unwrap_or(u32::MAX)).collect();
        let label_of: Vec<u32> = (0..self.sample.annotations.len() as u32).collect();
        owners.mean_iou(&labels, &label_of)?.context("no object has a cell")
    }

    /// Gaussians with the covariance of every object's cells, at its annotation.
    pub fn true_gaussians(&self) -> GaussianTable {
        let count = self.sample.annotations.len();
        let mut cells = vec![Vec::new(); count];
        for (cell, owner) in self.truth.iter().enumerate() {
            owner.iter().for_each(|&n| cells[n as usize].push(self.grid.centre(cell)));
        }
        let shapes: Vec<[f64; 3]> = cells.iter().map(|places| shape(places)).collect();
        let scales = Some(shapes.iter().map(|[a, b, _]| [*a, *b]).collect());
        let known = Sample { scales, ..self.sample.clone() };
        let rotations = shapes.iter().map(|shape| shape[2]).collect();
        GaussianTable { rotations, ..known.true_gaussians().unwrap_or_default() }
    }
}

/// Standard deviations along the two axes, px, and the angle of the first; a cell at least.
fn shape(places: &[[f64; 2]]) -> [f64; 3] {
    let count = places.len().max(1) as f64;
    let mean = [0, 1].map(|k| places.iter().map(|place| place[k]).sum::<f64>() / count);
    let moment = |i: usize, j: usize| {
        places.iter().map(|place| (place[i] - mean[i]) * (place[j] - mean[j])).sum::<f64>() / count
    };
    let (xx, yy, xy) = (moment(0, 0), moment(1, 1), moment(0, 1));
    let (middle, half) = ((xx + yy) / 2.0, ((xx - yy) / 2.0).hypot(xy));
    let side = |variance: f64| variance.max(0.25).sqrt();
    [side(middle + half), side(middle - half), 0.5 * (2.0 * xy).atan2(xx - yy)]
}

/// Owners from a picture of ids, of which the column `label` says whose they are.
fn masked(sample: &Sample, mask: &Path) -> anyhow::Result<Vec<Option<u32>>> {
    let picture = Image::open(mask)?;
    let ids: Vec<u32> = match picture.pixels() {
        Pixels::U8(ids) => ids.iter().map(|&id| id.into()).collect(),
        // Sixteen bits were read as 0 to 1.
        Pixels::F32(values) => values.iter().map(|value| (value * 65535.0).round() as u32).collect(),
        _ => bail!("{}: samples of an unknown kind", mask.display()),
    };
    if [picture.width(), picture.height()] != [sample.image.width(), sample.image.height()] || picture.channels() != 1 {
        bail!("{}: not of the photo's size, or not grey", mask.display());
    }
    let labels = sample.annotations.numeric("label")?;
    let owner_of: BTreeMap<u32, u32> = labels.iter().enumerate().map(|(n, label)| (*label as u32, n as u32)).collect();
    Ok(ids.iter().map(|id| owner_of.get(id).copied()).collect())
}

/// Owners from the ellipses that fill the boxes; where some overlap, the one whose centre is nearest in its own scales.
fn boxed(sample: &Sample, scales: &[[f64; 2]]) -> Vec<Option<u32>> {
    let [width, height] = [sample.image.width(), sample.image.height()];
    let mut nearest = vec![(None, 4.0); (width * height) as usize];
    for (n, ([x, y], [a, b])) in sample.annotations.points().iter().zip(scales).enumerate() {
        let range = |centre: f64, scale: f64, side: u32| {
            let end = (centre + 2.0 * scale).ceil().clamp(0.0, side.into()) as u32;
            (centre - 2.0 * scale).max(0.0) as u32..end
        };
        for row in range(*y, *b, height) {
            for column in range(*x, *a, width) {
                let q = ((f64::from(column) + 0.5 - x) / a).powi(2) + ((f64::from(row) + 0.5 - y) / b).powi(2);
                let at = &mut nearest[(row * width + column) as usize];
                if q <= at.1 {
                    *at = (Some(n as u32), q);
                }
            }
        }
    }
    nearest.into_iter().map(|(owner, _)| owner).collect()
}
