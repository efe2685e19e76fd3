//! `splatport devices`: what this machine computes on.

use std::fmt::{self, Display};

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use splatport::{BFloat, Device, Double, Fixed, Half, Runtime, Single, Wgpu, kernels::Shape};

use crate::answer::Answer;

/// List the devices, and the precisions that each computes correctly.
#[derive(Args)]
pub struct Devices {}

impl Devices {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let mut found = Found { devices: Vec::new(), missing: Vec::new() };
        found.add_wgpu();
        #[cfg(feature = "cuda")]
        found.add_cuda();
        Answer::of(&found)
    }
}

#[derive(Serialize)]
struct Found {
    devices: Vec<Row>,
    missing: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    /// What `--device` takes.
    option: String,
    name: String,
    shape: &'static str,
    precisions: Vec<&'static str>,
    /// The largest buffer, in bytes.
    largest_buffer: u64,
}

impl Found {
    fn add<R: Runtime>(&mut self, option: &str, device: splatport::kernels::Result<Device<R>>) {
        match device {
            Ok(device) => self.devices.push(Row::of(option, &device)),
            Err(error) => self.missing.push(format!("{option}: {error}")),
        }
    }

    /// The one that is taken if none is named, and all of them where there are several.
    fn add_wgpu(&mut self) {
        let name = if cfg!(feature = "vulkan") { "vulkan" } else { "wgpu" };
        self.add(name, Wgpu::best());
        let several = Some(Wgpu::names().len()).filter(|&count| count > 1);
        for index in 0..several.unwrap_or(0) {
            self.add(&format!("{name}:{index}"), Wgpu::device(index));
        }
    }

    /// All CUDA devices: asked for one after the other until there is none.
    #[cfg(feature = "cuda")]
    fn add_cuda(&mut self) {
        for index in 0.. {
            match splatport::Cuda::device(index) {
                Ok(device) => self.devices.push(Row::of(&format!("cuda:{index}"), &device)),
                Err(error) if index == 0 => return self.missing.push(format!("cuda: {error}")),
                Err(_) => return,
            }
        }
    }
}

impl Row {
    fn of<R: Runtime>(option: &str, device: &Device<R>) -> Self {
        let kept = [
            ("single", device.with_precision(Single).is_ok()),
            ("half", device.with_precision(Half).is_ok()),
            ("bfloat", device.with_precision(BFloat).is_ok()),
            ("fixed", device.with_precision(Fixed).is_ok()),
            ("double", device.with_precision(Double).is_ok()),
        ];
        Self {
            option: option.to_owned(),
            name: device.name().to_owned(),
            shape: match device.shape() {
                Shape::Gathered => "gathered",
                Shape::Tiled => "tiled",
            },
            precisions: kept.into_iter().filter(|(_, kept)| *kept).map(|(name, _)| name).collect(),
            largest_buffer: device.client().properties().memory.max_page_size,
        }
    }
}

impl Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.devices {
            writeln!(f, "--device {}", row.option)?;
            writeln!(f, "  name        {}", row.name)?;
            writeln!(f, "  precisions  {}", row.precisions.join(", "))?;
            writeln!(f, "  buffers     up to {} MiB", row.largest_buffer >> 20)?;
            writeln!(f, "  fit         {}", row.shape)?;
        }
        self.missing.iter().try_for_each(|missing| writeln!(f, "missing  {missing}"))
    }
}
