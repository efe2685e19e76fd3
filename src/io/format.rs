//! The contents of a table's file, and its possible formats.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::Path;
use std::slice::from_ref;

use super::npz::{self, Npz};
use super::safetensors::{self, Safetensors};
use super::{VERSION, npy::Reason};
use crate::error::{Error, Result};

/// A file format, chosen by the name's extension.
#[derive(Clone, Copy)]
enum Format {
    Npz,
    Safetensors,
}

impl Format {
    fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("npz") => Ok(Self::Npz),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => Err(Error::format(path, "the name ends in neither `.npz` nor `.safetensors`")),
        }
    }
}

/// One named array.
pub(crate) struct Entry<'a> {
    pub(super) name: &'a str,
    /// The length of every axis, slowest first; empty for a single value.
    pub(super) shape: Vec<usize>,
    pub(super) values: Values<'a>,
}

impl<'a> Entry<'a> {
    /// One value: a number or a text.
    pub(super) fn one(name: &'a str, value: impl Into<Values<'a>>) -> Self {
        Self::array(name, &[], value)
    }

    /// An array of `shape`.
    pub(crate) fn array(name: &'a str, shape: &[usize], values: impl Into<Values<'a>>) -> Self {
        Self { name, shape: shape.to_vec(), values: values.into() }
    }
}

/// The values of an array, in the types that the tables need.
pub(crate) enum Values<'a> {
    F32(Cow<'a, [f32]>),
    F64(&'a [f64]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    Text(&'a str),
    /// ASCII text, which NumPy calls bytes. SciPy stores names this way.
    Ascii(&'a [u8]),
}

macro_rules! values {
    ($($from:ty => |$value:ident| $to:expr;)*) => { $(
        impl<'a> From<$from> for Values<'a> {
            fn from($value: $from) -> Self {
                $to
            }
        }
    )* };
}
values! {
    &'a [f32] => |values| Self::F32(values.into());
    &'a [f64] => |values| narrowed(values).map_or(Self::F64(values), |narrow| Self::F32(narrow.into()));
    &'a [u32] => |values| Self::U32(values);
    &'a [u64] => |values| Self::U64(values);
    &'a f64 => |value| Self::F64(from_ref(value));
    &'a u32 => |value| Self::U32(from_ref(value));
    &'a str => |text| Self::Text(text);
}

/// The values as `f32`, if they keep every bit.
fn narrowed(values: &[f64]) -> Option<Vec<f32>> {
    let narrow = |&value: &f64| Some(value as f32).filter(|&narrow| f64::from(narrow).to_bits() == value.to_bits());
    values.iter().map(narrow).collect()
}

/// Writes `entries` and the version, whole or not at all, in the format given by the file's extension.
pub(super) fn write(path: &Path, mut entries: Vec<Entry<'_>>) -> Result<()> {
    let format = Format::of(path)?;
    entries.insert(0, Entry::one("version", &VERSION));
    match format {
        Format::Npz => npz::write(path, &entries),
        Format::Safetensors => safetensors::write_entries(path, &entries),
    }
}

/// The array that says what a file was made from. An empty text is left out, so that files without one keep their
/// bytes.
pub(super) fn origin(text: &str) -> Option<Entry<'_>> {
    (!text.is_empty()).then(|| Entry::one("origin", text))
}

/// Opens a file in the format given by its extension, and checks its version.
pub(super) fn open(path: &Path) -> Result<Box<dyn Input>> {
    let mut input: Box<dyn Input> = match Format::of(path)? {
        Format::Npz => Box::new(Npz::open(path)?),
        Format::Safetensors => Box::new(Safetensors::open(path)?),
    };
    match input.u32("version")? {
        VERSION => Ok(input),
        other => Err(input.wrong("version", &format!("{other}, this build reads {VERSION}"))),
    }
}

/// An array and the lengths of its axes, slowest first.
pub(crate) struct Shaped<T> {
    pub(super) shape: Vec<usize>,
    pub(crate) values: Vec<T>,
}

/// The lengths of axes that a reader expects; `None` stands for any length.
pub(crate) type Axes<'a> = &'a [Option<usize>];

/// A file being read; every error names the file and the array.
pub(crate) trait Input {
    /// The file.
    fn path(&self) -> &Path;

    /// Whether the file has an array `name`.
    fn has(&self, name: &str) -> bool;

    /// An array of `f32`.
    fn f32s(&mut self, name: &str, expected: Axes<'_>) -> Result<Shaped<f32>>;

    /// An array of `f32` or `f64`.
    fn floats(&mut self, name: &str, expected: Axes<'_>) -> Result<Shaped<f64>>;

    /// An array of `f64`.
    fn f64s(&mut self, name: &str, expected: Axes<'_>) -> Result<Shaped<f64>>;

    /// An array of integers that fit `u32`.
    fn u32s(&mut self, name: &str, expected: Axes<'_>) -> Result<Shaped<u32>>;

    /// One text.
    fn text(&mut self, name: &str) -> Result<String>;

    /// One ASCII text.
    fn ascii(&mut self, name: &str) -> Result<Vec<u8>>;

    /// The text that says what the file was made from; empty if there is none.
    fn origin(&mut self) -> Result<String> {
        if self.has("origin") { self.text("origin") } else { Ok(String::new()) }
    }

    /// One number of type `f64`.
    fn f64(&mut self, name: &str) -> Result<f64> {
        self.f64s(name, &[]).map(|array| array.values[0])
    }

    /// One integer.
    fn u32(&mut self, name: &str) -> Result<u32> {
        self.u32s(name, &[]).map(|array| array.values[0])
    }

    /// An error about the array `name`.
    fn wrong(&self, name: &str, reason: &str) -> Error {
        Error::format(self.path(), format!("array `{name}`: {reason}"))
    }
}

/// Opens a file for reading. Folders are rejected here, because a reader would call them an invalid argument.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

/// The shape, if it has the expected axes.
pub(super) fn matching(shape: &[u64], expected: Axes<'_>) -> std::result::Result<Vec<usize>, Reason> {
    let same = |(&got, want): (&u64, &Option<usize>)| want.is_none_or(|want| want as u64 == got);
    if shape.len() == expected.len() && shape.iter().zip(expected).all(same) {
        return Ok(shape.iter().map(|&size| size as usize).collect());
    }
    let axes: Vec<String> =
        expected.iter().map(|size| size.map_or("any".to_owned(), |size| size.to_string())).collect();
    Err(format!("shape {shape:?}, expected [{}]", axes.join(", ")))
}
