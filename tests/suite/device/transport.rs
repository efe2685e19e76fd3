//! The loss step on a fixed kernel. The oracle is given the device's own weights, so that only the step is compared.

use proptest::collection::vec;
use proptest::prelude::*;
use splatport::kernels::correspondence::{Correspondence, Room, correspondence_of_batch};
use splatport::kernels::gaussian::Framing;
use splatport::kernels::{Cells, Error, Mosaic, Shape};
use splatport::kernels::{
    arithmetic::{combine, copy, dot},
    cost::cell_costs,
    discrepancy::Discrepancy,
    ownership::ownership,
    transport::{Terms, evaluate, pull_back, push_forward},
};
use splatport::reference::{cost::transport_cost, discrepancy as reference, gaussian::Gaussian, loss};
use splatport::{Single, strategies};

use super::plan::{Plan, Rule, any_rule, build};
use super::{Case, R, U, cases, centres, device, framed, poison, property, single, wide};

type Kernel = Correspondence<R, Single>;

/// A kernel's input, a density on its cells and values on its columns.
fn steps() -> impl Strategy<Value = (Case, Rule, Vec<f64>, Vec<f64>)> {
    (cases(20, 8.0), any_rule()).prop_flat_map(|(case, rule)| {
        let (cells, columns) = (case.cells.len(), case.set.len() + 1);
        let values = vec((-2.0..2.0).prop_map(single), columns);
        (Just(case), Just(rule), strategies::density(cells), values)
    })
}

fn carried(kernel: &Kernel, density: &[f64]) -> Vec<f64> {
    let buffer = device().upload_f64(density);
    poison(&[kernel.transposed.entry_starts.len(), density.len(), kernel.transposed.slot_starts.len()]);
    wide(push_forward(device(), kernel, &buffer).expect("a push").read().expect("mass"))
}

fn pulled(kernel: &Kernel, values: &[f64]) -> Vec<f64> {
    let buffer = device().upload_f64(values);
    poison(&[kernel.cells()]);
    wide(pull_back(device(), kernel, &buffer).expect("a pull").read().expect("values"))
}

/// Roundings that an element of a column's sum meets: a tile's 64 cells and its slots one by one; the background's tiles in 128
/// lanes, which are joined in 24 steps; a product more.
fn roundings(kernel: &Kernel) -> f64 {
    let cells = kernel.mosaic.images()[0].0;
    let tiles = cells.columns.div_ceil(8) * cells.rows.div_ceil(8);
    66.0 + f64::from(tiles).max(128.0)
}

/// Tolerance: the roundings above times `U sum K z`, as neither weights nor densities are negative. Measured: 0.04 of it.
#[test]
fn push_forward_equals_the_oracle() {
    property("push forward", 32, steps(), |(Case { set, cells }, rule, density, _), tally| {
        let kernel = build(set, *cells, *rule, 1e-3);
        let got = carried(&kernel, density);
        let wanted = loss::push_forward(&Plan::read(&kernel).dense(), density);
        tally.all_near("mass", &got, &wanted, |n| roundings(&kernel) * U * wanted[n]);
        // All mass arrives; rows add up to 1 within (N + 6) U.
        let total: f64 = density.iter().sum();
        let error = (roundings(&kernel) + set.len() as f64 + 6.0) * U * total;
        tally.near("total of", density.len(), (got.iter().sum(), total), error);
    });
}

/// `k` products added one by one: `(k + 2) U sum |K v|`. Measured: 0.69 of it.
#[test]
fn pull_back_equals_the_oracle() {
    property("pull back", 32, steps(), |(Case { set, cells }, rule, _, values), tally| {
        let kernel = build(set, *cells, *rule, 1e-3);
        let plan = Plan::read(&kernel);
        let rows = plan.dense();
        let magnitudes = loss::pull_back(&rows, &values.iter().map(|v| v.abs()).collect::<Vec<_>>());
        tally.all_near("value", &pulled(&kernel, values), &loss::pull_back(&rows, values), |i| {
            (plan.count(i) as f64 + 2.0) * U * magnitudes[i]
        });
    });
}

/// `<K' z, v> = <z, K v>`: both orders hold the same matrix. Measured: 0.02 of the tolerance.
#[test]
fn push_and_pull_are_adjoint() {
    property("adjoint", 24, steps(), |(Case { set, cells }, rule, density, values), tally| {
        let kernel = build(set, *cells, *rule, 1e-3);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let absolute: Vec<f64> = values.iter().map(|v| v.abs()).collect();
        let sum = dot(&loss::push_forward(&Plan::read(&kernel).dense(), density), &absolute);
        let sides = (dot(&carried(&kernel, density), values), dot(density, &pulled(&kernel, values)));
        tally.near("product over", cells.len(), sides, (roundings(&kernel) + set.len() as f64 + 2.0) * U * sum);
    });
}

fn discrepancies() -> impl Strategy<Value = (Discrepancy, reference::Discrepancy)> {
    use reference::Discrepancy as Oracle;
    let size = || (0.05..2.0).prop_map(single);
    prop_oneof![
        Just((Discrepancy::L1, Oracle::L1)),
        Just((Discrepancy::L2, Oracle::L2)),
        size().prop_map(|width| (Discrepancy::Huber { width }, Oracle::Huber { width })),
        size().prop_map(|least| (Discrepancy::PoissonKl { least }, Oracle::PoissonKl { least })),
    ]
}

/// The whole step in three launches: value and gradient follow from the mass that it says it carried. A column's value is a few
/// operations of numbers of size `m + t` (squared, or times a logarithm below 20), its slope likewise; the value adds all
/// columns, and the cost all tiles and cells. Measured: 0.02 of the tolerance.
#[test]
fn value_and_gradient_follow_from_the_mass() {
    let terms = (steps(), discrepancies(), 0.0..0.01, 0.5..2.0, any::<bool>());
    property(
        "whole step",
        32,
        terms,
        |((Case { set, cells }, rule, density, values), kinds, factor, scale, paid), tally| {
            let kernel = build(set, *cells, *rule, 1e-3);
            let rows = Plan::read(&kernel).dense();
            let frames = framed(set, 1, Framing::default());
            let costs = cell_costs(device(), &kernel, &frames);
            let c = wide(costs.read().expect("costs"));
            let (factor, scale) = (single(*factor), single(*scale));
            let targets: Vec<f64> = values.iter().map(|v| v.abs()).collect();
            let weights: Vec<f64> = values.iter().map(|v| single(0.5 + v * v)).collect();
            let target = device().upload_f64(&targets);
            let weight = device().upload_f64(&weights);
            let cost = paid.then_some((factor, costs));
            let terms = Terms { discrepancy: kinds.0, target, weight, cost };
            poison(&[cells.len(), values.len(), kernel.transposed.entry_starts.len()]);
            let step = evaluate(device(), &kernel, &device().upload_f64(density), &terms, scale).expect("a step");
            let mass = wide(step.mass.read().expect("mass"));
            let (mut value, mut size, mut slopes, mut sizes) = (0.0, 0.0, Vec::new(), Vec::new());
            for (n, &m) in mass.iter().enumerate() {
                let at = reference::discrepancy(kinds.1, m, targets[n]);
                value += weights[n] * at.value;
                size += weights[n] * 20.0 * (1.0 + m + targets[n]).powi(2);
                slopes.push(weights[n] * at.slope);
                sizes.push(weights[n] * 40.0 * (1.0 + m + targets[n]));
            }
            let mut wanted = loss::pull_back(&rows, &slopes);
            let around = loss::pull_back(&rows, &sizes);
            if *paid {
                value += factor * density.iter().zip(&c).map(|(z, c)| z * c).sum::<f64>();
                size += factor * density.iter().zip(&c).map(|(z, c)| z * c).sum::<f64>();
                wanted.iter_mut().zip(&c).for_each(|(g, c)| *g += factor * c);
            }
            let got = wide(step.value.read().expect("value"))[0];
            tally.near("value", 0, (got, scale * value), (values.len() as f64 + 80.0) * U * scale * size);
            let gradient = wide(step.gradient.read().expect("gradient"));
            tally.all_near("gradient", &gradient, &wanted.iter().map(|g| scale * g).collect::<Vec<_>>(), |i| {
                (values.len() as f64 + 8.0) * U * scale * (around[i] + factor * c[i])
            });
        },
    );
}

/// `k` products of a weight and a squared distance, itself off by 5 U: `(k + 8) U c`. Measured: 0.44 of it.
#[test]
fn costs_equal_the_oracle() {
    property("cost", 24, steps(), |(Case { set, cells }, rule, density, _), tally| {
        let kernel = build(set, *cells, *rule, 1e-3);
        let plan = Plan::read(&kernel);
        let frames = framed(set, 3, Framing::default());
        poison(&[cells.len()]);
        let got = wide(cell_costs(device(), &kernel, &frames).read().expect("costs"));
        let means: Vec<[f64; 2]> = set.iter().map(|g| g.mean).collect();
        let wanted = transport_cost(&plan.dense(), density, &centres(cells), &means).gradient;
        tally.all_near("cost", &got, &wanted, |i| (plan.count(i) as f64 + 8.0) * U * wanted[i]);
    });
}

/// The largest weight's column; ties go to the background, then to the lowest index.
#[test]
fn owners_have_the_largest_weight() {
    property("owner", 24, steps(), |(Case { set, cells }, rule, ..), tally| {
        let doubled: Vec<_> = set.iter().chain(set.first()).copied().collect();
        let kernel = build(&doubled, *cells, *rule, 1e-3);
        poison(&[cells.len(), cells.len()]);
        let found = ownership(device(), &kernel);
        let (owners, weights) = (found.owner.read().expect("owners"), wide(found.weight.read().expect("weights")));
        let plan = Plan::read(&kernel);
        for i in 0..cells.len() {
            let mut want = (u32::MAX, plan.background[i]);
            for (n, weight) in plan.entries(i) {
                if weight > want.1 {
                    want = (n as u32, weight);
                }
            }
            tally.equal("owner", &(i, owners[i], weights[i]), &(i, want.0, want.1));
        }
    });
}

/// A sum of products: `(64 levels + 1) U sum |a b|`; a scaled sum of two: 3 U of its terms. Measured: 0.76 of it.
#[test]
fn dot_combine_and_copy() {
    let pair = || ((-3.0..3.0).prop_map(single), (-3.0..3.0).prop_map(single));
    property("vectors", 24, (vec(pair(), 0..700), -2.0..2.0, -2.0..2.0), |(pairs, factor, scale), tally| {
        let (factor, scale) = (single(*factor), single(*scale));
        let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let (x, y) = (device().upload_f64(&a), device().upload_f64(&b));
        poison(&[a.len(), 1]);
        let product = wide(dot(device(), &x, &y).expect("a product").read().expect("one"))[0];
        let magnitude: f64 = pairs.iter().map(|(a, b)| (a * b).abs()).sum();
        let want = pairs.iter().map(|(a, b)| a * b).sum();
        tally.near("product over", a.len(), (product, want), 129.0 * U * magnitude);
        let sum = wide(combine(device(), &x, &y, factor, scale).expect("a sum").read().expect("sums"));
        let want: Vec<f64> = pairs.iter().map(|(a, b)| scale * (a + factor * b)).collect();
        let size = |i: usize| scale.abs() * (a[i].abs() + (factor * b[i]).abs());
        tally.all_near("sum", &sum, &want, |i| 3.0 * U * size(i));
        copy(device(), &x, &y).expect("a copy");
        tally.equal("copy", &wide(y.read().expect("copied")), &a);
    });
}

#[test]
fn wrong_lengths_are_rejected() {
    let kernel =
        build(&[splatport::reference::gaussian::Gaussian::round([3.0; 2], 1.0)], Cells::pixels(5, 3), Rule::None, 0.1);
    let two = device().filled(1.0f32, 2);
    let three = device().filled(1.0f32, 3);
    let terms = |columns| Terms {
        discrepancy: Discrepancy::L1,
        target: device().filled(1.0f32, columns),
        weight: device().filled(1.0f32, columns),
        cost: None,
    };
    let lengths = [
        push_forward(device(), &kernel, &two).err(),
        pull_back(device(), &kernel, &three).err(),
        evaluate(device(), &kernel, &three, &terms(2), 1.0).err(),
        dot(device(), &two, &three).err(),
        combine(device(), &two, &three, 1.0, 1.0).err(),
        copy(device(), &two, &three).err(),
    ];
    let numbers = lengths.map(|error| match error {
        Some(Error::Length { expected, got, .. }) => (expected, got),
        other => panic!("{other:?}"),
    });
    assert_eq!(numbers, [(15, 2), (2, 3), (15, 3), (2, 3), (2, 3), (2, 3)]);
}

/// The same bits from a second run over other poison.
#[test]
fn a_second_step_has_the_same_bits() {
    property("second step", 12, steps(), |(Case { set, cells }, rule, density, values), tally| {
        let kernel = build(set, *cells, *rule, 1e-3);
        let run = || (carried(&kernel, density), pulled(&kernel, values));
        let first = run();
        super::poison_with(-1.25, &[cells.len(), 8 * set.len(), 1]);
        let second = run();
        tally.holds(first.0.iter().chain(&first.1).all(|v| v.is_finite()), || "not finite".to_owned());
        tally.holds(first == second, || "the bits differ".to_owned());
    });
}

/// The background's 16384 tiles are not added one by one, which would be off by 2590 U: a tile adds 64 cells, a lane 128 tiles, a row 8
/// lanes, and there are 16 rows.
#[test]
fn many_tiles_are_added_in_lanes() {
    let cells = Cells::pixels(1024, 1024);
    let (kernel, density) = (build(&[], cells, Rule::None, 1e-3), single(0.1));
    let got = carried(&kernel, &vec![density; cells.len()]);
    let want = density * cells.len() as f64;
    assert!((got[0] - want).abs() <= (64.0 + 128.0 + 8.0 + 16.0) * U * want, "{} {want}", got[0]);
}

/// Value, gradient and mass of the first image of a batch, bit by bit: more tiles and columns than there are lanes, with a cost.
fn step_of_first(plots: &[(Cells, usize)], shape: Shape) -> [Vec<u32>; 3] {
    let random = crate::stages::noise(31, 3 * 900);
    let place = |r: &[f64]| Gaussian::round([single(130.0 * r[0]), single(100.0 * r[1])], single(2.0 + 4.0 * r[2]));
    let set: Vec<_> = random.chunks_exact(3).map(place).take(plots.iter().map(|plot| plot.1).sum()).collect();
    let rule = Rule::Crossover(1.5);
    let (on, frames) = (device().with_shape(shape), framed(&set, 1, rule.framing()));
    let mosaic = Mosaic::new(&on, plots).expect("a mosaic");
    let made = correspondence_of_batch(&on, &frames, &mosaic, rule.on_device(), 1e-3, &mut Room::default());
    let kernel: Kernel = made.expect("a kernel");
    let columns = kernel.columns_in_all();
    let density = crate::stages::noise(32, kernel.cells());
    let costs = cell_costs(&on, &kernel, &frames);
    let (target, weight) = (device().filled(1.0f32, columns), device().filled(0.75f32, columns));
    let terms = Terms { discrepancy: Discrepancy::L1, target, weight, cost: Some((0.01, costs)) };
    poison(&[columns, kernel.cells(), kernel.transposed.entry_starts.len()]);
    let step = evaluate(&on, &kernel, &on.upload_f64(&density), &terms, 0.5).expect("a step");
    let first = |buffer: &splatport::Buffer<R, f32>, len: usize| {
        buffer.read().expect("numbers")[..len].iter().map(|v| v.to_bits()).collect::<Vec<_>>()
    };
    [first(&step.value, 1), first(&step.gradient, plots[0].0.len()), first(&step.mass, plots[0].1 + 1)]
}

/// Neither the shape of the device nor other images change a bit, however the sums are spread.
#[test]
fn shape_and_company_change_nothing_of_a_step() {
    let own = (Cells::pixels(130, 100), 300);
    let alone = step_of_first(&[own], Shape::Gathered);
    assert!(alone.iter().flatten().all(|&bits| f32::from_bits(bits).is_finite()));
    for shape in [Shape::Gathered, Shape::Tiled] {
        for beside in [vec![own], vec![own, (Cells::pixels(9, 7), 0)], vec![own, (Cells::pixels(140, 20), 250), own]] {
            assert!(step_of_first(&beside, shape) == alone, "{shape:?}, {} images: other bits", beside.len());
        }
    }
}
