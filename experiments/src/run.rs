//! Training from the first step or from a checkpoint.

use std::{fs, path::PathBuf, time::Instant};

use anyhow::Context as _;
use burn_core::tensor::backend::Backend;
use burn_optim::{
    Adam, AdamConfig,
    adaptor::OptimizerAdaptor,
    lr_scheduler::cosine::{CosineAnnealingLrScheduler, CosineAnnealingLrSchedulerConfig},
};
use serde::{Deserialize, Serialize};
use splatport::{
    burn::{Epoch, ProgressBar, Trainer},
    evaluation::CountErrors,
};

use crate::{
    kept::{self, Kept},
    network::{Learning, Network},
};

/// Steps of a run, and between checkpoints.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    pub steps: u64,
    pub epoch: u64,
}

pub type Learner<N> = Trainer<N, OptimizerAdaptor<Adam, N, Learning>, CosineAnnealingLrScheduler>;

/// A method with a seed, for so many steps.
pub struct Run<'a> {
    pub method: &'a str,
    pub seed: u64,
    pub length: Length,
    pub kept: Kept<'a>,
}

/// What all steps of a run took; what a process that was killed did twice counts twice.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Took {
    steps: u64,
    seconds: f64,
}

impl Run<'_> {
    /// For TensorBoard, to which a folder is a run.
    fn events(&self) -> anyhow::Result<PathBuf> {
        let folder = self.kept.folder.join("events").join(&self.kept.name);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder.join("history.tfevents"))
    }

    /// The network after all steps, from the last checkpoint if there is one, and the seconds that a step took. `step`
    /// makes a step and gives its loss, `measure` gives errors on what was held back.
    pub fn trained<N: Network>(
        &self,
        start: N,
        step: impl Fn(&mut Learner<N>) -> anyhow::Result<f64>,
        measure: impl Fn(&N) -> anyhow::Result<CountErrors>,
    ) -> anyhow::Result<(N, f64)> {
        let schedule = CosineAnnealingLrSchedulerConfig::new(N::RATE, self.length.steps as usize).init();
        let schedule = schedule.map_err(anyhow::Error::msg)?;
        let mut learner = Learner::new(start, AdamConfig::new().init(), schedule, self.seed);
        let mut took = Took::default();
        if self.kept.file("safetensors").exists() {
            learner.resume(self.kept.file("safetensors"), &Default::default())?;
            took = kept::read(&self.kept.file("took.csv"))?.map_or_else(Took::default, |rows| rows[0]);
            println!("{} {}: goes on after step {}", self.method, self.seed, learner.steps());
        }
        let bar = ProgressBar::new(self.length.steps).with_prefix(format!("{:20} {:3}", self.method, self.seed));
        learner.show_on(&bar);
        while learner.steps() < self.length.steps {
            let (first, end) = (learner.steps(), (learner.steps() + self.length.epoch).min(self.length.steps));
            let (start, mut sum) = (Instant::now(), 0.0);
            while learner.steps() < end {
                sum += step(&mut learner)?;
            }
            took = Took { steps: took.steps + end - first, seconds: took.seconds + start.elapsed().as_secs_f64() };
            let loss = sum / (end - first) as f64;
            let CountErrors { mae, rmse } = measure(learner.network())?;
            learner.finish(Epoch { steps: end, rate: learner.rate(), loss, mae, rmse });
            learner.history().save_csv(self.kept.file("history.csv"))?;
            learner.history().save_events(self.events()?)?;
            // Before the checkpoint: with a checkpoint there is always a time.
            kept::write(&self.kept.file("took.csv"), &[took])?;
            learner.save(self.kept.file("safetensors"))?;
        }
        bar.finish();
        Ok((learner.network().clone(), took.seconds / took.steps.max(1) as f64))
    }

    /// Makes the same network for the same seed.
    pub fn started<N>(&self, start: impl FnOnce() -> anyhow::Result<N>) -> anyhow::Result<N> {
        Learning::seed(&Default::default(), self.seed);
        start()
    }
}
