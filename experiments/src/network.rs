//! The networks that learn.

use std::path::Path;

use burn_autodiff::Autodiff;
use burn_core::module::AutodiffModule;
use clap::ValueEnum;
use splatport::burn::networks::{DensityNetwork, SmallDensity, TransformerDensity, VggDensity, VggDepth, VggTrunk};

/// Where networks compute: on the GPU of the losses with CUDA, else on the CPU, since a software driver would be
/// slower.
#[cfg(feature = "cuda")]
type Computing = burn_cubecl::CubeBackend<splatport::CudaRuntime, f32, i32, u8>;
#[cfg(not(feature = "cuda"))]
type Computing = burn_flex::Flex;

pub type Learning = Autodiff<Computing>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// 33 thousand parameters, from scratch.
    Small,
    /// 86 thousand parameters, from scratch: attention over all cells of a crop.
    Transformer,
    /// 17 million parameters, with the trunk of `--weights`: `scripts/fetch_vgg16` fetches one.
    Vgg16,
    /// 21.5 million parameters, with the trunk of `--weights`: the paper's.
    Vgg19,
}

/// A network that an experiment can train.
pub trait Network: AutodiffModule<Learning, InnerModule: DensityNetwork<Computing>> + DensityNetwork<Learning> {
    /// Largest learning rate.
    const RATE: f64;
}

impl Network for SmallDensity<Learning> {
    const RATE: f64 = 1e-3;
}

impl Network for TransformerDensity<Learning> {
    const RATE: f64 = 1e-3;
}

impl Network for VggDensity<Learning> {
    /// The paper's.
    const RATE: f64 = 1e-5;
}

/// VGG with the trunk of a file, of random numbers without one.
pub fn vgg(depth: VggDepth, weights: Option<&Path>) -> anyhow::Result<VggDensity<Learning>> {
    let place = Default::default();
    let trunk = VggTrunk::new(depth, &place);
    Ok(VggDensity::new(weights.map_or(Ok(trunk.clone()), |file| trunk.load(file))?, &place))
}

#[cfg(test)]
mod tests {
    use burn_core::{module::Module, tensor::Tensor};

    use super::*;

    /// The paper's network, and what it is without a file or with a wrong one.
    #[test]
    fn vgg_19_starts() {
        let network = vgg(VggDepth::Nineteen, None).expect("network");
        assert_eq!(network.num_params(), 21_499_457);
        let density = network.density(Tensor::zeros([1, 3, 16, 16], &Default::default()));
        assert_eq!(density.dims(), [1, 1, 2, 2]);
        let said = vgg(VggDepth::Nineteen, Some(Path::new("nowhere.pth"))).unwrap_err().to_string();
        assert!(said.contains("nowhere.pth"), "{said}");
    }
}
