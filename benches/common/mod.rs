//! What every benchmark shares: the device, the scenes, and how time is taken.
//!
//! `cargo bench --bench fit` runs on Vulkan, `cargo bench --features cuda --bench fit` on CUDA device 0. The environment
//! variable `SPLATPORT_BENCH` chooses the sizes: `small` (the default on a software driver) or `full` (on any other).

// Every benchmark is a crate of its own and uses its part.
#![allow(dead_code, unused_imports)]

mod clock;
mod scene;

use std::{process::Command, time::Duration};

use criterion::{Criterion, SamplingMode};
use splatport::Device;

pub use clock::{Clock, Group};
pub use scene::{
    CROP, CROP_COUNTS, CROP_STRIDE, PHOTOS_FULL, PHOTOS_SMALL, SIGMA, Scene, Start, density, print_memory, uniform,
};

#[cfg(feature = "cuda")]
pub type Backend = splatport::CudaRuntime;
#[cfg(not(feature = "cuda"))]
pub type Backend = splatport::WgpuRuntime;

/// Everything a benchmark needs before it starts.
pub struct Setting {
    pub device: Device<Backend>,
    pub full: bool,
    clock: Clock,
}

impl Setting {
    /// Finds the device, checks its clock and prints what a number is worth nothing without.
    pub fn new(bench: &str) -> Self {
        let device = best();
        let full = match std::env::var("SPLATPORT_BENCH").as_deref() {
            Ok("full") => true,
            Ok("small") => false,
            Ok(other) => panic!("SPLATPORT_BENCH is {other:?}: full or small"),
            Err(_) => !is_software(device.name()),
        };
        let clock = Clock::of(&device);
        let size = if full { "full" } else { "small" };
        let features = if cfg!(feature = "cuda") { " --features cuda" } else { "" };
        println!("device   {}", device.name());
        println!(
            "versions splatport {}, cubecl {}, {}",
            env!("CARGO_PKG_VERSION"),
            cubecl_version(),
            say("rustc", "-V")
        );
        println!("date     {}", say("date", "-I"));
        println!("command  SPLATPORT_BENCH={size} cargo bench{features} --bench {bench}");
        println!("clock    {clock}");
        Self { device, full, clock }
    }

    /// Sizes of whole photos, with the number of Gaussians.
    pub fn photos(&self) -> &'static [(u32, u32, usize)] {
        if self.full { &PHOTOS_FULL } else { &PHOTOS_SMALL }
    }

    /// Counts for the benchmarks of growth.
    pub fn growth(&self) -> &'static [usize] {
        if self.full { &[100, 300, 1000, 3000, 10_000] } else { &[100, 300, 1000] }
    }

    /// A group of measurements on this device.
    pub fn group<'a>(&self, criterion: &'a mut Criterion, name: &str) -> Group<'a> {
        let mut group = criterion.benchmark_group(name);
        // Calls of one operation take the same time: no need for criterion's growing samples, which are slow to fill when
        // a call takes a tenth of a second.
        group.sampling_mode(SamplingMode::Flat);
        Group::new(group, self.device.clone(), self.clock)
    }

    /// Short on a software driver, where nobody looks at the last digit.
    pub fn criterion(&self) -> Criterion {
        let (samples, seconds) = if self.full { (50, 5) } else { (10, 1) };
        Criterion::default()
            .sample_size(samples)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(seconds))
            .configure_from_args()
    }
}

#[cfg(feature = "cuda")]
fn best() -> Device<Backend> {
    splatport::Cuda::device(0).expect("a CUDA device")
}

#[cfg(not(feature = "cuda"))]
fn best() -> Device<Backend> {
    splatport::Wgpu::best().expect("a Vulkan device")
}

fn is_software(name: &str) -> bool {
    let name = name.to_lowercase();
    ["llvmpipe", "lavapipe"].iter().any(|driver| name.contains(driver))
}

/// The version that the lock file chose.
fn cubecl_version() -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"cubecl\"");
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = "));
    version.map_or("?", |version| version.trim_matches('"'))
}

fn say(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    output.map_or_else(|_| "?".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
