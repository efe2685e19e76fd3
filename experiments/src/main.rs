//! One network, one photo, five losses: what each of them teaches.
//!
//! `cargo run --release -p splatport-experiments -- --quick`; EXPERIMENTS.md says what came out.

mod data;
mod evaluate;
mod method;
mod run;
mod table;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::{
    data::Halves,
    method::Method,
    run::{Length, Run},
};

/// Trains the small network on the left half of the nuclei photo and counts on the right half, with each of five losses.
///
/// Runs that are finished are not repeated, a run that was interrupted goes on from its last checkpoint.
#[derive(Debug, Parser)]
struct Arguments {
    /// A few steps with one seed: whether it runs, not what comes out.
    #[arg(long)]
    quick: bool,
    /// Folder of checkpoints, measurements and the table.
    #[arg(long, default_value = "target/experiments/nuclei")]
    out: PathBuf,
    /// Only these losses; all by default.
    #[arg(long, value_delimiter = ',')]
    methods: Vec<Method>,
    /// Steps of a run.
    #[arg(long, default_value_t = 400)]
    steps: u64,
    /// Seeds of a method: 1, 2, ...
    #[arg(long, default_value_t = 3)]
    seeds: u64,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::parse();
    let mut length = Length { steps: arguments.steps, epoch: 50 };
    if arguments.quick {
        length = Length { steps: 6, epoch: 3 };
        arguments.seeds = 1;
        arguments.out = arguments.out.join("quick");
    }
    std::fs::create_dir_all(&arguments.out)?;
    let halves = Halves::open(env!("CARGO_MANIFEST_DIR"))?;
    #[cfg(not(feature = "cuda"))]
    let device = splatport::Vulkan::best()?;
    #[cfg(feature = "cuda")]
    let device = splatport::Cuda::device(0)?;
    println!("losses on {}, network on the CPU", device.name());

    if arguments.methods.is_empty() {
        arguments.methods = Method::value_variants().to_vec();
    }
    let mut outcomes = Vec::new();
    for &method in &arguments.methods {
        let prepared = method.prepare(&device, &halves)?;
        for seed in 1..=arguments.seeds {
            outcomes
                .push(Run { prepared: &prepared, halves: &halves, seed, length, folder: &arguments.out }.outcome()?);
        }
    }
    println!("{}", table::write(&outcomes, &arguments.out.join("table.csv"))?);
    Ok(())
}
