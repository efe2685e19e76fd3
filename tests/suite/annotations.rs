//! Annotations from memory, CSV and NumPy files.

use std::path::PathBuf;

use npyz::{AutoSerialize, DType, WriterBuilder};
use splatport::{Annotations, Column, Error};

use crate::files::{all_equal, chain, file, folder, message};

fn csv(test: &str, text: impl AsRef<[u8]>) -> Annotations {
    Annotations::from_csv(file(test, "points.csv", text)).unwrap()
}

fn csv_error(test: &str, text: impl AsRef<[u8]>) -> String {
    let path = file(test, "points.csv", text);
    message(&Annotations::from_csv(&path).unwrap_err(), &path)
}

/// The bytes of a `.npy` file.
pub fn npy<T: AutoSerialize + Copy>(dtype: Option<&str>, order: npyz::Order, shape: &[u64], values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let dtype = dtype.map_or_else(T::default_dtype, |text| DType::Plain(text.parse().unwrap()));
    let options = npyz::WriteOptions::new().dtype(dtype).shape(shape).order(order);
    let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
    bytes
}

fn row_major<T: AutoSerialize + Copy>(shape: &[u64], values: &[T]) -> Vec<u8> {
    npy(None, npyz::Order::C, shape, values)
}

fn from_npy(test: &str, bytes: &[u8]) -> Vec<[f64; 2]> {
    Annotations::from_npy(file(test, "points.npy", bytes)).unwrap().points().to_vec()
}

fn npy_error(test: &str, bytes: &[u8]) -> String {
    let path = file(test, "points.npy", bytes);
    message(&Annotations::from_npy(&path).unwrap_err(), &path)
}

#[test]
fn no_one_equal_and_outside_points_are_valid() {
    let none = Annotations::new([]).unwrap();
    assert!(none.is_empty() && none.duplicates().is_empty() && none.outside(8, 8).is_empty());
    let one = Annotations::new(vec![[0.0, 0.0]]).unwrap();
    assert_eq!((one.len(), one.is_empty()), (1, false));
    let points = [[1.0, 2.0], [0.0, 3.0], [1.0, 2.0], [-0.0, 3.0], [1.0, 2.0], [2.0, 1.0]];
    assert_eq!(Annotations::new(points).unwrap().duplicates(), [2, 3, 4]);
}

#[test]
fn the_image_is_half_open() {
    let points = [[0.0, 0.0], [-1e-9, 0.0], [8.0, 0.0], [7.999, 3.999], [0.0, 4.0], [1e300, 1.0]];
    assert_eq!(Annotations::new(points).unwrap().outside(8, 4), [1, 2, 4, 5]);
}

#[test]
fn slices_of_any_float_are_read() {
    let single = Annotations::from_slices(&[0.1_f32], &[2.5]).unwrap();
    assert_eq!(single.points(), [[f64::from(0.1_f32), 2.5]]);
    let double = Annotations::from_slices(&[0.1_f64], &[2.5]).unwrap();
    assert_eq!(double.points(), [[0.1, 2.5]]);
    all_equal(&[
        (Annotations::from_slices(&[1.0], &[]).unwrap_err().to_string(), "ys: expected 1 values, got 0"),
        (
            Annotations::from_slices(&[1.0, 2.0], &[1.0, f32::INFINITY]).unwrap_err().to_string(),
            "y[1] is inf, not a finite number",
        ),
        (Annotations::new([[f64::NAN, 0.0]]).unwrap_err().to_string(), "x[0] is NaN, not a finite number"),
    ]);
}

#[test]
fn columns_may_come_in_any_order() {
    let read = csv("order", "label, y ,sigma,x\ncat, 2 , 0.5,1\n\"a, b\",4,1e-1,3\n");
    assert_eq!(read.points(), [[1.0, 2.0], [3.0, 4.0]]);
    assert_eq!(read.columns().iter().map(Column::name).collect::<Vec<_>>(), ["label", "sigma"]);
    assert_eq!(read.columns()[0].values(), ["cat", "a, b"]);
    assert_eq!(read.numeric("sigma").unwrap(), [0.5, 0.1]);
}

#[test]
fn line_ends_blank_lines_and_marks_are_ignored() {
    let plain = csv("plain", "x,y\n1,2\n3,4\n");
    let windows = csv("windows", "x,y\r\n1,2\r\n3,4\r\n");
    let blank = csv("blank", "\nx,y\n\n1,2\n\n\n3,4");
    let marked = csv("marked", "\u{feff}x,y\n1,2\n3,4\n");
    for other in [windows, blank, marked] {
        assert_eq!(other.points(), plain.points());
    }
    assert!(csv("header-only", "x,y\n").is_empty());
    assert!(csv("header-alone", "x,y,area").numeric("area").unwrap().is_empty());
}

#[test]
fn wrong_csv_files_say_where() {
    let nan = csv_error("csv-nan", "x,y\n1,2\n3,NaN\n");
    all_equal(&[
        (nan, "points.csv: y[1] is NaN, not a finite number"),
        (csv_error("csv-inf", "y,x\n1,-inf\n"), "points.csv: x[0] is -inf, not a finite number"),
        (csv_error("csv-huge", "x,y\n1e999,0\n"), "points.csv: x[0] is inf, not a finite number"),
        (csv_error("csv-text", "x,y\n1,2\n\n3,b c\n"), "points.csv: line 4: y is `b c`, not a number"),
        (csv_error("csv-marked", "\u{feff}x,y\r\n\r\n1,2\r\n3,?\r\n"), "points.csv: line 4: y is `?`, not a number"),
        (csv_error("csv-lines", "x,y\n\"a\nb\",2\n"), "points.csv: line 2: x is `a\\nb`, not a number"),
        (csv_error("csv-cell", "x,y\n,2\n"), "points.csv: line 2: x is ``, not a number"),
        (csv_error("csv-short", "x,y,z\n1,2,3\n1,2\n"), "points.csv: line 3: expected 3 fields, got 2"),
        (csv_error("csv-long", "x,y\n1,2,3\n"), "points.csv: line 2: expected 2 fields, got 3"),
        (csv_error("csv-x", "X,y\n1,2\n"), "points.csv: no column `x`; columns: `X`, `y`"),
        (csv_error("csv-y", "x;y\n1;2\n"), "points.csv: no column `x`; columns: `x;y`"),
        (csv_error("csv-twice", "x,y,x\n1,2,3\n"), "points.csv: more than one column `x`"),
        (csv_error("csv-empty", ""), "points.csv: no column `x`; columns: none"),
        (
            csv_error("csv-bytes", b"x,y,n\n1,2,\xff\n"),
            "points.csv: line 2: invalid utf-8: invalid UTF-8 in field 2 near byte index 0",
        ),
    ]);
}

#[test]
fn columns_that_are_not_numbers_say_where() {
    let read = csv("column", "x,y,area,label\n1,2,3,cat\n1,2,nan,dog\n");
    let error = |name| message(&read.numeric(name).unwrap_err(), &folder("column").join("points.csv"));
    all_equal(&[
        (error("label"), "points.csv: column `label`: row 0 is `cat`, not a finite number"),
        (error("area"), "points.csv: column `area`: row 1 is `nan`, not a finite number"),
        (error("x"), "points.csv: column `x`: missing; further columns: `area`, `label`"),
        (
            Annotations::new([]).unwrap().numeric("area").unwrap_err().to_string(),
            "column `area`: missing; further columns: none",
        ),
    ]);
}

#[test]
fn unreadable_files_are_named() {
    let readers: [fn(PathBuf) -> Result<Annotations, Error>; 2] =
        [|path| Annotations::from_csv(path), |path| Annotations::from_npy(path)];
    for read in readers {
        let missing = folder("missing-points").join("points.csv");
        let directory = folder("directory-points").join("points");
        std::fs::create_dir(&directory).unwrap();
        all_equal(&[
            (
                chain(&read(missing.clone()).unwrap_err(), &missing),
                "cannot read points.csv <- No such file or directory (os error 2)",
            ),
            (
                chain(&read(directory.clone()).unwrap_err(), &directory),
                "cannot read points <- Is a directory (os error 21)",
            ),
        ]);
    }
}

#[test]
fn every_number_type_and_byte_order_is_read() {
    let expected = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
    macro_rules! check {
        ($($kind:ty: $($order:literal),*;)*) => {$($(
            let values = [1, 2, 3, 4, 5, 6].map(|value| value as $kind);
            let bytes = npy(Some($order), npyz::Order::C, &[3, 2], &values);
            assert_eq!(from_npy("npy-types", &bytes), expected, "{}", $order);
        )*)*};
    }
    check! {
        f32: "<f4", ">f4"; f64: "<f8", ">f8";
        i8: "|i1"; i16: "<i2", ">i2"; i32: "<i4", ">i4"; i64: "<i8", ">i8";
        u8: "|u1"; u16: "<u2", ">u2"; u32: "<u4", ">u4"; u64: "<u8", ">u8";
    }
    for order in ["<f2", ">f2"] {
        let values = [1, 2, 3, 4, 5, 6].map(|value| half::f16::from_f32(value as f32));
        assert_eq!(from_npy("npy-half", &npy(Some(order), npyz::Order::C, &[3, 2], &values)), expected, "{order}");
    }
    let columns = npy(None, npyz::Order::Fortran, &[3, 2], &[1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
    assert_eq!(from_npy("npy-columns", &columns), expected);
}

#[test]
fn an_empty_array_has_no_points() {
    assert!(from_npy("npy-none", &row_major::<f64>(&[0, 2], &[])).is_empty());
    let one = from_npy("npy-one", &row_major(&[1, 2], &[-0.0, f64::MIN_POSITIVE]));
    assert_eq!(one[0].map(f64::to_bits), [-0.0, f64::MIN_POSITIVE].map(f64::to_bits));
}

#[test]
fn wrong_npy_files_say_why() {
    let whole = row_major(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let longer = [&whole[..], b"more"].concat();
    let nan = row_major(&[2, 2], &[1.0, 2.0, f32::NAN, 4.0]);
    let error = |test, bytes: &[u8]| npy_error(test, bytes);
    all_equal(&[
        (error("npy-nan", &nan), "points.npy: x[1] is NaN, not a finite number"),
        (error("npy-1d", &row_major(&[4], &[1.0; 4])), "points.npy: shape [4], expected [n, 2]"),
        (error("npy-3", &row_major(&[1, 3], &[1.0; 3])), "points.npy: shape [1, 3], expected [n, 2]"),
        (error("npy-0", &row_major::<f64>(&[0], &[])), "points.npy: shape [0], expected [n, 2]"),
        (error("npy-bool", &row_major(&[1, 2], &[true; 2])), "points.npy: type '|b1' does not hold numbers"),
        (error("npy-empty", b""), "points.npy: not a NumPy array: magic not found for NPY file"),
        (error("npy-text", b"x,y\n1,2\n"), "points.npy: not a NumPy array: magic not found for NPY file"),
        (error("npy-header", &whole[..40]), "points.npy: not a NumPy array: failed to fill whole buffer"),
        (
            error("npy-short", &whole[..whole.len() - 1]),
            "points.npy: shape [2, 2] of type '<f8' takes 32 bytes, found 31",
        ),
        (error("npy-long", &longer), "points.npy: shape [2, 2] of type '<f8' takes 32 bytes, found 36"),
    ]);
}

#[test]
fn a_shape_beyond_memory_is_an_error() {
    let whole = row_major::<f64>(&[0, 2], &[]);
    let at = whole.windows(6).position(|text| text == b"(0, 2,").expect("the shape");
    let mut bytes = whole.clone();
    // The header is padded with spaces, so the longer shape takes their place.
    let shape = b"(9223372036854775809, 2), }";
    bytes[at..at + shape.len()].copy_from_slice(shape);
    let text = npy_error("npy-huge", &bytes);
    assert!(text.contains("overflows") || text.contains("has no size"), "{text}");
}

/// A `.npy` file of this version with a header of this length and text.
pub fn headed(version: u8, length: u32, text: &str) -> Vec<u8> {
    let length = length.to_le_bytes();
    let length = if version == 1 { &length[..2] } else { &length };
    [b"\x93NUMPY", &[version, 0][..], length, text.as_bytes()].concat()
}

/// Of some hundred bytes, each would take hours, all memory or all of the stack.
#[test]
fn headers_that_cost_more_than_they_are_long_are_refused() {
    let error = |version, length, text: &str| npy_error("npy-costly", &headed(version, length, text));
    let brackets = |bracket: &str, count: usize| {
        let text = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {}", bracket.repeat(count));
        error(1, text.len() as u32, &text)
    };
    all_equal(&[
        (brackets("[", 60), "points.npy: not an array of numbers or a text: its header opens 61 brackets"),
        (brackets("{", 40), "points.npy: not an array of numbers or a text: its header opens 41 brackets"),
        (error(2, u32::MAX, "{}"), "points.npy: not a NumPy array: a header of 4294967295 bytes, more than 10000"),
        (error(1, 10_001, "{}"), "points.npy: not a NumPy array: a header of 10001 bytes, more than 10000"),
        (error(3, 10_000, "{}"), "points.npy: not a NumPy array: failed to fill whole buffer"),
    ]);
}

/// A header of version 1 tells its length in two bytes, later ones in four.
#[test]
fn later_versions_are_read() {
    for version in [2, 3] {
        let text = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }\n";
        let values = [1.5_f64, 2.0].map(f64::to_le_bytes);
        let bytes = [&headed(version, text.len() as u32, text), values.as_flattened()].concat();
        assert_eq!(from_npy("npy-later", &bytes), [[1.5, 2.0]], "version {version}");
    }
}

/// What was read is what was marked, whatever file it came from; columns must be one text a point and have names of their own.
#[test]
fn annotations_are_their_points_and_columns() {
    let folder = folder("annotations_saved");
    let points = Annotations::new([[1.5, 2.0], [1.0 / 3.0, -0.0]]).unwrap();
    let column = |name: &str, values: &[&str]| Column::new(name, values);
    let marked = points.clone().with_columns(vec![column("note", &["a, \"b\"", ""])]).unwrap();
    let paths = ["a.csv", "b.csv"].map(|name| folder.join(name));
    paths.iter().for_each(|path| marked.save_csv(path).unwrap());
    let read = paths.map(|path| Annotations::from_csv(path).unwrap());
    assert_eq!(read[0], read[1]);
    assert_eq!(read[0], marked);
    assert_ne!(marked, points);
    let wrong = |columns| points.clone().with_columns(columns).unwrap_err().to_string();
    all_equal(&[
        (wrong(vec![column("area", &["1"])]), "values of a column: expected 2 values, got 1"),
        (wrong(vec![column("x", &["1", "2"])]), "column `x`: there is one of this name already"),
        (wrong(vec![column("a", &["1", "2"]); 2]), "column `a`: there is one of this name already"),
    ]);
}
