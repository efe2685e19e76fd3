//! Which format a file has, and files that are none.

use std::fs;
use std::path::PathBuf;

use splatport::{CsrTable, GaussianTable};

use crate::files::{all_equal, chain, file, folder, message};
use crate::tables::kernel;

/// A header that promises more than there is must not be followed.
#[test]
fn absurd_sizes_are_refused() {
    let header = |json: &str| [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
    let largest = (1_u64 << 61) - 1;
    let eight: Vec<String> = (0..8)
        .map(|k| {
            let (from, to) = (k * largest, (k + 1) * largest);
            format!(r#""a{k}":{{"dtype":"U8","shape":[{largest}],"data_offsets":[{from},{to}]}}"#)
        })
        .collect();
    let one = |shape: &str, end: u64| {
        header(&format!(r#"{{"data":{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,{end}]}}}}"#))
    };
    let opened = |bytes: Vec<u8>| {
        let path = file("st-absurd", "t.safetensors", bytes);
        message(&CsrTable::open(&path).expect_err("an absurd file"), &path)
    };
    all_equal(&[
        (opened(vec![255; 16]), "t.safetensors: not a safetensors file: header too large"),
        (
            opened([&99_999_999_u64.to_le_bytes()[..], b"{}"].concat()),
            "t.safetensors: not a safetensors file: invalid header length",
        ),
        (
            opened(one("4611686018427387904", 8)),
            "t.safetensors: not a safetensors file: overflow computing buffer size from shape and/or element type",
        ),
        (
            opened(one("4294967296,4294967296", 8)),
            "t.safetensors: not a safetensors file: overflow computing buffer size from shape and/or element type",
        ),
        (
            opened(one("1000000000000", 4_000_000_000_000)),
            "t.safetensors: not a safetensors file: incomplete metadata, file not fully covered",
        ),
        (
            opened(header(&format!("{{{}}}", eight.join(",")))),
            "t.safetensors: not a safetensors file: the sizes overflow",
        ),
    ]);
}

#[test]
fn names_choose_the_format() {
    let folder = folder("st-names");
    for name in ["t", "t.npy", "npz", "t.safetensors.bak", ".npz"] {
        let path = folder.join(name);
        let expected = format!("{name}: the name ends in neither `.npz` nor `.safetensors`");
        for error in [kernel().save(&path).unwrap_err(), CsrTable::open(&path).unwrap_err()] {
            assert_eq!(chain(&error, &path), expected);
        }
        assert!(!path.exists());
    }
    for name in ["T.NPZ", "T.SafeTensors"] {
        kernel().save(folder.join(name)).unwrap();
        assert_eq!(CsrTable::open(folder.join(name)).unwrap(), kernel());
    }
}

#[test]
fn unreadable_files_are_named() {
    let directory = folder("st-directory").join("t.safetensors");
    fs::create_dir(&directory).unwrap();
    let open = |path: PathBuf| chain(&GaussianTable::open(&path).unwrap_err(), &path);
    all_equal(&[
        (
            open(folder("st-none").join("t.safetensors")),
            "cannot read t.safetensors <- No such file or directory (os error 2)",
        ),
        (open(directory), "cannot read t.safetensors <- is a directory"),
        (
            open(file("st-text", "t.safetensors", "x,y\n1,2\n3,4\n")),
            "t.safetensors: not a safetensors file: header too large",
        ),
        (open(file("st-empty", "t.safetensors", "")), "t.safetensors: not a safetensors file: header too small"),
    ]);
}
