//! Tensors and buffers as the same memory, where they can be.

use std::any::Any;

use burn_core::tensor::{DType, FloatDType, Shape, Tensor, TensorData, TensorPrimitive, backend::Backend};
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use splatport_kernels::{Buffer, Device, Precision, cubecl::client::ComputeClient};

use crate::{Error, Result, error::check_length};

/// The numbers of a tensor in row-major order, on `device`.
///
/// Nothing is copied when the tensor lies on the same device in CubeCL's memory, contiguous and in the precision's float. One that is
/// transposed, or has room behind its rows, as CUDA leaves, is put in order there; a tensor of another float is converted, one of another
/// backend or device copied through the host. So is one under Burn's `Autodiff`, which hides its memory: give its `inner()`.
///
/// # Errors
/// [`Error::Device`].
pub fn buffer<B: Backend, const D: usize, R: CubeRuntime, P: Precision>(
    device: &Device<R, P>,
    tensor: Tensor<B, D>,
) -> Result<Buffer<R, P::Real>> {
    let len = tensor.shape().num_elements();
    let tensor = tensor.cast(float::<P>());
    let primitive = tensor.into_primitive().tensor();
    if let Some(shared) = (&primitive as &dyn Any).downcast_ref::<CubeTensor<R>>()
        && same_memory(&shared.client, device.client())
    {
        let shared = into_contiguous(shared.clone());
        return Ok(Buffer::from_handle(&shared.client, shared.handle, len)?);
    }
    let data = Tensor::<B, D>::from_primitive(TensorPrimitive::Float(primitive)).try_into_data().map_err(failed)?;
    Ok(device.try_upload("tensor", &bytemuck::pod_collect_to_vec::<u8, P::Real>(data.as_bytes()))?)
}

/// A tensor of the numbers of a buffer; the counterpart of [`buffer`](fn@buffer), which says when it copies: `B` is a backend without
/// `Autodiff`, and [`Tensor::from_inner`] makes the other.
///
/// # Errors
/// [`Error::Length`] when the shape has another number of elements; [`Error::Device`].
pub fn tensor<B: Backend, const D: usize, R: CubeRuntime, P: Precision>(
    device: &Device<R, P>,
    buffer: &Buffer<R, P::Real>,
    shape: [usize; D],
    place: &B::Device,
) -> Result<Tensor<B, D>> {
    check_length("tensor", shape.iter().product(), buffer.len())?;
    let dtype = DType::from(float::<P>());
    if let Some(place) = (place as &dyn Any).downcast_ref::<R::Device>() {
        let client = R::client(place);
        if same_memory(&client, device.client()) {
            let handle = buffer.handle().clone();
            let shared = CubeTensor::new_contiguous(client, place.clone(), Shape::from(shape), handle, dtype);
            if let Some(primitive) = (&mut Some(shared) as &mut dyn Any)
                .downcast_mut::<Option<B::FloatTensorPrimitive>>()
                .and_then(Option::take)
            {
                return Ok(Tensor::from_primitive(TensorPrimitive::Float(primitive)));
            }
        }
    }
    let bytes = bytemuck::cast_slice(&buffer.read()?).to_vec();
    Ok(Tensor::from_data(TensorData::from_bytes_vec(bytes, shape, dtype), (place, dtype)))
}

/// The precision's float, as Burn names it.
pub(super) fn float<P: Precision>() -> FloatDType {
    match size_of::<P::Real>() {
        8 => FloatDType::F64,
        _ => FloatDType::F32,
    }
}

/// Two clients of one device share everything but the handle to it.
fn same_memory<R: CubeRuntime>(a: &ComputeClient<R>, b: &ComputeClient<R>) -> bool {
    std::ptr::eq(a.properties(), b.properties())
}

fn failed(error: impl std::fmt::Debug) -> Error {
    splatport_kernels::Error::Device { reason: format!("Burn's tensor: {error:?}") }.into()
}
