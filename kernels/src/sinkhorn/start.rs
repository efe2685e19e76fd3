//! Masses and potentials before the first round.

use cubecl::prelude::*;

use super::{
    NOTHING, Problem, State,
    sides::{LOG_MEASURE, Round, Side},
};
use crate::{
    Result,
    arithmetic::copy,
    buffer::Buffer,
    device::Device,
    grid::{Count, Plots},
    real::{Precision, Quad, Real, quad, real},
    totals::totals,
};

/// Most mass of a cell, so that sums and products stay in `f32`.
const MOST: f32 = 1e9;
/// A mass that has a logarithm: below it `f32` has fewer digits, and devices may take it for 0.
const LEAST_MASS: f32 = 1e-37;
/// Most that a given potential may be, times epsilon: exponents are no larger than with no mass at all.
const MOST_CHARGE: f32 = -NOTHING;

impl<R: Runtime, P: Precision> Problem<R, P> {
    /// From nothing, or from the points' potentials `from`, `[points]`, and with the last epsilon.
    pub(super) fn begin(
        &self,
        device: &Device<R, P>,
        density: &Buffer<R, P::Real>,
        from: Option<&Buffer<R, P::Real>>,
    ) -> Result<State<R, P::Real>> {
        let (client, cells) = (device.client(), self.mosaic.total(Count::Cells));
        density.expect("density", cells)?;
        let points = self.mosaic.total(Count::Gaussians);
        if let Some(potentials) = from {
            potentials.expect("potentials", points)?;
        }
        let masses = device.room("masses of all cells", 4 * cells)?;
        let (cubes, dim) = device.per_unit(cells);
        weigh_cells::launch::<P::Real, R>(client, cubes.clone(), dim, density.arg(), masses.arg(), cells as u32);
        let state = State {
            cells: device.room("potentials", 8 * cells)?,
            points: device.uninit(self.start.len()),
            table: device.uninit(self.table.len()),
            sums: totals(device, &self.mosaic, &masses, Count::Cells),
            skipped: if from.is_some() { self.stages } else { 0 },
        };
        copy(device, &self.start, &state.points)?;
        copy(device, &self.table, &state.table)?;
        start_cells::launch::<P::Real, R>(
            client,
            cubes,
            dim,
            self.mosaic.arg(),
            self.round(&state, [0, 0]),
            masses.arg(),
            state.sums.arg(),
            state.cells.arg(),
            real(self.rules.normalise.unwrap_or(0.0)),
            self.rules.normalise.is_some(),
        );
        if let (Some(potentials), 1..) = (from, points) {
            let (cubes, dim) = device.per_unit(points);
            start_points::launch::<P::Real, R>(
                client,
                cubes,
                dim,
                self.mosaic.arg(),
                self.round(&state, [0, 0]),
                potentials.arg(),
                state.points.arg(),
                self.points_side(),
            );
        }
        Ok(state)
    }
}

/// Mass of every cell, and whether what it was given is none.
#[cube(launch)]
fn weigh_cells<F: Real>(density: &Array<F>, masses: &mut Array<Quad<F>>, cells: u32) {
    if ABSOLUTE_POS < cells as usize {
        let z = density[ABSOLUTE_POS];
        let mut mass = Quad::<F>::new(F::new(0.0));
        mass[1] = F::new(1.0);
        // A NaN is neither.
        if z >= F::new(0.0) {
            if z <= F::new(MOST) {
                mass[0] = z;
                mass[1] = F::new(0.0);
            }
        }
        masses[ABSOLUTE_POS] = mass;
    }
}

#[cube(launch)]
fn start_cells<F: Real>(
    plots: &Plots<F>,
    round: &Round<F>,
    masses: &Array<Quad<F>>,
    sums: &Array<Quad<F>>,
    cells: &mut Array<Quad<F>>,
    pad: F,
    #[comptime] normalise: bool,
) {
    let i = ABSOLUTE_POS as u32;
    let all = plots.total(Count::Cells);
    if i < all {
        let image = plots.holding(i, Count::Cells);
        let measure = round.constant(image, plots.images(), LOG_MEASURE);
        let mut mass = masses[i as usize][0];
        let mut log_mass = F::new(NOTHING);
        if comptime!(normalise) {
            if mass > F::new(0.0) {
                mass /= sums[image as usize][0] + pad;
            }
        }
        if mass > F::new(LEAST_MASS) {
            log_mass = mass.ln() - measure;
        } else {
            mass = F::new(0.0);
        }
        let (centre, zero) = (plots.centre(i), F::new(0.0));
        cells[i as usize] = quad::<F>(centre.x, centre.y, log_mass, mass);
        cells[(all + i) as usize] = quad::<F>(zero, log_mass, zero, zero);
    }
}

/// Puts points where an earlier solver left them.
#[cube(launch)]
fn start_points<F: Real>(
    plots: &Plots<F>,
    round: &Round<F>,
    potentials: &Array<F>,
    points: &mut Array<Quad<F>>,
    side: &Side<F>,
) {
    let n = ABSOLUTE_POS as u32;
    let all = plots.total(Count::Gaussians);
    if n < all {
        let epsilon = round.epsilon(plots.holding(n, Count::Gaussians), plots.images());
        let (given, most) = (potentials[n as usize], F::new(MOST_CHARGE) * epsilon);
        let mut near = points[n as usize];
        let mut far = points[(all + n) as usize];
        // What is too large or no number starts from 0.
        far[0] = F::new(0.0);
        if given > -most {
            if given < most {
                far[0] = given;
            }
        }
        near[2] = side.charge(far[0], far[1], epsilon);
        points[n as usize] = near;
        points[(all + n) as usize] = far;
    }
}
