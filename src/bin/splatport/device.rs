//! The device and the precision that a command runs with.

use std::str::FromStr;

use anyhow::Result;
use clap::{Args, ValueEnum};
use splatport::{BFloat, Device, Double, Fixed, Half, Precision, Runtime};

/// Work that runs on any device in any precision.
pub trait Job {
    /// What it gives.
    type Output;
    /// Runs it.
    fn run<R: Runtime, P: Precision>(self, device: &Device<R, P>) -> Result<Self::Output>;
}

/// Options of every command that computes.
#[derive(Args, Clone)]
pub struct DeviceArgs {
    /// Where to compute: vulkan, wgpu, cuda or cuda:INDEX, as far as this program was built with them.
    #[arg(long, default_value = Backend::NAMES[0], env = "SPLATPORT_DEVICE")]
    device: Backend,
    /// The numbers: half, bfloat and fixed store weights in 16 bits, double needs CUDA.
    #[arg(long, value_enum, default_value = "single")]
    precision: Numbers,
}

/// A way to devices.
#[derive(Clone, Copy)]
enum Backend {
    /// Vulkan or, in a build without it, what WGSL reaches: CubeCL's runtime is one type for both.
    Wgpu,
    #[cfg(feature = "cuda")]
    Cuda(usize),
}

impl Backend {
    /// The names this build knows, its default first.
    const NAMES: &[&str] = &[
        #[cfg(feature = "vulkan")]
        "vulkan",
        "wgpu",
        #[cfg(feature = "cuda")]
        "cuda",
    ];
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            #[cfg(feature = "vulkan")]
            "vulkan" => return Ok(Self::Wgpu),
            "wgpu" => return Ok(Self::Wgpu),
            #[cfg(feature = "cuda")]
            "cuda" => return Ok(Self::Cuda(0)),
            _ => {}
        }
        #[cfg(feature = "cuda")]
        if let Some(index) = text.strip_prefix("cuda:") {
            return index.parse().map(Self::Cuda).map_err(|_| format!("`{index}` is not the index of a device"));
        }
        let known = Self::NAMES.join(", ");
        Err(format!("this program was built with {known}; `cargo install --features cli,cuda` adds CUDA"))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Numbers {
    Single,
    Half,
    Bfloat,
    Fixed,
    Double,
}

impl DeviceArgs {
    /// Runs `job`, the only place where a device and a precision are chosen.
    pub fn run<J: Job>(&self, job: J) -> Result<J::Output> {
        match self.device {
            Backend::Wgpu => self.in_precision(&splatport::Wgpu::best()?, job),
            #[cfg(feature = "cuda")]
            Backend::Cuda(index) => self.in_precision(&splatport::Cuda::device(index)?, job),
        }
    }

    fn in_precision<R: Runtime, J: Job>(&self, device: &Device<R>, job: J) -> Result<J::Output> {
        match self.precision {
            Numbers::Single => job.run(device),
            Numbers::Half => job.run(&device.with_precision(Half)?),
            Numbers::Bfloat => job.run(&device.with_precision(BFloat)?),
            Numbers::Fixed => job.run(&device.with_precision(Fixed)?),
            Numbers::Double => job.run(&device.with_precision(Double)?),
        }
    }
}
