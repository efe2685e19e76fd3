//! A trainer: network, optimizer and schedule, with all that is needed to continue after an interruption.

mod checkpoint;
mod events;
mod history;

use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_core::{
    module::{AutodiffModule, ModuleVisitor, Param},
    tensor::{FloatDType, Tensor, backend::Backend},
};
use burn_cubecl::CubeRuntime;
use burn_optim::{GradientsParams, Optimizer, lr_scheduler::LrScheduler};
use indicatif::{ProgressBar, ProgressStyle};
use rand::{Rng, SeedableRng, rngs::StdRng};
use splatport_kernels::Precision;

pub use history::{Epoch, History};

use super::{loss, networks::DensityNetwork};
use crate::{Error, Result, losses::DensityLoss};

/// Trains a Burn network on losses.
///
/// A step's randomness comes from [`rng`](Self::rng), which depends only on the seed and the number of steps, and so do
/// the numbers that the backend's generator draws in a step, for dropout for example. A [resumed](Self::resume) trainer
/// therefore continues bit for bit like one that was never stopped. The backend's generator is shared by the whole
/// process: if another thread draws from it at the same time, this no longer holds.
///
/// ```
/// use burn_autodiff::Autodiff;
/// use burn_core::tensor::{Tensor, backend::Backend};
/// use burn_flex::Flex;
/// use burn_optim::{AdamConfig, lr_scheduler::constant::ConstantLr};
/// use splatport::{Annotations, Grid, Splat, Vulkan, burn::{ProgressBar, Trainer, networks::SmallDensity}};
///
/// type Cpu = Autodiff<Flex>;
/// let device = Vulkan::best()?;
/// let points = Annotations::new(vec![[20.0, 20.0], [40.0, 44.0]])?;
/// let loss = Splat::round(&device, &points, [64, 64], 8.0)?.kernel(Grid::over(64, 64, 8)).build()?.loss();
///
/// Cpu::seed(&Default::default(), 7);
/// let network = SmallDensity::<Cpu>::new(&Default::default());
/// let mut trainer = Trainer::new(network, AdamConfig::new().init(), ConstantLr::new(1e-3), 7);
/// trainer.show_on(&ProgressBar::new(2));
/// let photo = Tensor::<Cpu, 4>::full([1, 3, 64, 64], 0.5, &Default::default());
/// let first = trainer.step(&[photo.clone()], &loss)?;
/// assert!(trainer.step(&[photo], &loss)? < first);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Trainer<M, O, S> {
    network: M,
    optimizer: O,
    schedule: S,
    seed: u64,
    steps: u64,
    rate: f64,
    history: History,
    patience: Option<usize>,
    /// The network at the end of the best epoch, if there is a patience.
    best: Option<M>,
    bar: ProgressBar,
}

/// Adds up all gradients times 0: the sum is 0 if all of them are finite, else NaN.
struct Zeros<'a, B: Backend> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<B, 1>>,
}

impl<B: Backend, C: CheckpointStrategy> ModuleVisitor<Autodiff<B, C>> for Zeros<'_, B> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<Autodiff<B, C>, D>>) {
        let Some(gradient) = self.gradients.get::<B, D>(parameter.id) else { return };
        let zero = gradient.mul_scalar(0.0).sum().cast(FloatDType::F32);
        self.sum = Some(match self.sum.take() {
            None => zero,
            Some(sum) => zero.to_device(&sum.device()) + sum,
        });
    }
}

/// The one number of a tensor.
fn number<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
    tensor.into_data().iter::<f64>().sum()
}

impl<M, O, S: LrScheduler> Trainer<M, O, S> {
    /// A trainer that has not stepped yet; the schedule gives the learning rate of every step.
    pub fn new(network: M, optimizer: O, schedule: S, seed: u64) -> Self {
        let (history, bar) = (History::default(), ProgressBar::hidden());
        Self { network, optimizer, schedule, seed, steps: 0, rate: 0.0, history, patience: None, best: None, bar }
    }

    /// Early stopping: training [is over](Self::is_over) after this many epochs in a row, at least one, whose mean
    /// absolute error was no better than that of an epoch before them. The network of the best epoch is kept, here and
    /// in checkpoints, which takes the memory of one more network.
    ///
    /// Call this before the first epoch: the networks of earlier epochs are no longer known.
    #[must_use]
    pub fn patience(self, epochs: usize) -> Self {
        Self { patience: Some(epochs), ..self }
    }

    /// Whether the [patience](Self::patience) is exhausted. The caller's loop has to stop: another step would still be
    /// made.
    pub fn is_over(&self) -> bool {
        self.patience.is_some_and(|epochs| self.history.is_stale(epochs))
    }

    /// The network at the end of the best epoch, the first one if several are equal; the current network without
    /// [patience](Self::patience) or before the end of the first epoch.
    pub fn best(&self) -> &M {
        self.best.as_ref().unwrap_or(&self.network)
    }

    /// The current network.
    pub fn network(&self) -> &M {
        &self.network
    }

    /// The number of steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The learning rate of the last step; 0 before the first.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// The epochs that were [finished](Self::finish).
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Random numbers for the next step, for example to choose crops.
    pub fn rng(&self) -> StdRng {
        // An odd factor makes the map from steps one-to-one, and neighboring seeds far apart.
        StdRng::seed_from_u64(self.seed ^ self.steps.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Ends an epoch: its measurements become part of the history and of checkpoints.
    pub fn finish(&mut self, epoch: Epoch)
    where
        M: Clone,
    {
        self.history.push(epoch);
        if self.patience.is_some() && self.history.best() == Some(self.history.epochs().len() - 1) {
            self.best = Some(self.network.clone());
        }
    }

    /// Shows steps, remaining time and the last step's loss on a progress bar whose length is the total number of
    /// steps; after an epoch also its count error.
    ///
    /// By default a bar is drawn on standard error, and nowhere if that is not a terminal. The bar keeps its prefix,
    /// which comes first, but not its style. Clones of the trainer share the bar.
    pub fn show_on(&mut self, bar: &ProgressBar) {
        let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len}, {eta} left{msg}");
        self.bar = bar.clone().with_style(style.unwrap_or(ProgressStyle::default_bar()));
        self.show_start();
    }

    /// Steps done earlier took no time here, which must not make the coming ones look fast: the bar is told of them,
    /// then made to forget their speed.
    fn show_start(&self) {
        self.bar.set_position(self.steps);
        self.bar.tick();
        self.bar.reset_eta();
        self.bar.set_message("");
    }

    fn show_step(&self, loss: f64) {
        let error = self.history.epochs().last().map(|epoch| format!(", error {:.2}", epoch.mae));
        self.bar.set_position(self.steps);
        self.bar.set_message(format!(", loss {loss:.4}{}", error.unwrap_or_default()));
    }

    /// One step on a batch of images, `[images, 3, height, width]` in 0..1; a batch of images of different sizes is
    /// passed as one tensor per image. Returns the loss before the step.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when the loss or a parameter's gradient is not finite; nothing is changed then. Otherwise
    /// as [`loss`](fn@loss).
    pub fn step<B, C, R, P>(
        &mut self,
        images: &[Tensor<Autodiff<B, C>, 4>],
        of: &(impl DensityLoss<R, P> + ?Sized),
    ) -> Result<f64>
    where
        B: Backend,
        C: CheckpointStrategy,
        R: CubeRuntime,
        P: Precision,
        M: AutodiffModule<Autodiff<B, C>> + DensityNetwork<Autodiff<B, C>>,
        O: Optimizer<M, Autodiff<B, C>>,
    {
        let seed = self.rng().random();
        self.network.devices().iter().for_each(|place| Autodiff::<B, C>::seed(place, seed));
        let densities: Vec<_> = images.iter().map(|images| self.network.density(images.clone())).collect();
        let tensor = loss(of, &densities)?;
        let gradients = GradientsParams::from_grads(tensor.backward(), &self.network);
        let value = number(tensor);
        let mut zeros = Zeros::<B> { gradients: &gradients, sum: None };
        self.network.visit(&mut zeros);
        for (what, value) in [("loss of step", value), ("gradients of step", zeros.sum.map_or(0.0, number))] {
            if !value.is_finite() {
                return Err(Error::NotFinite { what, index: self.steps as usize, value });
            }
        }
        self.rate = self.schedule.step();
        self.network = self.optimizer.step(self.rate, self.network.clone(), gradients);
        self.steps += 1;
        self.show_step(value);
        Ok(value)
    }
}
