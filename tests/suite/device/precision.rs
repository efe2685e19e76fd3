//! Storage in 16 bits, and arithmetic in 64: either it works, or the device is refused by name.

use proptest::prelude::*;
use splatport::kernels::transport::{pull_back, push_forward};
use splatport::kernels::{Error, Precision};
use splatport::reference::{kernel::dense, loss};
use splatport::{
    Annotations, BFloat, Device, Double, Fixed, Grid, Half, HostReal, Kernel, Splat,
    kernel::{Background, CutOff},
};

use super::plan::{Plan, Rule, build_on, distance, row_error};
use super::{Case, R, Tally, U, cases, centres, device, poison, property, wide};

/// The device in another precision, or none if it is refused, for `float` and a reason.
pub fn admitted<P: Precision>(precision: P, float: &str) -> Option<Device<R, P>> {
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

/// Largest remainders: a row keeps its sum to the last unit, every weight is one of the two units around it, and no weight is
/// rounded up while one with a larger remainder is not. Remainders count as equal within 1/1024 of a unit, and the product with
/// 65535 is rounded by half an ulp of up to 2^16.
#[test]
fn fixed_keeps_the_mass_of_every_row() {
    let Some(fixed) = admitted(Fixed, "u16") else { return };
    const UNITS: f64 = 65_535.0;
    let drawn = (cases(40, 8.0), prop_oneof![Just(Rule::None), Just(Rule::Exponent(3.0)), Just(Rule::Hard(2.0))]);
    property("u16", 24, drawn, |(Case { set, cells }, rule), tally| {
        let exact = Plan::read(&build_on(device(), (set, *cells), *rule, 1e-4));
        poison(&[cells.len(), cells.len(), 8 * set.len()]);
        let kernel = build_on(&fixed, (set, *cells), *rule, 1e-4);
        let plan = Plan::read(&kernel);
        tally.equal("columns", &plan.columns, &exact.columns);
        for row in 0..cells.len() {
            let of = |plan: &Plan| {
                plan.entries(row).map(|(_, w)| w * UNITS).chain([plan.background[row] * UNITS]).collect::<Vec<_>>()
            };
            let (units, wanted) = (of(&plan), of(&exact));
            let whole: u32 = units.iter().map(|u| u.round() as u32).sum();
            tally.equal("units of a row", &whole, &65_535);
            let slack = 1.0 / 1024.0 + 2.0_f64.powi(-8);
            let (mut raised, mut kept) = (f64::INFINITY, 0.0_f64);
            for (unit, want) in units.iter().zip(&wanted) {
                let up = unit.round() - want;
                tally.holds(up.abs() < 1.0 + slack, || format!("row {row}: {unit} units of {want}"));
                if up > slack {
                    raised = raised.min(1.0 - up)
                } else if up < -slack {
                    kept = kept.max(-up)
                }
            }
            tally.holds(raised >= kept - 2.0 * slack, || format!("row {row}: {raised} was rounded up, {kept} was not"));
        }
        carries(&fixed, &kernel, &plan.dense(), tally);
    });
}

/// A stored kernel in fixed point comes back as it was; one of floats comes as its largest remainders.
#[test]
fn fixed_point_comes_back() {
    let Some(fixed) = admitted(Fixed, "u16") else { return };
    let points = Annotations::new(vec![[9.0, 9.0], [20.0, 14.0], [21.0, 30.0]]).expect("points");
    let single = Splat::round(device(), &points, [40, 36], 4.0).expect("a splat");
    let splat = Splat::round(&fixed, &points, [40, 36], 4.0).expect("a splat");
    let soft = Background::Soft { cut_off: 2.0, rule: CutOff::Crossover };
    let grid = Grid::over(40, 36, 2);
    let table = splat.kernel(grid).background(soft).build().expect("a kernel").table().expect("a table");
    let back = |table| Kernel::from_table(&fixed, table).expect("a kernel").table().expect("a table");
    assert_eq!(back(&table), table);
    let floats = single.kernel(grid).background(soft).build().expect("a kernel").table().expect("a table");
    let stored = back(&floats);
    for ends in stored.indptr.windows(2) {
        let row = &stored.data[ends[0] as usize..ends[1] as usize];
        assert_eq!(row.iter().map(|&w| (w * 65_535.0).round()).sum::<f64>(), 65_535.0);
    }
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

/// The tests above have nothing to say where a type is refused, so what is known of a backend is written down. CUDA has everything.
/// Lavapipe has `f16` and `u16` through SPIR-V, `f16` only through WGSL, no `bf16`, and claims `f64` with an exponential that is none.
#[test]
fn no_known_precision_is_lost() {
    let name = device().name();
    let known = if cfg!(feature = "cuda") {
        [true; 4]
    } else if name.contains("llvmpipe") && name.contains("SPIR-V") {
        [true, true, false, false]
    } else if name.contains("llvmpipe") {
        [true, false, false, false]
    } else {
        return;
    };
    let admitted = [
        admitted(Half, "f16").is_some(),
        admitted(Fixed, "u16").is_some(),
        admitted(BFloat, "bf16").is_some(),
        admitted(Double, "f64").is_some(),
    ];
    assert_eq!(admitted, known, "{name}");
}

/// A device in another precision is the same device.
#[test]
fn the_name_stays() {
    let single = device().with_precision(splatport::Single).expect("single");
    assert_eq!(single.name(), device().name());
    assert!(format!("{single:?}").contains("single"));
    assert_eq!(f32::cast_from_f64(0.1).cast_to_f64(), f64::from(0.1_f32));
}
