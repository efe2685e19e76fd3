//! Checkpoints: everything that the next step depends on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_core::{
    module::AutodiffModule,
    record::{
        DoublePrecisionSettings, FullPrecisionSettings, NamedMpkBytesRecorder, PrecisionSettings, Record, Recorder,
    },
    tensor::{Element, backend::Backend},
};
use burn_optim::{Optimizer, lr_scheduler::LrScheduler};

use super::{History, Trainer};
use crate::{
    Error, Result,
    burn::parameters::{Parameter, parameters},
    error::Source,
    io::safetensors::{read_parts, write_parts},
};

type Bytes<S> = NamedMpkBytesRecorder<S>;

/// The arrays of a checkpoint, each a record in MessagePack.
const PARTS: [&str; 4] = ["network", "optimizer", "schedule", "trainer"];

/// The additional array of a trainer with patience that has finished an epoch: the best network.
const BEST: &str = "best";

impl<M, O, S: LrScheduler> Trainer<M, O, S> {
    /// Writes a checkpoint: a safetensors file of four records with a checksum.
    ///
    /// # Errors
    /// [`Error::Write`]: the file is written whole or not at all. Also for parameters that do not have the backend's
    /// own float type, such as `f64` on an `f32` backend, because Burn's records would round them.
    pub fn save<B, C>(&self, path: impl AsRef<Path>) -> Result<()>
    where
        B: Backend,
        C: CheckpointStrategy,
        M: AutodiffModule<Autodiff<B, C>>,
        O: Optimizer<M, Autodiff<B, C>>,
    {
        let path = path.as_ref();
        let parameters = self.kept::<B, C>().map_err(|error| Error::write(path, error))?;
        let best = self.best.as_ref().map(|best| encode::<Autodiff<B, C>>(best.clone().into_record()));
        let parts = [
            encode::<Autodiff<B, C>>(self.network.clone().into_record()),
            encode::<Autodiff<B, C>>(self.optimizer.to_record()),
            encode::<Autodiff<B, C>>(self.schedule.to_record::<Autodiff<B, C>>()),
            rmp_serde::to_vec(&(parameters, self.seed, self.steps, self.rate, &self.history)).map_err(Source::from),
        ];
        let parts = parts.into_iter().chain(best).collect::<std::result::Result<Vec<_>, _>>();
        let parts = parts.map_err(|error| Error::write(path, error))?;
        write_parts(path, &PARTS.into_iter().chain([BEST]).zip(parts).collect::<Vec<_>>())
    }

    /// Resumes from a checkpoint of a trainer of the same kind: network, optimizer, schedule, seed, steps and history;
    /// with [patience](Self::patience), which itself is not stored, also the best network.
    ///
    /// # Errors
    /// [`Error::Read`] when the file cannot be opened; [`Error::Format`] when it is damaged, lacks the best network, or
    /// holds another network's parameters, naming the first that differs. The trainer is then left as it was.
    pub fn resume<B, C>(&mut self, path: impl AsRef<Path>, place: &B::Device) -> Result<()>
    where
        B: Backend,
        C: CheckpointStrategy,
        M: AutodiffModule<Autodiff<B, C>>,
        O: Optimizer<M, Autodiff<B, C>>,
    {
        let path = path.as_ref();
        let ([network, optimizer, schedule, trainer], best) = read_parts(path, PARTS, BEST)?;
        let decoded = |what, error: Source| Error::format(path, format!("array `{what}`: {error}"));
        let (parameters, seed, steps, rate, history): (Vec<Parameter>, u64, u64, f64, History) =
            rmp_serde::from_slice(&trainer).map_err(|error| decoded(PARTS[3], error.into()))?;
        let own = self.kept::<B, C>().map_err(|error| decoded(PARTS[0], error))?;
        check_alike(path, &own, &parameters)?;
        // If another backend used the device first, the parameters have that backend's float type.
        let alike = |network: &M| check_alike(path, &own, &self::parameters::<Autodiff<B, C>>(network));
        let network_of = |what, bytes| -> Result<M> {
            let load = |record| self.network.clone().load_record(record);
            let network = loaded::<Autodiff<B, C>, _, _>(bytes, place, load).map_err(|error| decoded(what, error))?;
            alike(&network).map(|()| network)
        };
        let best = match (self.patience, best) {
            (None, _) => None,
            (Some(_), Some(best)) => Some(network_of(BEST, best)?),
            (Some(_), None) if history.epochs().is_empty() => None,
            (Some(_), None) => return Err(decoded(BEST, "missing: the trainer had no patience".into())),
        };
        let network = network_of(PARTS[0], network)?;
        let load = |record| self.optimizer.clone().load_record(record);
        let optimizer =
            loaded::<Autodiff<B, C>, _, _>(optimizer, place, load).map_err(|error| decoded(PARTS[1], error))?;
        let load = |record| self.schedule.clone().load_record::<Autodiff<B, C>>(record);
        let schedule =
            loaded::<Autodiff<B, C>, _, _>(schedule, place, load).map_err(|error| decoded(PARTS[2], error))?;

        (self.network, self.optimizer, self.schedule, self.best) = (network, optimizer, schedule, best);
        (self.seed, self.steps, self.rate, self.history) = (seed, steps, rate, history);
        self.show_start();
        Ok(())
    }

    /// The parameters, provided that records of this backend keep all of their bits.
    fn kept<B, C>(&self) -> std::result::Result<Vec<Parameter>, Source>
    where
        B: Backend,
        C: CheckpointStrategy,
        M: AutodiffModule<Autodiff<B, C>>,
    {
        let (all, kept) = (parameters::<Autodiff<B, C>>(&self.network), B::FloatElem::dtype());
        match all.iter().find(|one| one.dtype.is_float() && one.dtype != kept) {
            Some(one) => Err(format!("parameter `{one}`: checkpoints of this backend hold {kept:?}").into()),
            None => Ok(all),
        }
    }
}

/// Checks that parameters match the network's own.
fn check_alike(path: &Path, own: &[Parameter], got: &[Parameter]) -> Result<()> {
    match (0..own.len().max(got.len())).find(|&index| own.get(index) != got.get(index)) {
        None => Ok(()),
        Some(index) => {
            let said = |one: Option<&Parameter>| one.map_or("none".to_owned(), |one| format!("`{one}`"));
            let (expected, got) = (said(own.get(index)), said(got.get(index)));
            Err(Error::format(path, format!("parameter {index}: expected {expected}, got {got}")))
        }
    }
}

/// Whether the backend's numbers need records of 64 bits.
fn is_wide<B: Backend>() -> bool {
    size_of::<B::FloatElem>().max(size_of::<B::IntElem>()) > size_of::<f32>()
}

fn encode<B: Backend>(record: impl Record<B>) -> std::result::Result<Vec<u8>, Source> {
    fn with<B: Backend, S: PrecisionSettings>(record: impl Record<B>) -> std::result::Result<Vec<u8>, Source> {
        Ok(Recorder::<B>::record(&Bytes::<S>::default(), record, ())?)
    }
    if is_wide::<B>() { with::<B, DoublePrecisionSettings>(record) } else { with::<B, FullPrecisionSettings>(record) }
}

/// The result of `load` for a record. Records load whatever they hold, and panic where that is impossible; they are
/// loaded into a clone, which is dropped with the panic.
fn loaded<B: Backend, T: Record<B>, U>(
    bytes: Vec<u8>,
    place: &B::Device,
    load: impl FnOnce(T) -> U,
) -> std::result::Result<U, Source> {
    let whole = || Ok(load(decode::<B, T>(bytes, place)?));
    catch_unwind(AssertUnwindSafe(whole))
        .unwrap_or_else(|_| Err("it cannot be loaded: standard error tells why".into()))
}

fn decode<B: Backend, T: Record<B>>(bytes: Vec<u8>, place: &B::Device) -> std::result::Result<T, Source> {
    Ok(if is_wide::<B>() {
        Recorder::<B>::load(&Bytes::<DoublePrecisionSettings>::default(), bytes, place)?
    } else {
        Recorder::<B>::load(&Bytes::<FullPrecisionSettings>::default(), bytes, place)?
    })
}
