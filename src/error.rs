//! The crate's errors: one variant for each kind of problem, carrying the values that are wrong.

use std::path::{Path, PathBuf};

use splatport_kernels::{
    Buffer, Device, HostReal, Precision, Real,
    cubecl::{Runtime, client::ComputeClient},
};

/// The result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The cause of a failed read or write: an I/O error or a decoder's error.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Every error of this crate.
///
/// A message is one line and never repeats its [`source`](std::error::Error::source), so printing the whole chain
/// repeats nothing.
///
/// ```
/// use splatport::Error;
///
/// let error = Error::Length { what: "pixels", expected: 12, got: 11 };
/// assert_eq!(error.to_string(), "pixels: expected 12 values, got 11");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A device is missing, refuses the precision, or failed.
    #[error(transparent)]
    Device(#[from] splatport_kernels::Error),
    /// A file cannot be opened, read or decoded.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Source,
    },
    /// Bytes in memory cannot be decoded.
    #[error("cannot decode the {what}")]
    Decode {
        /// What the bytes should be.
        what: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// A file cannot be written; whatever was at `path` before is unchanged.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Source,
    },
    /// A file was read, but its content is not what it should be, or its name has an unknown file extension.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The line, column, array or name that is wrong, and how.
        reason: String,
    },
    /// A named column of annotations is missing or is not numeric.
    #[error("column `{name}`: {reason}")]
    Column {
        /// The column.
        name: String,
        /// The row that is wrong and its text, or the columns that exist.
        reason: String,
    },
    /// Something that must hold at least one value holds none.
    #[error("{what} is empty")]
    Empty {
        /// What is empty.
        what: &'static str,
    },
    /// The operation needs something that this value does not have.
    #[error("{what} is missing: {remedy}")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// How to get it.
        remedy: &'static str,
    },
    /// A slice does not have the length that the other arguments require.
    #[error("{what}: expected {expected} values, got {got}")]
    Length {
        /// The slice.
        what: &'static str,
        /// The number of values it needs.
        expected: usize,
        /// The number of values it has.
        got: usize,
    },
    /// A value is NaN or infinite.
    #[error("{what}[{index}] is {value}, not a finite number")]
    NotFinite {
        /// The slice.
        what: &'static str,
        /// The row, from 0.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A value is finite, but outside its range.
    #[error("{what}[{index}] is {value}, outside {min}..={max}")]
    OutOfRange {
        /// The slice.
        what: &'static str,
        /// The row, from 0.
        index: usize,
        /// The value.
        value: f64,
        /// The smallest value allowed.
        min: f64,
        /// The largest value allowed.
        max: f64,
    },
    /// An image or a color has a number of channels other than 1 or 3.
    #[error("expected 1 or 3 channels, got {got}")]
    Channels {
        /// The number of channels.
        got: usize,
    },
    /// An option was set to a value it cannot have.
    #[error("option `{name}` is {value}: {why}")]
    Option {
        /// The option.
        name: &'static str,
        /// The value.
        value: f64,
        /// What it must be.
        why: &'static str,
    },
    /// A name is not among the known ones.
    #[error("{what} `{name}` is not one of {known}")]
    Unknown {
        /// The kind of thing that is named.
        what: &'static str,
        /// The name.
        name: String,
        /// The known names.
        known: &'static str,
    },
    /// Values that belong together are on different devices.
    #[error("{what} is not on the device {device}")]
    OtherDevice {
        /// What is on another device.
        what: &'static str,
        /// The device it should be on.
        device: String,
    },
    /// The caller's model failed.
    #[error("the model failed")]
    Model {
        /// Why.
        #[source]
        source: Source,
    },
    /// Another error, about a value that came from a file.
    ///
    /// `error` is part of the message and therefore not a `source`. It is always a variant about values, which has no
    /// source of its own.
    #[error("{}: {error}", path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// The error.
        error: Box<Error>,
    },
}

impl Error {
    /// Names the file that the wrong value came from.
    pub(crate) fn within(self, path: &Path) -> Self {
        Self::In { path: path.into(), error: Box::new(self) }
    }

    /// Wraps the reason why a [`DensityModel`](crate::train::DensityModel) failed as an error of this crate.
    pub fn model(source: impl Into<Source>) -> Self {
        Self::Model { source: source.into() }
    }

    /// A file that cannot be read, and why.
    pub(crate) fn read(path: &Path, source: impl Into<Source>) -> Self {
        Self::Read { path: path.into(), source: source.into() }
    }

    /// A file that cannot be written, and why.
    pub(crate) fn write(path: &Path, source: impl Into<Source>) -> Self {
        Self::Write { path: path.into(), source: source.into() }
    }

    /// A file whose content is not what it should be.
    pub(crate) fn format(path: &Path, reason: impl Into<String>) -> Self {
        Self::Format { path: path.into(), reason: one_line(&reason.into()) }
    }
}

/// A message that quotes a file, on one line: control characters are escaped.
pub(crate) fn one_line(text: &str) -> String {
    let character = |c: char| if c.is_control() { c.escape_default().collect() } else { String::from(c) };
    text.chars().map(character).collect()
}

/// Rejects sides of 0, by name.
pub(crate) fn check_sides<const N: usize>(sides: [u32; N], names: [&'static str; N]) -> Result<()> {
    match sides.iter().position(|&side| side == 0) {
        None => Ok(()),
        Some(at) => Err(Error::Empty { what: names[at] }),
    }
}

/// Rejects a length other than `expected`.
pub(crate) fn check_length(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if got == expected { Ok(()) } else { Err(Error::Length { what, expected, got }) }
}

/// Rejects values that are not finite in the float `F` of a device: 1e39 is infinite in `f32`.
pub(crate) fn check_real<F: Real>(what: &'static str, values: &[f64]) -> Result<()> {
    check_finite(what, 1, values)?;
    let max = F::max_value().cast_to_f64();
    match values.iter().position(|&value| !is_real::<F>(value)) {
        None => Ok(()),
        Some(index) => Err(Error::OutOfRange { what, index, value: values[index], min: -max, max }),
    }
}

/// Whether a number is finite once it is rounded to the float `F`.
pub(crate) fn is_real<F: Real>(value: f64) -> bool {
    F::cast_from_f64(value).cast_to_f64().is_finite()
}

/// Rejects arrays of another device: CubeCL would mistake this device's memory for theirs.
pub(crate) fn check_device<R: Runtime, P: Precision>(
    what: &'static str,
    device: &Device<R, P>,
    client: &ComputeClient<R>,
) -> Result<()> {
    if device.is_of(client) { Ok(()) } else { Err(Error::OtherDevice { what, device: device.name().to_owned() }) }
}

/// Rejects an array of the wrong length or on another device.
pub(crate) fn check_array<R: Runtime, P: Precision>(
    what: &'static str,
    device: &Device<R, P>,
    expected: usize,
    array: &Buffer<R, P::Real>,
) -> Result<()> {
    check_length(what, expected, array.len())?;
    check_device(what, device, array.client())
}

/// Rejects NaN and infinities; the index in the error is the row, of `per_row` values.
pub(crate) fn check_finite<T: Copy + Into<f64>>(what: &'static str, per_row: usize, values: &[T]) -> Result<()> {
    match values.iter().position(|&value| !value.into().is_finite()) {
        None => Ok(()),
        Some(at) => {
            let index = at / per_row.max(1);
            Err(Error::NotFinite { what, index, value: values[at].into() })
        }
    }
}
