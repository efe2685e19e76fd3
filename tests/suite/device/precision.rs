//! Storage in 16 bits, and arithmetic in 64: either it works, or the device is refused by name.

use splatport::kernels::transport::{pull_back, push_forward};
use splatport::kernels::{Error, Precision};
use splatport::reference::{kernel::dense, loss};
use splatport::{BFloat, Device, Double, Half, HostReal};

use super::plan::{Plan, Rule, build_on, distance, row_error};
use super::{Case, R, Tally, U, cases, centres, device, poison, property, wide};

/// The device in another precision, or none if it is refused, for `float` and a reason.
fn admitted<P: Precision>(precision: P, float: &str) -> Option<Device<R, P>> {
    match device().with_precision(precision) {
        Ok(device) => Some(device),
        Err(Error::UnsupportedFloat { float: refused, device: name, reason }) => {
            assert_eq!((refused, name.as_str()), (float, device().name()), "{reason}");
            assert!(!reason.is_empty());
            println!("{float}: refused: {reason}");
            None
        }
        Err(other) => panic!("{float}: {other}"),
    }
}

/// Rows and their sums. Each of `k` weights and the background is rounded by `u` of itself, together `u` of 1, or below the
/// least normal `f16` by `2^-25`.
fn check<P: Precision>(device: &Device<R, P>, u: f64, case: &Case, tally: &mut Tally) {
    let Case { set, cells } = case;
    let (rule, tau) = (Rule::Crossover(1.5), 1e-4);
    poison(&[cells.len(), cells.len(), 8 * set.len()]);
    let kernel = build_on(device, (set, *cells), rule, tau);
    let plan = Plan::read(&kernel);
    let (rows, points) = (plan.dense(), centres(cells));
    let wanted = dense(set, &points, &rule.oracle(set));
    for (i, row) in rows.iter().enumerate() {
        let stored = u + (plan.count(i) + 1) as f64 * (2.0_f64.powi(-25) + U);
        tally.near("sum of row", i, (row.iter().sum(), 1.0), stored + 6.0 * U);
        if !rule.is_undecided(set, points[i]) {
            let tolerance = tau + stored + row_error(set, points[i]);
            tally.near("row", i, (distance(row, &wanted[i]), 0.0), tolerance);
        }
    }
    carries(device, &kernel, &rows, tally);
}

/// The stored weights carry as any others: sums are no coarser. See `transport` for the tolerance.
fn carries<P: Precision>(
    device: &Device<R, P>,
    kernel: &splatport::kernels::correspondence::Correspondence<R, P>,
    rows: &[Vec<f64>],
    tally: &mut Tally,
) {
    let density: Vec<f64> = (0..rows.len()).map(|i| f64::from((i % 7) as u8) / 4.0).collect();
    let mass = push_forward(device, kernel, &device.upload_f64(&density)).expect("a push");
    let want = loss::push_forward(rows, &density);
    tally.all_near("mass", &wide(mass.read().expect("mass")), &want, |n| 260.0 * U * want[n]);
    let values = vec![1.5; rows.first().map_or(1, Vec::len)];
    let pulled = pull_back(device, kernel, &device.upload_f64(&values)).expect("a pull");
    let want = loss::pull_back(rows, &values);
    tally.all_near("value", &wide(pulled.read().expect("values")), &want, |i| 32.0 * U * want[i]);
}

/// Measured: 0.87 of the tolerance.
#[test]
fn half_stores_weights_in_f16() {
    let Some(device) = admitted(Half, "f16") else { return };
    property("f16", 24, cases(20, 8.0), |case, tally| check(&device, 2.0_f64.powi(-11), case, tally));
}

#[test]
fn bfloat_stores_weights_in_bf16() {
    let Some(device) = admitted(BFloat, "bf16") else { return };
    property("bf16", 24, cases(20, 8.0), |case, tally| check(&device, 2.0_f64.powi(-8), case, tally));
}

/// Double must be double: rows against the oracle to 1e-9 and no tolerance for `f32`.
#[test]
fn double_computes_in_f64() {
    let Some(device) = admitted(Double, "f64") else { return };
    property("f64", 12, cases(12, 8.0), |case, tally| {
        let (rule, tau) = (Rule::Crossover(1.5), 1e-9);
        let rows = Plan::read(&build_on(&device, (&case.set, case.cells), rule, tau)).dense();
        let (points, ours) = (centres(&case.cells), rule.oracle(&case.set));
        for (i, (row, want)) in rows.iter().zip(dense(&case.set, &points, &ours)).enumerate() {
            if !rule.is_undecided(&case.set, points[i]) {
                let rounding = row_error(&case.set, points[i]) * f64::EPSILON / f64::from(f32::EPSILON);
                tally.near("row", i, (distance(row, &want), 0.0), tau + rounding);
            }
        }
    });
}

/// A device in another precision is the same device.
#[test]
fn the_name_stays() {
    let single = device().with_precision(splatport::Single).expect("single");
    assert_eq!(single.name(), device().name());
    assert!(format!("{single:?}").contains("single"));
    assert_eq!(f32::cast_from_f64(0.1).cast_to_f64(), f64::from(0.1_f32));
}
