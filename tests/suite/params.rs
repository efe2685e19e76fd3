//! The authors' files of Gaussians: HDF5.

use std::fs;
use std::path::{Path, PathBuf};

use hdf5_pure::FileBuilder;
use splatport::{Error, GaussianTable, splat::Share};

use crate::data::points::shipped;
use crate::device::property;
use crate::files::{all_equal, chain, file, folder, message};
use crate::tables::{any_gaussians, gaussians, single};

fn open(path: &Path) -> Result<GaussianTable, Error> {
    GaussianTable::from_params(path, [64, 48])
}

/// What the format can say of a table.
fn told(table: &GaussianTable) -> GaussianTable {
    let colors = table.colors.chunks(table.channels.into()).flat_map(|color| color.iter().cycle().take(3)).copied();
    GaussianTable {
        colors: colors.collect(),
        channels: 3,
        opacities: vec![1.0; table.means.len()],
        free: 0,
        shares: Vec::new(),
        profile: "reference".into(),
        width: 64,
        height: 48,
        origin: String::new(),
        ..table.clone()
    }
}

fn bits(table: &GaussianTable) -> Vec<u64> {
    let parts = [table.means.as_flattened(), table.scales.as_flattened(), &table.rotations, &table.colors];
    parts.concat().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn any_params_keep_every_bit() {
    let path = folder("params").join("IMG_gs_params.h5");
    property("params in files", 64, any_gaussians(single()), |table, _| {
        let table = GaussianTable { opacities: vec![1.0; table.means.len()], free: 0, ..table.clone() };
        table.save_params(&path).unwrap();
        let (first, back) = (fs::read(&path).unwrap(), open(&path).unwrap());
        assert_eq!((&back, bits(&back)), (&told(&table), bits(&told(&table))));
        back.save_params(&path).unwrap();
        // A grey value is three from then on.
        assert_eq!(fs::read(&path).unwrap(), first, "equal tables, unequal files");
    });
}

/// Written by h5py 3.16 (HDF5 2.0) as the authors write: `create_dataset('params', data=.., compression='gzip')` of an `f32`
/// array, of `numpy.array([])`, and the first once more in the layout of HDF5 1.14.
#[test]
fn files_of_h5py_are_read() {
    let row = |n: f64| ([[n, n + 0.125]], [[1.0, 1.5 + n]], 0.25 * n, [0.5, 0.1_f32.into(), n / 16.0]);
    for name in ["params.h5", "params_v114.h5"] {
        let table = open(&file("params-h5py", name, shipped(name))).unwrap();
        let rows = [row(1.0), row(2.0), row(11.0)];
        assert_eq!(table.means, rows.map(|row| row.0[0]), "{name}");
        assert_eq!(table.scales, rows.map(|row| row.1[0]), "{name}");
        assert_eq!(table.rotations, rows.map(|row| row.2), "{name}");
        assert_eq!(table.colors, rows.map(|row| row.3).concat(), "{name}");
        assert_eq!((table.opacities, &table.profile[..]), (vec![1.0; 3], "reference"));
        assert_eq!((table.channels, table.width, table.height, table.free), (3, 64, 48, 0));
    }
    let none = open(&file("params-empty", "params_empty.h5", shipped("params_empty.h5"))).unwrap();
    assert_eq!((none.means.len(), none.channels), (0, 3));
}

#[test]
fn what_the_format_cannot_say_is_refused() {
    let path = folder("params-refused").join("p.h5");
    let saved = |change: fn(&mut GaussianTable)| {
        let mut table = GaussianTable { shares: Vec::new(), free: 0, opacities: vec![1.0; 2], ..gaussians() };
        change(&mut table);
        table.save_params(&path).unwrap_err().to_string()
    };
    all_equal(&[
        (saved(|t| t.opacities[1] = 0.5), "opacities[1] is 0.5, outside 1..=1"),
        (saved(|t| t.free = 1), "free Gaussians: expected 0 values, got 1"),
        (
            saved(|t| t.shares = vec![Share { annotation: 0, gaussian: 0, weight: 1.0 }]),
            "shares: expected 0 values, got 1",
        ),
        (saved(|t| t.rotations[0] = f64::NAN), "rotations[0] is NaN, not a finite number"),
        (saved(|t| t.rotations[1] = 1e39), "params[1] is inf, not a finite number"),
    ]);
    assert!(!path.exists());
}

/// A file with an array of these values.
fn written(test: &str, fill: impl FnOnce(&mut FileBuilder)) -> PathBuf {
    let mut builder = FileBuilder::new();
    fill(&mut builder);
    file(test, "p.h5", builder.finish().unwrap())
}

#[test]
fn wrong_files_are_named() {
    let told = |fill: fn(&mut FileBuilder)| {
        let path = written("params-wrong", fill);
        message(&open(&path).unwrap_err(), &path)
    };
    let bytes = |bytes: &[u8]| {
        let path = file("params-foreign", "p.h5", bytes);
        message(&open(&path).unwrap_err(), &path)
    };
    let absent = folder("params-absent").join("p.h5");
    all_equal(&[
        (chain(&open(&absent).unwrap_err(), &absent), "cannot read p.h5 <- No such file or directory (os error 2)"),
        (bytes(b""), "p.h5: not an HDF5 file: HDF5 signature not found at any valid offset"),
        (bytes(b"x,y\n1,2\n"), "p.h5: not an HDF5 file: HDF5 signature not found at any valid offset"),
        (
            told(|file| _ = file.create_dataset("means").with_f32_data(&[0.0; 8]).with_shape(&[1, 8])),
            "p.h5: array `params`: missing",
        ),
        (
            told(|file| _ = file.create_dataset("params").with_f32_data(&[0.0; 10]).with_shape(&[2, 5])),
            "p.h5: array `params`: shape [2, 5], expected [any, 8]",
        ),
        (
            told(|file| _ = file.create_dataset("params").with_f32_data(&[1.0; 8]).with_shape(&[8])),
            "p.h5: array `params`: shape [8], expected [any, 8]",
        ),
        (
            told(|file| _ = file.create_dataset("params").with_i32_data(&[1; 8]).with_shape(&[1, 8])),
            "p.h5: array `params`: type i32, expected f32",
        ),
        (
            told(|file| {
                let row = [1.0, 2.0, f32::NAN, 3.0, 0.5, 0.1, 0.2, 0.3];
                file.create_dataset("params").with_f32_data(&row).with_shape(&[1, 8]);
            }),
            "p.h5: scales[0] is NaN, not a finite number",
        ),
        (
            told(|file| {
                let row = [1.0, 2.0, 1.0, 3.0, 0.5, 0.1, 0.2, f64::INFINITY];
                file.create_dataset("params").with_f64_data(&row).with_shape(&[1, 8]);
            }),
            "p.h5: colors[0] is inf, not a finite number",
        ),
    ]);
}

/// A header that promises more than there is must not be followed.
#[test]
fn absurd_sizes_are_refused() {
    let (real, whole) = ([3_u64, 8].map(u64::to_le_bytes).concat(), shipped("params.h5"));
    let promised = |rows: u64| {
        let mut bytes = whole.clone();
        let places: Vec<usize> = (0..bytes.len() - 16).filter(|&at| bytes[at..at + 16] == real).collect();
        assert!(!places.is_empty(), "no shape in the header");
        for at in places {
            bytes[at..at + 8].copy_from_slice(&rows.to_le_bytes());
        }
        let path = file("params-absurd", "p.h5", bytes);
        message(&open(&path).unwrap_err(), &path)
    };
    let expected = |rows: u64| {
        format!("p.h5: array `params`: [{rows}, 8] values are more than a file of {} bytes can hold", whole.len())
    };
    for rows in [1 << 18, 1 << 40, 1 << 61, u64::MAX] {
        assert_eq!(promised(rows), expected(rows));
    }
}

#[test]
fn truncations_are_errors() {
    for name in ["params.h5", "params_v114.h5"] {
        let (whole, path) = (shipped(name), folder("params-truncated").join(name));
        // Coprime to the size of every number, so that each of their bytes has its turn.
        for length in (0..whole.len()).step_by(5) {
            fs::write(&path, &whole[..length]).unwrap();
            let text = message(&open(&path).expect_err("a part of a file"), &path);
            assert!(text.contains(name), "{text}");
        }
    }
}
