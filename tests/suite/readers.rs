//! Files that are told apart by name or content, densities, and what a table says of its origin.

use std::fs;

use splatport::{Annotations, CsrTable, DensityTable, GaussianTable, Table};

use crate::annotations::npy;
use crate::files::{all_equal, file, folder, message};
use crate::tables::{gaussians, kernel};

#[test]
fn points_are_read_by_the_ending() {
    let expected = [[1.0, 2.0], [3.0, 4.5]];
    let array = npy(None, npyz::Order::C, &[2, 2], &[1.0, 2.0, 3.0, 4.5]);
    let jhu = b"0.5 1.5 9 9 1 0\n2.5 4 9 9 1 0\n".to_vec();
    let nwpu = br#"{"points": [[1.0, 2.0], [3.0, 4.5]]}"#.to_vec();
    let csv = b"x,y\n1,2\n3,4.5\n".to_vec();
    for (name, content) in [("a.csv", csv), ("a.NPY", array), ("a.txt", jhu), ("a.json", nwpu)] {
        let path = file("points-by-ending", name, content);
        assert_eq!(Annotations::open(&path).unwrap().points(), expected, "{name}");
    }
    let wrong = |name: &str| {
        let path = folder("points-without-ending").join(name);
        (message(&Annotations::open(&path).unwrap_err(), &path), name.to_owned())
    };
    for (got, name) in [wrong("a.tif"), wrong("csv")] {
        assert_eq!(got, format!("{name}: the name ends in none of `.csv`, `.npy`, `.mat`, `.txt`, `.json`"));
    }
}

#[test]
fn a_table_knows_its_kind() {
    for ending in ["npz", "safetensors"] {
        let folder = folder("kinds");
        for table in [Table::Gaussians(gaussians()), Table::Kernel(kernel())] {
            let path = folder.join("t").with_extension(ending);
            table.save(&path).unwrap();
            assert_eq!(Table::open(&path).unwrap(), table);
        }
    }
    let bytes = br#"{"version":{"dtype":"U32","shape":[],"data_offsets":[0,4]}}    "#;
    let bytes = [&(bytes.len() as u64).to_le_bytes()[..], bytes, &1_u32.to_le_bytes()].concat();
    let path = file("neither-kind", "t.safetensors", bytes);
    let expected = "t.safetensors: neither Gaussians (array `means`) nor a kernel (array `indptr`)";
    assert_eq!(message(&Table::open(&path).unwrap_err(), &path), expected);
}

/// It comes back, and a file that says nothing of it has the bytes that it had before there was one.
#[test]
fn the_origin_is_kept() {
    let origin = "{\"recipe\": \"grün\"}".to_owned();
    for name in ["t.npz", "t.safetensors"] {
        let path = folder("origin").join(name);
        let told = Table::Gaussians(GaussianTable { origin: origin.clone(), ..gaussians() });
        told.save(&path).unwrap();
        assert_eq!((Table::open(&path).unwrap().origin(), Table::open(&path).unwrap()), (&origin[..], told));
        let told = Table::Kernel(CsrTable { origin: origin.clone(), ..kernel() });
        told.save(&path).unwrap();
        assert_eq!((Table::open(&path).unwrap().origin(), Table::open(&path).unwrap()), (&origin[..], told));
        kernel().save(&path).unwrap();
        assert!(!fs::read(&path).unwrap().windows(6).any(|word| word == b"origin"));
    }
}

#[test]
fn densities_come_back() {
    let density = DensityTable { rows: 2, columns: 3, values: vec![0.1, -0.0, f32::MAX, 1e-45, 2.0, 3.0] };
    let path = folder("density").join("d.npy");
    density.save(&path).unwrap();
    let back = DensityTable::open(&path).unwrap();
    assert_eq!((back.rows, back.columns), (2, 3));
    let bits = |table: &DensityTable| table.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&back), bits(&density));
    // NumPy writes a transposed array column by column.
    let transposed = npy(None, npyz::Order::Fortran, &[2, 3], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let read = DensityTable::open(file("density-transposed", "d.npy", transposed)).unwrap();
    assert_eq!(read, DensityTable { rows: 2, columns: 3, values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] });
}

#[test]
fn wrong_densities_are_named() {
    let opened = |shape: &[u64], values: &[f64]| {
        let path = file("density-wrong", "d.npy", npy(None, npyz::Order::C, shape, values));
        message(&DensityTable::open(&path).unwrap_err(), &path)
    };
    let path = folder("density-unsaved").join("d.npy");
    let short = DensityTable { rows: 2, columns: 2, values: vec![0.0; 3] }.save(&path).unwrap_err().to_string();
    all_equal(&[
        (opened(&[3], &[1.0, 2.0, 3.0]), "d.npy: shape [3], expected [rows, columns]"),
        (opened(&[1, 2], &[1.0, f64::NAN]), "d.npy: values[1] is NaN, not a finite number"),
        (opened(&[1, 2], &[1e39, 0.0]), "d.npy: values[0] is inf, not a finite number"),
        (short, "values: expected 4 values, got 3"),
    ]);
    assert!(!path.exists());
}

#[test]
fn a_kernel_is_checked_without_a_device() {
    let sound = CsrTable {
        indptr: vec![0, 2, 3, 4, 5],
        indices: vec![0, 2, 2, 1, 2],
        data: vec![0.25, 0.75, 1.0, 1.0, 1.0],
        left: 0.0,
        top: 0.0,
        ..kernel()
    };
    sound.check_kernel().unwrap();
    let wrong = |change: fn(&mut CsrTable)| {
        let mut table = sound.clone();
        change(&mut table);
        table.check_kernel().unwrap_err().to_string()
    };
    all_equal(&[
        (wrong(|t| t.data[2] = -0.5), "data[2] is -0.5, outside 0..=1"),
        (wrong(|t| t.data[3] = 1.5), "sum of row[2] is 1.5, outside 0.9960784614086151..=1.0039215087890625"),
        (wrong(|t| t.data[1] = 0.05), "sum of row[0] is 0.3, outside 0.9960784316062927..=1.0039215087890625"),
        (
            wrong(|t| (t.indptr, t.indices, t.data) = (vec![0; 5], vec![], vec![])),
            "sum of row[0] is 0, outside 0.9960784912109375..=1.0039215087890625",
        ),
        (wrong(|t| t.profile = "papre".into()), "profile `papre` is not one of recommended, paper, reference"),
    ]);
}
