//! `splatport run`: the photos of a manifest to a folder of results.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs;
use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use signal_hook::{consts, flag};
use splatport::{Device, Precision, Runtime, SplatRecipe, write_whole};

use super::manifest::{Entry, Manifest};
use super::outputs::Outputs;
use super::pipeline::{self, Stop};
use super::record::{Outcome, Record};
use super::shard::Shard;
use super::times::Times;
use crate::answer::{Answer, STOPPED, Stopped};
use crate::device::{DevicesArgs, SharedJob};
use crate::options::{FitArgs, KernelArgs};
use crate::origin::{Cells, Origin};

/// Fit all photos of a manifest: batches, shards, and results that are there already are kept.
///
/// SIGTERM and SIGINT end a run after the current batch, with exit code 4; the same command goes on where it was. A report, a JSON line
/// for every photo, lies beside the results: report.jsonl, or report.INDEX-of-COUNT.jsonl.
#[derive(Args)]
#[command(mut_arg("tau", |tau| tau.requires("stride")))]
pub struct Run {
    /// The photos, as `splatport manifest` listed them.
    #[arg(short, long)]
    manifest: PathBuf,
    /// The folder of the results: ID.gaussians.npz and ID.kernel.npz for every photo.
    #[arg(short, long)]
    out: PathBuf,
    /// Write kernels too, with cells of this side, px.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    stride: Option<u32>,
    /// The part to work on, INDEX/COUNT from 0; else that of SLURM_ARRAY_TASK_ID (of SLURM_ARRAY_TASK_COUNT) or
    /// JOB_COMPLETION_INDEX (of JOB_COMPLETIONS); else everything.
    #[arg(long)]
    shard: Option<Shard>,
    /// Replace results of another photo, recipe or version, and damaged ones, which otherwise are an error: kernels too
    /// where no --stride asks for any. What this command would write is kept, so that it goes on too where it was.
    #[arg(long)]
    force: bool,
    /// The format of the results.
    #[arg(long, value_enum, default_value = "npz")]
    format: Format,
    /// Threads that decode; as many as there are cores if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Pixels that are computed together at most, but for a photo that has more; what the device has room for if not given.
    #[arg(long)]
    batch: Option<u64>,
    #[command(flatten)]
    fit: FitArgs,
    #[command(flatten)]
    kernel: KernelArgs,
    #[command(flatten)]
    device: DevicesArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Format {
    Npz,
    Safetensors,
}

/// A run before it starts.
pub struct Plan {
    pub manifest: Manifest,
    pub outputs: Outputs,
    pub recipe: SplatRecipe,
    /// Cells and options of the kernels, if there are to be any.
    pub kernel: Option<Cells>,
    precision: &'static str,
    pub force: bool,
    /// Threads that decode.
    pub threads: usize,
    /// Pixels that are computed together at most.
    pub batch: u64,
}

impl Plan {
    /// What the results of an entry will say that they were made from.
    pub fn origin(&self, entry: &Entry) -> Origin {
        let digests = [entry.photo_sha256.clone(), entry.points_sha256.clone()];
        Origin { kernel: self.kernel.clone(), ..Origin::new(self.precision, digests, self.recipe.clone()) }
    }
}

impl Run {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let shard = Shard::chosen(self.shard)?;
        let manifest = Manifest::open(&self.manifest)?;
        fs::create_dir_all(&self.out).with_context(|| format!("cannot write to {}", self.out.display()))?;
        let summary = self.device.clone().run(Work { command: &self, manifest, shard })?;
        Ok(Answer::of(&summary)?.failed(summary.failed > 0))
    }

    fn plan<R: Runtime, P: Precision>(&self, devices: &[Device<R, P>], manifest: Manifest) -> Plan {
        let cells = |stride| Cells { stride, options: self.kernel.options(self.fit.profile()) };
        // Of the arrays of a fit none takes more than 32 bytes a pixel. Of those of kernels, with a cell a pixel, the weights do where
        // there are more than eight a cell: such kernels are built one by one.
        let room = devices.iter().map(|device| device.client().properties().memory.max_page_size / 32).min();
        let ending = if self.format == Format::Npz { "npz" } else { "safetensors" };
        Plan {
            manifest,
            outputs: Outputs { folder: self.out.clone(), ending },
            recipe: self.fit.recipe(),
            kernel: self.stride.map(cells),
            precision: P::NAME,
            force: self.force,
            threads: self.threads.map_or_else(|| available_parallelism().map_or(1, usize::from), usize::from),
            batch: self.batch.or(room).unwrap_or(0),
        }
    }
}

struct Work<'a> {
    command: &'a Run,
    manifest: Manifest,
    shard: Shard,
}

impl SharedJob for Work<'_> {
    type Output = Summary;

    fn run<R: Runtime, P: Precision>(self, devices: &[Device<R, P>]) -> Result<Summary> {
        let Self { command, manifest, shard } = self;
        let plan = command.plan(devices, manifest);
        let entries = shard.of(&plan.manifest.entries);
        let report = plan.outputs.folder.join(match shard.count {
            1 => "report.jsonl".to_owned(),
            count => format!("report.{}-of-{count}.jsonl", shard.index),
        });
        let names = devices.iter().map(|device| device.name().to_owned()).collect();
        let mut summary = Summary { devices: names, photos: entries.len(), ..Summary::default() };
        let stop = stop_on_signals()?;
        let bar = bar(entries.len());
        let mut times = Times::default();
        let tell = |record: &Record| {
            summary.count(record);
            bar.inc(1);
        };
        let result = write_whole(&report, |file| {
            times = pipeline::run(&plan, &entries, devices, &stop, file, tell)?;
            Ok(())
        });
        summary.times = times;
        bar.finish_and_clear();
        if let Some(error) = stop.failure.lock().ok().and_then(|mut failure| failure.take()) {
            return Err(error.context("nothing more can be written; the same command goes on once it can"));
        }
        result?;
        let (told, photos) = (summary.written + summary.kept + summary.failed, entries.len());
        ensure!(told == photos, Stopped { told, photos });
        Ok(summary)
    }
}

/// What a signal asks for.
fn stop_on_signals() -> Result<Stop> {
    let stop = Stop::default();
    for signal in [consts::SIGTERM, consts::SIGINT] {
        // A second one ends the program at once.
        flag::register_conditional_shutdown(signal, i32::from(STOPPED), stop.asked.clone())?;
        flag::register(signal, stop.asked.clone())?;
    }
    Ok(stop)
}

/// Photos of a run; nothing where no one watches.
fn bar(photos: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}, {per_sec}, {eta} left");
    ProgressBar::new(photos as u64).with_style(style.unwrap_or(ProgressStyle::default_bar()))
}

#[derive(Default, Serialize)]
struct Summary {
    devices: Vec<String>,
    photos: usize,
    written: usize,
    kept: usize,
    failed: usize,
    /// The first errors, by photo.
    errors: BTreeMap<String, String>,
    times: Times,
}

/// Errors that are told; the report has all.
const TOLD: usize = 20;

impl Summary {
    fn count(&mut self, record: &Record) {
        match &record.outcome {
            Outcome::Kept => self.kept += 1,
            Outcome::Written { .. } => self.written += 1,
            Outcome::Failed { error } => {
                self.failed += 1;
                if self.errors.len() < TOLD {
                    self.errors.insert(record.id.clone(), error.clone());
                }
            }
        }
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { photos, written, kept, failed, times, .. } = self;
        self.errors.iter().try_for_each(|(id, error)| writeln!(f, "failed  {id}: {error}"))?;
        for (device, share) in self.devices.iter().zip(&times.shares) {
            writeln!(f, "device  {device}: {share} photos")?;
        }
        writeln!(f, "photos  {photos}: {written} written, {kept} kept, {failed} failed")?;
        let Times { decode, fit, kernel, write, waiting, total, .. } = times;
        writeln!(f, "time    {total:.2} s, {:.2} photos a second", (written + kept) as f64 / total.max(1e-9))?;
        writeln!(f, "        device: fit {fit:.2} s, kernels and copies {kernel:.2} s, waiting {waiting:.2} s")?;
        writeln!(f, "        beside: decode {decode:.2} s, write {write:.2} s")
    }
}
