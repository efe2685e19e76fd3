//! A typed array on a device. Only this file knows CubeCL's array arguments, and only it has `unsafe` code.

use std::{marker::PhantomData, ops::Range, sync::Arc};

use cubecl::{bytes::Bytes, prelude::*, server::Handle};

use crate::{
    Error, Result,
    real::{HostReal, Real},
};

/// An array of `len` elements in the memory of one device.
///
/// Cloning shares the memory. Reading back waits for all earlier launches and returns their errors.
///
/// ```
/// # #[cfg(feature = "vulkan")] {
/// let device = splatport_kernels::Vulkan::best()?;
/// let numbers = device.upload(&[1.0f32, 2.5, -3.0]);
/// let shared = numbers.clone();
/// assert_eq!((shared.len(), shared.read_f64()?), (3, vec![1.0, 2.5, -3.0]));
/// # }
/// # Ok::<(), splatport_kernels::Error>(())
/// ```
pub struct Buffer<R: Runtime, E: CubeElement> {
    client: ComputeClient<R>,
    handle: Handle,
    len: usize,
    element: PhantomData<E>,
    /// The array that it is a part of, and its first element there.
    whole: Option<(Arc<Self>, usize)>,
}

/// Where a part of an array may begin, bytes: Vulkan asks for 256 at most.
const ALIGNED: usize = 512;

impl<R: Runtime, E: CubeElement> Clone for Buffer<R, E> {
    fn clone(&self) -> Self {
        Self { whole: self.whole.clone(), ..Self::of(&self.client, self.handle.clone(), self.len) }
    }
}

impl<R: Runtime, E: CubeElement> std::fmt::Debug for Buffer<R, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer<{}>[{}]", E::type_name(), self.len)
    }
}

impl<R: Runtime, E: CubeElement> Buffer<R, E> {
    /// Copies `values` to the device.
    ///
    /// # Panics
    /// CubeCL panics when the device has no buffer that large; [`crate::Device::try_upload`] checks first.
    pub fn from_slice(client: &ComputeClient<R>, values: &[E]) -> Self {
        // A zero-sized allocation is no valid binding on every backend: hold a quad, say zero.
        let handle = if values.is_empty() {
            client.empty(4 * size_of::<E>())
        } else {
            client.create_from_slice(E::as_bytes(values))
        };
        Self::of(client, handle, values.len())
    }

    /// Copies bytes, one slice after the other, then zeros up to a multiple of `quantum` bytes, itself one of an
    /// element's.
    pub(crate) fn from_bytes(client: &ComputeClient<R>, parts: &[&[u8]], quantum: usize) -> Self {
        let size = parts.iter().map(|part| part.len()).sum::<usize>().next_multiple_of(quantum);
        let mut bytes = Vec::with_capacity(size);
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes.resize(size, 0);
        // CubeCL takes what it is given; a slice it would copy once more.
        let handle = client.create(Bytes::from_bytes_vec(bytes));
        Self::of(client, handle, size / size_of::<E>())
    }

    /// `len` elements of recycled memory: whoever asks for it writes every element.
    pub(crate) fn uninit(client: &ComputeClient<R>, len: usize) -> Self {
        let handle = client.empty(len.max(4) * size_of::<E>());
        Self::of(client, handle, len)
    }

    /// The same for many arrays that lie in one, which a launch can take for all of them.
    pub(crate) fn uninit_parts(client: &ComputeClient<R>, lens: &[usize]) -> Vec<Self> {
        let whole = Arc::new(Self::uninit(client, Self::len_of_parts(lens)));
        let mut end = 0;
        let part = |&len: &usize| {
            let start = end;
            end += Self::extent(len);
            let [before, until] = [start, end].map(|at| (at * size_of::<E>()) as u64);
            let behind = whole.handle.size_in_used() - until;
            let handle = whole.handle.clone().offset_start(before).offset_end(behind);
            Self { whole: Some((whole.clone(), start)), ..Self::of(client, handle, len) }
        };
        lens.iter().map(part).collect()
    }

    /// Elements of the array that parts of these lengths lie in.
    pub(crate) fn len_of_parts(lens: &[usize]) -> usize {
        lens.iter().map(|&len| Self::extent(len)).sum()
    }

    /// Elements that a part takes: up to the next place where one may begin, and some, because no binding may be empty.
    fn extent(len: usize) -> usize {
        len.max(1).next_multiple_of(ALIGNED / size_of::<E>())
    }

    /// The array that this is a part of, and the first element's place there.
    pub(crate) fn whole(&self) -> Option<(&Arc<Self>, usize)> {
        self.whole.as_ref().map(|(whole, place)| (whole, *place))
    }

    fn of(client: &ComputeClient<R>, handle: Handle, len: usize) -> Self {
        Self { client: client.clone(), handle, len, element: PhantomData, whole: None }
    }

    /// The first `len` elements of memory that other CubeCL code allocated with `client`. Nothing is copied.
    ///
    /// # Errors
    /// [`Error::Length`] when the memory is smaller.
    pub fn from_handle(client: &ComputeClient<R>, handle: Handle, len: usize) -> Result<Self> {
        let got = handle.size_in_used() as usize / size_of::<E>();
        if got < len.max(1) {
            return Err(Error::Length { what: "shared memory", expected: len.max(1), got });
        }
        Ok(Self::of(client, handle, len))
    }

    /// The memory, for use by other CubeCL code. Cloning the handle copies nothing.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// CubeCL's client of the device that holds the array.
    pub fn client(&self) -> &ComputeClient<R> {
        &self.client
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the array is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The size in device memory, bytes.
    pub fn bytes(&self) -> usize {
        self.len * size_of::<E>()
    }

    /// Waits for the device and copies the elements to the host.
    ///
    /// # Errors
    /// [`Error::Device`] when any launch since the last read-back failed.
    pub fn read(&self) -> Result<Vec<E>> {
        if self.len == 0 {
            return Ok(Vec::new());
        }
        // A failed launch leaves stale memory behind that reads without an error; only a flush tells.
        self.client.flush()?;
        let bytes = self.client.read_one(self.handle.clone())?;
        Ok(self.elements(&bytes))
    }

    /// The elements as `f64`, which represents every `f32`, `f16` and `bf16` exactly.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_f64(&self) -> Result<Vec<f64>>
    where
        E: Real,
    {
        Ok(self.read()?.into_iter().map(HostReal::cast_to_f64).collect())
    }

    /// Reads two buffers at the cost of one wait.
    ///
    /// # Errors
    /// [`Error::Device`] when any launch since the last read-back failed.
    pub fn read_with<O: CubeElement>(&self, other: &Buffer<R, O>) -> Result<(Vec<E>, Vec<O>)> {
        self.read_pair(self.handle.clone(), other)
    }

    /// The same for some elements, whose place in bytes is a multiple of 4.
    pub(crate) fn read_part_with<O: CubeElement>(
        &self,
        elements: Range<usize>,
        other: &Buffer<R, O>,
    ) -> Result<(Vec<E>, Vec<O>)> {
        if elements.end > self.len {
            return Err(Error::Length { what: "elements to read", expected: elements.end, got: self.len });
        }
        if elements.is_empty() {
            return Ok((Vec::new(), other.read()?));
        }
        let [before, end] = [elements.start, elements.end].map(|at| (at * size_of::<E>()) as u64);
        let behind = self.handle.size_in_used() - end;
        self.read_pair(self.handle.clone().offset_start(before).offset_end(behind), other)
    }

    fn read_pair<O: CubeElement>(&self, own: Handle, other: &Buffer<R, O>) -> Result<(Vec<E>, Vec<O>)> {
        self.client.flush()?;
        let mut bytes = cubecl::future::block_on(self.client.read_async(vec![own, other.handle.clone()]))?.into_iter();
        let own = bytes.next().map_or_else(Vec::new, |bytes| self.elements(&bytes));
        Ok((own, bytes.next().map_or_else(Vec::new, |bytes| other.elements(&bytes))))
    }

    /// Reads many buffers of one device at the cost of one wait.
    ///
    /// # Errors
    /// [`Error::Device`] when any launch since the last read-back failed.
    pub fn read_all(buffers: &[&Self]) -> Result<Vec<Vec<E>>> {
        let Some(Self { client, .. }) = buffers.first() else { return Ok(Vec::new()) };
        client.flush()?;
        let handles = buffers.iter().map(|buffer| buffer.handle.clone()).collect();
        let bytes = cubecl::future::block_on(client.read_async(handles))?;
        Ok(buffers.iter().zip(bytes).map(|(buffer, bytes)| buffer.elements(&bytes)).collect())
    }

    /// What was read, without what lies behind it.
    fn elements(&self, bytes: &[u8]) -> Vec<E> {
        let mut elements: Vec<E> = bytemuck::pod_collect_to_vec(bytes);
        elements.truncate(self.len);
        elements
    }

    /// The first element.
    ///
    /// # Errors
    /// [`Error::Length`] when there is none; [`Error::Device`].
    pub fn read_one(&self) -> Result<E> {
        let values = self.read()?;
        values.first().copied().ok_or(Error::Length { what: "scalar", expected: 1, got: 0 })
    }

    /// The first `len` elements, in the same memory; `len` is at most the buffer's.
    pub(crate) fn first(&self, len: usize) -> Self {
        Self { len: len.min(self.len), ..self.clone() }
    }

    /// Checks the length.
    pub(crate) fn expect(&self, what: &'static str, expected: usize) -> Result<()> {
        if self.len == expected { Ok(()) } else { Err(Error::Length { what, expected, got: self.len }) }
    }

    /// The launch argument, also of an array of quads.
    #[allow(unsafe_code)]
    pub(crate) fn arg(&self) -> ArrayArg<R> {
        // SAFETY: `handle` has at least `len` elements of `E`, allocated or tested in the constructors above, and the
        // pair never changes; launches are the checked kind, which test every index against `len`.
        unsafe { ArrayArg::from_raw_parts(self.handle.clone(), self.len.max(1)) }
    }
}
