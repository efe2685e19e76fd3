//! A NumPy array in memory that is checked before any value is read.

use std::fmt::Display;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use half::f16;
use npyz::{Deserialize, NpyFile, NpyHeader, Order};
use num_traits::{NumCast, ToPrimitive};

/// Why an array is rejected; the caller adds the file and the array's name.
pub(crate) type Reason = String;

/// The bytes of a `.npy` file whose header agrees with them in size and type.
pub(crate) struct Array<'a> {
    header: NpyHeader,
    data: &'a [u8],
}

/// The first bytes of every file.
const MAGIC: &[u8] = b"\x93NUMPY";

/// The longest header, bytes; NumPy's limit, too.
const LONGEST_HEADER: usize = 10_000;

/// The brackets that a header opens: one for the dictionary and one for the shape. Only records of fields have more.
const BRACKETS: usize = 2;

/// Reads a header and nothing beyond it.
pub(super) fn header(reader: impl Read) -> Result<NpyHeader, Reason> {
    let bytes = bounded(reader)?;
    // npyz 0.9.1 multiplies the shape unchecked, which panics in a debug build when a damaged
    // header claims more than 2^64 values.
    catch_unwind(AssertUnwindSafe(|| NpyHeader::from_reader(&bytes[..])))
        .map_err(|_| "not a NumPy array: the shape overflows".to_owned())?
        .map_err(|error| format!("not a NumPy array: {}", first_line(&error.to_string())))
}

/// The bytes of a header that is safe to pass to npyz: npyz 0.9.1 allocates the length that a header claims, and
/// py_literal 0.4.0 reads the contents of a bracket twice and of a brace three times, so that time and stack grow
/// without bounds with the depth.
fn bounded(mut reader: impl Read) -> Result<Vec<u8>, Reason> {
    let mut bytes = Vec::new();
    let mut read = |bytes: &mut Vec<u8>, length: usize| {
        let read = reader.by_ref().take(length as u64).read_to_end(bytes);
        read.map_err(|error| format!("not a NumPy array: {error}"))
    };
    read(&mut bytes, MAGIC.len() + 2)?;
    // npyz itself reports bytes that are not a header, or that end within one.
    if !bytes.starts_with(MAGIC) {
        return Ok(bytes);
    }
    let start = bytes.len();
    // The length takes two bytes in version 1 and four since.
    let width = if bytes.get(MAGIC.len()) == Some(&1) { 2 } else { 4 };
    read(&mut bytes, width)?;
    let length = bytes[start..].iter().rev().fold(0, |length, &byte| length << 8 | byte as usize);
    if length > LONGEST_HEADER {
        return Err(format!("not a NumPy array: a header of {length} bytes, more than {LONGEST_HEADER}"));
    }
    let start = bytes.len();
    read(&mut bytes, length)?;
    match bytes[start..].iter().filter(|byte| matches!(byte, b'(' | b'[' | b'{')).count() {
        0..=BRACKETS => Ok(bytes),
        count => Err(format!("not an array of numbers or a text: its header opens {count} brackets")),
    }
}

/// The number of bytes that the values of a header take.
pub(super) fn length(header: &NpyHeader) -> Result<u64, Reason> {
    let (shape, dtype) = (header.shape(), header.dtype());
    let values = shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size));
    let item = dtype.num_bytes().and_then(|bytes| u64::try_from(bytes).ok());
    let length = values.zip(item).and_then(|(values, item)| values.checked_mul(item));
    length.ok_or_else(|| format!("shape {shape:?} of type {} has no size", dtype.descr()))
}

impl<'a> Array<'a> {
    /// Reads the header and compares the length that it claims with the actual one.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let mut data = bytes;
        let header = header(&mut data)?;
        Self::of(header, data)
    }

    /// An array made of a header and the values' bytes.
    pub(super) fn of(header: NpyHeader, data: &'a [u8]) -> Result<Self, Reason> {
        match (length(&header)?, data.len()) {
            (expected, got) if expected == got as u64 => Ok(Self { header, data }),
            (expected, got) => {
                let (shape, dtype) = (header.shape(), header.dtype());
                Err(format!("shape {shape:?} of type {} takes {expected} bytes, found {got}", dtype.descr()))
            }
        }
    }

    /// The length of every axis, slowest first.
    pub(crate) fn shape(&self) -> &[u64] {
        self.header.shape()
    }

    /// The values, of exactly the type `T`, in the order of the file.
    pub(crate) fn values<T: Deserialize>(&self) -> Result<Vec<T>, Reason> {
        NpyFile::with_header(self.header.clone(), self.data).into_vec().map_err(|error| error.to_string())
    }

    /// The values of any number type as `f64`.
    pub(crate) fn to_f64(&self) -> Result<Vec<f64>, Reason> {
        let readers = [
            convert::<f64, f64>,
            convert::<f32, f64>,
            convert::<f16, f64>,
            convert::<i64, f64>,
            convert::<i32, f64>,
            convert::<i16, f64>,
            convert::<i8, f64>,
            convert::<u64, f64>,
            convert::<u32, f64>,
            convert::<u16, f64>,
            convert::<u8, f64>,
        ];
        self.first(&readers, "numbers")
    }

    /// The values of a float type as `f64`.
    pub(super) fn to_floats(&self) -> Result<Vec<f64>, Reason> {
        self.first(&[convert::<f32, f64>, convert::<f64, f64>], "f32 or f64")
    }

    /// The values, from any integer type in which NumPy or SciPy store indices, as `u32`.
    pub(crate) fn to_u32(&self) -> Result<Vec<u32>, Reason> {
        let readers = [convert::<u32, u32>, convert::<i32, u32>, convert::<i64, u32>, convert::<u64, u32>];
        self.first(&readers, "integers")
    }

    fn first<U>(&self, readers: &[Reader<U>], wanted: &str) -> Result<Vec<U>, Reason> {
        let mismatch = || Err(format!("type {} does not hold {wanted}", self.header.dtype().descr()));
        readers.iter().find_map(|reader| reader(self)).unwrap_or_else(mismatch)
    }

    /// Whether the values lie column by column, which NumPy writes for a transposed array.
    pub(crate) fn is_column_major(&self) -> bool {
        self.header.order() == Order::Fortran
    }
}

/// The first line of a parser's message, without the drawing of the position that may follow.
fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

/// `None` when the array has another type.
type Reader<U> = fn(&Array) -> Option<Result<Vec<U>, Reason>>;

fn convert<T, U>(array: &Array) -> Option<Result<Vec<U>, Reason>>
where
    T: Deserialize + ToPrimitive + Display + Copy,
    U: NumCast,
{
    let file = NpyFile::with_header(array.header.clone(), array.data).try_data::<T>().ok()?;
    let convert = |(index, value): (usize, std::io::Result<T>)| {
        let value = value.map_err(|error| error.to_string())?;
        U::from(value).ok_or_else(|| format!("value {index} is {value}, which is out of range"))
    };
    Some(file.enumerate().map(convert).collect())
}
