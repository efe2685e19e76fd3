//! Points in the files of ShanghaiTech, UCF-QNRF, COCO, JHU-Crowd++ and NWPU-Crowd.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use splatport::{Annotations, Error};

use crate::files::{all_equal, file, message};

type Reader = fn(&Path) -> Result<Annotations, Error>;

const MAT: Reader = |path| Annotations::from_mat(path);
const COCO: Reader = |path| Annotations::from_coco(path, 7);
const JHU: Reader = |path| Annotations::from_jhu(path);
const NWPU: Reader = |path| Annotations::from_nwpu(path);

pub const KEYPOINTS: &str = r#"{"images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
    "categories": [{"id": 1, "keypoints": ["nose", "left_eye", "right_eye"]}],
    "annotations": [
        {"id": 31, "image_id": 7, "category_id": 1, "keypoints": [10, 20, 2, 0, 0, 0, 12, 19, 1], "bbox": [5, 6, 40.5, 80]},
        {"id": 32, "image_id": 8, "category_id": 1, "keypoints": [1, 2, 2, 0, 0, 0, 0, 0, 0]},
        {"id": 33, "image_id": 7, "category_id": 1, "bbox": [1, 1, 2, 2]}]}"#;
pub const CROWD: &str = r#"{"img_id": "0001.jpg", "human_num": 2, "points": [[10.5, 20.25], [0, 3]],
    "boxes": [[8, 16, 13, 26.5], [0, 0, 4, 6]]}"#;

/// A file written by SciPy 1.17 (`scipy.io.savemat`): `[[1, 1], [20.25, 7.5], [32, 24]]` in `image_info{1}.location`, packed and
/// not; `int16([[3, 4], [300, 20]])` in `annPoints`; a matrix, a text and a cube under other names.
pub fn shipped(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/data/files").join(name)).unwrap()
}

fn read(reader: Reader, test: &str, name: &str, content: impl AsRef<[u8]>) -> (PathBuf, Result<Annotations, Error>) {
    let path = file(test, name, content);
    let result = reader(&path);
    (path, result)
}

fn error(reader: Reader, content: impl AsRef<[u8]>) -> String {
    // Several tests ask, at the same time: each in the folder of its thread.
    let folder = format!("wrong-points-{:?}", std::thread::current().id());
    let (path, result) = read(reader, &folder, "p", content);
    message(&result.unwrap_err(), &path)
}

fn columns(annotations: &Annotations) -> Vec<(&str, Vec<&str>)> {
    annotations.columns().iter().map(|c| (c.name(), c.values().iter().map(String::as_str).collect())).collect()
}

#[test]
fn matlab_counts_from_one() {
    for name in ["shanghai.mat", "shanghai_plain.mat"] {
        let read = read(MAT, "mat", name, shipped(name)).1.unwrap();
        assert_eq!(read.points(), [[0.5, 0.5], [19.75, 7.0], [31.5, 23.5]], "{name}");
    }
    let read = read(MAT, "mat-qnrf", "qnrf.mat", shipped("qnrf.mat")).1.unwrap();
    assert_eq!(read.points(), [[2.5, 3.5], [299.5, 19.5]]);
}

#[test]
fn coco_gives_marked_joints_of_one_photo() {
    let (path, read) = read(COCO, "coco", "k.json", KEYPOINTS);
    let read = read.unwrap();
    assert_eq!(read.points(), [[10.5, 20.5], [12.5, 19.5]]);
    let expected = [
        ("name", vec!["nose", "right_eye"]),
        ("visibility", vec!["2", "1"]),
        ("person", vec!["31", "31"]),
        ("box_w", vec!["40.5", "40.5"]),
        ("box_h", vec!["80", "80"]),
    ];
    assert_eq!(columns(&read), expected);
    assert_eq!(read.numeric("box_w").unwrap(), [40.5, 40.5]);
    let other = Annotations::from_coco(&path, 8).unwrap();
    assert_eq!((other.points(), other.columns()[3].values()), (&[[1.5, 2.5]][..], &[String::new()][..]));
    let text = message(&Annotations::from_coco(&path, 9).unwrap_err(), &path);
    assert_eq!(text, "k.json: no image of id 9");
}

#[test]
fn crowd_texts_and_boxes_become_columns() {
    let jhu = read(JHU, "jhu", "1.txt", "12 30 8 10 1 0 \n\n  13  31  9  11  3  1\r\n").1.unwrap();
    assert_eq!(jhu.points(), [[12.5, 30.5], [13.5, 31.5]]);
    assert_eq!(jhu.numeric("box_h").unwrap(), [10.0, 11.0]);
    assert_eq!(jhu.numeric("occlusion").unwrap(), [1.0, 3.0]);
    assert!(read(JHU, "jhu-none", "2.txt", "").1.unwrap().is_empty());
    let nwpu = read(NWPU, "nwpu", "1.json", CROWD).1.unwrap();
    assert_eq!(nwpu.points(), [[10.5, 20.25], [0.0, 3.0]]);
    assert_eq!(columns(&nwpu), [("box_w", vec!["5", "4"]), ("box_h", vec!["10.5", "6"])]);
    assert!(read(NWPU, "nwpu-none", "2.json", r#"{"points": []}"#).1.unwrap().columns().is_empty());
}

/// Cells of one cell each around an empty one; the sizes are right, so only the nesting is.
fn nested(depth: usize) -> Vec<u8> {
    let mut inner = Vec::new();
    for _ in 0..depth {
        let shape = [6, 8, 1, 0, 5, 8, 1, 1, 1, 0].map(u32::to_le_bytes);
        let body = [shape.as_flattened(), &14u32.to_le_bytes(), &(inner.len() as u32).to_le_bytes(), &inner].concat();
        inner = body;
    }
    let mut bytes = shipped("qnrf.mat")[..128].to_vec();
    bytes.extend([14, inner.len() as u32].map(u32::to_le_bytes).as_flattened());
    bytes.extend(inner);
    bytes
}

#[test]
fn wrong_matlab_files_say_why() {
    let other = shipped("other.mat");
    let plain = shipped("shanghai_plain.mat");
    let (mut hdf5, mut fewer, mut infinite) = (plain.clone(), plain.clone(), plain.clone());
    hdf5[..10].copy_from_slice(b"MATLAB 7.3");
    let at = |needle: &[u8]| plain.windows(needle.len()).position(|bytes| bytes == needle).unwrap();
    let number = at(&3.0_f64.to_le_bytes());
    fewer[number..number + 8].copy_from_slice(&4.0_f64.to_le_bytes());
    let x = at(&20.25_f64.to_le_bytes());
    infinite[x..x + 8].copy_from_slice(&f64::INFINITY.to_le_bytes());
    all_equal(&[
        (error(MAT, ""), "p: not a MATLAB file of version 5"),
        (error(MAT, "x,y\n1,2\n"), "p: not a MATLAB file of version 5"),
        (error(MAT, hdf5), "p: a MATLAB 7.3 (HDF5) file; version 5 is read: in MATLAB, save it again with `-v7`"),
        (error(MAT, other), "p: no variable `image_info` or `annPoints`; variables: `points`, `text`, `cube`"),
        (error(MAT, fewer), "p: field `image_info{1}.number` is [4.0], but there are 3 locations"),
        (error(MAT, infinite), "p: x[1] is inf, not a finite number"),
        (error(MAT, &plain[..plain.len() - 8]), "p: byte 128: an element of 312 bytes does not fit"),
        (error(MAT, &shipped("shanghai.mat")[..200]), "p: byte 128: an element of 131 bytes does not fit"),
        (error(MAT, &plain[..130]), "p: byte 128: the file ends here"),
        (error(MAT, nested(20)), "p: byte 944: more than 16 cells and structures in one another"),
    ]);
    // As deep as a file can be that is read into memory: an error, not an exhausted stack.
    assert!(error(MAT, nested(20_000)).contains("more than 16 cells"));
}

/// A MATLAB file of one packed variable.
fn packed(variable: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(variable).unwrap();
    let packed = packed.finish().unwrap();
    let mut bytes = shipped("qnrf.mat")[..128].to_vec();
    bytes.extend([15, packed.len() as u32].map(u32::to_le_bytes).as_flattened());
    bytes.extend(packed);
    bytes
}

#[test]
fn a_packed_variable_does_not_fill_the_memory() {
    let text = error(MAT, packed(&vec![0; 65 << 20]));
    assert_eq!(text, "p: byte 128: the variables unpack to more than 67108864 bytes");
}

/// `count` structures of `fields` fields, whose names take `name` bytes each, all empty; lengths are right.
fn structures(count: usize, fields: usize, name: usize) -> Vec<u8> {
    let element = |kind: u32, bytes: &[u8]| {
        let padding = vec![0; bytes.len().next_multiple_of(8) - bytes.len()];
        [&kind.to_le_bytes(), &(bytes.len() as u32).to_le_bytes(), bytes, &padding].concat()
    };
    let words = |words: [u32; 2]| words.map(u32::to_le_bytes).concat();
    let body = [
        element(6, &words([2, 0])),
        element(5, &words([count as u32, 1])),
        element(1, b"annPoints"),
        element(5, &(name as u32).to_le_bytes()),
        element(1, &vec![b'a'; fields * name]),
        element(14, &[]).repeat(count * fields),
    ];
    element(14, &body.concat())
}

/// Each would take gigabytes, from a file of some kilobytes.
#[test]
fn structures_do_not_multiply_what_a_file_holds() {
    all_equal(&[
        (error(MAT, packed(&structures(1000, 50, 64))), "p: `annPoints` does not hold numbers"),
        (
            error(MAT, packed(&structures(50_000, 1, 1 << 20))),
            "p: variable packed at byte 128: byte 88: names of fields of 1048576 bytes, not 1 to 64",
        ),
        (
            error(MAT, packed(&structures(0, (1 << 20) + 1, 1))),
            "p: variable packed at byte 128: byte 88: more than 1048576 cells, fields and names in the file",
        ),
        (
            error(MAT, packed(&structures(1 << 20, 1, 1))),
            "p: variable packed at byte 128: byte 96: more than 1048576 cells, fields and names in the file",
        ),
    ]);
}

/// Every joint has its name in a column of its own.
#[test]
fn names_of_joints_do_not_multiply_what_a_file_holds() {
    let named = |length: usize| KEYPOINTS.replace("left_eye", &"é".repeat(length / 2));
    let (path, read) = read(COCO, "coco-names", "p", named(256));
    assert_eq!(read.unwrap().len(), 2, "{}", path.display());
    let expected = "p: category 1: the name of a keypoint takes 258 bytes, more than 256";
    assert_eq!(error(COCO, named(258)), expected);
}

#[test]
fn wrong_texts_say_where() {
    all_equal(&[
        (error(JHU, "1 2 3 4 1 0\n1 2 3 4 1\n"), "p: line 2: expected 6 fields, got 5"),
        (error(JHU, "7\n"), "p: line 1: expected 6 fields, got 1"),
        (error(JHU, "1 b 3 4 1 0\n"), "p: line 1: y is `b`, not a number"),
        (error(JHU, "nan 2 3 4 1 0\n"), "p: x[0] is NaN, not a finite number"),
        (error(NWPU, "{\"points\": [[1]]}"), "p: invalid length 1, expected an array of length 2 at line 1 column 15"),
        (error(NWPU, "{\"points\": [[1, 2]"), "p: EOF while parsing a list at line 1 column 18"),
        (error(NWPU, CROWD.replace("], [0, 3]]", "]]")), "p: points: expected 2 values, got 1"),
        (error(NWPU, r#"{"points": [[1, 2]], "boxes": []}"#), "p: boxes: expected 1 values, got 0"),
        (error(COCO, "{}"), "p: missing field `images` at line 1 column 2"),
        (
            error(COCO, KEYPOINTS.replace("19, 1]", "19]")),
            "p: annotation 31: 8 numbers for the 3 keypoints of its category",
        ),
        (
            error(COCO, KEYPOINTS.replace("19, 1]", "19, 5]")),
            "p: annotation 31: visibility of `right_eye` is 5, not 0, 1 or 2",
        ),
        (
            error(
                COCO,
                KEYPOINTS.replace("\"category_id\": 1, \"keypoints\": [10", "\"category_id\": 2, \"keypoints\": [10"),
            ),
            "p: annotation 31: 9 numbers for the 0 keypoints of its category",
        ),
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Damaged files are read or refused in one line that names the file, never anything else.
    #[test]
    fn damage_is_an_error_or_points(
        kind in 0..7_usize,
        cut in proptest::option::weighted(0.3, any::<prop::sample::Index>()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let files: [(Reader, Vec<u8>); 7] = [
            (MAT, shipped("shanghai.mat")),
            (MAT, shipped("shanghai_plain.mat")),
            (MAT, shipped("qnrf.mat")),
            (MAT, shipped("other.mat")),
            (COCO, KEYPOINTS.into()),
            (JHU, "12 30 8 10 1 0\n13 31 9 11 3 1\n".into()),
            (NWPU, CROWD.into()),
        ];
        let (reader, mut bytes) = files[kind].clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let (path, result) = read(reader, "damaged-points", "p", bytes);
        match result {
            Ok(read) => prop_assert!(read.points().as_flattened().iter().all(|v| v.is_finite())),
            Err(error) => {
                let source = std::error::Error::source(&error).is_some();
                let text = message(&error, &path);
                prop_assert!(text.starts_with("p: ") || source && text == "cannot read p", "{text}");
            }
        }
    }
}
