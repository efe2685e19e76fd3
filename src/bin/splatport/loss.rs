//! `splatport loss`: the training loss of a density, and its gradient.

use std::fmt::{self, Display};
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use splatport::{CsrTable, DensityTable, Device, HostReal, Kernel, Precision, Runtime};

use crate::answer::Answer;
use crate::device::{DeviceArgs, Job};
use crate::options::ending;

/// Evaluate the loss of a density, and its gradient.
#[derive(Args)]
pub struct Loss {
    /// The transport kernel, as `splatport kernel` wrote it.
    kernel: PathBuf,
    /// The density: .npy of shape [rows, columns], mass per cell. Without it: the number of points, spread evenly.
    #[arg(long)]
    density: Option<PathBuf>,
    /// Where to write the gradient: .npy of shape [rows, columns].
    #[arg(long, value_parser = ending(&["npy"]))]
    gradient: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

impl Loss {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let table = CsrTable::open(&self.kernel)?;
        table.check_kernel()?;
        let density = self.density(&table)?;
        let (summary, gradient) = self.device.run(Evaluate { table: &table, density: &density })?;
        if let Some(path) = &self.gradient {
            gradient.save(path)?;
        }
        Answer::of(&Summary { gradient: self.gradient, ..summary })
    }

    fn density(&self, table: &CsrTable) -> Result<DensityTable> {
        let (columns, rows) = (table.grid_width as usize, table.grid_height as usize);
        let Some(path) = &self.density else {
            let each = (table.cols - 1) as f32 / table.rows as f32;
            return Ok(DensityTable { rows, columns, values: vec![each; table.rows] });
        };
        let density = DensityTable::open(path)?;
        ensure!(
            [density.rows, density.columns] == [rows, columns],
            "{} has {} x {} values, the kernel {rows} x {columns} cells: use a density of the kernel's stride ({} px)",
            path.display(),
            density.rows,
            density.columns,
            table.stride
        );
        Ok(density)
    }
}

struct Evaluate<'a> {
    table: &'a CsrTable,
    density: &'a DensityTable,
}

impl Job for Evaluate<'_> {
    type Output = (Summary, DensityTable);

    fn run<R: Runtime, P: Precision>(self, device: &Device<R, P>) -> Result<Self::Output> {
        let values: Vec<f64> = self.density.values.iter().map(|&value| value.into()).collect();
        let loss = Kernel::from_table(device, self.table)?.loss();
        let step = loss.evaluate(&device.upload_f64(&values))?;
        let mut transported: Vec<f64> = step.transported().read()?.into_iter().map(HostReal::cast_to_f64).collect();
        let background = transported.pop().unwrap_or(0.0);
        let gradient = step.gradient().read()?.into_iter().map(|slope| slope.cast_to_f64() as f32).collect();
        let summary =
            Summary { value: step.value()?, mass: values.iter().sum(), background, transported, gradient: None };
        Ok((summary, DensityTable { values: gradient, ..*self.density }))
    }
}

#[derive(Serialize)]
struct Summary {
    value: f64,
    mass: f64,
    background: f64,
    /// What every annotation got.
    transported: Vec<f64>,
    gradient: Option<PathBuf>,
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, mass, background, transported, .. } = self;
        writeln!(f, "loss        {value:.6}")?;
        writeln!(
            f,
            "mass        {mass:.4}: {background:.4} to the background, the rest to {} points",
            transported.len()
        )?;
        let least = transported.iter().copied().reduce(f64::min);
        if let (Some(least), Some(most)) = (least, transported.iter().copied().reduce(f64::max)) {
            writeln!(f, "each point  {least:.4} to {most:.4}")?;
        }
        match &self.gradient {
            Some(path) => writeln!(f, "wrote       {}", path.display()),
            None => Ok(()),
        }
    }
}
