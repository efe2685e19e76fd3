//! Describes the parameters of a module, without their values.

use std::fmt;

use burn_core::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Bool, DType, Int, Shape, Tensor, backend::Backend},
};
use serde::{Deserialize, Serialize};

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parameter {
    /// The path to it: fields and indices, joined by dots.
    name: String,
    pub dtype: DType,
    shape: Vec<usize>,
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.name, self.dtype, self.shape)
    }
}

/// All parameters of a module, in the module's order.
pub(super) fn parameters<B: Backend>(module: &impl Module<B>) -> Vec<Parameter> {
    let mut walk = Walk::default();
    module.visit(&mut walk);
    walk.seen
}

#[derive(Default)]
struct Walk {
    path: Vec<String>,
    seen: Vec<Parameter>,
}

impl Walk {
    fn see(&mut self, dtype: DType, shape: Shape) {
        self.seen.push(Parameter { name: self.path.join("."), dtype, shape: shape.to_vec() });
    }
}

impl<B: Backend> ModuleVisitor<B> for Walk {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<B, D>>) {
        self.see(parameter.dtype(), parameter.shape());
    }

    fn visit_int<const D: usize>(&mut self, parameter: &Param<Tensor<B, D, Int>>) {
        self.see(parameter.dtype(), parameter.shape());
    }

    fn visit_bool<const D: usize>(&mut self, parameter: &Param<Tensor<B, D, Bool>>) {
        self.see(parameter.dtype(), parameter.shape());
    }
}
