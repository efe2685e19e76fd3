//! `splatport kernel`: Gaussians to a file of a transport kernel.

use std::fmt::{self, Display};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use splatport::{Certificate, CsrTable, Device, GaussianTable, Grid, Precision, Runtime};

use crate::answer::Answer;
use crate::authors::PhotoArgs;
use crate::device::{DeviceArgs, Job};
use crate::options::{KernelArgs, TABLES, ending};
use crate::origin::{Cells, Origin};

/// Build the sparse matrix that says how much of every cell belongs to every point.
#[derive(Args)]
pub struct Kernel {
    /// The Gaussians, as `splatport splat` or, as .h5, the authors' code wrote them; the kernel's options are those of their profile.
    gaussians: PathBuf,
    #[command(flatten)]
    photo: PhotoArgs,
    /// Where to write the kernel: .npz (scipy.sparse.load_npz) or .safetensors.
    #[arg(short, long, value_parser = ending(TABLES))]
    output: PathBuf,
    /// Side of a cell, px.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    stride: u32,
    #[command(flatten)]
    options: KernelArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

impl Kernel {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        let table = self.photo.gaussians(&self.gaussians)?;
        let (kernel, certificate) = self.device.clone().run(Build { command: &self, table: &table })?;
        kernel.save(&self.output)?;
        let cells = [kernel.grid_width, kernel.grid_height];
        let annotations = kernel.cols - 1;
        Answer::of(&Summary { profile: kernel.profile, cells, annotations, certificate, output: self.output })
    }
}

struct Build<'a> {
    command: &'a Kernel,
    table: &'a GaussianTable,
}

impl Job for Build<'_> {
    type Output = (CsrTable, Certificate);

    fn run<R: Runtime, P: Precision>(self, device: &Device<R, P>) -> Result<Self::Output> {
        let splat = splatport::Splat::from_table(device, self.table)?;
        let [width, height] = splat.size();
        let grid = Grid::over(width, height, self.command.stride);
        let options = self.command.options.options(splat.profile());
        let kernel = splatport::Kernel::of_all(device, &[(&splat, grid)], options)?;
        let cells = Cells { stride: self.command.stride, options };
        let origin = match Origin::read(&self.table.origin) {
            Some(origin) => origin.of_kernel(P::NAME, cells).text()?,
            None => self.table.origin.clone(),
        };
        Ok((CsrTable { origin, ..kernel.table()? }, kernel.certificate()))
    }
}

#[derive(Serialize)]
struct Summary {
    profile: String,
    cells: [u32; 2],
    annotations: usize,
    certificate: Certificate,
    output: PathBuf,
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [columns, rows] = self.cells;
        let Certificate { tau, worst_dropped, bound, entries, bytes, .. } = self.certificate;
        writeln!(
            f,
            "kernel       {columns} x {rows} cells, {} annotations, {} profile",
            self.annotations, self.profile
        )?;
        writeln!(f, "weights      {entries}, the background's aside; {bytes} bytes on the device")?;
        writeln!(
            f,
            "certificate  dropping moves a row by at most {tau}: dropped {worst_dropped:.2e} at worst, proven {bound:.2e}"
        )?;
        writeln!(f, "wrote        {}", self.output.display())
    }
}
