//! Checkpoints of a trainer, as safetensors: parameters, Adam's moments and step size, and the number of epochs done.

use std::path::Path;

use splatport_kernels::{HostReal, Precision, Single, cubecl::Runtime};

use super::{DensityModel, Trainer};
use crate::{
    Error, Result,
    io::{
        format::{Entry, Input, Values},
        safetensors::{Safetensors, write_entries},
    },
};

/// Whether arrays are `f64`.
fn is_double<P: Precision>() -> bool {
    size_of::<P::Real>() == size_of::<f64>()
}

fn stored<P: Precision>(values: &[P::Real]) -> Values<'_> {
    match is_double::<P>() {
        true => Values::F64(bytemuck::cast_slice(values)),
        false => Values::F32(bytemuck::cast_slice(values).into()),
    }
}

/// An array of `length` finite numbers, none below `least`.
fn array<P: Precision>(file: &mut Safetensors, name: &str, length: usize, least: f64) -> Result<Vec<P::Real>> {
    let axes = [Some(length)];
    let values: Vec<P::Real> = match is_double::<P>() {
        true => bytemuck::cast_slice(&file.f64s(name, &axes)?.values).to_vec(),
        false => bytemuck::cast_slice(&file.f32s(name, &axes)?.values).to_vec(),
    };
    let wrong = |value: f64| !(value.is_finite() && value >= least);
    match values.iter().map(|value| HostReal::cast_to_f64(*value)).enumerate().find(|(_, value)| wrong(*value)) {
        Some((index, value)) => Err(file.wrong(name, &format!("[{index}] is {value}"))),
        None => Ok(values),
    }
}

/// Names of a parameter's three arrays.
fn names(parameter: &str) -> [String; 3] {
    [parameter.to_owned(), format!("adam.first.{parameter}"), format!("adam.second.{parameter}")]
}

/// What a checkpoint holds.
struct Saved<P: Precision> {
    epochs: u32,
    rate: f64,
    /// Three for every parameter.
    arrays: Vec<Vec<P::Real>>,
}

impl<P: Precision> Saved<P> {
    /// Reads a file of parameters of these names and lengths.
    fn read(path: &Path, parameters: &[(&str, usize)]) -> Result<Self> {
        let mut file = Safetensors::open(path)?;
        let epochs = file.u32s("epochs", &[Some(1)])?.values[0];
        let rate = file.f64s("adam.rate", &[Some(1)])?.values[0];
        if !(rate.is_finite() && rate > 0.0) {
            return Err(file.wrong("adam.rate", &format!("[0] is {rate}")));
        }
        let wanted = 3 * parameters.len() + 2;
        if file.len() != wanted {
            return Err(Error::format(path, format!("expected {wanted} arrays, got {}", file.len())));
        }
        let mut arrays = Vec::with_capacity(3 * parameters.len());
        for &(name, length) in parameters {
            // Of the three, only the mean of squares must not be negative.
            for (name, least) in names(name).into_iter().zip([f64::MIN, f64::MIN, 0.0]) {
                arrays.push(array::<P>(&mut file, &name, length, least)?);
            }
        }
        Ok(Self { epochs, rate, arrays })
    }
}

/// Reads a checkpoint of parameters of these names and lengths without a device, as [`Trainer::resume`] does before it
/// uploads.
#[doc(hidden)]
pub fn check_checkpoint(path: &Path, parameters: &[(&str, usize)]) -> Result<()> {
    Saved::<Single>::read(path, parameters).map(|_| ())
}

impl<R: Runtime, P: Precision, M: DensityModel<R, P>> Trainer<'_, R, P, M> {
    /// Writes everything that [`resume`](Trainer::resume) needs to continue with the same bits.
    ///
    /// # Errors
    /// [`Error::Write`]; the file is never left half-written. [`Error::Device`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut arrays = Vec::new();
        for (parameter, state) in self.model.parameters().iter().zip(&self.states) {
            let buffers = [&parameter.values, &state.first, &state.second];
            for (name, buffer) in names(&parameter.name).into_iter().zip(buffers) {
                arrays.push((name, buffer.read()?));
            }
        }
        let (epochs, rate) = ([self.epochs], [self.rule.rate]);
        let mut entries =
            vec![Entry::array("epochs", &[1], &epochs[..]), Entry::array("adam.rate", &[1], Values::F64(&rate))];
        entries.extend(arrays.iter().map(|(name, values)| Entry::array(name, &[values.len()], stored::<P>(values))));
        write_entries(path.as_ref(), &entries)
    }

    /// Continues from a checkpoint of the same model, with the step size that it was trained with;
    /// [`rate`](Trainer::rate) sets another one.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Format`] naming the array that is missing, has the wrong type or length or holds an
    /// invalid number, or saying that the checksum does not match the arrays. After an error the trainer is unchanged.
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let parameters = self.model.parameters();
        let lengths: Vec<_> = parameters.iter().map(|one| (&one.name[..], one.values.len())).collect();
        let Saved { epochs, rate, arrays } = Saved::<P>::read(path, &lengths)?;
        let loaded: Vec<_> = arrays.iter().map(|values| self.device.upload(values)).collect();
        for ((parameter, state), arrays) in parameters.iter().zip(&self.states).zip(loaded.chunks_exact(3)) {
            for (to, from) in [&parameter.values, &state.first, &state.second].into_iter().zip(arrays) {
                splatport_kernels::arithmetic::copy(&self.device, from, to)?;
            }
        }
        (self.epochs, self.rule.rate) = (epochs, rate);
        Ok(())
    }
}
