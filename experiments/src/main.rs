//! One network, many losses: what each of them teaches.
//!
//! `cargo run --release -p splatport-experiments -- losses`; EXPERIMENTS.md says what came out.

mod counting;
mod landmarks;
mod method;
mod network;
mod run;
mod table;
mod task;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use splatport::{
    Device,
    burn::{
        CubeRuntime,
        networks::{SmallDensity, VggDensity},
    },
};

use crate::{
    counting::Counting,
    landmarks::Landmarks,
    method::Method,
    network::{Choice, Learning, Network},
    run::{Length, Run},
    task::Kind,
};

/// Trains a network with every loss of an experiment, and scores it on photos that it has not seen.
///
/// Runs that are finished are not repeated, a run that was interrupted goes on from its last checkpoint. Losses that several
/// experiments have are shared.
#[derive(Debug, Parser)]
struct Arguments {
    experiment: Experiment,
    /// A few steps with one seed, on nuclei unless tasks are named: whether it runs, not what comes out.
    #[arg(long)]
    quick: bool,
    /// Folder of checkpoints, measurements, tables, plots and pictures.
    #[arg(long, default_value = "target/experiments")]
    out: PathBuf,
    /// Only these kinds of photos to count on; all by default.
    #[arg(long, value_delimiter = ',')]
    tasks: Vec<Kind>,
    /// Only these losses; all of the experiment by default.
    #[arg(long, value_delimiter = ',')]
    methods: Vec<String>,
    /// What learns to count.
    #[arg(long, value_enum, default_value_t = Choice::Small)]
    network: Choice,
    /// Steps of a run.
    #[arg(long, default_value_t = 400)]
    steps: u64,
    /// Seeds of a method: 1, 2, ...
    #[arg(long, default_value_t = 3)]
    seeds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Experiment {
    /// The losses that the paper compares.
    Losses,
    /// What the parts of the plan are worth: fitted, fixed and true scales, with background and without.
    Plans,
    /// How what arrives is compared with what should, and what the background weighs.
    Discrepancies,
    /// The background's distance, with the limit of aspects and without.
    CutOffs,
    /// Joints of drawn figures, one channel each.
    Landmarks,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::parse();
    let mut length = Length { steps: arguments.steps, epoch: 50 };
    if arguments.quick {
        length = Length { steps: 6, epoch: 3 };
        arguments.seeds = 1;
        if arguments.tasks.is_empty() {
            arguments.tasks = vec![Kind::Nuclei];
        }
        arguments.out = arguments.out.join("quick");
    }
    #[cfg(not(feature = "cuda"))]
    let device = splatport::Vulkan::best()?;
    #[cfg(feature = "cuda")]
    let device = splatport::Cuda::device(0)?;
    let network = if cfg!(feature = "cuda") { "the same" } else { "the CPU" };
    println!("losses on {}, network on {network}", device.name());

    let methods = match arguments.experiment {
        Experiment::Losses => method::losses(),
        Experiment::Plans => method::plans(),
        Experiment::Discrepancies => method::discrepancies(),
        Experiment::CutOffs => method::cut_offs(),
        Experiment::Landmarks => return landmarks(&device, length, &arguments),
    };
    let methods = chosen(methods, |method| &method.name, &arguments.methods)?;
    match arguments.network {
        Choice::Small => counting::<SmallDensity<Learning>, _>(&device, &methods, length, &arguments),
        Choice::Vgg16 => counting::<VggDensity<Learning>, _>(&device, &methods, length, &arguments),
    }
}

/// Those of these names, all without any.
fn chosen<T>(mut methods: Vec<T>, name: impl Fn(&T) -> &str, names: &[String]) -> anyhow::Result<Vec<T>> {
    let known: Vec<_> = methods.iter().map(&name).collect();
    if let Some(unknown) = names.iter().find(|wanted| !known.contains(&wanted.as_str())) {
        anyhow::bail!("no method {unknown} in this experiment: it has {}", known.join(", "));
    }
    methods.retain(|method| names.is_empty() || names.iter().any(|wanted| wanted == name(method)));
    Ok(methods)
}

fn counting<N: Network, R: CubeRuntime>(
    device: &Device<R>,
    methods: &[Method],
    length: Length,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let tasks = if arguments.tasks.is_empty() { Kind::value_variants() } else { &arguments.tasks };
    for kind in tasks {
        let task = kind.task()?;
        let folder = match arguments.network {
            Choice::Small => arguments.out.join(&task.name),
            Choice::Vgg16 => arguments.out.join("vgg16").join(&task.name),
        };
        std::fs::create_dir_all(&folder)?;
        let mut outcomes = Vec::new();
        for method in methods {
            let prepared = method.prepare(device, &task)?;
            for seed in 1..=arguments.seeds {
                let run = Run { method: &method.name, seed, length, folder: &folder };
                outcomes.push(Counting { prepared: &prepared, task: &task, run }.outcome::<N>()?);
            }
        }
        let name = arguments.experiment.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        println!("{}: peaks within {:.1} px\n{}", task.name, task.radius, table::write(&outcomes, &folder, &name)?);
    }
    Ok(())
}

fn landmarks<R: CubeRuntime>(device: &Device<R>, length: Length, arguments: &Arguments) -> anyhow::Result<()> {
    let folder = arguments.out.join("figures");
    std::fs::create_dir_all(&folder)?;
    let mut outcomes = Vec::new();
    for method in chosen(landmarks::METHODS.to_vec(), |name| name, &arguments.methods)? {
        let prepared = Landmarks::prepare(device, method, if arguments.quick { 4 } else { 64 })?;
        for seed in 1..=arguments.seeds {
            outcomes.push(prepared.outcome(&Run { method, seed, length, folder: &folder })?);
        }
    }
    println!("{}", table::write(&outcomes, &folder, "landmarks")?);
    Ok(())
}
