//! Which plan gives cells to the objects that they belong to: fitted Gaussians, fixed and true scales, balanced
//! transport.

mod means;
mod truth;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use splatport::{
    Device, Grid, Image, Profile, Runtime, Splat,
    data::Sample,
    draw,
    kernel::{Background, Owners},
    losses::Sinkhorn,
    splat::{BackgroundImage, Prior, SplatOptions},
};

pub use self::{
    means::write,
    truth::{Photo, photos},
};

/// Cut-offs tried, in standard deviations.
const CUT_OFFS: [f64; 7] = [1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0];

/// How cells get their owners.
#[derive(Debug, Clone, Copy)]
pub enum Plan {
    /// Round Gaussians of one scale, px: the paper's heuristic has 8.
    Round(f64),
    /// Gaussians with the covariances of the true objects.
    True,
    Fitted(SplatOptions),
    /// Balanced transport from a uniform density in squares of so many cells a side, all of which have one owner: every
    /// cell by itself would be too many for a solver. It knows no background, so no cut-off.
    Transport(u32),
}

/// All plans with their names; of a few steps and large squares where it is only whether they run.
pub fn plans(quick: bool) -> Vec<(&'static str, Plan)> {
    let fitted = |background_image, prior| {
        let options = SplatOptions { background_image, prior, ..Profile::Recommended.splat() };
        let solver = if quick { options.solver.at_most(3) } else { options.solver };
        Plan::Fitted(SplatOptions { solver, ..options })
    };
    let prior = Some(Prior { size: 0.1, aspect: 0.1 });
    vec![
        ("sigma-8", Plan::Round(8.0)),
        ("sigma-4", Plan::Round(4.0)),
        ("true", Plan::True),
        ("no-background", fitted(BackgroundImage::None, None)),
        ("no-background-priors", fitted(BackgroundImage::None, prior)),
        ("authors-mask", fitted(BackgroundImage::KnnMask, None)),
        ("authors-mask-priors", fitted(BackgroundImage::KnnMask, prior)),
        ("inpainted", fitted(BackgroundImage::Inpainted, None)),
        ("inpainted-priors", fitted(BackgroundImage::Inpainted, prior)),
        ("transport", Plan::Transport(if quick { 8 } else { 4 })),
    ]
}

/// Plans that stand beside photo and truth in its picture.
const SHOWN: [&str; 3] = ["inpainted", "sigma-8", "transport"];

/// How well a plan owns the objects of a photo.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// What it is averaged with.
    set: String,
    photo: String,
    plan: String,
    /// Distance of the background, standard deviations.
    cut_off: Option<f64>,
    /// Mean over the objects, of the cells that belong to one and those that show it.
    iou: f64,
}

impl Photo {
    /// A row for every cut-off, and a picture of the best.
    pub fn outcome<R: Runtime>(
        &self,
        device: &Device<R>,
        (name, plan): (&str, Plan),
        picture: &Path,
    ) -> anyhow::Result<Vec<Outcome>> {
        let tried = self.tried(device, plan)?;
        let ious = tried.iter().map(|(_, owners)| self.iou(owners)).collect::<anyhow::Result<Vec<_>>>()?;
        if let Some((_, (_, owners))) = ious.iter().zip(&tried).max_by(|a, b| a.0.total_cmp(b.0)) {
            self.drawn(owners)?.save(picture)?;
        }
        println!("{:<24} {name:<24} {ious:.3?}", self.name);
        let row = |((cut_off, _), iou)| {
            let (set, photo, plan) = (self.set.to_owned(), self.name.clone(), name.to_owned());
            Outcome { set, photo, plan, cut_off, iou }
        };
        Ok(tried.into_iter().zip(ious).map(row).collect())
    }

    /// What a plan makes of the cells at every cut-off, at none where it has none.
    fn tried<R: Runtime>(&self, device: &Device<R>, plan: Plan) -> anyhow::Result<Vec<(Option<f64>, Owners)>> {
        let Sample { image, annotations, .. } = &self.sample;
        let splat = match plan {
            Plan::Round(scale) => Splat::round(device, annotations, [image.width(), image.height()], scale)?,
            Plan::True => Splat::from_table(device, &self.true_gaussians())?,
            Plan::Fitted(options) => Splat::of(image, annotations).with_options(options).fit(device)?,
            Plan::Transport(side) => return Ok(vec![(None, self.transported(device, side * self.grid.stride())?)]),
        };
        let owners = |cut_off| splat.kernel(self.grid).background(Background::Hard { cut_off }).build()?.owners();
        Ok(CUT_OFFS.into_iter().map(|d| Ok((Some(d), owners(d)?))).collect::<splatport::Result<_>>()?)
    }

    /// The annotation that most of the mass goes to, of every square of this side, px.
    fn transported<R: Runtime>(&self, device: &Device<R>, side: u32) -> anyhow::Result<Owners> {
        let coarse = Grid::strided(&self.sample.image, side);
        let loss = Sinkhorn::default().on(device, &[(coarse, &self.sample.annotations)])?;
        let step = loss.evaluate(&device.filled(0.01, coarse.len()))?;
        for report in step.reports().iter().filter(|report| !report.converged) {
            println!(
                "{}: transport not converged, residual {:.3} and rounding {:.3} after {} rounds",
                self.name, report.residual, report.rounding, report.rounds
            );
        }
        // The largest of n entries is at least 1/n of its row.
        let plan = step.plan(0.9)?;
        let (starts, columns, masses) = (plan.row_starts.read()?, plan.columns.read()?, plan.masses.read()?);
        let largest = |row: usize| {
            let entries = starts[row] as usize..starts[row + 1] as usize;
            entries.max_by(|&a, &b| masses[a].total_cmp(&masses[b])).map(|at| columns[at])
        };
        let of_cell: Vec<Option<u32>> = (0..coarse.len()).map(largest).collect();
        let cell = |at| {
            let [x, y] = self.grid.centre(at).map(|v| v as u32 / side);
            of_cell[(y.min(coarse.rows() - 1) * coarse.columns() + x.min(coarse.columns() - 1)) as usize]
        };
        let owner: Vec<Option<u32>> = (0..self.grid.len()).map(cell).collect();
        Ok(Owners { weight: vec![1.0; owner.len()], owner })
    }

    /// The photo, its truth and the plans to show, those whose pictures `of_plan` names.
    pub fn overview(&self, of_plan: impl Fn(&str) -> PathBuf) -> anyhow::Result<Image> {
        let truth = Owners { owner: self.truth.clone(), weight: vec![1.0; self.truth.len()] };
        let mut pictures = vec![self.sample.image.clone(), self.drawn(&truth)?];
        for path in SHOWN.map(of_plan).iter().filter(|path| path.exists()) {
            pictures.push(Image::open(path)?);
        }
        Ok(draw::beside(&pictures.iter().collect::<Vec<_>>())?)
    }

    fn drawn(&self, owners: &Owners) -> splatport::Result<Image> {
        let grid = self.grid;
        draw::ownership(
            grid.columns(),
            grid.rows(),
            &owners.owner,
            &owners.weight,
            grid.stride(),
            self.sample.annotations.points(),
        )
    }
}
