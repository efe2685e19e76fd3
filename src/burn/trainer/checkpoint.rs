//! Checkpoints: everything that the next step depends on.

use std::path::Path;

use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_core::{
    module::{AutodiffModule, Module, ModuleVisitor, Param},
    record::{FullPrecisionSettings, NamedMpkBytesRecorder, Record, Recorder},
    tensor::{Tensor, backend::Backend},
};
use burn_optim::{Optimizer, lr_scheduler::LrScheduler};

use super::{History, Trainer};
use crate::{
    Error, Result,
    error::Source,
    io::safetensors::{read_parts, write_parts},
};

type Bytes = NamedMpkBytesRecorder<FullPrecisionSettings>;

/// The arrays of a checkpoint, each a record in MessagePack.
const PARTS: [&str; 4] = ["network", "optimizer", "schedule", "trainer"];

impl<M, O, S: LrScheduler> Trainer<M, O, S> {
    /// Writes a checkpoint: safetensors of four records with a check sum.
    ///
    /// # Errors
    /// [`Error::Write`]: nothing is written half.
    pub fn save<B, C>(&self, path: impl AsRef<Path>) -> Result<()>
    where
        B: Backend,
        C: CheckpointStrategy,
        M: AutodiffModule<Autodiff<B, C>>,
        O: Optimizer<M, Autodiff<B, C>>,
    {
        let path = path.as_ref();
        let parts = [
            encode::<Autodiff<B, C>>(self.network.clone().into_record()),
            encode::<Autodiff<B, C>>(self.optimizer.to_record()),
            encode::<Autodiff<B, C>>(self.schedule.to_record::<Autodiff<B, C>>()),
            rmp_serde::to_vec(&(self.seed, self.steps, self.rate, &self.history)).map_err(Source::from),
        ];
        let parts = parts.into_iter().collect::<std::result::Result<Vec<_>, _>>();
        let parts = parts.map_err(|error| Error::write(path, error))?;
        write_parts(path, &PARTS.into_iter().zip(parts).collect::<Vec<_>>())
    }

    /// Takes up a checkpoint of a trainer of the same kind: network, optimiser, schedule, seed, steps and history.
    ///
    /// # Errors
    /// [`Error::Read`] when the file cannot be opened; [`Error::Format`] when it is damaged or holds another network's parameters.
    /// The trainer is left as it was.
    pub fn resume<B, C>(&mut self, path: impl AsRef<Path>, place: &B::Device) -> Result<()>
    where
        B: Backend,
        C: CheckpointStrategy,
        M: AutodiffModule<Autodiff<B, C>>,
        O: Optimizer<M, Autodiff<B, C>>,
    {
        let path = path.as_ref();
        let [network, optimizer, schedule, trainer] = read_parts(path, PARTS)?;
        let decoded = |what, error: Source| Error::format(path, format!("array `{what}`: {error}"));
        let network = decode::<Autodiff<B, C>, _>(network, place).map_err(|error| decoded(PARTS[0], error))?;
        let optimizer = decode::<Autodiff<B, C>, _>(optimizer, place).map_err(|error| decoded(PARTS[1], error))?;
        let schedule = decode::<Autodiff<B, C>, _>(schedule, place).map_err(|error| decoded(PARTS[2], error))?;
        let (seed, steps, rate, history): (u64, u64, f64, History) =
            rmp_serde::from_slice(&trainer).map_err(|error| decoded(PARTS[3], error.into()))?;

        let loaded = self.network.clone().load_record(network);
        let (expected, got) = (shapes(&self.network), shapes(&loaded));
        if expected != got {
            return Err(Error::format(path, format!("parameters: expected {expected:?}, got {got:?}")));
        }
        self.network = loaded;
        self.optimizer = self.optimizer.clone().load_record(optimizer);
        self.schedule = self.schedule.clone().load_record(schedule);
        (self.seed, self.steps, self.rate, self.history) = (seed, steps, rate, history);
        self.show_start();
        Ok(())
    }
}

fn encode<B: Backend>(record: impl Record<B>) -> std::result::Result<Vec<u8>, Source> {
    Ok(Recorder::<B>::record(&Bytes::default(), record, ())?)
}

fn decode<B: Backend, T: Record<B>>(bytes: Vec<u8>, place: &B::Device) -> std::result::Result<T, Source> {
    Ok(Recorder::<B>::load(&Bytes::default(), bytes, place)?)
}

/// The shapes of all parameters: records load whatever they hold.
fn shapes<B: Backend>(module: &impl Module<B>) -> Vec<Vec<usize>> {
    struct Shapes(Vec<Vec<usize>>);
    impl<B: Backend> ModuleVisitor<B> for Shapes {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<B, D>>) {
            self.0.push(parameter.val().dims().to_vec());
        }
    }
    let mut shapes = Shapes(Vec::new());
    module.visit(&mut shapes);
    shapes.0
}
