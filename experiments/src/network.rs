//! The networks that learn.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use burn_autodiff::Autodiff;
use burn_core::module::AutodiffModule;
use burn_flex::{Flex, FlexDevice};
use clap::ValueEnum;
use splatport::burn::networks::{DensityNetwork, SmallDensity, VggDensity, VggDepth, VggTrunk};

pub type Cpu = Autodiff<Flex>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// 33 thousand parameters, from scratch.
    Small,
    /// VGG-16 with the trunk that `scripts/fetch_vgg16` fetches.
    Vgg16,
}

/// A network that an experiment can train.
pub trait Network: AutodiffModule<Cpu, InnerModule: DensityNetwork<Flex>> + DensityNetwork<Cpu> {
    /// Largest learning rate.
    const RATE: f64;

    /// Before the first step.
    fn start() -> anyhow::Result<Self>;
}

impl Network for SmallDensity<Cpu> {
    const RATE: f64 = 1e-3;

    fn start() -> anyhow::Result<Self> {
        Ok(Self::new(&FlexDevice))
    }
}

impl Network for VggDensity<Cpu> {
    /// The paper's.
    const RATE: f64 = 1e-5;

    fn start() -> anyhow::Result<Self> {
        let weights: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/weights/vgg16.safetensors");
        let trunk = VggTrunk::new(VggDepth::Sixteen, &FlexDevice).load(weights);
        Ok(Self::new(trunk.context("scripts/fetch_vgg16 fetches the trunk")?, &FlexDevice))
    }
}
