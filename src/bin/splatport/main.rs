//! The command line: reads files, calls the library, writes files.
//!
//! One command a file. Whatever a command tells is an [`Answer`](answer::Answer), printed as text or as JSON. Exit codes: 0, 1
//! for an error, 2 for wrong usage, 3 when some images or files failed and the others did not, 4 when a signal ended a run.

mod answer;
mod authors;
mod bench;
mod convert;
mod dataset;
mod device;
mod devices;
mod folder;
mod inspect;
mod kernel;
mod loss;
mod options;
mod origin;
mod pictures;
mod render;
mod report;
mod splat;
mod terminal;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use answer::{Answer, ERROR, STOPPED, Stopped};

/// Gaussian Spatial Transport: from a photo and points to Gaussians, a sparse transport kernel and a training loss.
#[derive(Parser)]
#[command(name = "splatport", version)]
struct Cli {
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Splat(splat::Splat),
    Kernel(kernel::Kernel),
    Loss(loss::Loss),
    Render(render::Render),
    Report(report::Report),
    Inspect(inspect::Inspect),
    Verify(verify::Verify),
    Convert(convert::Convert),
    Manifest(dataset::Make),
    Run(dataset::Run),
    Merge(dataset::Merge),
    Gc(dataset::Gc),
    Devices(devices::Devices),
    Bench(bench::Bench),
    /// Print a completion script for a shell.
    Completions {
        /// bash, elvish, fish, powershell or zsh.
        shell: clap_complete::Shell,
    },
}

impl Command {
    fn run(self) -> anyhow::Result<Answer> {
        match self {
            Self::Splat(command) => command.run(),
            Self::Kernel(command) => command.run(),
            Self::Loss(command) => command.run(),
            Self::Render(command) => command.run(),
            Self::Report(command) => command.run(),
            Self::Inspect(command) => command.run(),
            Self::Verify(command) => command.run(),
            Self::Convert(command) => command.run(),
            Self::Manifest(command) => command.run(),
            Self::Run(command) => command.run(),
            Self::Merge(command) => command.run(),
            Self::Gc(command) => command.run(),
            Self::Devices(command) => command.run(),
            Self::Bench(command) => command.run(),
            Self::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "splatport", &mut script);
                Ok(Answer::text(String::from_utf8(script)?))
            }
        }
    }
}

fn main() -> ExitCode {
    let Cli { json, command } = Cli::parse();
    match command.run().and_then(|answer| answer.print(json)) {
        Ok(code) => code,
        Err(error) => match error.downcast::<clap::Error>() {
            // Wrong usage that only the command itself can see.
            Ok(usage) => usage.exit(),
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::from(if error.is::<Stopped>() { STOPPED } else { ERROR })
            }
        },
    }
}
