//! Lets tensors and buffers share memory where possible.

use std::any::Any;

use burn_core::tensor::{DType, FloatDType, Shape, Tensor, TensorData, TensorPrimitive, backend::Backend};
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use splatport_kernels::{Buffer, Device, Precision, cubecl::client::ComputeClient};

use crate::{Error, Result, error::check_length};

/// The numbers of a tensor in row-major order, on `device`.
///
/// Nothing is copied when the tensor is in CubeCL's memory on the same device, contiguous and of the precision's float
/// type. A tensor that is transposed, or whose rows are padded as on CUDA, is copied into order on the device; one of
/// another float type is converted, and one of another backend or device is copied through the host. So is one under
/// Burn's `Autodiff`, which hides its memory: pass its `inner()` instead.
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

/// A tensor with the numbers of a buffer. It is the counterpart of [`buffer`](fn@buffer), where it is stated what is
/// copied. `B` is a backend without `Autodiff`; [`Tensor::from_inner`] puts the tensor under `Autodiff`.
///
/// # Errors
/// [`Error::Length`] when the shape has a different number of elements; [`Error::Device`].
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

/// Burn's name of the precision's float type.
pub(super) fn float<P: Precision>() -> FloatDType {
    match size_of::<P::Real>() {
        8 => FloatDType::F64,
        _ => FloatDType::F32,
    }
}

/// Two clients of one device share everything except the handle to it.
fn same_memory<R: CubeRuntime>(a: &ComputeClient<R>, b: &ComputeClient<R>) -> bool {
    std::ptr::eq(a.properties(), b.properties())
}

fn failed(error: impl std::fmt::Debug) -> Error {
    splatport_kernels::Error::Device { reason: format!("Burn's tensor: {error:?}") }.into()
}
