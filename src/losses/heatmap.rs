//! Transport of a heatmap onto a joint, for pose estimation.

use serde::{Deserialize, Serialize};
use splatport_kernels::{
    Device, Precision,
    cubecl::Runtime,
    dm_count::Weights,
    sinkhorn::{Form, Ground, Marginal, Measure, Place, Rules, schedule},
};

use super::{
    TransportLoss,
    scenes::{Rounds, Solver, check_range},
    transport::Ending,
};
use crate::{Error, Grid, Result, error::check_finite, splat::REACH};

/// The targets that a heatmap is carried to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Demanders {
    /// The four cells whose centers surround the joint, with bilinear weights; cells off the map are left out and the
    /// others scaled up.
    #[default]
    Bilinear,
    /// The joint itself. This plan needs no solver.
    Joint,
}

/// The heatmaps of a pose: their grid, and the joint of every channel, px, if it is visible.
pub type Pose<'a> = (Grid, &'a [Option<[f64; 2]>]);

/// Balanced entropic transport of every heatmap `h`, as `p = max(h, 0) / (sum max(h, 0) + 1e-8)`, onto its joint, with
/// squared distances in cells; the mean over the visible joints of a batch.
///
/// In the style of HDM-HPE, whose formulas are not public; normalization, cost and epsilon are this crate's choice. The
/// value of a joint is the dual value ([`Step::costs`](super::Step::costs) has `<C, P>`), and its gradient is that of
/// the dual; where the joint itself is the only demander they are `<C, p>` and `(C_i - <C, p>) / sum max(h, 0)`. Where
/// a map is negative, the gradient is 0. An invisible joint adds nothing. A map without a positive value has value and
/// gradient 0 and is reported as not converged. A map whose heat lies so far from its joint that rounding hides the
/// tolerance is also reported as not converged: [`Report::rounding`](super::Report::rounding) is about 1.3e-6 times the
/// squared distance, in cells, over epsilon (`f32`).
///
/// ```
/// use splatport::{Grid, Vulkan, losses::{Demanders, HeatmapTransport}};
///
/// let device = Vulkan::best()?;
/// // Two channels of 4 x 3 cells; the second joint is hidden.
/// let joints = [Some([6.0, 6.0]), None];
/// let loss = HeatmapTransport::default().demanders(Demanders::Joint).on(&device, &[(Grid::over(16, 12, 4), &joints)])?;
/// let mut maps = vec![0.0f32; 24];
/// (maps[5], maps[6]) = (3.0, 1.0);
/// // A quarter of the heat is one cell off.
/// assert!((loss.evaluate(&device.upload(&maps))?.value()? - 0.25).abs() < 1e-6);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "it does nothing until it is evaluated"]
pub struct HeatmapTransport {
    demanders: Demanders,
    epsilon: f64,
    stop: Rounds,
}

impl Default for HeatmapTransport {
    fn default() -> Self {
        Self { demanders: Demanders::Bilinear, epsilon: 0.1, stop: Rounds { limit: 1000, tolerance: 0.01 } }
    }
}

impl HeatmapTransport {
    super::setters! {
        /// Default: the four cells around the joint.
        demanders: Demanders => demanders;
        /// Strength of the entropy, cells squared. Default: 0.1.
        epsilon: f64 => epsilon;
        /// The most rounds, 1 to 2^24. Default: 1000.
        rounds: usize => stop.limit;
        /// The largest L1 error of what the demanders receive, as a share. Default: 0.01, which `f32` can just resolve
        /// on a map of 64 x 64 cells whose heat is 20 cells off: 8 roundings per cell, 22 of the cost over epsilon.
        tolerance: f64 => stop.tolerance;
    }

    /// Binds the loss to a batch of poses. A density then holds every channel of the first pose, `[joints, cells]`,
    /// then of the second, and so on; what a [`Step`](super::Step) calls an image is a channel.
    ///
    /// # Errors
    /// [`Error::Empty`] for no joint or no cell, [`Error::Option`] for a number out of its range, [`Error::NotFinite`]
    /// naming the joint, [`Error::OutOfRange`] for a joint that is half a cell or more off its map, so that all of its
    /// neighbors are outside, or farther than 2^24 px from the origin, [`Error::Device`].
    pub fn on<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        poses: &[Pose<'_>],
    ) -> Result<TransportLoss<R, P>> {
        check_range("epsilon", self.epsilon)?;
        let (mut grids, mut places) = (Vec::new(), Vec::new());
        for (grid, joints) in poses {
            grid.check_alone()?;
            for (index, joint) in joints.iter().enumerate() {
                places.push(self.place(grid, index, *joint)?);
                grids.push(*grid);
            }
        }
        let (exact, form) = (Marginal::Exact, Form::Joint(Measure::Product));
        let rules = Rules {
            ground: Ground::Squared,
            of_cells: exact,
            of_points: exact,
            form,
            normalise: Some(PAD),
            alone: 0.0,
        };
        let visible = places.iter().filter(|place| !place.points.is_empty()).count().max(1);
        let weights = Weights { transport: 1.0 / visible as f64, count: 0.0, variation: 0.0, pad: 0.0, valued: true };
        let ending = Ending::Maps { weights, single: self.demanders == Demanders::Joint };
        TransportLoss::new(device, (grids, &places), rules, self.stop.of_solver()?, (ending, Solver::Sinkhorn))
    }

    /// One channel, in cells.
    fn place(&self, grid: &Grid, index: usize, joint: Option<[f64; 2]>) -> Result<Place> {
        let stride = f64::from(grid.stride());
        let cells = splatport_kernels::Cells { left: 0.0, top: 0.0, stride: 1.0, ..grid.cells() };
        let mut demanders = vec![];
        if let Some(joint) = joint {
            check_finite("joint", 1, &joint).map_err(|_| {
                let value = if joint[0].is_finite() { joint[1] } else { joint[0] };
                Error::NotFinite { what: "joint", index, value }
            })?;
            if let Some(value) = joint.into_iter().find(|at| at.abs() > REACH) {
                return Err(Error::OutOfRange { what: "joint", index, value, min: -REACH, max: REACH });
            }
            let at = [0, 1].map(|axis| (joint[axis] - f64::from(grid.corner()[axis])) / stride);
            demanders = match self.demanders {
                Demanders::Joint => vec![(at, 1.0)],
                Demanders::Bilinear => surrounding(at, [grid.columns(), grid.rows()]),
            };
            if demanders.is_empty() {
                let ends = [grid.columns(), grid.rows()].map(|cells| f64::from(cells) + 0.5);
                // The ends themselves count as off the map.
                let axis = usize::from(at[0] > -0.5 && at[0] < ends[0]);
                let max = ends[axis];
                return Err(Error::OutOfRange { what: "joint in cells", index, value: at[axis], min: -0.5, max });
            }
        }
        let (points, masses): (Vec<_>, Vec<_>) = demanders.into_iter().unzip();
        let corners = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]];
        let far = points.iter().flat_map(|point: &[f64; 2]| {
            corners.map(|c: [f64; 2]| {
                let x = c[0] * f64::from(cells.columns) - point[0];
                x * x + (c[1] * f64::from(cells.rows) - point[1]).powi(2)
            })
        });
        let first = far.fold(0.0, f64::max).min(1e9);
        let epsilons = match self.demanders {
            // A single demander gets everything whatever epsilon is; a large epsilon keeps exponents small.
            Demanders::Joint => vec![first.max(self.epsilon)],
            Demanders::Bilinear => schedule(first, 0.8, self.epsilon),
        };
        Ok(Place { cells, points, masses, scale: 1.0, stretch: [1.0, 0.0], epsilons })
    }
}

/// Added to the sum of a map, as in published heads.
const PAD: f64 = 1e-8;

/// The cell centers around a place and their bilinear weights, which sum to 1; those off the map are left out.
fn surrounding(at: [f64; 2], size: [u32; 2]) -> Vec<([f64; 2], f64)> {
    let mut around = vec![];
    for steps in [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]] {
        let centre = [0, 1].map(|axis| (at[axis] - 0.5).floor() + steps[axis] + 0.5);
        let weight: f64 = [0, 1].map(|axis| 1.0 - (at[axis] - centre[axis]).abs()).iter().product();
        let inside = (0..2).all(|axis| (0.0..f64::from(size[axis])).contains(&centre[axis]));
        if inside && weight > 0.0 {
            around.push((centre, weight));
        }
    }
    let total: f64 = around.iter().map(|(_, weight)| weight).sum();
    around.iter_mut().for_each(|(_, weight)| *weight /= total);
    around
}
