//! Reads pretrained weights from files.

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
/// Arrays must have the names and shapes of the module's parameters. Numbers in names only give the order of the
/// layers: `features.0` and `features.2` are the first two of a list `features`. Arrays that match no parameter are
/// ignored. Numbers of another float type, `f16`, `bf16` or `f64`, are converted to the parameter's.
///
/// # Errors
/// [`Error::Read`] when the file cannot be opened; [`Error::Format`] when it has another extension or is damaged, or
/// when an array is missing or has another shape.
pub fn load<B: Backend, M: Module<B>>(mut module: M, path: impl AsRef<Path>) -> Result<M> {
    let path = path.as_ref();
    // An unreadable file is told from a damaged one here, because the stores do not distinguish them.
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
    // A damaged file may make the readers panic; the half-filled module is dropped.
    let filled = catch_unwind(AssertUnwindSafe(&mut fill)).unwrap_or_else(|_| Err("it is damaged".to_owned()));
    filled.map_err(|reason| Error::format(path, one_line(&reason)))?;
    Ok(module.map(&mut Converted(&mut floats)))
}

/// Gives every parameter the next float type of the list, because stores leave it that of the file.
struct Converted<'a>(&'a mut VecDeque<DType>);

impl<B: Backend> ModuleMapper<B> for Converted<'_> {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let float = self.0.pop_front().unwrap_or(parameter.dtype());
        if parameter.dtype() == float {
            return parameter;
        }
        let (id, tensor, mapper) = parameter.consume();
        let (place, learns) = (tensor.device(), tensor.is_require_grad());
        // On the host, because not every device has every float type.
        let tensor = Tensor::from_data(tensor.into_data().convert_dtype(float), (&place, float));
        Param::from_mapped_value(id, tensor.set_require_grad(learns), mapper)
    }
}

/// Puts a message on one line, because the stores' messages are tables.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
