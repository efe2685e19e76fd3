//! Tables come back bit for bit, and a table that does not fit together is not written.

use std::fs;

use proptest::collection::vec;
use proptest::num::{f32, f64};
use proptest::prelude::*;
use splatport::{CsrTable, GaussianTable, splat::Share};

use crate::device::property;
use crate::files::{all_equal, folder};

/// Values whose bits a careless conversion would change.
pub fn gaussians() -> GaussianTable {
    GaussianTable {
        means: vec![[-0.0, 0.1_f32.into()], [f32::MAX.into(), f32::MIN_POSITIVE.into()]],
        scales: vec![[1e-45_f32.into(), 2.0], [3.3_f32.into(), (1.0_f32 / 3.0).into()]],
        rotations: vec![-3.0, 0.5],
        colors: [0.1_f32, 0.2, 0.3, -1.0, 2.0, 0.0].map(f64::from).to_vec(),
        channels: 3,
        opacities: vec![0.5, 1.0],
        free: 1,
        shares: vec![
            Share { annotation: 0, gaussian: 1, weight: 1e-45 },
            Share { annotation: 0, gaussian: 0, weight: 0.1 },
        ],
        profile: "empfohlen: schön".into(),
        width: 64,
        height: 48,
        origin: "".into(),
    }
}

/// As [`gaussians`], with an empty row.
pub fn kernel() -> CsrTable {
    CsrTable {
        rows: 4,
        cols: 3,
        indptr: vec![0, 2, 2, 3, 4],
        indices: vec![2, 0, 1, 2],
        data: [0.1_f32, 1e-45, -0.0, 1.0].map(f64::from).to_vec(),
        tau: 1e-6,
        worst_dropped: 0.1 + 0.2,
        bound: f64::INFINITY,
        storage: 1e-3,
        profile: "paper".into(),
        stride: 8,
        left: -0.0,
        top: 0.25,
        grid_width: 2,
        grid_height: 2,
        size: [15, 16],
        image: [99, 1 << 30],
        origin: "".into(),
    }
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Writes, reads and writes again, in both formats.
fn same_gaussians(test: &str, table: &GaussianTable) {
    for name in ["g.npz", "g.safetensors"] {
        let path = folder(test).join(name);
        table.save(&path).unwrap();
        let first = fs::read(&path).unwrap();
        let back = GaussianTable::open(&path).unwrap();
        assert_eq!(&back, table);
        for (got, wanted) in [(&back.means, &table.means), (&back.scales, &table.scales)] {
            assert_eq!(bits(got.as_flattened()), bits(wanted.as_flattened()));
        }
        assert_eq!(bits(&back.rotations), bits(&table.rotations));
        assert_eq!(bits(&back.colors), bits(&table.colors));
        assert_eq!(bits(&back.opacities), bits(&table.opacities));
        back.save(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first, "equal tables, unequal files");
    }
}

/// As [`same_gaussians`].
fn same_kernel(test: &str, table: &CsrTable) {
    for name in ["k.npz", "k.safetensors"] {
        let path = folder(test).join(name);
        table.save(&path).unwrap();
        let first = fs::read(&path).unwrap();
        let back = CsrTable::open(&path).unwrap();
        assert_eq!(&back, table);
        assert_eq!(bits(&back.data), bits(&table.data));
        let scalars =
            |table: &CsrTable| [table.tau, table.worst_dropped, table.bound, table.left, table.top].map(f64::to_bits);
        assert_eq!(scalars(&back), scalars(table));
        back.save(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first, "equal tables, unequal files");
    }
}

#[test]
fn gaussians_keep_every_bit() {
    let none = GaussianTable { channels: 1, width: 1, height: 1, ..Default::default() };
    for table in [gaussians(), none] {
        same_gaussians("gaussians", &table);
    }
}

#[test]
fn kernels_keep_every_bit() {
    let no_rows = CsrTable { indptr: vec![0], ..Default::default() };
    let no_columns = CsrTable { rows: 2, indptr: vec![0; 3], grid_width: 2, grid_height: 1, ..Default::default() };
    for table in [kernel(), no_rows, no_columns] {
        same_kernel("kernel", &table);
    }
}

/// Every finite `f32`, of both signs.
pub fn single() -> BoxedStrategy<f64> {
    (f32::NORMAL | f32::SUBNORMAL | f32::ZERO).prop_map(f64::from).boxed()
}

/// Every finite `f64`, of both signs.
fn double() -> BoxedStrategy<f64> {
    (f64::NORMAL | f64::SUBNORMAL | f64::ZERO).boxed()
}

pub fn any_gaussians(finite: BoxedStrategy<f64>) -> impl Strategy<Value = GaussianTable> {
    let scale = || finite.clone().prop_filter("a scale", |scale| *scale != 0.0).prop_map(f64::abs);
    let finite = || finite.clone();
    let one = ([finite(), finite()], [scale(), scale()], finite(), [finite(), finite(), finite()], finite());
    (vec(one, 0..6), prop_oneof![Just(1_u8), Just(3)], ".{0,9}", 1..=u32::MAX, 1..=u32::MAX).prop_map(
        |(rows, channels, profile, width, height)| {
            // A NumPy text does not keep zeros at its end.
            let profile = profile.trim_end_matches('\0').to_owned();
            let free = rows.len() as u32 / 3;
            let mut table = GaussianTable { channels, free, profile, width, height, ..Default::default() };
            for (mean, scales, rotation, color, opacity) in rows {
                table.means.push(mean);
                table.scales.push(scales);
                table.rotations.push(rotation);
                table.colors.extend(&color[..usize::from(channels)]);
                table.opacities.push(opacity);
            }
            table
        },
    )
}

fn any_kernel(finite: BoxedStrategy<f64>) -> impl Strategy<Value = CsrTable> {
    let rows = move |cells: usize, cols: u32| vec(vec((0..cols.max(1), finite.clone()), 0..=cols as usize), cells);
    let numbers = || proptest::array::uniform5(f64::NORMAL | f64::ZERO);
    (0..5_u32, 0..4_u32, 0..5_u32)
        .prop_flat_map(move |(width, height, cols)| {
            let sizes = any::<[[u32; 2]; 2]>();
            (Just((width, height, cols)), rows((width * height) as usize, cols), numbers(), any::<u32>(), sizes)
        })
        .prop_map(|((width, height, cols), rows, [tau, worst_dropped, bound, left, top], stride, sizes)| {
            let mut table = CsrTable { rows: rows.len(), cols: cols as usize, indptr: vec![0], ..Default::default() };
            for row in rows {
                table.indices.extend(row.iter().map(|entry| entry.0));
                table.data.extend(row.iter().map(|entry| entry.1));
                table.indptr.push(table.data.len() as u32);
            }
            let [size, image] = sizes;
            let table = CsrTable { size, image, grid_width: width, grid_height: height, ..table };
            CsrTable { tau, worst_dropped, bound, storage: tau, left, top, stride, ..table }
        })
}

#[test]
fn any_gaussians_keep_every_bit() {
    let both = any_gaussians(single()).prop_union(any_gaussians(double()));
    property("gaussians in files", 96, both, |table, _| same_gaussians("any-gaussians", table));
}

#[test]
fn any_kernel_keeps_every_bit() {
    let both = any_kernel(single()).prop_union(any_kernel(double()));
    property("kernels in files", 96, both, |table, _| same_kernel("any-kernel", table));
}

#[test]
fn tables_that_do_not_fit_together_are_rejected() {
    let path = folder("misfit").join("t.npz");
    let gaussian = |change: fn(&mut GaussianTable)| {
        let mut table = gaussians();
        change(&mut table);
        table.save(&path).unwrap_err().to_string()
    };
    let csr = |change: fn(&mut CsrTable)| {
        let mut table = kernel();
        change(&mut table);
        table.save(&path).unwrap_err().to_string()
    };
    all_equal(&[
        (gaussian(|t| t.scales.clear()), "scales: expected 2 values, got 0"),
        (gaussian(|t| t.rotations.push(0.0)), "rotations: expected 2 values, got 3"),
        (gaussian(|t| t.colors.truncate(5)), "colors: expected 6 values, got 5"),
        (gaussian(|t| t.opacities.clear()), "opacities: expected 2 values, got 0"),
        (gaussian(|t| t.free = 3), "free[0] is 3, outside 0..=2"),
        (gaussian(|t| t.channels = 2), "expected 1 or 3 channels, got 2"),
        (gaussian(|t| t.height = 0), "height is empty"),
        (gaussian(|t| t.means[1][0] = f64::NAN), "means[1] is NaN, not a finite number"),
        (gaussian(|t| t.colors[5] = f64::INFINITY), "colors[1] is inf, not a finite number"),
        (csr(|t| t.grid_width = 3), "rows: expected 6 values, got 4"),
        (csr(|t| t.indptr.truncate(4)), "indptr: expected 5 values, got 4"),
        (csr(|t| t.indices.truncate(3)), "indices: expected 4 values, got 3"),
        (csr(|t| t.indptr[0] = 1), "indptr[0] is 1, outside 0..=0"),
        (csr(|t| t.indptr[2] = 1), "indptr[2] is 1, outside 2..=4"),
        (csr(|t| t.indptr[4] = 3), "indptr[4] is 3, outside 4..=4"),
        (csr(|t| t.indptr[1] = 9), "indptr[1] is 9, outside 0..=4"),
        (csr(|t| t.indices[3] = 3), "indices[3] is 3, outside 0..=2"),
        (csr(|t| t.data[2] = f64::NAN), "data[2] is NaN, not a finite number"),
        (csr(|t| t.tau = f64::INFINITY), "tau[0] is inf, not a finite number"),
        (csr(|t| t.bound = f64::NAN), "bound[0] is NaN, not a finite number"),
        (csr(|t| t.storage = f64::INFINITY), "storage[0] is inf, not a finite number"),
    ]);
    assert!(!path.exists());
}
