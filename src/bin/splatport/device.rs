//! The device and the precision that a command runs with.

use std::str::FromStr;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use splatport::{BFloat, Device, Double, Fixed, Half, Precision, Runtime, Wgpu};

/// Work that runs on any device in any precision.
pub trait Job {
    /// What it gives.
    type Output;
    /// Runs it.
    fn run<R: Runtime, P: Precision>(self, device: &Device<R, P>) -> Result<Self::Output>;
}

/// Work that several devices of one kind share.
pub trait SharedJob {
    /// What it gives.
    type Output;
    /// Runs it on one device or more.
    fn run<R: Runtime, P: Precision>(self, devices: &[Device<R, P>]) -> Result<Self::Output>;
}

/// A job on the first device.
struct Alone<J>(J);

impl<J: Job> SharedJob for Alone<J> {
    type Output = J::Output;

    fn run<R: Runtime, P: Precision>(self, devices: &[Device<R, P>]) -> Result<J::Output> {
        self.0.run(devices.first().context("no device")?)
    }
}

/// Options of every command that computes on one device.
#[derive(Args, Clone)]
pub struct DeviceArgs {
    /// Where to compute: vulkan, wgpu or cuda, as far as this program was built with them, or one that `splatport
    /// devices` lists: vulkan:INDEX, wgpu:INDEX or cuda:INDEX.
    #[arg(long, default_value = Backend::NAMES[0], env = "SPLATPORT_DEVICE")]
    device: Backend,
    #[command(flatten)]
    numbers: NumbersArg,
}

/// Options of a command that several devices can share.
#[derive(Args, Clone)]
pub struct DevicesArgs {
    /// Where to compute: vulkan, wgpu or cuda, as far as this program was built with them, or one that `splatport
    /// devices` lists: vulkan:INDEX, wgpu:INDEX or cuda:INDEX; several of one kind with commas between, one for every
    /// worker, or cuda:all.
    #[arg(long, default_value = Backend::NAMES[0], env = "SPLATPORT_DEVICE")]
    device: Backends,
    #[command(flatten)]
    numbers: NumbersArg,
}

#[derive(Args, Clone)]
struct NumbersArg {
    /// The numbers: half, bfloat and fixed store weights in 16 bits, double needs CUDA.
    #[arg(long, value_enum, default_value = "single")]
    precision: Numbers,
}

/// A way to devices.
#[derive(Clone, Copy)]
enum Backend {
    /// Vulkan or, in a build without it, what WGSL reaches: CubeCL's runtime is one type for both. The fastest if there
    /// is no index.
    Wgpu(Option<usize>),
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
        if text.contains(',') {
            return Err("one device: only `splatport run` takes several".to_owned());
        }
        let (name, index) = text.split_once(':').map_or((text, None), |(name, index)| (name, Some(index)));
        if Self::NAMES.contains(&name) {
            let wrong = |index| format!("`{index}` is not the index of a device");
            let index = index.map(|index| index.parse().map_err(|_| wrong(index))).transpose()?;
            return Ok(match name {
                #[cfg(feature = "cuda")]
                "cuda" => Self::Cuda(index.unwrap_or(0)),
                _ => Self::Wgpu(index),
            });
        }
        let known = Self::NAMES.join(", ");
        Err(format!("this program was built with {known}; `cargo install --features cli,cuda` adds CUDA"))
    }
}

/// Ways to devices of one kind: on another the same work gives other bits.
#[derive(Clone)]
enum Backends {
    Wgpu(Vec<Option<usize>>),
    #[cfg(feature = "cuda")]
    Cuda(Vec<usize>),
    #[cfg(feature = "cuda")]
    EveryCuda,
}

impl From<Backend> for Backends {
    fn from(one: Backend) -> Self {
        match one {
            Backend::Wgpu(index) => Self::Wgpu(vec![index]),
            #[cfg(feature = "cuda")]
            Backend::Cuda(index) => Self::Cuda(vec![index]),
        }
    }
}

impl FromStr for Backends {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        #[cfg(feature = "cuda")]
        if text == "cuda:all" {
            return Ok(Self::EveryCuda);
        }
        let mut parts = text.split(',').map(|one| one.parse::<Backend>().map(Self::from));
        let first = parts.next().ok_or("no device")??;
        parts.try_fold(first, |all, one| match (all, one?) {
            (Self::Wgpu(all), Self::Wgpu(one)) => Ok(Self::Wgpu([all, one].concat())),
            #[cfg(feature = "cuda")]
            (Self::Cuda(all), Self::Cuda(one)) => Ok(Self::Cuda([all, one].concat())),
            #[cfg(feature = "cuda")]
            _ => Err("devices of different kinds give different bits: take some of one kind".to_owned()),
        })
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
    /// Runs `job`.
    pub fn run<J: Job>(&self, job: J) -> Result<J::Output> {
        run(self.device.into(), self.numbers.precision, Alone(job))
    }
}

impl DevicesArgs {
    /// Runs `job` on all devices.
    pub fn run<J: SharedJob>(&self, job: J) -> Result<J::Output> {
        run(self.device.clone(), self.numbers.precision, job)
    }
}

/// The only place where devices and a precision are chosen.
fn run<J: SharedJob>(backends: Backends, numbers: Numbers, job: J) -> Result<J::Output> {
    match backends {
        Backends::Wgpu(indices) => {
            let device = |index: Option<usize>| index.map_or_else(Wgpu::best, Wgpu::device);
            let devices = indices.into_iter().map(device).collect::<Result<Vec<_>, _>>()?;
            in_precision(&devices, numbers, job)
        }
        #[cfg(feature = "cuda")]
        Backends::Cuda(indices) => {
            let devices = indices.into_iter().map(splatport::Cuda::device).collect::<Result<Vec<_>, _>>()?;
            in_precision(&devices, numbers, job)
        }
        #[cfg(feature = "cuda")]
        Backends::EveryCuda => in_precision(&splatport::Cuda::all()?, numbers, job),
    }
}

fn in_precision<R: Runtime, J: SharedJob>(devices: &[Device<R>], numbers: Numbers, job: J) -> Result<J::Output> {
    match numbers {
        Numbers::Single => job.run(devices),
        Numbers::Half => job.run(&with(devices, Half)?),
        Numbers::Bfloat => job.run(&with(devices, BFloat)?),
        Numbers::Fixed => job.run(&with(devices, Fixed)?),
        Numbers::Double => job.run(&with(devices, Double)?),
    }
}

fn with<R: Runtime, P: Precision>(devices: &[Device<R>], precision: P) -> Result<Vec<Device<R, P>>> {
    Ok(devices.iter().map(|device| device.with_precision(precision)).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_a_list_of_one_kind() {
        let workers = |text: &str| match text.parse() {
            Ok(Backends::Wgpu(indices)) => Ok(indices),
            #[cfg(feature = "cuda")]
            Ok(_) => Err("CUDA".to_owned()),
            Err(error) => Err(error),
        };
        assert_eq!((workers("wgpu"), workers("wgpu:2")), (Ok(vec![None]), Ok(vec![Some(2)])));
        assert_eq!(workers("wgpu,wgpu:3,wgpu"), Ok(vec![None, Some(3), None]));
        for wrong in ["wgpu:", "wgpu:-1", "wgpu:x", "wgpu,wgpu:0:1"] {
            assert!(workers(wrong).is_err_and(|error| error.ends_with("is not the index of a device")), "{wrong}");
        }
        for wrong in ["", "wgpu,", "wgpu,tpu", "wgpu;wgpu"] {
            assert!(workers(wrong).is_err_and(|error| error.contains("built with")), "{wrong}");
        }
        assert!("wgpu,wgpu".parse::<Backend>().is_err());
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn cuda_devices_are_named_by_index_or_all() {
        assert!(matches!("cuda:all".parse(), Ok(Backends::EveryCuda)));
        assert!(matches!("cuda,cuda:3,cuda:1".parse(), Ok(Backends::Cuda(indices)) if indices == [0, 3, 1]));
        for wrong in ["cuda:0,wgpu", "cuda:all,cuda:0", "cuda:x"] {
            assert!(wrong.parse::<Backends>().is_err(), "{wrong}");
        }
    }
}
