//! A device with a chosen precision. It is admitted only if it computes a few known values correctly.

use std::{
    any::Any,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
};

use cubecl::{calculate_cube_count_elemwise, ir::features::Plane, prelude::*};

use crate::{
    Error, Result,
    buffer::Buffer,
    real::{HostReal, Precision, Real, Single, Storage, weight_of},
};

/// How a step of the fit is spread over a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Without barriers: for devices whose units run one after the other.
    Gathered,
    /// One cube for eight tiles: for GPUs.
    Tiled,
}

/// A device and the precision in which it computes.
///
/// Every stage is generic over both and infers them from the device that it is given.
///
/// ```
/// # #[cfg(feature = "vulkan")] {
/// use splatport_kernels::{Half, Vulkan};
///
/// let single = Vulkan::best()?;
/// let half = single.with_precision(Half)?; // weights of kernels in 16 bits, everything else as before
/// assert_eq!(half.name(), single.name());
/// # }
/// # Ok::<(), splatport_kernels::Error>(())
/// ```
pub struct Device<R: Runtime, P: Precision = Single> {
    client: ComputeClient<R>,
    name: String,
    shape: Shape,
    precision: PhantomData<P>,
}

impl<R: Runtime, P: Precision> Clone for Device<R, P> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), name: self.name.clone(), shape: self.shape, precision: PhantomData }
    }
}

impl<R: Runtime, P: Precision> std::fmt::Debug for Device<R, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Device({}, {})", self.name, P::NAME)
    }
}

impl<R: Runtime> Device<R, Single> {
    /// Admits a device of any CubeCL runtime.
    ///
    /// # Errors
    /// [`Error::UnsupportedFloat`] when the device fails the numeric self-check in `f32`, [`Error::Device`] with the
    /// message of its runtime's panic: CubeCL's runtimes panic where there is no driver or no such device.
    pub fn new(device: &R::Device) -> Result<Self> {
        let client = catch_unwind(AssertUnwindSafe(|| R::client(device))).map_err(|panic| refused(&*panic))?;
        let name = format!("{} {device:?}", R::name(&client));
        // CubeCL reports CPU-class devices without plane operations.
        let shape = match client.properties().features.plane.contains(Plane::Ops) {
            true => Shape::Tiled,
            false => Shape::Gathered,
        };
        let device = Self { client, name, shape, precision: PhantomData };
        device.self_check()?;
        Ok(device)
    }
}

impl<R: Runtime, P: Precision> Device<R, P> {
    /// The same device in another precision: [`Single`], [`crate::Half`], [`crate::BFloat`], [`crate::Fixed`] or
    /// [`crate::Double`].
    ///
    /// # Errors
    /// [`Error::UnsupportedFloat`] when the device lacks the type or fails the numeric self-check: some drivers claim
    /// `f64` and return garbage for `exp`.
    pub fn with_precision<Q: Precision>(&self, _precision: Q) -> Result<Device<R, Q>> {
        let device = Device::<R, Q> {
            client: self.client.clone(),
            name: self.name.clone(),
            shape: self.shape,
            precision: PhantomData,
        };
        device.self_check()?;
        Ok(device)
    }

    /// How a step of the fit is spread over the device: tiled on GPUs, gathered on CPU-class devices.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The same device with another shape, for tests and measurements.
    pub fn with_shape(&self, shape: Shape) -> Self {
        Self { shape, ..self.clone() }
    }

    /// Runtime and device, as the driver names them.
    pub fn name(&self) -> &str {
        &self.name
    }

    #[cfg(feature = "wgpu")]
    pub(crate) fn named(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    /// CubeCL's client, for launches of your own.
    pub fn client(&self) -> &ComputeClient<R> {
        &self.client
    }

    /// Whether `client` belongs to this device, whose functions cannot use the arrays of another.
    pub fn is_of(&self, client: &ComputeClient<R>) -> bool {
        // All clients of a device share its properties.
        std::ptr::eq(self.client.properties(), client.properties())
    }

    /// Copies `values` to the device.
    ///
    /// # Panics
    /// When the array is larger than the device's largest buffer, with the message of the error that
    /// [`Device::try_upload`] returns.
    #[track_caller]
    pub fn upload<E: CubeElement>(&self, values: &[E]) -> Buffer<R, E> {
        self.try_upload("array", values).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Copies `values` to the device, rounded to the precision's float.
    ///
    /// # Panics
    /// As [`Device::upload`].
    #[track_caller]
    pub fn upload_f64(&self, values: &[f64]) -> Buffer<R, P::Real> {
        self.try_upload_f64("array", values).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Like [`Device::upload`], for arrays that may be too large; `what` names the array in the error.
    ///
    /// # Errors
    /// As [`Device::check_room`].
    pub fn try_upload<E: CubeElement>(&self, what: &'static str, values: &[E]) -> Result<Buffer<R, E>> {
        self.check_room::<E>(what, values.len())?;
        Ok(Buffer::from_slice(&self.client, values))
    }

    /// Like [`Device::upload_f64`], for arrays that may be too large; `what` names the array in the error.
    ///
    /// # Errors
    /// As [`Device::check_room`].
    pub fn try_upload_f64(&self, what: &'static str, values: &[f64]) -> Result<Buffer<R, P::Real>> {
        self.check_room::<P::Real>(what, values.len())?;
        let rounded: Vec<P::Real> = values.iter().map(|&v| P::Real::cast_from_f64(v)).collect();
        Ok(Buffer::from_slice(&self.client, &rounded))
    }

    /// Copies bytes to the device, one slice after the other, then zeros up to a multiple of `quantum` bytes, itself
    /// one of 4.
    pub(crate) fn upload_bytes(&self, parts: &[&[u8]], quantum: usize) -> Buffer<R, u32> {
        Buffer::from_bytes(&self.client, parts, quantum)
    }

    /// `len` elements of recycled memory, for an operation that writes them all.
    pub(crate) fn uninit<E: CubeElement>(&self, len: usize) -> Buffer<R, E> {
        Buffer::uninit(&self.client, len)
    }

    /// The same for lengths that follow from the data.
    ///
    /// # Errors
    /// As [`Device::check_room`].
    pub(crate) fn room<E: CubeElement>(&self, what: &'static str, len: usize) -> Result<Buffer<R, E>> {
        self.check_room::<E>(what, len)?;
        Ok(self.uninit(len))
    }

    /// The same for many arrays that lie in one; see [`Buffer::uninit_parts`].
    ///
    /// # Errors
    /// As [`Device::check_room`], of all together.
    pub(crate) fn room_for_parts<E: CubeElement>(
        &self,
        what: &'static str,
        lens: &[usize],
    ) -> Result<Vec<Buffer<R, E>>> {
        self.check_room::<E>(what, Buffer::<R, E>::len_of_parts(lens))?;
        Ok(Buffer::uninit_parts(&self.client, lens))
    }

    /// Checks that a buffer of the device can hold `len` elements; `what` names the array in the error.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the 32-bit indices of device functions do not reach the last element; [`Error::NoRoom`]
    /// when no buffer is that large (CubeCL would panic if asked for one).
    pub fn check_room<E: CubeElement>(&self, what: &'static str, len: usize) -> Result<()> {
        let (count, most) = (len as u64, u64::from(u32::MAX));
        if count > most {
            return Err(Error::TooLarge { what, count, most });
        }
        let bytes = (len as u64).saturating_mul(size_of::<E>() as u64);
        let largest = self.client.properties().memory.max_page_size;
        if bytes > largest { Err(Error::NoRoom { what, bytes, largest }) } else { Ok(()) }
    }

    /// Checks that one unit can run `rounds` rounds of a loop; `what` names them in the error.
    ///
    /// # Errors
    /// [`Error::Count`] if it cannot: software Vulkan silently ends a unit's loops after 65535 rounds in all.
    pub fn check_rounds(&self, what: &'static str, rounds: u32) -> Result<()> {
        match self.shape {
            Shape::Gathered if rounds > MOST_ROUNDS => {
                Err(Error::Count { what, value: rounds, min: 0, max: MOST_ROUNDS })
            }
            _ => Ok(()),
        }
    }

    /// An array of `len` elements, all equal to `value`.
    ///
    /// # Panics
    /// As [`Device::upload`].
    #[track_caller]
    pub fn filled<E: CubeElement>(&self, value: E, len: usize) -> Buffer<R, E> {
        self.upload(&vec![value; len])
    }

    /// Waits until everything launched so far has finished.
    ///
    /// # Errors
    /// [`Error::Device`] when a launch failed.
    pub fn wait(&self) -> Result<()> {
        self.client.flush()?;
        Ok(cubecl::future::block_on(self.client.sync())?)
    }

    /// A launch of one unit per element.
    pub(crate) fn per_unit(&self, units: usize) -> (CubeCount, CubeDim) {
        let dim = CubeDim::new_1d(UNITS);
        (calculate_cube_count_elemwise(&self.client, units, dim), dim)
    }

    /// A launch of one cube of `TILE x TILE` units per tile.
    pub(crate) fn per_tile(&self, tiles: usize) -> (CubeCount, CubeDim) {
        let dim = CubeDim::new_1d(crate::bins::TILE * crate::bins::TILE);
        let units = tiles * dim.num_elems() as usize;
        (calculate_cube_count_elemwise(&self.client, units, dim), dim)
    }

    /// A launch of `units` units in cubes of `cube`, for units that work together.
    pub(crate) fn per_cube(&self, units: usize, cube: u32) -> (CubeCount, CubeDim) {
        let dim = CubeDim::new_1d(cube);
        (calculate_cube_count_elemwise(&self.client, units, dim), dim)
    }

    fn self_check(&self) -> Result<()> {
        check_float::<R, P::Real>(self)?;
        if P::Weight::type_name() == P::Real::type_name() {
            return Ok(());
        }
        check_storage::<R, P::Real, P::Weight>(self)
    }
}

/// Rounds of one loop that leave enough of the 65535 for the searches beside it.
const MOST_ROUNDS: u32 = 65_000;

/// A panic of CubeCL as an error.
fn refused(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    let reason = text.and_then(|text| text.lines().next()).unwrap_or("it panicked without a message");
    Error::Device { reason: reason.to_owned() }
}

/// Units of a one-dimensional cube: a multiple of every plane size seen (8 on lavapipe, 32, 64).
const UNITS: u32 = 64;

#[cube(launch)]
fn known_values<F: Real>(inputs: &Array<F>, outputs: &mut Array<F>) {
    if ABSOLUTE_POS < inputs.len() {
        let x = inputs[ABSOLUTE_POS];
        let at = ABSOLUTE_POS * 4;
        outputs[at] = x.exp();
        outputs[at + 1] = x.ln();
        outputs[at + 2] = x.sqrt();
        outputs[at + 3] = x.cos() * x.sin();
    }
}

#[cube(launch)]
fn stored_and_back<F: Real, W: Storage>(inputs: &Array<F>, stored: &mut Array<W>, outputs: &mut Array<F>) {
    if ABSOLUTE_POS < inputs.len() {
        stored[ABSOLUTE_POS] = W::cast_from(inputs[ABSOLUTE_POS] / F::new(comptime!(W::UNIT)));
        outputs[ABSOLUTE_POS] = weight_of::<F, W>(stored[ABSOLUTE_POS]);
    }
}

const PROBES: [f64; 6] = [0.0625, 0.3, 1.0, 2.5, 7.75, 20.0];

fn refuse<R: Runtime, P: Precision>(device: &Device<R, P>, float: &'static str, reason: String) -> Error {
    Error::UnsupportedFloat { float, device: device.name.clone(), reason }
}

fn require_type<R: Runtime, P: Precision, F: Storage>(device: &Device<R, P>) -> Result<()> {
    let storage = F::as_type_native_unchecked().storage_type();
    let atomics = device.client.properties().atomic_type_usage(Type::new(StorageType::Atomic(storage.elem_type())));
    // CUDA does not name `f64`, since CubeCL's products of matrices fail with it there, but its atomics.
    if F::supported_uses(&device.client).is_empty() && atomics.is_empty() {
        return Err(refuse(device, F::type_name(), "the driver does not offer the type".to_owned()));
    }
    Ok(())
}

fn check_float<R: Runtime, F: Real>(device: &Device<R, impl Precision>) -> Result<()> {
    require_type::<R, _, F>(device)?;
    let inputs: Vec<F> = PROBES.iter().map(|&p| F::cast_from_f64(p)).collect();
    let (input, output) = (device.upload(&inputs), device.filled(F::cast_from_f64(-7.0), inputs.len() * 4));
    let (count, dim) = device.per_unit(inputs.len());
    known_values::launch::<F, R>(&device.client, count, dim, input.arg(), output.arg());
    let outputs = output.read().map_err(|e| refuse(device, F::type_name(), e.to_string()))?;
    for (i, &input) in inputs.iter().enumerate() {
        let x = input.cast_to_f64();
        let wanted = [x.exp(), x.ln(), x.sqrt(), x.cos() * x.sin()];
        for (name, (want, got)) in ["exp", "ln", "sqrt", "sin cos"].iter().zip(wanted.iter().zip(&outputs[4 * i..])) {
            let got = got.cast_to_f64();
            // Vulkan allows exp an error of (3 + 2|x|) u and sin, cos 2^-11 absolute; CUDA is tighter. A type that is
            // merely claimed is off by far more than 2^-10 of the value.
            if (got - want).abs().is_nan() || (got - want).abs() > want.abs().max(1.0) / 1024.0 {
                return Err(refuse(device, F::type_name(), format!("{name}({x}) gave {got:e}, not {want:e}")));
            }
            // f64 that was computed in f32 is no f64.
            let unit = F::EPSILON.cast_to_f64();
            if *name == "exp" && (got - want).abs() > want * unit * (8.0 + 4.0 * x.abs()) {
                return Err(refuse(device, F::type_name(), format!("{name}({x}) gave {got:e}, not {want:e}")));
            }
        }
    }
    Ok(())
}

fn check_storage<R: Runtime, F: Real, W: Storage>(device: &Device<R, impl Precision>) -> Result<()> {
    require_type::<R, _, W>(device)?;
    // Weights lie in 0..1.
    let inputs: Vec<F> = PROBES.iter().map(|&p| F::cast_from_f64(p / 32.0)).collect();
    let (stored, output) = (device.uninit::<W>(inputs.len()), device.filled(F::cast_from_f64(-7.0), inputs.len()));
    let (count, dim) = device.per_unit(inputs.len());
    stored_and_back::launch::<F, W, R>(
        &device.client,
        count,
        dim,
        device.upload(&inputs).arg(),
        stored.arg(),
        output.arg(),
    );
    let outputs = output.read().map_err(|e| refuse(device, W::type_name(), e.to_string()))?;
    for (input, got) in inputs.iter().zip(outputs) {
        let (want, got) = (input.cast_to_f64(), got.cast_to_f64());
        if (got - want).abs().is_nan() || (got - want).abs() > W::error(want) {
            return Err(refuse(device, W::type_name(), format!("stored {want}, read {got}")));
        }
    }
    Ok(())
}
