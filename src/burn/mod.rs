//! Trains [Burn](https://burn.dev) networks: every loss is a differentiable operation on Burn tensors.
//!
//! [`loss`] takes densities from a network, in any backend under Burn's `Autodiff`, and returns the loss as a tensor.
//! With a CubeCL backend on the same device and without fusion, tensors and [`Buffer`](crate::Buffer)s share memory;
//! any other backend, such as Burn's on the CPU, costs a copy of the densities to the host and of the gradient back.
//!
//! ```
//! use burn_autodiff::Autodiff;
//! use burn_core::tensor::Tensor;
//! use burn_flex::Flex;
//! use splatport::{Grid, Image, Splat, Annotations, Vulkan};
//!
//! let device = Vulkan::best()?;
//! let image = Image::from_u8(32, 32, 1, vec![0; 32 * 32])?;
//! let points = Annotations::new(vec![[10.0, 12.0], [22.5, 20.5]])?;
//! let kernel = Splat::of(&image, &points).fit(&device)?.kernel(Grid::strided(&image, 8)).build()?;
//!
//! type Cpu = Autodiff<Flex>;
//! let density = Tensor::<Cpu, 4>::full([1, 1, 4, 4], 0.01, &Default::default()).require_grad();
//! let loss = splatport::burn::loss(&kernel.loss(), &[density.clone()])?;
//! let gradients = loss.backward();
//! assert_eq!(density.grad(&gradients).unwrap().dims(), [1, 1, 4, 4]);
//! # Ok::<(), splatport::Error>(())
//! ```

pub mod networks;
mod operation;
mod parameters;
mod predict;
mod share;
mod trainer;

pub use burn_cubecl::CubeRuntime;
pub use indicatif::ProgressBar;
pub use operation::loss;
pub use predict::{Windows, predict};
pub use share::{buffer, tensor};
pub use trainer::{Epoch, History, Trainer};
