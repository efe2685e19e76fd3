//! A loss as a differentiable operation.

use burn_autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn_core::tensor::{Tensor, TensorPrimitive, backend::Backend};
use burn_cubecl::CubeRuntime;
use splatport_kernels::Precision;

use super::{buffer, share, tensor};
use crate::{Error, Result, error::check_length, losses::DensityLoss};

/// The loss of densities as a tensor `[1]`, differentiable with respect to the densities.
///
/// Every tensor is `[images, channels, rows, columns]`, mass per cell; tensors may differ in size. Every channel of
/// every image is one image of the loss: first come the channels of the first tensor's first image, and so on. A batch
/// of images of different sizes is passed as one tensor per image. Some images may have no annotations.
///
/// The gradient is the loss's own times the incoming gradient; if the loss is differentiated directly, the bits are the
/// same. Value and gradient are computed together, in the forward pass. See [`super::buffer`] for what is copied.
///
/// # Errors
/// [`Error::Length`] unless there are as many channels as images in the loss, [`Error::OutOfRange`] naming the image
/// whose density has other rows or columns than its grid; the errors of the loss itself.
pub fn loss<B: Backend, C: CheckpointStrategy, R: CubeRuntime, P: Precision>(
    loss: &(impl DensityLoss<R, P> + ?Sized),
    densities: &[Tensor<Autodiff<B, C>, 4>],
) -> Result<Tensor<Autodiff<B, C>, 1>> {
    check_shapes(&loss.shapes(), &densities.iter().map(Tensor::dims).collect::<Vec<_>>())?;
    let parts: Vec<_> = densities.iter().map(|density| density.clone().flatten::<1>(0, 3)).collect();
    let flat = match <[_; 1]>::try_from(parts) {
        Ok([only]) => only,
        Err(parts) => Tensor::cat(parts, 0),
    };
    // Where the network computes in another float type, the conversion is part of the graph.
    let (own, wanted) = (flat.dtype(), share::float::<P>());
    let flat = if own == wanted.into() { flat } else { flat.cast(wanted) };

    let place = flat.device();
    let flat = flat.into_primitive().tensor();
    let density = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(flat.primitive));
    let device = loss.device();
    let evaluated = loss.evaluated(&buffer(device, density)?)?;
    let (images, cells) = (evaluated.values.len(), evaluated.gradient.len());
    let value = tensor::<B, 1, _, _>(device, &evaluated.values, [images], &place)?.sum().into_primitive().tensor();
    let output = match LossBackward.prepare::<C>([flat.node]).compute_bound().stateful() {
        OpsKind::UnTracked(prepared) => prepared.finish(value),
        OpsKind::Tracked(prepared) => {
            let gradient = tensor::<B, 1, _, _>(device, &evaluated.gradient, [cells], &place)?;
            prepared.finish(gradient.into_primitive().tensor(), value)
        }
    };
    Ok(Tensor::from_primitive(TensorPrimitive::Float(output)))
}

/// Checks densities, `[images, channels, rows, columns]` each, against the rows and columns of the loss's images.
fn check_shapes(wanted: &[[usize; 2]], got: &[[usize; 4]]) -> Result<()> {
    let got: Vec<[usize; 2]> = got.iter().flat_map(|&[n, c, h, w]| std::iter::repeat_n([h, w], n * c)).collect();
    check_length("densities", wanted.len(), got.len())?;
    for (index, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
        for (what, axis) in [("rows of density", 0), ("columns of density", 1)] {
            let (value, grid) = (got[axis] as f64, wanted[axis] as f64);
            if value != grid {
                return Err(Error::OutOfRange { what, index, value, min: grid, max: grid });
            }
        }
    }
    Ok(())
}

/// The backward pass: the loss's gradient, which the forward pass stored, times that of the output.
#[derive(Debug)]
struct LossBackward;

impl<B: Backend> Backward<B, 1> for LossBackward {
    type State = B::FloatTensorPrimitive;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        unary::<B, _>(ops.parents, ops.node, grads, |above| B::float_mul(ops.state, above));
    }
}
