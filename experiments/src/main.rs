//! One network, many losses: what each of them teaches. And which plans are right, before anything is learned.
//!
//! `cargo run --release -p splatport-experiments -- losses`; EXPERIMENTS.md says what came out.

mod counting;
mod kept;
mod landmarks;
mod method;
mod network;
mod ownership;
mod plot;
mod run;
mod table;
mod task;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use serde::{Serialize, de::DeserializeOwned};
use splatport::{
    Device,
    burn::{
        CubeRuntime,
        networks::{STRIDE, SmallDensity, TransformerDensity, VggDepth},
    },
};

use crate::{
    counting::Counting,
    kept::Kept,
    landmarks::Landmarks,
    method::Method,
    network::{Choice, Network, vgg},
    run::{Length, Run},
    task::{Crops, Kind},
};

/// Trains a network with every loss of an experiment, and scores it on photos that it has not seen. Only `ownership`
/// trains nothing.
///
/// Runs that are finished are not repeated, a run that was interrupted goes on from its last checkpoint. Experiments
/// that have a method in common share its runs. What another build of this program made is refused, since it may not
/// compute the same.
#[derive(Debug, Parser)]
struct Arguments {
    experiment: Experiment,
    /// To see whether it runs, not what comes out: a few steps with one seed, on nuclei unless tasks are named; for
    /// `ownership` one photo of a task.
    #[arg(long, conflicts_with_all = ["steps", "seeds"])]
    quick: bool,
    /// The paper's settings where no option says otherwise: VGG-19, one crop of 512 px a step, from whole photos that
    /// are resized, mirrored and made grey at random.
    #[arg(long)]
    full: bool,
    /// Folder of checkpoints, measurements, tables, plots and pictures.
    #[arg(long, default_value = "target/experiments")]
    out: PathBuf,
    /// Only these kinds of photos. [default: nuclei, trees and crowds; for `ownership` all]
    #[arg(long, value_delimiter = ',')]
    tasks: Vec<Kind>,
    /// Only these methods of the experiment; what is kept of the others stays in the table. [default: all]
    #[arg(long, value_delimiter = ',')]
    methods: Vec<String>,
    /// Network that learns to count. [default: small; with `--full` vgg19]
    #[arg(long, value_enum)]
    network: Option<Choice>,
    /// File of a VGG network's trunk, with torchvision's names; without it the trunk starts from random numbers.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Side of a crop, px: a multiple of 8. [default: 128; with `--full` 512]
    #[arg(long)]
    crop: Option<u32>,
    /// Crops in a step. [default: 4; with `--full` 1]
    #[arg(long)]
    batch: Option<usize>,
    /// Steps of a run. [default: 400]
    #[arg(long)]
    steps: Option<u64>,
    /// Number of seeds, from 1 on: a method runs once with each; for `ownership` a crowd is drawn by each.
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

    fn length(&self) -> Length {
        if self.quick { Length { steps: 6, epoch: 3 } } else { Length { steps: self.steps.unwrap_or(400), epoch: 50 } }
    }

    fn seeds(&self) -> u64 {
        if self.quick { 1 } else { self.seeds }
    }

    fn tasks(&self) -> &[Kind] {
        match (&self.tasks[..], self.quick, self.experiment) {
            ([], true, _) => &[Kind::Nuclei],
            ([], false, Experiment::Ownership) => Kind::value_variants(),
            ([], false, _) => &Kind::COMPARED,
            (named, ..) => named,
        }
    }

    /// The folder of a part of the results, which is made if it is not there.
    fn folder(&self, parts: &[&str]) -> anyhow::Result<PathBuf> {
        let mut folder = if self.quick { self.out.join("quick") } else { self.out.clone() };
        folder.extend(parts);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder)
    }

    /// Whether this method was asked for.
    fn is_chosen(&self, name: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|wanted| wanted == name)
    }

    /// Methods that an experiment does not have are an error.
    fn check_methods(&self, known: &[&str]) -> anyhow::Result<()> {
        match self.methods.iter().find(|wanted| !known.contains(&wanted.as_str())) {
            Some(unknown) => anyhow::bail!("no method {unknown} in this experiment: it has {}", known.join(", ")),
            None => Ok(()),
        }
    }

    /// What was asked for and has no meaning here is an error: nobody should believe that it was done.
    fn check(&self) -> anyhow::Result<()> {
        let refuse = |given: bool, name: &str, why: &str| match given {
            true => Err(anyhow::anyhow!("--{name}: {why}")),
            false => Ok(()),
        };
        let given = [
            (!self.tasks.is_empty(), "tasks"),
            (self.steps.is_some(), "steps"),
            (self.full, "full"),
            (self.network.is_some(), "network"),
            (self.crop.is_some(), "crop"),
            (self.batch.is_some(), "batch"),
        ];
        let (without_meaning, why) = match self.experiment {
            Experiment::Landmarks => (
                &["tasks", "full", "network", "crop", "batch"][..],
                "landmarks are learned by the small network from drawn figures",
            ),
            Experiment::Ownership => {
                (&["steps", "full", "network", "crop", "batch"][..], "ownership trains no network")
            }
            _ => (&[][..], ""),
        };
        for (is_given, name) in given {
            refuse(is_given && without_meaning.contains(&name), name, why)?;
        }
        let vgg = matches!(self.network(), Choice::Vgg16 | Choice::Vgg19);
        refuse(self.weights.is_some() && !vgg, "weights", "only VGG networks have a trunk")?;
        refuse(
            self.crops().side == 0 || !self.crops().side.is_multiple_of(STRIDE),
            "crop",
            "must be a multiple of 8 above 0",
        )?;
        for (value, name) in [(self.batch() as u64, "batch"), (self.length().steps, "steps"), (self.seeds, "seeds")] {
            refuse(value == 0, name, "must be above 0")?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Experiment {
    /// The losses that the paper compares, as published and with the divergence of Poisson counts.
    Losses,
    /// What the parts of the plan are worth: fitted, fixed and true scales, with background and without.
    Plans,
    /// How what arrives is compared with what should, and what the background weighs.
    Discrepancies,
    /// The background's distance, with the limit of aspects and without.
    CutOffs,
    /// Joints of drawn figures, one channel each.
    Landmarks,
    /// Which plan gives cells to the objects that they belong to, by masks, boxes and what was drawn.
    Ownership,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    arguments.check()?;
    #[cfg(not(feature = "cuda"))]
    let device = splatport::Vulkan::best()?;
    #[cfg(feature = "cuda")]
    let device = splatport::Cuda::device(0)?;
    println!("{}, networks on {}", device.name(), if cfg!(feature = "cuda") { "the same" } else { "the CPU" });
    let program = kept::digest(&std::env::current_exe()?)?;
    let version = env!("CARGO_PKG_VERSION");
    let made_by = format!("splatport {version}, program of {program}\non {}\n", device.name());

    let runner = Runner { device, arguments: &arguments, made_by };
    match arguments.experiment {
        Experiment::Losses => runner.trained(method::losses()),
        Experiment::Plans => runner.trained(method::plans()),
        Experiment::Discrepancies => runner.trained(method::discrepancies()),
        Experiment::CutOffs => runner.trained(method::cut_offs()),
        Experiment::Landmarks => runner.landmarks(),
        Experiment::Ownership => runner.ownership(),
    }
}

/// What the experiments have in common.
struct Runner<'a, R: CubeRuntime> {
    device: Device<R>,
    arguments: &'a Arguments,
    /// Program and device.
    made_by: String,
}

impl<R: CubeRuntime> Runner<'_, R> {
    /// Trains the network that was asked for.
    fn trained(&self, mut methods: Vec<Method>) -> anyhow::Result<()> {
        self.arguments.check_methods(&methods.iter().map(|method| method.name.as_str()).collect::<Vec<_>>())?;
        if self.arguments.quick {
            methods = methods.into_iter().map(|method| method.fitted_in(3)).collect();
        }
        let (place, weights) = (Default::default(), self.arguments.weights.as_deref());
        match self.arguments.network() {
            Choice::Small => self.counting(&methods, || Ok(SmallDensity::new(&place))),
            Choice::Transformer => self.counting(&methods, || Ok(TransformerDensity::new(&place))),
            Choice::Vgg16 => self.counting(&methods, || vgg(VggDepth::Sixteen, weights)),
            Choice::Vgg19 => self.counting(&methods, || vgg(VggDepth::Nineteen, weights)),
        }
    }

    fn counting<N: Network>(&self, methods: &[Method], start: impl Fn() -> anyhow::Result<N>) -> anyhow::Result<()> {
        let arguments = self.arguments;
        let network = name(arguments.network());
        let weights = match &arguments.weights {
            Some(file) => format!("a trunk of {}", kept::digest(file)?),
            None => "random numbers".to_owned(),
        };
        for kind in arguments.tasks() {
            let task = kind.task(arguments.crops())?;
            // Runs of other settings have another folder each; what they are says `made_by`.
            let full = arguments.full.then_some("full");
            let large = (arguments.network() != Choice::Small).then_some(network.as_str());
            let parts: Vec<_> = full.into_iter().chain(large).chain([task.name.as_str()]).collect();
            let folder = arguments.folder(&parts)?;
            let mut outcomes = Vec::new();
            for method in methods {
                let made_by = format!(
                    "{}{network} network from {weights}, {} crops a step, {:?}\n{method:?}\n",
                    self.made_by,
                    arguments.batch(),
                    task.augmentation
                );
                let prepare = || method.prepare(&self.device, &task);
                outcomes.extend(self.outcomes(&method.name, &folder, &made_by, prepare, |prepared, run| {
                    Counting { prepared, task: &task, run, batch: arguments.batch() }.outcome(&start)
                })?);
            }
            let table = table::write(&outcomes, &folder, &name(arguments.experiment))?;
            println!("{}: peaks within {:.1} px\n{table}", task.name, task.radius);
        }
        Ok(())
    }

    fn landmarks(&self) -> anyhow::Result<()> {
        let methods = landmarks::methods();
        self.arguments.check_methods(&methods.each_ref().map(|(name, _)| *name))?;
        let folder = self.arguments.folder(&["figures"])?;
        let count = if self.arguments.quick { 4 } else { 64 };
        let mut outcomes = Vec::new();
        for (name, method) in &methods {
            let made_by = format!("{}{}\n{method:?}\n", self.made_by, landmarks::settings(count));
            let prepare = || Landmarks::prepare(&self.device, method, count);
            outcomes.extend(self.outcomes(name, &folder, &made_by, prepare, Landmarks::outcome)?);
        }
        println!("{}", table::write(&outcomes, &folder, "landmarks")?);
        Ok(())
    }

    /// Of a method with every seed: what its runs come to if it is chosen, else what is kept of them.
    fn outcomes<P, O: Serialize + DeserializeOwned>(
        &self,
        method: &str,
        folder: &Path,
        made_by: &str,
        prepare: impl Fn() -> anyhow::Result<P>,
        make: impl Fn(&P, &Run<'_>) -> anyhow::Result<O>,
    ) -> anyhow::Result<Vec<O>> {
        let length = self.arguments.length();
        let mut outcomes = Vec::new();
        // Made when the first run needs it.
        let mut prepared = None;
        for seed in 1..=self.arguments.seeds() {
            let kept = Kept { folder, name: format!("{method}-{}-{seed}", length.steps), made_by };
            let run = Run { method, seed, length, kept };
            outcomes.extend(run.kept.outcome_or(self.arguments.is_chosen(method), || {
                let prepared = match &mut prepared {
                    Some(prepared) => prepared,
                    none => none.insert(prepare()?),
                };
                Ok(vec![make(prepared, &run)?])
            })?);
        }
        Ok(outcomes)
    }

    fn ownership(&self) -> anyhow::Result<()> {
        let quick = self.arguments.quick;
        let plans = ownership::plans(quick);
        self.arguments.check_methods(&plans.iter().map(|(name, _)| *name).collect::<Vec<_>>())?;
        let at_most = if quick { 1 } else { usize::MAX };
        for kind in self.arguments.tasks() {
            let folder = self.arguments.folder(&["ownership", &name(*kind)])?;
            let mut outcomes = Vec::new();
            for photo in ownership::photos(*kind, self.arguments.seeds(), quick).take(at_most) {
                let photo = photo?;
                let of_plan = |plan: &str| folder.join(format!("{}-{plan}.png", photo.name));
                for (name, plan) in &plans {
                    let made_by = format!("{}{plan:?} on {:?}\n", self.made_by, photo.grid);
                    let kept = Kept { folder: &folder, name: format!("{}-{name}", photo.name), made_by: &made_by };
                    let make = || photo.outcome(&self.device, (name, *plan), &of_plan(name));
                    outcomes.extend(kept.outcome_or(self.arguments.is_chosen(name), make)?);
                }
                photo.overview(of_plan)?.save(folder.join(format!("{}.png", photo.name)))?;
            }
            println!("{}", ownership::write(&outcomes, &folder)?);
        }
        Ok(())
    }
}

/// As the command line has it.
fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
