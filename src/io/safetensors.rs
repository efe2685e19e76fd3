//! Named arrays in one safetensors file.
//!
//! The format has neither texts nor checksums. A text is stored as an array of its UTF-8 bytes; the checksum is the
//! only entry of the file's metadata (several would be written in random order, so that equal tables would give
//! different files).

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensors, View};

use super::atomic;
use super::format::{Axes, Entry, Input, Shaped, Values, matching, open_file};
use super::npy::Reason;
use crate::error::{Error, Result, Source};

/// The metadata entry that holds the CRC-32 of all arrays' bytes, in the order of their names, in hexadecimal.
const CHECK_SUM: &str = "crc32";

/// An array as the format stores it: little-endian, row-major.
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes arrays and one entry of metadata, whole or not at all.
fn write(path: &Path, tensors: &[(String, Tensor)], metadata: (&str, &str)) -> Result<()> {
    let views = tensors.iter().map(|(name, tensor)| (name, tensor));
    let metadata = HashMap::from([(metadata.0.to_owned(), metadata.1.to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| Error::write(path, error))?;
    atomic::write(path, |file| Ok::<(), Source>(file.write_all(&bytes)?))
}

/// Writes arrays with their checksum.
pub(crate) fn write_entries(path: &Path, entries: &[Entry<'_>]) -> Result<()> {
    let mut tensors: Vec<(String, Tensor)> =
        entries.iter().map(|entry| (entry.name.to_owned(), tensor(entry))).collect();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    let sum = check_sum(tensors.iter().map(|(_, tensor)| &tensor.bytes[..]));
    write(path, &tensors, (CHECK_SUM, &sum))
}

/// Writes arrays of bytes with their checksum.
#[cfg(feature = "burn")]
pub(crate) fn write_parts(path: &Path, parts: &[(&'static str, Vec<u8>)]) -> Result<()> {
    let entries: Vec<Entry<'_>> = parts
        .iter()
        .map(|(name, bytes)| Entry { name, shape: vec![bytes.len()], values: Values::Ascii(bytes) })
        .collect();
    write_entries(path, &entries)
}

/// Arrays of bytes, and one more if it exists.
#[cfg(feature = "burn")]
pub(crate) type Parts<const N: usize> = ([Vec<u8>; N], Option<Vec<u8>>);

/// Reads arrays of bytes and compares their checksum; the last array is optional.
#[cfg(feature = "burn")]
pub(crate) fn read_parts<const N: usize>(path: &Path, names: [&str; N], further: &str) -> Result<Parts<N>> {
    let mut input = Safetensors::open(path)?;
    let mut parts = [const { Vec::new() }; N];
    for (part, name) in parts.iter_mut().zip(names) {
        *part = input.ascii(name)?;
    }
    let further = input.has(further).then(|| input.ascii(further)).transpose()?;
    Ok((parts, further))
}

fn tensor(entry: &Entry<'_>) -> Tensor {
    let (dtype, bytes) = match &entry.values {
        Values::F32(values) => (Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Values::F64(values) => (Dtype::F64, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Values::U32(values) => (Dtype::U32, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Values::U64(values) => (Dtype::U64, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Values::Text(text) => return text_tensor(text.as_bytes()),
        Values::Ascii(text) => return text_tensor(text),
    };
    Tensor { dtype, shape: entry.shape.clone(), bytes }
}

fn text_tensor(text: &[u8]) -> Tensor {
    Tensor { dtype: Dtype::U8, shape: vec![text.len()], bytes: text.to_vec() }
}

fn check_sum<'a>(arrays: impl Iterator<Item = &'a [u8]>) -> String {
    let mut sum = crc32fast::Hasher::new();
    arrays.for_each(|bytes| sum.update(bytes));
    format!("{:08x}", sum.finalize())
}

/// A safetensors file being read.
pub(crate) struct Safetensors {
    path: PathBuf,
    bytes: Vec<u8>,
    header: Metadata,
    /// The position where the arrays' bytes begin.
    begin: usize,
}

/// An array's type, axes and bytes.
struct Found<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: &'a [u8],
}

impl Safetensors {
    /// Reads a file and compares its checksum if it has one; files of other programs need not.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        let mut file = open_file(path).map_err(|error| Error::read(path, error))?;
        file.read_to_end(&mut bytes).map_err(|error| Error::read(path, error))?;
        let not = |reason: String| Error::format(path, format!("not a safetensors file: {reason}"));
        // safetensors 0.8.0 adds the end of the last array to the header's length unchecked, which panics in a debug
        // build when a damaged header claims almost 2^64 bytes.
        let (length, header) = catch_unwind(|| SafeTensors::read_metadata(&bytes))
            .map_err(|_| not("the sizes overflow".to_owned()))?
            .map_err(|error| not(error.to_string()))?;
        let input = Self { path: path.into(), bytes, header, begin: size_of::<u64>() + length };
        input.check()?;
        Ok(input)
    }

    /// The number of arrays.
    pub(crate) fn len(&self) -> usize {
        self.header.offset_keys().len()
    }

    fn check(&self) -> Result<()> {
        let Some(expected) = self.header.metadata().as_ref().and_then(|metadata| metadata.get(CHECK_SUM)) else {
            return Ok(());
        };
        let mut names = self.header.offset_keys();
        names.sort();
        let arrays: Vec<Found<'_>> = names
            .iter()
            .map(|name| self.find(name).map_err(|reason| self.wrong(name, &reason)))
            .collect::<Result<_>>()?;
        let got = check_sum(arrays.iter().map(|array| array.bytes));
        if got == *expected {
            return Ok(());
        }
        Err(Error::format(&self.path, format!("check sum of the arrays is {got}, expected {expected:?}")))
    }

    fn find(&self, name: &str) -> std::result::Result<Found<'_>, Reason> {
        let info = self.header.info(name).ok_or("missing")?;
        let (first, end) = info.data_offsets;
        // In a release build the overflow above may have gone unnoticed.
        let bytes = self.bytes[self.begin..].get(first..end).ok_or("ends beyond the file")?;
        Ok(Found { dtype: info.dtype, shape: info.shape.clone(), bytes })
    }

    fn read<T>(
        &self,
        name: &str,
        expected: Axes<'_>,
        values: impl FnOnce(&Found<'_>) -> std::result::Result<Vec<T>, Reason>,
    ) -> Result<Shaped<T>> {
        let read = || {
            let found = self.find(name)?;
            let shape: Vec<u64> = found.shape.iter().map(|&size| size as u64).collect();
            Ok(Shaped { shape: matching(&shape, expected)?, values: values(&found)? })
        };
        read().map_err(|reason: Reason| self.wrong(name, &reason))
    }
}

impl Input for Safetensors {
    fn path(&self) -> &Path {
        &self.path
    }

    fn has(&self, name: &str) -> bool {
        self.header.info(name).is_some()
    }

    fn f32s(&mut self, name: &str, expected: Axes<'_>) -> Result<Shaped<f32>> {
        self.read(name, expected, |found| found.of(Dtype::F32, f32::from_le_bytes))
    }

    fn floats(&mut self, name: &str, expected: Axes<'_>) -> Result<Shaped<f64>> {
        self.read(name, expected, |found| found.to_floats())
    }

    fn f64s(&mut self, name: &str, expected: Axes<'_>) -> Result<Shaped<f64>> {
        self.read(name, expected, |found| found.of(Dtype::F64, f64::from_le_bytes))
    }

    fn u32s(&mut self, name: &str, expected: Axes<'_>) -> Result<Shaped<u32>> {
        self.read(name, expected, |found| found.to_u32())
    }

    fn text(&mut self, name: &str) -> Result<String> {
        let bytes = self.ascii(name)?;
        String::from_utf8(bytes).map_err(|error| self.wrong(name, &error.utf8_error().to_string()))
    }

    fn ascii(&mut self, name: &str) -> Result<Vec<u8>> {
        self.read(name, &[None], |found| found.of(Dtype::U8, |[byte]| byte)).map(|array| array.values)
    }
}

impl Found<'_> {
    /// The values, which must have this type.
    fn of<T, const N: usize>(&self, dtype: Dtype, value: fn([u8; N]) -> T) -> std::result::Result<Vec<T>, Reason> {
        if self.dtype != dtype {
            return Err(format!("type {:?}, expected {dtype:?}", self.dtype));
        }
        Ok(self.bytes.as_chunks().0.iter().map(|&bytes| value(bytes)).collect())
    }

    /// The values of a float type as `f64`.
    fn to_floats(&self) -> std::result::Result<Vec<f64>, Reason> {
        match self.dtype {
            Dtype::F32 => self.of(Dtype::F32, |bytes| f64::from(f32::from_le_bytes(bytes))),
            Dtype::F64 => self.of(Dtype::F64, f64::from_le_bytes),
            other => Err(format!("type {other:?} does not hold f32 or f64")),
        }
    }

    /// The values, from any integer type in which other programs store indices.
    fn to_u32(&self) -> std::result::Result<Vec<u32>, Reason> {
        match self.dtype {
            Dtype::U32 => self.of(self.dtype, u32::from_le_bytes),
            Dtype::I32 => narrow(self.of(self.dtype, i32::from_le_bytes)?),
            Dtype::I64 => narrow(self.of(self.dtype, i64::from_le_bytes)?),
            Dtype::U64 => narrow(self.of(self.dtype, u64::from_le_bytes)?),
            other => Err(format!("type {other:?} does not hold integers")),
        }
    }
}

fn narrow<T: Copy + std::fmt::Display>(values: Vec<T>) -> std::result::Result<Vec<u32>, Reason>
where
    u32: TryFrom<T>,
{
    let narrow = |(index, &value): (usize, &T)| {
        u32::try_from(value).map_err(|_| format!("value {index} is {value}, which is out of range"))
    };
    values.iter().enumerate().map(narrow).collect()
}
