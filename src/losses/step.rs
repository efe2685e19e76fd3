//! One evaluation of a loss that solves a transport problem.

use std::sync::Arc;

use splatport_kernels::{
    Buffer, Cells, Device, HostReal, Precision, Single, arithmetic,
    cubecl::Runtime,
    sinkhorn::{CostGradient, Form, Outcome, PlanRows, Problem, Report, Solution},
};

use crate::{
    CsrTable, Error, Grid, Result,
    error::{check_array, check_length},
    kernel::table::{rounded, without_rows},
};

/// The largest mass of a cell that the solvers accept.
const MOST: f64 = 1e9;

/// Rejects an image that has points but no mass.
pub(super) fn without_mass<R: Runtime, P: Precision>(
    problem: &Problem<R, P>,
    solution: &Solution<R, P::Real>,
) -> Result<()> {
    let empty = |(report, (_, points)): (&Report, &(_, usize))| report.mass < 1e-20 && *points > 0;
    match solution.reports().iter().zip(problem.images()).position(empty) {
        Some(index) => {
            let (what, value) = ("mass of the density, image", solution.reports()[index].mass);
            Err(Error::OutOfRange { what, index, value, min: 1e-20, max: f64::MAX })
        }
        None => Ok(()),
    }
}

/// The error for the first value of a density that is not a valid mass.
pub(super) fn refused<R: Runtime, F: splatport_kernels::Real>(density: &Buffer<R, F>) -> Result<Error> {
    let values = density.read_f64()?;
    let index = values.iter().position(|z| !(0.0..=MOST).contains(z)).unwrap_or_default();
    let (what, value) = ("density", values.get(index).copied().unwrap_or_default());
    Ok(match value.is_finite() {
        true => Error::OutOfRange { what, index, value, min: 0.0, max: MOST },
        false => Error::NotFinite { what, index, value },
    })
}

fn check_tau(tau: f64) -> Result<()> {
    match (0.0..1.0).contains(&tau) {
        true => Ok(()),
        false => Err(Error::Option { name: "tau", value: tau, why: "must be at least 0 and below 1" }),
    }
}

/// The number of cells of every image.
pub(super) fn lengths(images: &[(Cells, usize)]) -> impl ExactSizeIterator<Item = usize> {
    images.iter().map(|(cells, _)| cells.len())
}

/// The densities of a batch as one array.
pub(crate) fn joined<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    lengths: impl ExactSizeIterator<Item = usize>,
    densities: &[Buffer<R, P::Real>],
) -> Result<Buffer<R, P::Real>> {
    check_length("densities", lengths.len(), densities.len())?;
    for (cells, density) in lengths.zip(densities) {
        check_array("density", device, cells, density)?;
    }
    Ok(arithmetic::concatenate(device, densities)?)
}

/// One evaluation of a loss over a batch. Arrays stay on the device until they are asked for.
#[derive(Debug)]
pub struct Step<R: Runtime, P: Precision = Single> {
    pub(super) device: Device<R, P>,
    pub(super) problem: Arc<Problem<R, P>>,
    pub(super) due: Arc<[f64]>,
    pub(super) grids: Arc<[Grid]>,
    pub(super) solution: Solution<R, P::Real>,
    pub(super) outcome: Outcome<R, P::Real>,
    pub(super) values: Buffer<R, P::Real>,
    pub(super) gradient: Buffer<R, P::Real>,
}

impl<R: Runtime, P: Precision> Step<R, P> {
    /// The loss: the sum of [`values`](Self::values).
    ///
    /// # Errors
    /// [`Error::Device`] when a launch failed.
    pub fn value(&self) -> Result<f64> {
        Ok(self.values()?.iter().sum())
    }

    /// Every image's share of the loss.
    ///
    /// # Errors
    /// [`Error::Device`] when a launch failed.
    pub fn values(&self) -> Result<Vec<f64>> {
        Ok(self.values.read_f64()?)
    }

    /// [`values`](Self::values) on the device, `[images]`.
    pub fn values_on_device(&self) -> &Buffer<R, P::Real> {
        &self.values
    }

    /// The derivative of the loss with respect to the density, `[cells of all images]`.
    pub fn gradient(&self) -> &Buffer<R, P::Real> {
        &self.gradient
    }

    /// The gradient, split by image.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn gradients(&self) -> Result<Vec<Buffer<R, P::Real>>> {
        Ok(arithmetic::split(&self.device, &self.gradient, lengths(self.problem.images()))?)
    }

    /// The mass that every annotation receives from the plan, `[annotations of all images]`. Where both marginals are
    /// exact, it is a share of the density's mass.
    pub fn transported(&self) -> &Buffer<R, P::Real> {
        &self.outcome.received
    }

    /// How much too much every annotation receives, negative where it receives too little,
    /// `[annotations of all images]`: [`transported`](Self::transported) minus 1 or, where both marginals are exact,
    /// minus one over the image's number of annotations.
    ///
    /// # Errors
    /// [`Error::Device`] when a launch failed.
    pub fn residuals(&self) -> Result<Vec<f64>> {
        let received = self.outcome.received.read_f64()?;
        Ok(received.into_iter().zip(&*self.due).map(|(received, due)| received - due).collect())
    }

    /// How the solver ended for every image.
    pub fn reports(&self) -> &[Report] {
        self.solution.reports()
    }

    /// The dual value of every image's transport problem, without the loss's weights: a lower bound on the optimum,
    /// except with [`DmProfile::Reference`](super::DmProfile::Reference), whose floored potentials give no bound.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn dual_values(&self) -> Result<Vec<f64>> {
        Ok(self.outcome.values.read_f64()?)
    }

    /// The cost of the plan without its entropy, `<C, P>`, for every image.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn costs(&self) -> Result<Vec<f64>> {
        let sums = self.problem.cost(&self.device, &self.solution).read_f64()?;
        Ok(sums.chunks_exact(4).map(|sums| sums[0]).collect())
    }

    /// The derivative of every image's [`costs`](Self::costs) with respect to its density, `[cells of all images]`:
    /// that of the plan's cost without its entropy, not of the loss; the plan's own change counts, with exact marginals
    /// and with relaxed ones. It takes up to 500 conjugate-gradient iterations, each with two passes over the plan, and
    /// reports the remaining residual. For [`HeatmapTransport`](super::HeatmapTransport) the derivative is with respect
    /// to the positive part of the maps.
    ///
    /// ```
    /// use splatport::{Annotations, Grid, Vulkan, losses::{Epsilon, Sinkhorn}};
    ///
    /// let device = Vulkan::best()?;
    /// let points = Annotations::new(vec![[4.0, 4.0], [28.0, 12.0]])?;
    /// let loss = Sinkhorn::default().epsilon(Epsilon::Absolute(40.0)).on(&device, &[(Grid::over(32, 16, 8), &points)])?;
    /// let slopes = loss.evaluate(&device.filled(0.25f32, 8))?.cost_gradient()?.gradient.read()?;
    /// // Mass where the annotations are costs least.
    /// assert!(slopes[0] < slopes[1] && slopes[7] < slopes[6]);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Device`], also where the rounds are those of published code, whose plan is no optimum.
    pub fn cost_gradient(&self) -> Result<CostGradient<R, P::Real>> {
        Ok(self.problem.cost_gradient(&self.device, &self.solution)?)
    }

    /// Potentials of cells and annotations, `[cells]` and `[annotations]` of all images, in the unit of the costs. With
    /// [`DmProfile::Reference`](super::DmProfile::Reference) they are the published pair: `epsilon ln(v + 1e-16)`, from
    /// which the gradient is computed, and `epsilon ln u`.
    pub fn potentials(&self) -> (Buffer<R, P::Real>, Buffer<R, P::Real>) {
        let (cells, points) = self.problem.potentials(&self.device, &self.solution);
        match self.problem.rules().form {
            // They are not stored, but equal the slope.
            Form::Floored { .. } => (self.outcome.slope.clone(), points),
            _ => (cells, points),
        }
    }

    /// The plan as sparse rows. Entries smaller than their row's mass times `tau` over the number of annotations are
    /// dropped, so no row loses more than the share `tau` of its mass.
    ///
    /// # Errors
    /// [`Error::Option`] unless `tau` is in 0..1; [`Error::Device`], also when the plan does not fit on the device.
    pub fn plan(&self, tau: f64) -> Result<PlanRows<R, P::Real>> {
        check_tau(tau)?;
        Ok(self.problem.plan(&self.device, &self.solution, tau)?)
    }

    /// The plan of every image as a transport kernel on the host: row `i` has what share of the cell's mass goes to
    /// each annotation, `P_in / sum_m P_im`. A cell that gives nothing away, such as an empty one, belongs to the
    /// background, the last column. `tau` is the largest L1 error of a row because of entries that are left out.
    ///
    /// A table can be [saved](CsrTable::save), asked for [owners](crate::kernel::Owners::of) and put on a device as a
    /// [`Kernel`](crate::Kernel::from_table), which carries any density as this plan does.
    ///
    /// ```
    /// use splatport::{Annotations, Grid, Kernel, Vulkan, kernel::Owners, losses::Sinkhorn};
    ///
    /// let device = Vulkan::best()?;
    /// let points = Annotations::new(vec![[4.0, 4.0], [28.0, 4.0]])?;
    /// let loss = Sinkhorn::default().on(&device, &[(Grid::over(32, 8, 8), &points)])?;
    /// let tables = loss.evaluate(&device.filled(0.5f32, 4))?.plan_tables(1e-3)?;
    /// assert_eq!(Owners::of(&tables[0])?.owner, [Some(0), Some(0), Some(1), Some(1)]);
    ///
    /// let kernel = Kernel::from_table(&device, &tables[0])?;
    /// let carried = kernel.push_forward(&device.upload(&[2.0f32, 0.0, 0.0, 1.0]))?.read()?;
    /// assert!((carried[0] - 2.0).abs() < 0.01 && (carried[1] - 1.0).abs() < 0.01);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn plan_tables(&self, tau: f64) -> Result<Vec<CsrTable>> {
        check_tau(tau)?;
        // Dropped mass counts twice: it is missing, and the rest is scaled up.
        let rows = self.plan(tau / 2.0)?;
        let (starts, columns) = rows.row_starts.read_with(&rows.columns)?;
        let (masses, totals) = rows.masses.read_with(&rows.totals)?;
        let wide = |values: Vec<P::Real>| values.into_iter().map(HostReal::cast_to_f64).collect::<Vec<_>>();
        let (masses, totals) = (wide(masses), wide(totals));
        let roundoff = <P::Real as num_traits::Float>::epsilon().cast_to_f64();
        let mut row = 0;
        let mut table_of = |(&grid, &(_, annotations)): (&Grid, &(Cells, usize))| {
            // The sum of a row is off by a roundoff for every term.
            let bound = tau / 2.0 + (annotations + 4) as f64 * roundoff;
            let mut table = CsrTable { tau, bound, storage: roundoff, ..without_rows(annotations, grid) };
            for _ in 0..grid.len() {
                let entries = starts[row] as usize..starts[row + 1] as usize;
                let kept: f64 = masses[entries.clone()].iter().sum();
                for entry in entries.filter(|&entry| masses[entry] > 0.0) {
                    table.indices.push(columns[entry]);
                    table.data.push(rounded::<P::Real>(masses[entry] / kept));
                }
                if kept > 0.0 {
                    table.worst_dropped = table.worst_dropped.max(1.0 - kept / totals[row]);
                } else {
                    table.indices.push(annotations as u32);
                    table.data.push(1.0);
                }
                table.indptr.push(table.data.len() as u32);
                row += 1;
            }
            table
        };
        Ok(self.grids.iter().zip(self.problem.images()).map(&mut table_of).collect())
    }
}
