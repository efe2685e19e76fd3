//! Damaged `.npz` files say which array is wrong.

use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use splatport::{CsrTable, Error, GaussianTable};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::annotations::headed;
use crate::files::{all_equal, chain, file, folder, message};
use crate::tables::{gaussians, kernel};

/// Rewrites a file with `change` applied to every array's bytes; `None` leaves the array out.
fn rewritten(test: &str, source: &Path, change: impl Fn(&str, Vec<u8>) -> Option<Vec<u8>>) -> PathBuf {
    let mut source = ZipArchive::new(File::open(source).unwrap()).unwrap();
    let mut target = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for at in 0..source.len() {
        let mut entry = source.by_index(at).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if let Some(bytes) = change(entry.name().trim_end_matches(".npy"), bytes) {
            target.start_file(entry.name(), options).unwrap();
            target.write_all(&bytes).unwrap();
        }
    }
    file(test, "t.npz", target.finish().unwrap().into_inner())
}

/// Replaces a part of the header by one of the same length.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|text| text == from.as_bytes());
    let at = at.unwrap_or_else(|| panic!("no {from} in {}", String::from_utf8_lossy(bytes)));
    [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
}

fn saved(test: &str) -> (PathBuf, PathBuf) {
    let folder = folder(test);
    let (gaussian, csr) = (folder.join("g.npz"), folder.join("k.npz"));
    gaussians().save(&gaussian).unwrap();
    kernel().save(&csr).unwrap();
    (gaussian, csr)
}

#[test]
fn packed_files_are_read() {
    let (gaussian, csr) = saved("packed");
    let same = |_: &str, bytes| Some(bytes);
    assert_eq!(GaussianTable::open(rewritten("packed-g", &gaussian, same)).unwrap(), gaussians());
    assert_eq!(CsrTable::open(rewritten("packed-k", &csr, same)).unwrap(), kernel());
}

#[test]
fn a_missing_array_is_named() {
    let (gaussian, csr) = saved("missing-array");
    let open_gaussians: fn(&Path) -> Option<Error> = |path| GaussianTable::open(path).err();
    let open_kernel: fn(&Path) -> Option<Error> = |path| CsrTable::open(path).err();
    let gaussian_arrays = "means scales rotations colors opacities free size profile version \
                           share_annotations share_gaussians share_weights";
    let csr_arrays = "format shape indptr indices data tau worst_dropped bound profile stride left \
                      top grid_width grid_height size image storage version";
    for (source, arrays, open) in [(gaussian, gaussian_arrays, open_gaussians), (csr, csr_arrays, open_kernel)] {
        let count = ZipArchive::new(File::open(&source).unwrap()).unwrap().len();
        assert_eq!(arrays.split(' ').count(), count);
        for missing in arrays.split(' ') {
            let path = rewritten("missing-one", &source, |name, bytes| (name != missing).then_some(bytes));
            let error = open(&path).unwrap_or_else(|| panic!("read without {missing}"));
            assert_eq!(message(&error, &path), format!("t.npz: array `{missing}`: missing"));
        }
    }
}

#[test]
fn a_wrong_array_is_named() {
    let (gaussian, csr) = saved("wrong-array");
    let open = |array: &str, from: &str, to: &str| {
        let source = if array.starts_with("k.") { &csr } else { &gaussian };
        let change = |name: &str, bytes: Vec<u8>| match name == &array[2..] {
            true => Some(replaced(&bytes, from, to)),
            false => Some(bytes),
        };
        let path = rewritten("wrong-one", source, change);
        let error = match array.starts_with("k.") {
            true => CsrTable::open(&path).err(),
            false => GaussianTable::open(&path).err(),
        };
        message(&error.unwrap_or_else(|| panic!("{array} was read")), &path)
    };
    all_equal(&[
        (open("g.means", "(2, 2,", "(4, 1,"), "t.npz: array `means`: shape [4, 1], expected [any, 2]"),
        (
            open("g.means", "(2, 2,", "(9, 2,"),
            "t.npz: array `means`: shape [9, 2] of type '<f4' takes 72 bytes, found 16",
        ),
        (open("g.means", "<f4", "<i4"), "t.npz: array `means`: type '<i4' does not hold f32 or f64"),
        (open("g.means", "False", "True "), "t.npz: array `means`: column-major order, expected row-major"),
        (open("g.scales", "(2, 2,", "(1, 4,"), "t.npz: array `scales`: shape [1, 4], expected [2, 2]"),
        (open("g.colors", "(2, 3,", "(3, 2,"), "t.npz: array `colors`: shape [3, 2], expected [2, any]"),
        (
            open("g.rotations", "NUMPY", "numpy"),
            "t.npz: array `rotations`: not a NumPy array: magic not found for NPY file",
        ),
        (open("g.version", "\u{1}\0\0\0", "\u{2}\0\0\0"), "t.npz: array `version`: 2, this build reads 1"),
        (open("g.version", "\u{1}\0\0\0", "\0\0\0\0"), "t.npz: array `version`: 0, this build reads 1"),
        (
            open("g.means", "(2, 2, ), }                ", "(4294967296, 4294967296), }"),
            "t.npz: array `means`: not a NumPy array: the shape overflows",
        ),
        (
            open("g.means", "(2, 2, ), }            ", "(2, 100000000000000), }"),
            "t.npz: array `means`: shape [2, 100000000000000], expected [any, 2]",
        ),
        (open("g.size", "@\0\0\0", "\0\0\0\0"), "t.npz: width is empty"),
        (open("k.format", "csr", "csc"), "t.npz: array `format`: not `csr`"),
        (open("k.indptr", "(5,", "(4,"), "t.npz: array `indptr`: shape [4], expected [5]"),
        (open("g.means", "(2, 2,", "(1, 2,"), "t.npz: array `means`: shape [1, 2] takes 8 bytes, found more"),
        (
            open("g.means", "(2, 2, ), }            ", "(100000000000000, 2), }"),
            "t.npz: array `means`: shape [100000000000000, 2] of type '<f4' takes 800000000000000 bytes, found 16",
        ),
        (open("k.indices", "\u{2}\0\0\0\0", "\u{7}\0\0\0\0"), "t.npz: indices[0] is 7, outside 0..=2"),
        (open("k.shape", "\u{4}\0\0\0", "\u{4}\0\0\u{1}"), "t.npz: array `indptr`: shape [5], expected [16777221]"),
        (open("k.indptr", "\u{3}\0\0\0", "\u{1}\0\0\0"), "t.npz: indptr[3] is 1, outside 2..=4"),
        (open("k.data", "\u{1}\0\0\0", "\u{1}\u{80}\u{7f}"), "t.npz: data[1] is NaN, not a finite number"),
        (open("k.stride", "<u4", "<f4"), "t.npz: array `stride`: type '<f4' does not hold integers"),
    ]);
}

#[test]
fn costly_headers_are_refused() {
    let (gaussian, _) = saved("costly");
    let open = |header: Vec<u8>| {
        let path = rewritten("costly-one", &gaussian, |name, bytes| {
            Some(if name == "means" { header.clone() } else { bytes })
        });
        message(&GaussianTable::open(&path).unwrap_err(), &path)
    };
    let reason = "t.npz: array `means`: not a";
    all_equal(&[
        (
            open(headed(1, 60, &"[".repeat(60))),
            &format!("{reason}n array of numbers or a text: its header opens 60 brackets"),
        ),
        (
            open(headed(2, u32::MAX, "{}")),
            &format!("{reason} NumPy array: a header of 4294967295 bytes, more than 10000"),
        ),
    ]);
}

#[test]
fn damage_is_found_by_the_check_sum() {
    let (gaussian, _) = saved("damage");
    let whole = fs::read(&gaussian).unwrap();
    let needle = 0.1_f32.to_le_bytes();
    let at = whole.windows(4).position(|bytes| bytes == needle).expect("the mean");
    let mut bytes = whole.clone();
    bytes[at] ^= 1;
    let path = file("damaged", "t.npz", &bytes);
    let text = chain(&GaussianTable::open(&path).unwrap_err(), &path);
    assert_eq!(text, "t.npz: array `means`: Invalid checksum");
}

#[test]
fn every_truncation_is_an_error() {
    let (gaussian, csr) = saved("truncated");
    for (source, is_kernel) in [(gaussian, false), (csr, true)] {
        let whole = fs::read(source).unwrap();
        for length in 0..whole.len() {
            let path = file("truncated-one", "t.npz", &whole[..length]);
            let error = if is_kernel { CsrTable::open(&path).err() } else { GaussianTable::open(&path).err() };
            let text = message(&error.unwrap_or_else(|| panic!("{length} bytes were read")), &path);
            assert!(text.contains("t.npz"), "{text}");
        }
    }
}

#[test]
fn every_flipped_byte_is_an_error_or_the_same_table() {
    let (_, csr) = saved("flipped");
    let whole = fs::read(csr).unwrap();
    // Coprime to the size of every number, so each of their bytes has its turn.
    for at in (0..whole.len()).step_by(5) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        let path = file("flipped-one", "t.npz", &bytes);
        if let Ok(table) = CsrTable::open(&path) {
            assert_eq!(table, kernel(), "byte {at} changed the table unseen");
        }
    }
}

#[test]
fn unreadable_files_are_named() {
    let directory = folder("table-directory").join("t.npz");
    fs::create_dir(&directory).unwrap();
    let open = |path: PathBuf| chain(&GaussianTable::open(&path).unwrap_err(), &path);
    all_equal(&[
        (open(folder("no-table").join("t.npz")), "cannot read t.npz <- No such file or directory (os error 2)"),
        (open(directory), "cannot read t.npz <- is a directory"),
        (
            open(file("text-table", "t.npz", "x,y\n")),
            "t.npz: not a .npz file: invalid Zip archive: Could not find EOCD",
        ),
        (open(file("empty-table", "t.npz", "")), "t.npz: not a .npz file: invalid Zip archive: Could not find EOCD"),
    ]);
}
