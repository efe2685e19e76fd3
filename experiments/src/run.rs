//! One run: a method and a seed, from the first step or from a checkpoint to the row in the table.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Instant,
};

use burn_autodiff::Autodiff;
use burn_core::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexDevice};
use burn_optim::{
    Adam, AdamConfig,
    adaptor::OptimizerAdaptor,
    lr_scheduler::cosine::{CosineAnnealingLrScheduler, CosineAnnealingLrSchedulerConfig},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use splatport::burn::{
    CubeRuntime, Epoch, Trainer,
    networks::{DensityNetwork, SmallDensity, image_tensor},
};

use crate::{
    data::{Crop, Half, Halves, SIDE},
    evaluate::{Predicted, best_least, counts, errors, f1, peaks},
    method::Prepared,
};

type Cpu = Autodiff<Flex>;

/// Crops in a step.
const BATCH: usize = 4;

/// Largest learning rate.
const RATE: f64 = 1e-3;

/// Farthest a peak may lie from its point, px: a nucleus of this photo has a radius of 11 on average.
const RADIUS: f64 = 11.0;

/// Steps of a run, and between checkpoints.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    pub steps: u64,
    pub epoch: u64,
}

/// What came out of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub method: String,
    pub seed: u64,
    pub steps: u64,
    pub mae: f64,
    pub rmse: f64,
    pub f1: f64,
    /// Of the steps of the last session, the network's part included.
    pub seconds_a_step: f64,
}

type Network = SmallDensity<Cpu>;
type Learner = Trainer<Network, OptimizerAdaptor<Adam, Network, Cpu>, CosineAnnealingLrScheduler>;

/// A method on a photo, with a seed.
pub struct Run<'a, R: CubeRuntime> {
    pub prepared: &'a Prepared<R>,
    pub halves: &'a Halves,
    pub seed: u64,
    pub length: Length,
    pub folder: &'a Path,
}

impl<R: CubeRuntime> Run<'_, R> {
    /// The outcome: from its file where there is one, else from training that begins where the last checkpoint ended.
    pub fn outcome(&self) -> anyhow::Result<Outcome> {
        let known = read(&self.file("outcome.csv"))?;
        if let Some(outcome) = known.filter(|outcome| outcome.steps == self.length.steps) {
            return Ok(outcome);
        }
        Cpu::seed(&FlexDevice, self.seed);
        let schedule = CosineAnnealingLrSchedulerConfig::new(RATE, self.length.steps as usize).init();
        let schedule = schedule.map_err(anyhow::Error::msg)?;
        let mut learner = Learner::new(Network::new(&FlexDevice), AdamConfig::new().init(), schedule, self.seed);
        if self.file("safetensors").exists() {
            learner.resume(self.file("safetensors"), &FlexDevice)?;
        }
        let seconds_a_step = self.train(&mut learner)?;
        let outcome = self.score(learner.network(), seconds_a_step);
        // Written beside its place, so that an interruption leaves no half of it.
        let mut row = csv::Writer::from_path(self.file("outcome.tmp"))?;
        row.serialize(&outcome)?;
        row.flush()?;
        fs::rename(self.file("outcome.tmp"), self.file("outcome.csv"))?;
        Ok(outcome)
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}-{}.{ending}", self.prepared.method.name(), self.seed))
    }

    /// The steps that are left; seconds that each took.
    fn train(&self, learner: &mut Learner) -> anyhow::Result<f64> {
        let photo = image_tensor::<Cpu>(&self.halves.train.image, &FlexDevice);
        let bar = ProgressBar::new(self.length.steps).with_position(learner.steps());
        bar.set_style(ProgressStyle::with_template("{prefix:14} {bar:30} {pos}/{len} {msg}")?);
        bar.set_prefix(format!("{} {}", self.prepared.method.name(), self.seed));
        let (start, before) = (Instant::now(), learner.steps());
        while learner.steps() < self.length.steps {
            let (first, end) = (learner.steps(), (learner.steps() + self.length.epoch).min(self.length.steps));
            let mut sum = 0.0;
            while learner.steps() < end {
                sum += self.step(learner, &photo)?;
                bar.inc(1);
            }
            let loss = sum / (end - first) as f64;
            let density = density(learner.network(), &self.halves.test);
            let (mae, rmse) = errors(&counts(&over(&density, &self.halves.test)));
            bar.set_message(format!("loss {loss:.3} MAE {mae:.2}"));
            learner.finish(Epoch { steps: end, rate: learner.rate(), loss, mae, rmse });
            learner.history().to_csv(self.file("history.csv"))?;
            learner.save(self.file("safetensors"))?;
        }
        bar.finish();
        Ok(start.elapsed().as_secs_f64() / (learner.steps() - before).max(1) as f64)
    }

    /// One step on random crops; gives the loss.
    fn step(&self, learner: &mut Learner, photo: &Tensor<Cpu, 4>) -> anyhow::Result<f64> {
        let mut rng = learner.rng();
        let size = [self.halves.train.image.width(), self.halves.train.image.height()];
        let crops: Vec<_> = (0..BATCH).map(|_| Crop::random(size, &mut rng)).collect();
        let images = Tensor::cat(crops.iter().map(|crop| cut(photo, crop)).collect(), 0);
        Ok(learner.step(&[images], self.prepared.loss(&crops)?.as_ref())?)
    }

    /// The test half's scores; the least mass of a peak is chosen on the training half.
    fn score(&self, network: &Network, seconds_a_step: f64) -> Outcome {
        let (train, test) = (density(network, &self.halves.train), density(network, &self.halves.test));
        let least = best_least(&over(&train, &self.halves.train), RADIUS);
        let test = over(&test, &self.halves.test);
        let (mae, rmse) = errors(&counts(&test));
        Outcome {
            method: self.prepared.method.name(),
            seed: self.seed,
            steps: self.length.steps,
            mae,
            rmse,
            f1: f1(&peaks(&test, least), test.points, RADIUS),
            seconds_a_step,
        }
    }
}

/// The pixels of a crop.
fn cut(photo: &Tensor<Cpu, 4>, crop: &Crop) -> Tensor<Cpu, 4> {
    let [x, y] = crop.corner.map(|at| at as usize);
    let pixels = photo.clone().narrow(2, y, SIDE as usize).narrow(3, x, SIDE as usize);
    if crop.flip { pixels.flip([3]) } else { pixels }
}

/// The network's density of half a photo.
fn density(network: &Network, half: &Half) -> Vec<f32> {
    use burn_core::module::AutodiffModule;

    let density = network.valid().density(image_tensor(&half.image, &FlexDevice));
    density.into_data().iter::<f32>().collect()
}

fn over<'a>(density: &'a [f32], half: &'a Half) -> Predicted<'a> {
    let columns = half.image.width().div_ceil(splatport::burn::networks::STRIDE) as usize;
    Predicted { density, columns, points: half.points.points() }
}

/// The outcome in a file, if there is one.
fn read(path: &Path) -> anyhow::Result<Option<Outcome>> {
    match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(anyhow::Error::new(error).context(path.display().to_string())),
        Ok(file) => Ok(csv::Reader::from_reader(file).deserialize().next().transpose()?),
    }
}
