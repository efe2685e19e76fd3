//! Counting: a method and a seed on a kind of photos.

use burn_core::tensor::Tensor;
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use splatport::{
    Grid,
    burn::{
        CubeRuntime, Windows,
        networks::{STRIDE, image_tensor},
        predict,
    },
    data::Sample,
    draw,
    evaluation::{CountErrors, Matched, matched, peaks, tile_counts},
};

use crate::{
    method::{Prepared, Shown},
    network::{Learning, Network},
    run::{Learner, Run},
    table::Row,
    task::Task,
};

/// Larger photos are gone over in windows.
const WINDOWS: Windows = Windows { side: 512, step: 256 };

/// What came out of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub task: String,
    pub method: String,
    pub seed: u64,
    pub steps: u64,
    pub mae: f64,
    pub rmse: f64,
    pub f1: f64,
    /// The network's part included.
    pub seconds_a_step: f64,
}

impl Row for Outcome {
    const COLUMNS: &'static [&'static str] = &["MAE", "F1", "RMSE", "seconds a step"];

    fn method(&self) -> &str {
        &self.method
    }

    fn values(&self) -> Vec<f64> {
        vec![self.mae, self.f1, self.rmse, self.seconds_a_step]
    }
}

/// A method on photos to count on.
pub struct Counting<'a, R: CubeRuntime> {
    pub prepared: &'a Prepared<R>,
    pub task: &'a Task,
    pub run: &'a Run<'a>,
    /// Crops in a step.
    pub batch: usize,
}

impl<R: CubeRuntime> Counting<'_, R> {
    /// What training gives.
    pub fn outcome<N: Network>(&self, start: impl Fn() -> anyhow::Result<N>) -> anyhow::Result<Outcome> {
        let start = self.run.started(start)?;
        let (network, seconds) = self.run.trained(start, |learner| self.step(learner), |n| self.count_errors(n))?;
        self.score(&network, seconds)
    }

    /// One step on random crops; gives the loss.
    fn step<N: Network>(&self, learner: &mut Learner<N>) -> anyhow::Result<f64> {
        let mut rng = learner.rng();
        let crop = |_| -> anyhow::Result<Shown> {
            let photo = rng.random_range(0..self.task.train.len());
            let sample = &self.task.train[photo];
            let drawn = self.task.augmentation.draw([sample.image.width(), sample.image.height()], rng.random(), 0)?;
            Ok(Shown { photo, drawn, sample: drawn.sample(sample)? })
        };
        let crops = (0..self.batch).map(crop).collect::<anyhow::Result<Vec<_>>>()?;
        let images = crops.iter().map(|crop| image_tensor::<Learning>(&crop.sample.image, &Default::default()));
        let images = Tensor::cat(images.collect(), 0);
        Ok(learner.step(&[images], self.prepared.loss(&crops)?.as_ref())?)
    }

    fn count_errors<N: Network>(&self, network: &N) -> anyhow::Result<CountErrors> {
        let mut counts = Vec::new();
        for sample in &self.task.test {
            let (density, grid) = density(network, sample)?;
            counts.extend(tile_counts(&density, grid, sample.annotations.points(), self.task.tile)?);
        }
        Ok(CountErrors::of(&counts))
    }

    /// What the network makes of the photos that were held back; also as pictures.
    fn score<N: Network>(&self, network: &N, seconds_a_step: f64) -> anyhow::Result<Outcome> {
        let least = self.best_least(network)?;
        let mut all = Matched::default();
        for (index, sample) in self.task.test.iter().enumerate() {
            let (density, grid) = density(network, sample)?;
            all = all + found(&density, grid, sample, least, self.task.radius)?;
            if index == 0 {
                let picture = draw::signed(grid.columns(), grid.rows(), &density, STRIDE, sample.annotations.points())?;
                draw::beside(&[&sample.image, &picture])?.save(self.run.kept.file("png"))?;
            }
        }
        let CountErrors { mae, rmse } = self.count_errors(network)?;
        let (method, seed, steps) = (self.run.method.to_owned(), self.run.seed, self.run.length.steps);
        Ok(Outcome { task: self.task.name.clone(), method, seed, steps, mae, rmse, f1: all.f1(), seconds_a_step })
    }

    /// The least mass of a peak that is best on the photos for choosing, of tenths up to 1; the smallest of equal ones.
    fn best_least<N: Network>(&self, network: &N) -> anyhow::Result<f64> {
        let samples = &self.task.validate;
        let densities = samples.iter().map(|sample| density(network, sample)).collect::<anyhow::Result<Vec<_>>>()?;
        let mut best = (f64::NEG_INFINITY, 0.1);
        for least in (1..=10).map(|tenth| f64::from(tenth) / 10.0) {
            let mut all = Matched::default();
            for ((density, grid), sample) in densities.iter().zip(samples) {
                all = all + found(density, *grid, sample, least, self.task.radius)?;
            }
            if all.f1() > best.0 {
                best = (all.f1(), least);
            }
        }
        Ok(best.1)
    }
}

fn found(density: &[f32], grid: Grid, sample: &Sample, least: f64, radius: f64) -> anyhow::Result<Matched> {
    let places: Vec<_> = peaks(density, grid, least)?.iter().map(|peak| peak.at).collect();
    Ok(matched(&places, sample.annotations.points(), radius))
}

/// The network's density of a photo.
fn density<N: Network>(network: &N, sample: &Sample) -> anyhow::Result<(Vec<f32>, Grid)> {
    let image = &sample.image;
    let density = predict(&network.valid(), image, Some(WINDOWS), &Default::default())?;
    Ok((density, Grid::over(image.width(), image.height(), STRIDE)))
}
