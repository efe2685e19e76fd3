//! Damaged safetensors files say what is wrong.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use splatport::{CsrTable, Error, GaussianTable};

use crate::files::{all_equal, chain, file, folder, message};
use crate::tables::{gaussians, kernel};

/// Opens a table of either kind: a kernel where the name begins with `k`.
fn open(path: &Path, name: &str) -> Result<(), Error> {
    if name.starts_with('k') { CsrTable::open(path).map(drop) } else { GaussianTable::open(path).map(drop) }
}

/// The bytes of a saved kernel (`k..`) or of saved Gaussians.
fn saved(test: &str, name: &str) -> Vec<u8> {
    let path = folder(test).join("t.safetensors");
    if name.starts_with('k') { kernel().save(&path) } else { gaussians().save(&path) }.expect("a file");
    fs::read(path).expect("a file")
}

/// One array, as a test changes it.
struct Array {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Array {
    fn view(&self) -> TensorView<'_> {
        TensorView::new(self.dtype, self.shape.clone(), &self.bytes).expect("bytes of the shape")
    }
}

/// A file as another program writes it, without a check sum; `change` says whether to keep an array.
fn rewritten(test: &str, whole: &[u8], change: impl Fn(&mut Array) -> bool) -> PathBuf {
    let source = SafeTensors::deserialize(whole).expect("a file");
    let mut arrays: Vec<Array> = source
        .tensors()
        .into_iter()
        .map(|(name, view)| Array {
            name,
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        })
        .collect();
    arrays.retain_mut(change);
    let views: Vec<(&str, TensorView<'_>)> = arrays.iter().map(|array| (&array.name[..], array.view())).collect();
    let bytes = safetensors::serialize(views, None).expect("a header");
    file(test, "t.safetensors", bytes)
}

/// The message after `change` to the array `name`, written `k.data` or `g.means`.
fn changed(name: &str, change: impl Fn(&mut Array)) -> String {
    let path = rewritten("st-changed", &saved("st-change", name), |array| {
        if array.name == name[2..] {
            change(array);
        }
        true
    });
    message(&open(&path, name).expect_err(name), &path)
}

/// Sets the `N` bytes of value `index`.
fn set<const N: usize>(index: usize, value: [u8; N]) -> impl Fn(&mut Array) {
    move |array| array.bytes[index * N..(index + 1) * N].copy_from_slice(&value)
}

#[test]
fn files_of_other_programs_are_read() {
    let same = |_: &mut Array| true;
    let gaussian = rewritten("st-other-g", &saved("st-other", "g"), same);
    assert_eq!(GaussianTable::open(gaussian).unwrap(), gaussians());
    // SciPy counts in i32 or i64.
    let wide = |array: &mut Array| {
        if array.dtype == Dtype::U32 {
            array.dtype = Dtype::I64;
            array.bytes = array.bytes.chunks(4).flat_map(|bytes| [bytes, &[0; 4]].concat()).collect();
        }
        true
    };
    let csr = saved("st-other", "k");
    assert_eq!(CsrTable::open(rewritten("st-other-k", &csr, wide)).unwrap(), kernel());
    let signed = |array: &mut Array| {
        if array.dtype == Dtype::U32 {
            array.dtype = Dtype::I32;
        }
        true
    };
    assert_eq!(CsrTable::open(rewritten("st-other-s", &csr, signed)).unwrap(), kernel());
}

#[test]
fn a_missing_array_is_named() {
    for (name, count) in [("g", 12), ("k", 18)] {
        let whole = saved("st-missing", name);
        let arrays = SafeTensors::deserialize(&whole).unwrap();
        assert_eq!(arrays.len(), count);
        for missing in arrays.names() {
            let path = rewritten("st-missing-one", &whole, |array| array.name != missing);
            let error = open(&path, name).expect_err(missing);
            assert_eq!(message(&error, &path), format!("t.safetensors: array `{missing}`: missing"));
        }
    }
}

#[test]
fn a_wrong_array_is_named() {
    let text = |to: &'static [u8]| {
        move |array: &mut Array| {
            array.shape = vec![to.len()];
            array.bytes = to.to_vec();
        }
    };
    let integers = |dtype, bytes: Vec<u8>| {
        move |array: &mut Array| {
            array.dtype = dtype;
            array.bytes = bytes.clone();
        }
    };
    let of = |values: [i64; 5]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    all_equal(&[
        (changed("g.means", |a| a.shape = vec![4, 1]), "t.safetensors: array `means`: shape [4, 1], expected [any, 2]"),
        (changed("g.scales", |a| a.shape = vec![4]), "t.safetensors: array `scales`: shape [4], expected [2, 2]"),
        (
            changed("g.means", |a| a.dtype = Dtype::I32),
            "t.safetensors: array `means`: type I32 does not hold f32 or f64",
        ),
        (changed("g.means", set(0, f32::NAN.to_le_bytes())), "t.safetensors: means[0] is NaN, not a finite number"),
        (changed("g.free", set(0, 3u32.to_le_bytes())), "t.safetensors: free[0] is 3, outside 0..=2"),
        (changed("g.size", set(1, [0; 4])), "t.safetensors: height is empty"),
        (changed("g.version", set(0, 2u32.to_le_bytes())), "t.safetensors: array `version`: 2, this build reads 1"),
        (changed("k.version", set(0, 0u32.to_le_bytes())), "t.safetensors: array `version`: 0, this build reads 1"),
        (
            changed("g.profile", text(b"\xff")),
            "t.safetensors: array `profile`: invalid utf-8 sequence of 1 bytes from index 0",
        ),
        (changed("k.format", text(b"csc")), "t.safetensors: array `format`: not `csr`"),
        (
            changed("k.stride", |a| a.dtype = Dtype::F32),
            "t.safetensors: array `stride`: type F32 does not hold integers",
        ),
        (changed("k.tau", |a| a.dtype = Dtype::I64), "t.safetensors: array `tau`: type I64, expected F64"),
        (changed("k.tau", set(0, f64::NAN.to_le_bytes())), "t.safetensors: tau[0] is NaN, not a finite number"),
        (changed("k.data", set(2, f32::NAN.to_le_bytes())), "t.safetensors: data[2] is NaN, not a finite number"),
        (changed("k.indices", set(3, 3u32.to_le_bytes())), "t.safetensors: indices[3] is 3, outside 0..=2"),
        (changed("k.indptr", set(2, 1u32.to_le_bytes())), "t.safetensors: indptr[2] is 1, outside 2..=4"),
        (
            changed("k.indptr", integers(Dtype::I64, of([0, -1, 2, 3, 4]))),
            "t.safetensors: array `indptr`: value 1 is -1, which is out of range",
        ),
        (
            changed("k.indptr", integers(Dtype::U64, of([0, 2, 2, 3, -1]))),
            "t.safetensors: array `indptr`: value 4 is 18446744073709551615, which is out of range",
        ),
        (
            changed("k.shape", set(0, u64::MAX.to_le_bytes())),
            "t.safetensors: array `shape`: value 0 is 18446744073709551615, which is out of range",
        ),
        (
            changed("k.shape", set(0, u64::from(u32::MAX).to_le_bytes())),
            "t.safetensors: array `indptr`: shape [5], expected [4294967296]",
        ),
        (changed("k.grid_width", set(0, [255; 4])), "t.safetensors: rows: expected 8589934590 values, got 4"),
    ]);
}

#[test]
fn every_truncation_is_an_error() {
    for name in ["g", "k"] {
        let whole = saved("st-truncated", name);
        for length in 0..whole.len() {
            let path = file("st-truncated-one", "t.safetensors", &whole[..length]);
            let error = open(&path, name).expect_err("a part was read");
            let text = message(&error, &path);
            assert!(text.starts_with("t.safetensors: not a safetensors file: "), "{text}");
        }
        let path = file("st-longer", "t.safetensors", [&whole[..], &[0]].concat());
        let text = message(&open(&path, name).expect_err("a longer file"), &path);
        assert_eq!(text, "t.safetensors: not a safetensors file: incomplete metadata, file not fully covered");
    }
}

#[test]
fn every_flipped_bit_is_an_error_or_the_same_table() {
    for name in ["g", "k"] {
        let whole = saved("st-flipped", name);
        let path = file("st-flipped-one", "t.safetensors", &whole);
        let arrays = 8 + usize::try_from(u64::from_le_bytes(whole[..8].try_into().unwrap())).unwrap();
        for bit in 0..8 * whole.len() {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, bytes).unwrap();
            let same = match name {
                "g" => GaussianTable::open(&path).map(|table| table == gaussians()),
                _ => CsrTable::open(&path).map(|table| table == kernel()),
            };
            match same {
                Ok(same) => assert!(same && bit / 8 < arrays, "bit {bit} changed the table unseen"),
                Err(error) => assert!(message(&error, &path).contains("t.safetensors")),
            }
        }
    }
}

#[test]
fn damage_is_found_by_the_check_sum() {
    let whole = saved("st-damage", "g");
    let at = whole.windows(4).position(|bytes| bytes == 0.1_f32.to_le_bytes()).expect("the mean");
    let mut bytes = whole.clone();
    bytes[at] ^= 1;
    let path = file("st-damaged", "t.safetensors", &bytes);
    let text = chain(&GaussianTable::open(&path).unwrap_err(), &path);
    assert!(text.starts_with("t.safetensors: check sum of the arrays is "), "{text}");
}
