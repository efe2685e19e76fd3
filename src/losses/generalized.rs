//! Generalized loss: unbalanced transport, the plan's errors in both marginals, and its entropy.

use serde::{Deserialize, Serialize};
use splatport_kernels::{
    Device, Precision,
    cubecl::Runtime,
    sinkhorn::{Form, GeneralizedWeights, Marginal, Measure, Place, Rules, schedule},
};

use super::{
    Coordinates, Epsilon, Ground, Scene, TransportLoss,
    scenes::{Annealing, Costs, Rounds, Solver, check_factor, check_range, grids},
    transport::Ending,
};
use crate::Result;

/// Which potentials are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum GlProfile {
    /// Those of the published code: one round for every epsilon, which starts at the diameter and is halved, both sides
    /// updated at once and each going half way; then one full round. That is 10 rounds on a square crop, after which
    /// the plan's rows still differ from `z exp(-f / rho)` by a few percent. Cells are shifted right and down by half a
    /// stride, and the entropy is summed over the batch.
    Reference,
    /// The optimal ones, with the same sum, the cells in their true places and the mean over the batch.
    #[default]
    Converged,
}

/// Where the center of a cell is assumed to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum GridOffset {
    /// At its center.
    #[default]
    Centre,
    /// Half a stride to the right and down, as in published code.
    Shifted,
}

/// Generalized loss (Wan, Liu and Chan, *A Generalized Loss Function for Crowd Counting and Localization*, CVPR 2021):
/// `W + tau (sum_i ((P1)_i - z_i)^2 + sum_n |(P'1)_n - 1|) + epsilon mean_in(P ln P)`, the mean over a batch of images,
/// with `W = (rho + epsilon / 2) (<z, 1 - exp(-f / rho)> + sum_n (1 - exp(-g_n / rho)))` and the plan
/// `P_in = z_i k_in`, `k_in = exp((f_i + g_n - C_in) / epsilon)`.
///
/// The potentials `f`, `g` are those of transport relaxed by `rho KL` on both sides. As in the published code, the
/// gradient treats as constant the potentials, hence `k`, and also `P1` in the first square:
/// `(rho + epsilon / 2) (1 - exp(-f_i / rho)) + 2 tau (z_i - (P1)_i) + tau sum_n k_in sgn((P'1)_n - 1) + epsilon mean_n k_in (ln P_in + 1) / I`.
/// That is not the derivative of the sum, whose potentials and plan change with the density; and the first part is
/// geomloss's biased value, not the optimum. A density at which the gradient vanishes is therefore not where the value
/// is least. The factor is `rho + epsilon / 2`, where the slope of the optimum itself has `rho + epsilon`: the one that
/// the published code intended is never called there. Without annotations the loss is `(1 + 2 tau)` times the mass of
/// the density.
///
/// ```
/// use splatport::{Annotations, Grid, Vulkan, losses::{Generalized, GlProfile}};
///
/// let device = Vulkan::best()?;
/// let points = Annotations::new(vec![[12.0, 12.0], [44.0, 20.0]])?;
/// let scenes = [(Grid::over(64, 32, 8), &points)];
/// let density = device.filled(0.02f32, 8 * 4);
///
/// let step = Generalized::new(GlProfile::Converged).on(&device, &scenes)?.evaluate(&density)?;
/// let published = Generalized::new(GlProfile::Reference).on(&device, &scenes)?.evaluate(&density)?;
/// assert!(step.reports()[0].converged && step.reports()[0].residual < published.reports()[0].residual);
/// // Mass is missing: a cell at an annotation should gain some.
/// assert!(step.gradient().read()?[8 + 1] < 0.0);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "it does nothing until it is evaluated"]
pub struct Generalized {
    profile: GlProfile,
    offset: GridOffset,
    rho: f64,
    tau: f64,
    costs: Costs,
    stop: Rounds,
}

impl Default for Generalized {
    /// With the default profile.
    fn default() -> Self {
        Self::new(Default::default())
    }
}

impl Generalized {
    /// The loss with the published constants: the perspective cost with `eta = 0.5 + 0.2 (y + y') / 2` in units of the
    /// longer side, epsilon 0.01, rho 0.5, tau 0.1.
    pub fn new(profile: GlProfile) -> Self {
        let costs = Costs {
            ground: Ground::Perspective { base: 0.5, growth: 0.2 },
            coordinates: Coordinates::LongerSide,
            epsilon: Epsilon::Absolute(0.01),
            annealing: Annealing::None,
        };
        let offset = match profile {
            GlProfile::Reference => GridOffset::Shifted,
            GlProfile::Converged => GridOffset::Centre,
        };
        Self { profile, offset, rho: 0.5, tau: 0.1, costs, stop: Rounds { limit: 1000, tolerance: 1e-3 } }
    }

    super::setters! {
        /// The cost. Default: perspective; `Exponential { eta: 0.6 }` has been published too.
        ground: Ground => costs.ground;
        /// Unit of distances. Default: the longer side.
        coordinates: Coordinates => costs.coordinates;
        /// Strength of the entropy. Default: 0.01.
        epsilon: Epsilon => costs.epsilon;
        /// The price of mass that stays behind or is missing, in the unit of the costs, 1e-9 to 1e9. Default: 0.5.
        rho: f64 => rho;
        /// Weight of the plan's errors in both marginals. Default: 0.1.
        tau: f64 => tau;
        /// Default: the profile's.
        offset: GridOffset => offset;
        /// The most rounds of `Converged`, 1 to 2^24. Default: 1000.
        rounds: usize => stop.limit;
        /// `Converged`: the largest relative error of any marginal of the plan, bounded by how much the updates
        /// contract. Default: 0.001.
        tolerance: f64 => stop.tolerance;
    }

    /// Binds the loss to a batch of images.
    ///
    /// # Errors
    /// [`crate::Error::Empty`] for no image or no cell, [`crate::Error::Option`] for a number out of its range,
    /// [`crate::Error::OutOfRange`]
    /// naming an annotation that is farther than 2^24 px from the origin or for which `eta` is below 0.001 somewhere on
    /// the grid, [`crate::Error::Device`].
    pub fn on<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        scenes: &[Scene<'_>],
    ) -> Result<TransportLoss<R, P>> {
        check_range("rho", self.rho)?;
        check_factor::<P::Real>("tau", self.tau)?;
        let published = self.profile == GlProfile::Reference;
        let (relaxed, alone) = (Marginal::Relaxed { rho: self.rho }, 1.0 + 2.0 * self.tau);
        let (ground, form) = (self.costs.ground.of_solver(), Form::Joint(Measure::Product));
        let rules = Rules { ground, of_cells: relaxed, of_points: relaxed, form, normalise: None, alone };
        let places = scenes.iter().map(|scene| self.place(scene)).collect::<Result<Vec<_>>>()?;
        let share = 1.0 / scenes.len() as f64;
        let entropy = if published { 1.0 } else { share };
        let weights = GeneralizedWeights { rho: self.rho, tau: self.tau, share, entropy, alone };
        let ending = Ending::Generalized { weights, published };
        TransportLoss::new(device, (grids(scenes), &places), rules, self.stop.of_solver()?, (ending, Solver::Sinkhorn))
    }

    /// An image whose epsilons start at the diameter of cells and points, taken twice, and are halved from there.
    fn place(&self, scene: &Scene<'_>) -> Result<Place> {
        let mut place = self.costs.place(scene, (self.offset, Solver::Sinkhorn), 1.0)?;
        let ends = [place.cells.centre(0), place.cells.centre(place.cells.len() - 1)];
        let extent = [0, 1].map(|axis| {
            let places = ends.iter().chain(&place.points).map(|at| at[axis]);
            places.clone().fold(f64::MIN, f64::max) - places.fold(f64::MAX, f64::min)
        });
        let (epsilon, diameter) = (place.epsilons[0], extent[0].hypot(extent[1]) / self.costs.unit(&scene.0));
        if diameter > epsilon {
            place.epsilons = schedule(diameter, 0.5, epsilon);
            place.epsilons.insert(0, diameter);
        }
        Ok(place)
    }
}
