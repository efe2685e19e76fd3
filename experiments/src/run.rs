//! Training from the first step or from a checkpoint, and an outcome that is kept.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Instant,
};

use burn_core::tensor::backend::Backend;
use burn_optim::{
    Adam, AdamConfig,
    adaptor::OptimizerAdaptor,
    lr_scheduler::cosine::{CosineAnnealingLrScheduler, CosineAnnealingLrSchedulerConfig},
};
use serde::{Serialize, de::DeserializeOwned};
use splatport::{
    burn::{Epoch, ProgressBar, Trainer},
    evaluation::CountErrors,
};

use crate::network::{Learning, Network};

/// Steps of a run, and between checkpoints.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    pub steps: u64,
    pub epoch: u64,
}

pub type Learner<N> = Trainer<N, OptimizerAdaptor<Adam, N, Learning>, CosineAnnealingLrScheduler>;

/// A run by name: a method with a seed, for so many steps.
pub struct Run<'a> {
    pub method: &'a str,
    pub seed: u64,
    pub length: Length,
    pub folder: &'a Path,
}

impl Run<'_> {
    /// What runs that are not the same differ in.
    fn name(&self) -> String {
        format!("{}-{}-{}", self.method, self.length.steps, self.seed)
    }

    pub fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.name()))
    }

    /// For TensorBoard, to which a folder is a run.
    fn events(&self) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join("events").join(self.name());
        fs::create_dir_all(&folder)?;
        Ok(folder.join("history.tfevents"))
    }

    /// The outcome that is kept; else that of `make`, which is kept.
    pub fn outcome<O: Serialize + DeserializeOwned>(
        &self,
        make: impl FnOnce() -> anyhow::Result<O>,
    ) -> anyhow::Result<O> {
        if let Some(outcome) = read(&self.file("outcome.csv"))? {
            return Ok(outcome);
        }
        let outcome = make()?;
        // Written beside its place, so that an interruption leaves no half of it.
        let mut row = csv::Writer::from_path(self.file("outcome.tmp"))?;
        row.serialize(&outcome)?;
        row.flush()?;
        fs::rename(self.file("outcome.tmp"), self.file("outcome.csv"))?;
        Ok(outcome)
    }

    /// The network after all steps, from the last checkpoint if there is one, and the seconds that a step took. `step` makes a step and
    /// gives its loss, `measure` gives errors on what was held back.
    pub fn trained<N: Network>(
        &self,
        start: N,
        step: impl Fn(&mut Learner<N>) -> anyhow::Result<f64>,
        measure: impl Fn(&N) -> anyhow::Result<CountErrors>,
    ) -> anyhow::Result<(N, f64)> {
        let schedule = CosineAnnealingLrSchedulerConfig::new(N::RATE, self.length.steps as usize).init();
        let schedule = schedule.map_err(anyhow::Error::msg)?;
        let mut learner = Learner::new(start, AdamConfig::new().init(), schedule, self.seed);
        if self.file("safetensors").exists() {
            learner.resume(self.file("safetensors"), &Default::default())?;
        }
        let bar = ProgressBar::new(self.length.steps).with_prefix(format!("{:20} {:3}", self.method, self.seed));
        learner.show_on(&bar);
        let (mut seconds, before) = (0.0, learner.steps());
        while learner.steps() < self.length.steps {
            let (first, end) = (learner.steps(), (learner.steps() + self.length.epoch).min(self.length.steps));
            let (start, mut sum) = (Instant::now(), 0.0);
            while learner.steps() < end {
                sum += step(&mut learner)?;
            }
            seconds += start.elapsed().as_secs_f64();
            let loss = sum / (end - first) as f64;
            let CountErrors { mae, rmse } = measure(learner.network())?;
            learner.finish(Epoch { steps: end, rate: learner.rate(), loss, mae, rmse });
            learner.history().to_csv(self.file("history.csv"))?;
            learner.history().to_events(self.events()?)?;
            learner.save(self.file("safetensors"))?;
        }
        bar.finish();
        let seconds = seconds / (learner.steps() - before).max(1) as f64;
        Ok((learner.network().clone(), seconds))
    }

    /// Makes the same network for the same seed.
    pub fn started<N>(&self, start: impl FnOnce() -> anyhow::Result<N>) -> anyhow::Result<N> {
        Learning::seed(&Default::default(), self.seed);
        start()
    }
}

/// What is in a file, if there is one.
fn read<O: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<O>> {
    match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(anyhow::Error::new(error).context(path.display().to_string())),
        Ok(file) => Ok(csv::Reader::from_reader(file).deserialize().next().transpose()?),
    }
}
