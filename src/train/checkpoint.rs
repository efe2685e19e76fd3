//! Checkpoints of a trainer, as safetensors: parameters, Adam's moments, and how many epochs were done.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use splatport_kernels::{Buffer, Precision, cubecl::Runtime};

use super::{DensityModel, Parameter, Trainer};
use crate::{
    Error, Result,
    io::safetensors::{Tensor, write},
};

fn tensor<R: Runtime, P: Precision>(buffer: &Buffer<R, P::Real>) -> Result<Tensor> {
    let values = buffer.read()?;
    let dtype = if size_of::<P::Real>() == 8 { Dtype::F64 } else { Dtype::F32 };
    Ok(Tensor { dtype, shape: vec![values.len()], bytes: bytemuck::cast_slice(&values).to_vec() })
}

/// Names of a parameter's three arrays.
fn names<R: Runtime, P: Precision>(parameter: &Parameter<R, P>) -> [String; 3] {
    [parameter.name.clone(), format!("adam.first.{}", parameter.name), format!("adam.second.{}", parameter.name)]
}

impl<R: Runtime, P: Precision, M: DensityModel<R, P>> Trainer<'_, R, P, M> {
    /// Writes everything that [`resume`](Trainer::resume) needs to go on with the same bits.
    ///
    /// # Errors
    /// [`Error::Write`]: nothing is written half. [`Error::Device`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut tensors = Vec::new();
        for (parameter, state) in self.model.parameters().iter().zip(&self.states) {
            let arrays = [&parameter.values, &state.first, &state.second];
            for (name, array) in names(parameter).into_iter().zip(arrays) {
                tensors.push((name, tensor::<R, P>(array)?));
            }
        }
        let epochs = Tensor { dtype: Dtype::U32, shape: vec![1], bytes: self.epochs.to_le_bytes().to_vec() };
        tensors.push(("epochs".to_owned(), epochs));
        write(path.as_ref(), &tensors, ("splatport", P::NAME))
    }

    /// Takes up a checkpoint of the same model.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Format`] naming the array that is missing or of another type or length; the trainer is
    /// left as it was.
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::read(path, e))?;
        let array = |name: &str, dtype: Dtype, length: usize| -> Result<Vec<u8>> {
            let view = file.tensor(name).map_err(|_| Error::format(path, format!("array `{name}` is missing")))?;
            if view.dtype() != dtype || view.shape() != [length] {
                let found =
                    format!("array `{name}`: expected {dtype:?} [{length}], got {:?} {:?}", view.dtype(), view.shape());
                return Err(Error::format(path, found));
            }
            Ok(view.data().to_vec())
        };
        let epochs = array("epochs", Dtype::U32, 1)?;
        let wanted = 3 * self.states.len() + 1;
        if file.len() != wanted {
            return Err(Error::format(path, format!("expected {wanted} arrays, got {}", file.len())));
        }
        let dtype = if size_of::<P::Real>() == 8 { Dtype::F64 } else { Dtype::F32 };
        let parameters = self.model.parameters();
        let mut loaded = Vec::new();
        for parameter in &parameters {
            for name in names(parameter) {
                let values = bytemuck::pod_collect_to_vec::<u8, P::Real>(&array(&name, dtype, parameter.values.len())?);
                loaded.push(self.device.upload(&values));
            }
        }
        for ((parameter, state), arrays) in parameters.iter().zip(&self.states).zip(loaded.chunks_exact(3)) {
            for (to, from) in [&parameter.values, &state.first, &state.second].into_iter().zip(arrays) {
                splatport_kernels::arithmetic::copy(&self.device, from, to)?;
            }
        }
        self.epochs = u32::from_le_bytes([epochs[0], epochs[1], epochs[2], epochs[3]]);
        Ok(())
    }
}
