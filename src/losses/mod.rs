//! What the method is compared with: losses that solve a transport problem for every density, and need no Splat.
//!
//! | type | transport | loss | gradient |
//! |---|---|---|---|
//! | [`Sinkhorn`] | balanced, or relaxed by `rho KL` on each side | the entropic optimum itself | of that optimum |
//! | [`DmCount`] | balanced | 0.1 transport + count + 0.01 total variation | of the sum, or as published code has it |
//! | [`Unbalanced`] | relaxed | the entropic optimum | of that optimum |
//!
//! Each is a value that needs neither device nor image and can be stored. `on` binds it to the grids and annotations of a batch
//! of images of any sizes; `evaluate` solves all of them together. A [`Step`] holds value, gradient and transported mass, a
//! report on each solver and, on demand, potentials, cost and the plan as sparse rows.
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
//! Densities are mass per cell, 0 to 1e9, the images' one after the other. Costs are in px² or px unless said otherwise.

mod dm_count;
mod scenes;
mod sinkhorn;
mod step;
mod unbalanced;

pub use dm_count::{DmCount, DmCountLoss, DmProfile, OtEntropy};
pub use scenes::{Coordinates, Epsilon, Ground, Scene};
pub use sinkhorn::{Marginals, Sinkhorn, SinkhornLoss};
pub use splatport_kernels::sinkhorn::{PlanRows, Report};
pub use step::Step;
pub use unbalanced::{ReferenceMeasure, Unbalanced, UnbalancedLoss, UotForm};
