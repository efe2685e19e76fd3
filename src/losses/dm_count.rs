//! DM-Count: the count, the balanced transport of the density's shape, and its total variation against the dots.

use serde::{Deserialize, Serialize};
use splatport_kernels::{
    Device, Precision,
    cubecl::Runtime,
    dm_count::Weights,
    sinkhorn::{Form, Marginal, Measure, Rules},
};

use super::{
    Coordinates, Epsilon, Ground, Scene, TransportLoss,
    scenes::{Annealing, Costs, Rounds, Solver, check_factor, grids},
    transport::Ending,
};
use crate::{Grid, Result};

/// The entropy of the transport term.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OtEntropy {
    /// `sum P ln P`, as published: the gradient contains the logarithm of the density. In an empty cell, where that
    /// would be minus infinity, the logarithm is taken of a share of 1e-16.
    Shannon,
    /// `KL(P | a b')`.
    #[default]
    RelativeKl,
}

/// Which transport term is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DmProfile {
    /// That of the published code: a hundred rounds with 1e-16 added to every divisor. That floor dominates: at epsilon
    /// 10 px², a cell 27 px from the only point moves half of its mass, and one 30 px or more away less than 1e-7 of
    /// it; there the gradient depends only on the cell's own density. The term's value, `<z, gradient>`, is 0 whatever
    /// the plan, so the loss has the value of the other two terms; [`Step::dual_values`](super::Step::dual_values)
    /// gives that of the transport problem.
    Reference,
    /// The optimum up to a tolerance.
    Exact {
        /// The entropy.
        entropy: OtEntropy,
        /// How the optimum is found.
        solver: Solver,
    },
}

impl Default for DmProfile {
    fn default() -> Self {
        Self::Exact { entropy: OtEntropy::default(), solver: Solver::default() }
    }
}

/// DM-Count's loss (Wang et al., *Distribution Matching for Crowd Counting*, NeurIPS 2020) of a batch of B images:
/// `0.1 sum OT(z / S, 1 / N) + mean |S - N| + 0.01 mean N sum_i |z_i / (S + 1e-6) - d_i / (N + 1e-6)|`, `S = sum z`,
/// `d` the annotations per cell.
///
/// `OT` is the entropic optimum with the squared distance, px², and epsilon 10 px²; its gradient with respect to the
/// density is `(beta_i - <beta, z> / S) / S` with the cells' potentials `beta`: that of the regularized dual, not of
/// `<C, P>`. As published, transport is summed over the images and the rest averaged. Without annotations only the
/// count remains; without mass, the gradient of transport is 0.
///
/// ```
/// use splatport::{Annotations, Grid, Vulkan, losses::{DmCount, DmProfile}};
///
/// let device = Vulkan::best()?;
/// let points = Annotations::new(vec![[12.0, 20.0], [50.5, 33.0]])?;
/// let scenes = [(Grid::over(64, 48, 8), &points)];
/// let density = device.filled(0.05f32, 8 * 6);
///
/// let exact = DmCount::new(DmProfile::default()).on(&device, &scenes)?.evaluate(&density)?;
/// let published = DmCount::new(DmProfile::Reference).on(&device, &scenes)?.evaluate(&density)?;
/// // The published plan loses what is far; its loss is the count's 0.4 and the variation.
/// let moved = |step: &splatport::losses::Step<_>| step.transported().read().map(|m| m.iter().sum::<f32>());
/// assert!((moved(&exact)? - 1.0).abs() < 1e-2 && moved(&published)? < 1.0);
/// assert!(published.value()? < exact.value()?);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "it does nothing until it is evaluated"]
pub struct DmCount {
    profile: DmProfile,
    costs: Costs,
    stop: Rounds,
    transport: f64,
    variation: f64,
}

impl Default for DmCount {
    /// With the default profile.
    fn default() -> Self {
        Self::new(Default::default())
    }
}

impl DmCount {
    /// The loss with the weights of the paper. `Reference`: 100 rounds, a squared L2 error of 1e-9. `Exact`: an epsilon
    /// that falls from the largest cost, at most 1000 rounds in all or as many Newton steps as cost the same, and a
    /// marginal error of 0.01.
    pub fn new(profile: DmProfile) -> Self {
        let (annealing, limit, tolerance) = match profile {
            DmProfile::Reference => (Annealing::None, 100, 1e-9),
            DmProfile::Exact { .. } => (Annealing::OfSolver, 1000, 0.01),
        };
        let (ground, coordinates) = (Ground::Squared, Coordinates::Pixels);
        let costs = Costs { ground, coordinates, epsilon: Epsilon::Absolute(10.0), annealing };
        Self { profile, costs, stop: Rounds { limit, tolerance }, transport: 0.1, variation: 0.01 }
    }

    super::setters! {
        /// Strength of the entropy. Default: 10 px².
        epsilon: Epsilon => costs.epsilon;
        /// Unit of distances. Default: pixels. With the longer side, costs are 0 to 2, and epsilon 10 moves everything
        /// everywhere. The published code's `norm_cood` uses -1..1 instead of 0..1, hence four times these costs: it
        /// equals the longer side with a quarter of its epsilon, and potentials in units of four.
        coordinates: Coordinates => costs.coordinates;
        /// The most rounds, 1 to 2^24, rounded up to tens; a Newton step counts as eleven. Default: 100 or 1000.
        rounds: usize => stop.limit;
        /// `Reference`: the squared L2 error of the cells' shares at which it stops. `Exact`: the largest L1 error of
        /// the annotations' shares. Default: 1e-9, 0.01.
        tolerance: f64 => stop.tolerance;
    }

    /// Weights of transport and total variation. Default: 0.1, 0.01.
    pub fn weights(mut self, transport: f64, variation: f64) -> Self {
        (self.transport, self.variation) = (transport, variation);
        self
    }

    /// Binds the loss to a batch of images.
    ///
    /// # Errors
    /// [`crate::Error::Empty`] for no image or no cell, [`crate::Error::Option`] for a number out of its range,
    /// [`crate::Error::OutOfRange`]
    /// for an annotation farther than 2^24 px from the origin, [`crate::Error::Device`].
    pub fn on<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        scenes: &[Scene<'_>],
    ) -> Result<TransportLoss<R, P>> {
        for (name, value) in [("transport weight", self.transport), ("variation weight", self.variation)] {
            check_factor::<P::Real>(name, value)?;
        }
        let published = self.profile == DmProfile::Reference;
        let (form, solver) = match self.profile {
            DmProfile::Reference => (Form::Floored { floor: 1e-16 }, Solver::Sinkhorn),
            DmProfile::Exact { entropy: OtEntropy::Shannon, solver } => (Form::Shannon, solver),
            DmProfile::Exact { entropy: OtEntropy::RelativeKl, solver } => (Form::Joint(Measure::Product), solver),
        };
        let (ground, exact) = (self.costs.ground.of_solver(), Marginal::Exact);
        let normalise = Some(if published { 1e-6 } else { 0.0 });
        let rules = Rules { ground, of_cells: exact, of_points: exact, form, normalise, alone: 0.0 };
        let share = |scene: &Scene<'_>| 1.0 / scene.1.len().max(1) as f64;
        let places = solver.places(self.costs, scenes, share)?;
        let cells = scenes.iter().map(|(grid, _)| grid.len()).fold(0, usize::saturating_add);
        device.check_room::<P::Real>("annotations of all cells", cells)?;
        let dots: Vec<f64> = scenes.iter().flat_map(|(grid, points)| dots(grid, points.points(), published)).collect();
        let images = scenes.len() as f64;
        let weights = Weights {
            transport: self.transport,
            count: 1.0 / images,
            variation: self.variation / images,
            pad: if published { 1e-8 } else { 0.0 },
            valued: !published,
        };
        let dots = device.try_upload_f64("annotations of all cells", &dots)?;
        let ending = Ending::Shares { weights, dots: Some(dots), needs_mass: false };
        TransportLoss::new(device, (grids(scenes), &places), rules, self.stop.of(solver)?, (ending, solver))
    }
}

/// Annotations per cell: by the pixel that contains each, leaving out those off the grid; or, as published, by the
/// pixel of the rounded coordinates (ties to even), at most the last one.
fn dots(grid: &Grid, points: &[[f64; 2]], published: bool) -> Vec<f64> {
    let (stride, corner) = (i64::from(grid.stride()), grid.corner());
    let cells = [i64::from(grid.columns()), i64::from(grid.rows())];
    let mut dots = vec![0.0; grid.len()];
    for point in points {
        let [column, row] = [0, 1].map(|axis| {
            let at = point[axis] - f64::from(corner[axis]);
            let pixel =
                if published { (at.round_ties_even() as i64).min(cells[axis] * stride - 1) } else { at.floor() as i64 };
            pixel.div_euclid(stride)
        });
        if (0..cells[0]).contains(&column) && (0..cells[1]).contains(&row) {
            dots[(row * cells[0] + column) as usize] += 1.0;
        }
    }
    dots
}
