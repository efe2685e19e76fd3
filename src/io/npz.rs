//! Named NumPy arrays in one `.npz` file.
//!
//! The container is handled with `zip` and every array with `npyz`, as the latter documents. Its own
//! container feature is not used: it stamps the time of writing into the file, so equal tables would
//! give unequal files, and it stops reading before the check sum is compared.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use npyz::npz::file_name_from_array_name;
use npyz::{AutoSerialize, DType, Serialize, TypeStr, WriteOptions, WriterBuilder};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::npy::{Array, Reason};
use super::{VERSION, atomic};
use crate::error::{Error, Result, Source};

/// Writes a `.npz` file, whole or not at all, with the arrays that `fill` puts and the version.
pub(crate) fn write(path: &Path, fill: impl FnOnce(&mut Output<'_>) -> io::Result<()>) -> Result<()> {
    atomic::write(path, |file| {
        let mut output = Output { zip: ZipWriter::new(file) };
        output.scalar("version", VERSION)?;
        fill(&mut output)?;
        output.zip.finish()?;
        Ok::<(), Source>(())
    })
}

/// A `.npz` file being written.
pub(crate) struct Output<'f> {
    zip: ZipWriter<&'f mut BufWriter<File>>,
}

impl Output<'_> {
    /// Puts `values` as an array of `shape`.
    pub(crate) fn array<T>(&mut self, name: &str, shape: &[usize], values: &[T]) -> io::Result<()>
    where
        T: AutoSerialize + Copy,
    {
        self.start(name)?;
        let shape: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
        let options = WriteOptions::new().default_dtype().shape(&shape);
        // npyz writes one value at a time.
        let mut buffer = BufWriter::new(&mut self.zip);
        let mut writer = options.writer(&mut buffer).begin_nd()?;
        writer.extend(values.iter().copied())?;
        writer.finish()?;
        buffer.flush()
    }

    /// Puts one number.
    pub(crate) fn scalar<T: AutoSerialize + Copy>(&mut self, name: &str, value: T) -> io::Result<()> {
        self.array(name, &[], &[value])
    }

    /// Puts a text, which NumPy reads as `str`.
    pub(crate) fn text(&mut self, name: &str, text: &str) -> io::Result<()> {
        // NumPy has no text of length 0.
        self.word(name, &format!("<U{}", text.chars().count().max(1)), text)
    }

    /// Puts ASCII bytes, which NumPy reads as `bytes`.
    pub(crate) fn bytes(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.word(name, &format!("|S{}", bytes.len().max(1)), bytes)
    }

    fn word<T: Serialize + ?Sized>(&mut self, name: &str, dtype: &str, value: &T) -> io::Result<()> {
        self.start(name)?;
        let dtype: TypeStr = dtype.parse().map_err(io::Error::other)?;
        let options = WriteOptions::new().dtype(DType::Plain(dtype)).shape(&[]);
        let mut writer = options.writer(&mut self.zip).begin_nd()?;
        writer.push(value)?;
        writer.finish()
    }

    /// Begins an entry: not packed, so that reading is one copy, and without the time.
    fn start(&mut self, name: &str) -> io::Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .large_file(true);
        Ok(self.zip.start_file(file_name_from_array_name(name), options)?)
    }
}

/// A `.npz` file being read; every error names the file and the array.
pub(crate) struct Input {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
}

/// An array and the length of its axes, slowest first.
pub(crate) struct Shaped<T> {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<T>,
}

impl Input {
    /// Opens a file and checks its version.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = open_file(path).map_err(|error| Error::read(path, error))?;
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|error| match error {
            ZipError::Io(error) => Error::read(path, error),
            error => Error::format(path, format!("not a .npz file: {error}")),
        })?;
        let mut input = Self { path: path.into(), zip };
        match input.u32("version")? {
            VERSION => Ok(input),
            other => Err(input.wrong("version", format!("{other}, this build reads {VERSION}"))),
        }
    }

    /// An array of `f32` whose axes match `expected`, `None` standing for any length.
    pub(crate) fn f32s(&mut self, name: &str, expected: &[Option<usize>]) -> Result<Shaped<f32>> {
        self.read(name, expected, |array| array.values())
    }

    /// An array of integers that fit `u32`, as [`f32s`](Self::f32s).
    pub(crate) fn u32s(&mut self, name: &str, expected: &[Option<usize>]) -> Result<Shaped<u32>> {
        self.read(name, expected, |array| array.to_u32())
    }

    /// One integer.
    pub(crate) fn u32(&mut self, name: &str) -> Result<u32> {
        self.read(name, &[], |array| array.to_u32()).map(|array| array.values[0])
    }

    /// One number of type `f64`.
    pub(crate) fn f64(&mut self, name: &str) -> Result<f64> {
        self.read(name, &[], |array| array.values()).map(|array| array.values[0])
    }

    /// One text.
    pub(crate) fn text(&mut self, name: &str) -> Result<String> {
        self.read(name, &[], |array| array.values()).map(|mut array| array.values.swap_remove(0))
    }

    /// One string of bytes.
    pub(crate) fn bytes(&mut self, name: &str) -> Result<Vec<u8>> {
        self.read(name, &[], |array| array.values()).map(|mut array| array.values.swap_remove(0))
    }

    /// An error about the array `name`.
    pub(crate) fn wrong(&self, name: &str, reason: impl std::fmt::Display) -> Error {
        Error::format(&self.path, format!("array `{name}`: {reason}"))
    }

    fn read<T>(
        &mut self,
        name: &str,
        expected: &[Option<usize>],
        values: impl FnOnce(&Array) -> std::result::Result<Vec<T>, Reason>,
    ) -> Result<Shaped<T>> {
        let bytes = self.entry(name).map_err(|reason| self.wrong(name, reason))?;
        let read = || {
            let array = Array::parse(&bytes)?;
            let shape = matching(array.shape(), expected)?;
            if array.is_column_major() && shape.len() > 1 {
                return Err("column-major order, expected row-major".to_owned());
            }
            Ok(Shaped { shape, values: values(&array)? })
        };
        read().map_err(|reason| self.wrong(name, reason))
    }

    /// The bytes of an array, read to their end: only there is the check sum compared.
    fn entry(&mut self, name: &str) -> std::result::Result<Vec<u8>, Reason> {
        let mut bytes = Vec::new();
        let mut entry = match self.zip.by_name(&file_name_from_array_name(name)) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => return Err("missing".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        entry.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }
}

/// Opens a file for reading. The reader would call a folder an invalid argument.
fn open_file(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

/// The shape as `usize`, if it has the axes asked for.
fn matching(shape: &[u64], expected: &[Option<usize>]) -> std::result::Result<Vec<usize>, Reason> {
    let same = |(&got, want): (&u64, &Option<usize>)| want.is_none_or(|want| want as u64 == got);
    if shape.len() == expected.len() && shape.iter().zip(expected).all(same) {
        return Ok(shape.iter().map(|&size| size as usize).collect());
    }
    let axes: Vec<String> =
        expected.iter().map(|size| size.map_or("any".to_owned(), |size| size.to_string())).collect();
    Err(format!("shape {shape:?}, expected [{}]", axes.join(", ")))
}
