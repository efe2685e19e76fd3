//! Unbalanced transport as a loss: mass may stay behind and points may go short, each at a price.

use serde::{Deserialize, Serialize};
use splatport_kernels::{
    Device, Precision,
    cubecl::Runtime,
    sinkhorn::{Form, Marginal, Measure, Rules},
};

use super::{
    Coordinates, Epsilon, GridOffset, Ground, Scene, TransportLoss,
    scenes::{Annealing, Costs, Rounds, Solver, check_range, grids},
    transport::Ending,
};
use crate::Result;

/// The measure against which the joint form takes the plan's entropy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ReferenceMeasure {
    /// The product of density and annotations, as in geomloss.
    Product,
    /// That product divided by the number of annotations; the gradient is `(rho + epsilon) (1 - exp(-f / rho))`.
    ProductOverMass,
}

/// The entropy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum UotForm {
    /// `epsilon sum P ln(P / P1)`: the entropy of where a cell's mass goes, however much there is.
    SemiDual,
    /// `epsilon KL(P | reference)`.
    SinkhornKl(ReferenceMeasure),
}

/// `min_P <C, P> + rho KL(P1 | z) + rho KL(P'1 | 1) + epsilon H(P)`, the mean over a batch of images (Ma et al.,
/// *Learning to Count via Unbalanced Optimal Transport*, AAAI 2021).
///
/// In the semi-dual form the gradient with respect to the density is `rho (1 - exp(-f / rho))`, hence at most `rho`.
/// The defaults are those of the only public code that was found, which is not the authors': distances divided by the
/// longer side, epsilon 0.01, rho 1. There are no special cases: without annotations the loss is the mass of the
/// density, as for every loss here; a density without mass where there are annotations is an error, because its slope
/// is minus infinity.
///
/// ```
/// use splatport::{Annotations, Grid, Vulkan, losses::Unbalanced};
///
/// let device = Vulkan::best()?;
/// let points = Annotations::new(vec![[12.0, 12.0], [44.0, 20.0]])?;
/// let loss = Unbalanced::default().on(&device, &[(Grid::over(64, 32, 8), &points)])?;
/// let step = loss.evaluate(&device.filled(0.02f32, 8 * 4))?;
/// // Mass is missing: every cell should gain some, one at an annotation most.
/// let gradient = step.gradient().read()?;
/// assert!(gradient[8 + 1] < 0.0 && gradient[3 * 8] > gradient[8 + 1]);
/// assert!(step.reports()[0].converged);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "it does nothing until it is evaluated"]
pub struct Unbalanced {
    form: UotForm,
    rho: f64,
    costs: Costs,
    stop: Rounds,
}

impl Default for Unbalanced {
    fn default() -> Self {
        let costs = Costs {
            ground: Ground::Distance,
            coordinates: Coordinates::LongerSide,
            epsilon: Epsilon::Absolute(0.01),
            annealing: Annealing::None,
        };
        Self { form: UotForm::SemiDual, rho: 1.0, costs, stop: Rounds { limit: 1000, tolerance: 1e-3 } }
    }
}

impl Unbalanced {
    super::setters! {
        /// Default: semi-dual.
        form: UotForm => form;
        /// The price of mass that stays behind or is missing, in the unit of the costs, 1e-9 to 1e9. Default: 1.
        rho: f64 => rho;
        /// Strength of the entropy. Default: 0.01.
        epsilon: Epsilon => costs.epsilon;
        /// Default: the distance.
        ground: Ground => costs.ground;
        /// Unit of distances. Default: the longer side.
        coordinates: Coordinates => costs.coordinates;
        /// The most rounds, 1 to 2^24. Default: 1000; `rho / (2 epsilon) ln(1 / tolerance)` are needed, 345 with the
        /// defaults.
        rounds: usize => stop.limit;
        /// The largest relative error of any marginal of the plan, bounded by how much the updates contract. Default:
        /// 0.001.
        tolerance: f64 => stop.tolerance;
    }

    /// Binds the loss to a batch of images.
    ///
    /// # Errors
    /// [`crate::Error::Empty`] for no image or no cell, [`crate::Error::Option`] for a number out of its range,
    /// [`crate::Error::OutOfRange`] for an annotation farther than 2^24 px from the origin or for which `eta` is below
    /// 0.001 somewhere on the grid, [`crate::Error::Device`].
    pub fn on<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        scenes: &[Scene<'_>],
    ) -> Result<TransportLoss<R, P>> {
        check_range("rho", self.rho)?;
        let relaxed = Marginal::Relaxed { rho: self.rho };
        let form = match self.form {
            UotForm::SemiDual => Form::Conditional,
            UotForm::SinkhornKl(ReferenceMeasure::Product) => Form::Joint(Measure::Product),
            UotForm::SinkhornKl(ReferenceMeasure::ProductOverMass) => Form::Joint(Measure::ProductOverMass),
        };
        let ground = self.costs.ground.of_solver();
        let rules = Rules { ground, of_cells: relaxed, of_points: relaxed, form, normalise: None, alone: 1.0 };
        let places = scenes
            .iter()
            .map(|scene| self.costs.place(scene, (GridOffset::Centre, Solver::Sinkhorn), 1.0))
            .collect::<Result<Vec<_>>>()?;
        TransportLoss::new(
            device,
            (grids(scenes), &places),
            rules,
            self.stop.of_solver()?,
            (Ending::Optimum, Solver::Sinkhorn),
        )
    }
}
