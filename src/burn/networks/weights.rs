//! Weights that others trained, from their files.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use burn_core::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Tensor, backend::Backend},
};
use burn_store::{ModuleSnapshot, PytorchStore, SafetensorsStore};

use crate::{Error, Result, burn::parameters::parameters};

/// Fills every parameter of a module from a file: `.safetensors`, or `.pth` and `.pt` as PyTorch writes them.
///
/// Arrays have the names and shapes of the module's parameters. Where a name holds a number, layers are counted as they follow
/// one another: `features.0`, `features.2` are the first two of a list `features`. Arrays without a parameter are passed over. Numbers
/// of another float, `f16`, `bf16` or `f64`, become the parameter's.
///
/// # Errors
/// [`Error::Read`] when the file cannot be opened; [`Error::Format`] when its name has another ending, when it is damaged, when an
/// array is missing or has another shape.
pub fn load<B: Backend, M: Module<B>>(mut module: M, path: impl AsRef<Path>) -> Result<M> {
    let path = path.as_ref();
    // An unreadable file is told from a damaged one here: the stores tell neither apart.
    std::fs::File::open(path).map_err(|error| Error::read(path, error))?;
    let mut floats: VecDeque<_> = parameters(&module).iter().map(|one| one.dtype).filter(DType::is_float).collect();
    let mut fill = || match path.extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => {
            let mut store = SafetensorsStore::from_file(path).map_indices_contiguous(true);
            module.load_from(&mut store).map_err(|error| error.to_string())
        }
        Some("pth" | "pt") => module.load_from(&mut PytorchStore::from_file(path)).map_err(|error| error.to_string()),
        _ => Err("weights end in .safetensors, .pth or .pt".to_owned()),
    };
    // A damaged file may end in a panic of the readers; the half-filled module is dropped.
    let filled = catch_unwind(AssertUnwindSafe(&mut fill)).unwrap_or_else(|_| Err("it is damaged".to_owned()));
    filled.map_err(|reason| Error::format(path, one_line(&reason)))?;
    Ok(module.map(&mut Converted(&mut floats)))
}

/// Gives every parameter the float that is next: stores leave a file's.
struct Converted<'a>(&'a mut VecDeque<DType>);

impl<B: Backend> ModuleMapper<B> for Converted<'_> {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let float = self.0.pop_front().unwrap_or(parameter.dtype());
        if parameter.dtype() == float {
            return parameter;
        }
        let (id, tensor, mapper) = parameter.consume();
        let (place, learns) = (tensor.device(), tensor.is_require_grad());
        // On the host: not every device has every float.
        let tensor = Tensor::from_data(tensor.into_data().convert_dtype(float), (&place, float));
        Param::from_mapped_value(id, tensor.set_require_grad(learns), mapper)
    }
}

/// The stores' messages are tables.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
