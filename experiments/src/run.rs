//! Training from the first step or from a checkpoint, and an outcome that is kept.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context as _;
use burn_core::tensor::backend::Backend;
use burn_optim::{
    Adam, AdamConfig,
    adaptor::OptimizerAdaptor,
    lr_scheduler::cosine::{CosineAnnealingLrScheduler, CosineAnnealingLrSchedulerConfig},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use splatport::{
    burn::{Epoch, ProgressBar, Trainer},
    evaluation::CountErrors,
    write_whole,
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
    /// All that decides what comes out and is not in the name: version, device, options.
    pub made_by: &'a str,
}

/// What all steps of a run took; what a process that was killed did twice counts twice.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Took {
    steps: u64,
    seconds: f64,
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
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder.join("history.tfevents"))
    }

    /// The outcome that is kept, if it was made by the same.
    pub fn kept<O: DeserializeOwned>(&self) -> anyhow::Result<Option<O>> {
        if self.maker()?.is_some_and(|maker| maker == self.made_by) {
            read(&self.file("outcome.csv"))
        } else {
            Ok(None)
        }
    }

    /// By what the files of this run were made, if there are any.
    fn maker(&self) -> anyhow::Result<Option<String>> {
        let path = self.file("made-by.txt");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let files = ["outcome.csv", "safetensors"].map(|ending| self.file(ending));
                Ok(files.iter().any(|file| file.exists()).then(|| "nobody knows what\n".to_owned()))
            }
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// The outcome that is kept; else that of `make`, which is kept.
    ///
    /// # Errors
    /// For an outcome or a checkpoint that something else left; those of `make`.
    pub fn outcome<O: Serialize + DeserializeOwned>(
        &self,
        make: impl FnOnce() -> anyhow::Result<O>,
    ) -> anyhow::Result<O> {
        match self.maker()? {
            Some(maker) if maker != self.made_by => anyhow::bail!(
                "{} was made by\n{maker}and not by\n{}remove it, or give another folder with --out",
                self.folder.join(self.name()).display(),
                self.made_by
            ),
            Some(_) => {}
            None => write_whole(&self.file("made-by.txt"), |file| Ok(file.write_all(self.made_by.as_bytes())?))?,
        }
        if let Some(outcome) = self.kept()? {
            return Ok(outcome);
        }
        let outcome = make()?;
        write(&self.file("outcome.csv"), &outcome)?;
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
        let mut took = Took::default();
        if self.file("safetensors").exists() {
            learner.resume(self.file("safetensors"), &Default::default())?;
            took = read(&self.file("took.csv"))?.unwrap_or_default();
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
            learner.history().save_csv(self.file("history.csv"))?;
            learner.history().save_events(self.events()?)?;
            // Before the checkpoint: with a checkpoint there is always a time.
            write(&self.file("took.csv"), &took)?;
            learner.save(self.file("safetensors"))?;
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

/// Writes one row with a header.
fn write(path: &Path, row: &impl Serialize) -> splatport::Result<()> {
    write_whole(path, |file| {
        let mut rows = csv::Writer::from_writer(file);
        rows.serialize(row)?;
        Ok(rows.flush()?)
    })
}

/// The row in a file, if there is one.
fn read<O: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<O>> {
    match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => {
            let row = opened
                .map_err(anyhow::Error::new)
                .and_then(|file| Ok(csv::Reader::from_reader(file).deserialize().next().transpose()?));
            row.with_context(|| path.display().to_string())
        }
    }
}
