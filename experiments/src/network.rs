//! The networks that learn.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use burn_autodiff::Autodiff;
use burn_core::module::AutodiffModule;
use clap::ValueEnum;
use splatport::burn::networks::{DensityNetwork, SmallDensity, VggDensity, VggDepth, VggTrunk};

/// Where networks compute: on the GPU of the losses with CUDA, else on the CPU, since a software driver would be slower.
#[cfg(feature = "cuda")]
type Computing = burn_cubecl::CubeBackend<splatport::CudaRuntime, f32, i32, u8>;
#[cfg(not(feature = "cuda"))]
type Computing = burn_flex::Flex;

pub type Learning = Autodiff<Computing>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// 33 thousand parameters, from scratch.
    Small,
    /// VGG-16 with the trunk that `scripts/fetch_vgg16` fetches.
    Vgg16,
}

/// A network that an experiment can train.
pub trait Network: AutodiffModule<Learning, InnerModule: DensityNetwork<Computing>> + DensityNetwork<Learning> {
    /// Largest learning rate.
    const RATE: f64;

    /// Before the first step.
    fn start() -> anyhow::Result<Self>;
}

impl Network for SmallDensity<Learning> {
    const RATE: f64 = 1e-3;

    fn start() -> anyhow::Result<Self> {
        Ok(Self::new(&Default::default()))
    }
}

impl Network for VggDensity<Learning> {
    /// The paper's.
    const RATE: f64 = 1e-5;

    fn start() -> anyhow::Result<Self> {
        let weights: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/weights/vgg16.safetensors");
        let trunk = VggTrunk::new(VggDepth::Sixteen, &Default::default()).load(weights);
        Ok(Self::new(trunk.context("scripts/fetch_vgg16 fetches the trunk")?, &Default::default()))
    }
}
