//! One NumPy array in memory, checked before any value is read.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use npyz::{Deserialize, NpyFile, NpyHeader, Order};
use num_traits::{NumCast, ToPrimitive};

/// What is wrong with an array; the caller adds the file and the array's name.
pub(crate) type Reason = String;

/// The bytes of a `.npy` file, with a header whose size and type agree with them.
pub(crate) struct Array<'a> {
    header: NpyHeader,
    data: &'a [u8],
}

impl<'a> Array<'a> {
    /// Reads the header and compares the length it asks for with the length there is.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let mut data = bytes;
        // npyz 0.9.1 multiplies the shape unchecked, which panics in a debug build when a damaged
        // header claims more than 2^64 values.
        let header = catch_unwind(AssertUnwindSafe(|| NpyHeader::from_reader(&mut data)))
            .map_err(|_| "not a NumPy array: the shape overflows".to_owned())?
            .map_err(|error| format!("not a NumPy array: {}", first_line(&error.to_string())))?;
        let array = Self { header, data };
        let (got, dtype) = (array.data.len(), array.header.dtype());
        let values = array.shape().iter().try_fold(1_u64, |product, &size| product.checked_mul(size));
        let item = dtype.num_bytes().and_then(|bytes| u64::try_from(bytes).ok());
        let expected = values.zip(item).and_then(|(values, item)| values.checked_mul(item));
        match expected {
            Some(expected) if expected == got as u64 => Ok(array),
            Some(expected) => {
                Err(format!("shape {:?} of type {} takes {expected} bytes, found {got}", array.shape(), dtype.descr()))
            }
            None => Err(format!("shape {:?} of type {} has no size", array.shape(), dtype.descr())),
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
