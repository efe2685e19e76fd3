//! One NumPy array in memory, checked before any value is read.

use std::fmt::Display;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use half::f16;
use npyz::{Deserialize, NpyFile, NpyHeader, Order};
use num_traits::{NumCast, ToPrimitive};

/// What is wrong with an array; the caller adds the file and the array's name.
pub(crate) type Reason = String;

/// The bytes of a `.npy` file, with a header whose size and type agree with them.
pub(crate) struct Array<'a> {
    header: NpyHeader,
    data: &'a [u8],
}

/// Reads a header, and no more than that.
pub(super) fn header(reader: impl Read) -> Result<NpyHeader, Reason> {
    // npyz 0.9.1 multiplies the shape unchecked, which panics in a debug build when a damaged
    // header claims more than 2^64 values.
    catch_unwind(AssertUnwindSafe(|| NpyHeader::from_reader(reader)))
        .map_err(|_| "not a NumPy array: the shape overflows".to_owned())?
        .map_err(|error| format!("not a NumPy array: {}", first_line(&error.to_string())))
}

/// The bytes that the values of a header take.
pub(super) fn length(header: &NpyHeader) -> Result<u64, Reason> {
    let (shape, dtype) = (header.shape(), header.dtype());
    let values = shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size));
    let item = dtype.num_bytes().and_then(|bytes| u64::try_from(bytes).ok());
    let length = values.zip(item).and_then(|(values, item)| values.checked_mul(item));
    length.ok_or_else(|| format!("shape {shape:?} of type {} has no size", dtype.descr()))
}

impl<'a> Array<'a> {
    /// Reads the header and compares the length it asks for with the length there is.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let mut data = bytes;
        let header = header(&mut data)?;
        Self::of(header, data)
    }

    /// An array of a header and of the values' bytes.
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

    /// The values of any integer type NumPy or SciPy keeps indices in, as `u32`.
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

/// Without the drawing of the place that a parser's message may end with.
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
