//! The losses that the method is compared with, among them all of the paper's comparison. None needs a fitted Splat.
//!
//! | type | plan | loss | gradient |
//! |---|---|---|---|
//! | [`L2`] | none | squared distance from painted Gaussians | of that |
//! | [`Bayesian`] | fixed: the posterior of Gaussians of known scales | as the method's own [`Loss`](crate::Loss) | of that |
//! | [`DmCount`] | balanced | 0.1 transport + count + 0.01 total variation | of the sum; published: transport has one, but no value |
//! | [`Unbalanced`] | relaxed | the entropic optimum | of that optimum |
//! | [`Generalized`] | relaxed | transport + the plan's errors in the marginals + entropy | with the potentials held constant |
//! | [`HeatmapTransport`] | balanced, one joint per channel | the entropic optimum | of that optimum |
//! | [`Sinkhorn`] | balanced, or relaxed by `rho KL` on each side | the entropic optimum itself | of that optimum |
//!
//! Each loss is a plain value that can be stored and needs neither a device nor an image. `on` binds it to the grids
//! and annotations of a batch of images, which may differ in size; `evaluate` takes the densities of the whole batch.
//! Losses that solve a transport problem return a [`Step`]: value, gradient, transported mass, a report on each solver
//! and, on demand, potentials, cost and the plan, as sparse rows or as tables of kernels. [`DensityLoss`] is the
//! interface of all of them and of the method's own loss.
//!
//! ```
//! use splatport::{Annotations, Grid, Vulkan, losses::{DmCount, DmProfile}};
//!
//! let device = Vulkan::best()?;
//! let points = Annotations::new(vec![[12.0, 20.0], [50.5, 33.0]])?;
//! let loss = DmCount::new(DmProfile::default()).on(&device, &[(Grid::over(64, 48, 8), &points)])?;
//! let step = loss.evaluate(&device.filled(0.05f32, 8 * 6))?;
//! // 2.4 objects where there are 2, and all of what is there is carried to the two.
//! assert!(step.value()? > 0.4 && step.reports()[0].converged);
//! assert!(step.transported().read()?.iter().all(|share| (share - 0.5).abs() < 0.01));
//! # Ok::<(), splatport::Error>(())
//! ```
//!
//! Densities are mass per cell, 0 to 1e9, one image after the other. Costs are in px² or px unless stated otherwise.

/// Setters of options that have defaults: the name, the type, and the field that takes the value.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $($field:ident).+;)*) => { $(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.$($field).+ = $name;
            self
        }
    )* };
}
use setters;

mod any;
mod bayesian;
mod dm_count;
mod generalized;
mod heatmap;
mod l2;
mod scales;
mod scenes;
mod sinkhorn;
mod step;
mod transport;
mod unbalanced;

pub use any::{DensityLoss, Evaluated};
pub use bayesian::Bayesian;
pub use dm_count::{DmCount, DmProfile, OtEntropy};
pub use generalized::{Generalized, GlProfile, GridOffset};
pub use heatmap::{Demanders, HeatmapTransport, Pose};
pub use l2::{Border, L2, L2Loss, L2Step, Reduction, Sampling};
pub use scales::Scales;
pub use scenes::{Coordinates, Epsilon, Ground, Scene, Solver};
pub use sinkhorn::{Marginals, Sinkhorn};
pub use splatport_kernels::sinkhorn::{CostGradient, PlanRows, Report};
pub use step::Step;
pub(crate) use step::joined;
pub use transport::TransportLoss;
pub use unbalanced::{ReferenceMeasure, Unbalanced, UotForm};
