use cubecl::server::ServerError;

/// The errors of devices and device operations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device refused or failed a launch, an allocation or a copy.
    #[error("the device failed: {reason}")]
    Device {
        /// The first line of the driver's or compiler's own message.
        reason: String,
    },
    /// No device of the requested kind was found.
    #[error("no {kind} device found: {hint}")]
    NoDevice {
        /// The kind of device that was asked for.
        kind: &'static str,
        /// What to install or to choose instead.
        hint: &'static str,
    },
    /// There are devices of the requested kind, but not this one.
    #[error("no {kind} device {wanted}: there are {known}")]
    NoSuchDevice {
        /// The kind of device that was asked for.
        kind: &'static str,
        /// The requested device.
        wanted: String,
        /// The devices that exist.
        known: String,
    },
    /// The device does not compute with this float type, or computes wrongly.
    #[error("{device} does not support {float}: {reason}")]
    UnsupportedFloat {
        /// The float type, `f16` for example.
        float: &'static str,
        /// The device's name.
        device: String,
        /// The self-check's finding.
        reason: String,
    },
    /// Two arrays that belong together have different lengths.
    #[error("{what}: expected {expected} elements, got {got}")]
    Length {
        /// The array.
        what: &'static str,
        /// The number of elements needed.
        expected: usize,
        /// The number of elements given.
        got: usize,
    },
    /// Two choices that cannot be combined.
    #[error("{what} are not supported")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
    /// A count outside its range.
    #[error("{what}: {value} is not within {min}..={max}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// How many were asked for.
        value: u32,
        /// The least allowed.
        min: u32,
        /// The largest allowed.
        max: u32,
    },
    /// A number that is NaN or outside its range.
    #[error("{what}: {value} is not within {min}..={max}")]
    Number {
        /// The name of the number.
        what: &'static str,
        /// The value that was given.
        value: f64,
        /// The least allowed.
        min: f64,
        /// The largest allowed.
        max: f64,
    },
    /// More bytes than the device allows in one buffer.
    #[error("{what} takes {bytes} bytes, the device allows {largest} in one buffer")]
    NoRoom {
        /// The array that would be too large.
        what: &'static str,
        /// The number of bytes that it takes.
        bytes: u64,
        /// The number of bytes that the device allows.
        largest: u64,
    },
    /// More elements than a 32-bit index can address.
    #[error("{what}: {count} elements are more than the {most} that 32-bit indices allow")]
    TooLarge {
        /// The array that would be too large.
        what: &'static str,
        /// The number of its elements; `u32::MAX` if the device counted them and reached the end of its range.
        count: u64,
        /// The largest number allowed.
        most: u64,
    },
}

/// The result of a device operation.
pub type Result<T> = std::result::Result<T, Error>;

impl From<ServerError> for Error {
    fn from(error: ServerError) -> Self {
        Self::Device { reason: cause(&error.to_string()) }
    }
}

/// CubeCL's messages are many lines with a backtrace; the cause is the line after "Caused by:".
fn cause(message: &str) -> String {
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let after = lines.iter().rposition(|l| l.starts_with("Caused by")).map_or(0, |i| i + 1);
    lines.get(after).or(lines.first()).map_or_else(String::new, |l| (*l).to_owned())
}
