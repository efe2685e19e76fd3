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

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use splatport::{
    Device,
    burn::{
        CubeRuntime,
        networks::{STRIDE, SmallDensity, TransformerDensity, VggDepth},
    },
};

use crate::{
    counting::Counting,
    landmarks::Landmarks,
    method::Method,
    network::{Choice, Network, vgg},
    run::{Length, Run},
    task::{Crops, Kind},
};

/// Trains a network with every loss of an experiment, and scores it on photos that it has not seen.
///
/// Runs that are finished are not repeated, a run that was interrupted goes on from its last checkpoint. Losses that several
/// experiments have are shared.
#[derive(Debug, Parser)]
struct Arguments {
    experiment: Experiment,
    /// A few steps with one seed, on nuclei unless tasks are named: whether it runs, not what comes out.
    #[arg(long, conflicts_with_all = ["steps", "seeds"])]
    quick: bool,
    /// The paper's settings where nothing else is said: VGG-19, one crop of 512 px a step, of whole photos that are resized, mirrored and
    /// grey at random.
    #[arg(long)]
    full: bool,
    /// Folder of checkpoints, measurements, tables, plots and pictures.
    #[arg(long, default_value = "target/experiments")]
    out: PathBuf,
    /// Only these kinds of photos to count on; nuclei, trees and crowds by default.
    #[arg(long, value_delimiter = ',')]
    tasks: Vec<Kind>,
    /// Only these losses; all of the experiment by default. What is kept of the others stays in the table.
    #[arg(long, value_delimiter = ',')]
    methods: Vec<String>,
    /// What learns to count. [default: small]
    #[arg(long, value_enum)]
    network: Option<Choice>,
    /// Trunk of a VGG network, with torchvision's names; random numbers without.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Side of a crop, px: a multiple of 8. [default: 128]
    #[arg(long)]
    crop: Option<u32>,
    /// Crops in a step. [default: 4]
    #[arg(long)]
    batch: Option<usize>,
    /// Steps of a run.
    #[arg(long, default_value_t = 400)]
    steps: u64,
    /// Seeds of a method: 1, 2, ...
    #[arg(long, default_value_t = 3)]
    seeds: u64,
}

impl Arguments {
    fn network(&self) -> Choice {
        self.network.unwrap_or(if self.full { Choice::Vgg19 } else { Choice::Small })
    }

    fn crops(&self) -> Crops {
        Crops { side: self.crop.unwrap_or(if self.full { 512 } else { 128 }), full: self.full }
    }

    fn batch(&self) -> usize {
        self.batch.unwrap_or(if self.full { 1 } else { 4 })
    }

    /// What was asked for and has no meaning here is an error: nobody should believe that it was done.
    fn check(&self) -> anyhow::Result<()> {
        let refuse = |given: bool, name: &str, why: &str| match given {
            true => Err(anyhow::anyhow!("--{name}: {why}")),
            false => Ok(()),
        };
        if self.experiment == Experiment::Landmarks {
            let why = "landmarks are learned by the small network from drawn figures";
            for (given, name) in [
                (!self.tasks.is_empty(), "tasks"),
                (self.full, "full"),
                (self.network.is_some(), "network"),
                (self.crop.is_some(), "crop"),
                (self.batch.is_some(), "batch"),
            ] {
                refuse(given, name, why)?;
            }
        }
        let vgg = matches!(self.network(), Choice::Vgg16 | Choice::Vgg19);
        refuse(self.weights.is_some() && !vgg, "weights", "only VGG networks have a trunk")?;
        refuse(
            self.crops().side == 0 || !self.crops().side.is_multiple_of(STRIDE),
            "crop",
            "must be a multiple of 8 above 0",
        )?;
        for (value, name) in [(self.batch() as u64, "batch"), (self.steps, "steps"), (self.seeds, "seeds")] {
            refuse(value == 0, name, "must be above 0")?;
        }
        Ok(())
    }
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
    arguments.check()?;
    let mut length = Length { steps: arguments.steps, epoch: 50 };
    if arguments.tasks.is_empty() {
        arguments.tasks = if arguments.quick { vec![Kind::Nuclei] } else { Kind::COMPARED.into() };
    }
    if arguments.quick {
        length = Length { steps: 6, epoch: 3 };
        arguments.seeds = 1;
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
    let chosen = chosen(&methods.iter().map(|method| method.name.as_str()).collect::<Vec<_>>(), &arguments.methods)?;
    let methods: Vec<_> = methods.iter().map(|method| (method, chosen.contains(&method.name))).collect();
    let (place, weights) = (Default::default(), arguments.weights.as_deref());
    match arguments.network() {
        Choice::Small => counting(&device, &methods, length, &arguments, || Ok(SmallDensity::new(&place))),
        Choice::Transformer => counting(&device, &methods, length, &arguments, || Ok(TransformerDensity::new(&place))),
        Choice::Vgg16 => counting(&device, &methods, length, &arguments, || vgg(VggDepth::Sixteen, weights)),
        Choice::Vgg19 => counting(&device, &methods, length, &arguments, || vgg(VggDepth::Nineteen, weights)),
    }
}

/// Those of these names, all without any.
fn chosen(known: &[&str], names: &[String]) -> anyhow::Result<Vec<String>> {
    if let Some(unknown) = names.iter().find(|wanted| !known.contains(&wanted.as_str())) {
        anyhow::bail!("no method {unknown} in this experiment: it has {}", known.join(", "));
    }
    let wanted = |name: &&&str| names.is_empty() || names.iter().any(|wanted| wanted == **name);
    Ok(known.iter().filter(wanted).map(|name| (*name).to_owned()).collect())
}

/// Makes the runs of the methods that are marked, and a table of them and of what is kept of the others.
fn counting<N: Network, R: CubeRuntime>(
    device: &Device<R>,
    methods: &[(&Method, bool)],
    length: Length,
    arguments: &Arguments,
    start: impl Fn() -> anyhow::Result<N>,
) -> anyhow::Result<()> {
    for kind in &arguments.tasks {
        let task = kind.task(arguments.crops())?;
        let network = arguments.network().to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        // Runs of other settings have another folder each; what they are says `made_by`.
        let mut folder = arguments.out.clone();
        if arguments.full {
            folder.push("full");
        }
        if arguments.network() != Choice::Small {
            folder.push(&network);
        }
        folder.push(&task.name);
        create(&folder)?;
        let mut outcomes = Vec::new();
        for (method, is_chosen) in methods {
            let made_by = format!(
                "splatport {}\nlosses on {}\n{network} network, weights {:?}, {} crops a step, {:?}\n{method:?}\n",
                env!("CARGO_PKG_VERSION"),
                device.name(),
                arguments.weights,
                arguments.batch(),
                task.augmentation
            );
            let run = |seed| Run { method: &method.name, seed, length, folder: &folder, made_by: &made_by };
            // Fitted when the first run needs it.
            let mut prepared = None;
            for seed in 1..=arguments.seeds {
                let run = run(seed);
                if let Some(outcome) = run.kept()? {
                    outcomes.push(outcome);
                } else if *is_chosen {
                    let prepared = match &mut prepared {
                        Some(prepared) => prepared,
                        none => none.insert(method.prepare(device, &task)?),
                    };
                    let counting = Counting { prepared, task: &task, run, batch: arguments.batch() };
                    outcomes.push(counting.outcome(&start)?);
                }
            }
        }
        let name = arguments.experiment.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        println!("{}: peaks within {:.1} px\n{}", task.name, task.radius, table::write(&outcomes, &folder, &name)?);
    }
    Ok(())
}

fn landmarks<R: CubeRuntime>(device: &Device<R>, length: Length, arguments: &Arguments) -> anyhow::Result<()> {
    let folder = arguments.out.join("figures");
    create(&folder)?;
    let mut outcomes = Vec::new();
    let chosen = chosen(&landmarks::METHODS, &arguments.methods)?;
    for method in landmarks::METHODS {
        let count = if arguments.quick { 4 } else { 64 };
        let made_by = format!(
            "splatport {}\nlosses on {}\n{count} figures to learn from\n",
            env!("CARGO_PKG_VERSION"),
            device.name()
        );
        let mut prepared = None;
        for seed in 1..=arguments.seeds {
            let run = Run { method, seed, length, folder: &folder, made_by: &made_by };
            if let Some(outcome) = run.kept()? {
                outcomes.push(outcome);
            } else if chosen.iter().any(|name| name == method) {
                let prepared = match &mut prepared {
                    Some(prepared) => prepared,
                    none => none.insert(Landmarks::prepare(device, method, count)?),
                };
                outcomes.push(prepared.outcome(&run)?);
            }
        }
    }
    println!("{}", table::write(&outcomes, &folder, "landmarks")?);
    Ok(())
}

fn create(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}
