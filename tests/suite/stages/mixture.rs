//! Annotations of several Gaussians through the stages: shares, crops, batches, files, learning.

use splatport::{
    Annotations, GaussianTable, Grid, Kernel, View,
    kernel::{Background, CutOff, ScaleClip},
    loss::{Discrepancy, PlanStep},
    splat::{CropTarget, Share},
};

use super::{Splat, bits, device, poison, read};

fn share(annotation: u32, gaussian: u32, weight: f32) -> Share {
    Share { annotation, gaussian, weight }
}

/// Three annotations and two free Gaussians, 8 px apart.
fn splat(shares: Vec<Share>) -> splatport::Result<Splat> {
    let points = Annotations::new((0..5).map(|n| [6.0 + 8.0 * f64::from(n), 9.0]).collect::<Vec<_>>())?;
    let mut table = Splat::round(device(), &points, [48, 20], 3.0)?.table()?;
    table.free = 2;
    for (n, scales) in table.scales.iter_mut().enumerate() {
        *scales = [3.0 + n as f64 / 4.0, 2.5];
    }
    Splat::from_table(device(), &table)?.mixed(shares)
}

fn bodies() -> Vec<Share> {
    vec![share(2, 2, 0.5), share(0, 3, 0.25), share(0, 0, 1.0), share(1, 1, 3.0), share(2, 4, 0.5), share(1, 3, 1.0)]
}

const GRID: (u32, u32, u32) = (48, 20, 2);

fn grid() -> Grid {
    Grid::over(GRID.0, GRID.1, GRID.2)
}

fn soft() -> Background {
    Background::Soft { cut_off: 2.0, rule: CutOff::Crossover }
}

#[test]
fn shares_of_what_there_is_not_are_errors() {
    let wrong = |shares: Vec<Share>| splat(shares).expect_err("an error").to_string();
    let with = |extra| [bodies(), vec![extra]].concat();
    assert_eq!(wrong(with(share(3, 0, 1.0))), "annotation of share[6] is 3, outside 0..=2");
    assert_eq!(wrong(with(share(0, 5, 1.0))), "gaussian of share[6] is 5, outside 0..=4");
    assert!(wrong(with(share(0, 1, 0.0))).starts_with("weight of share[6] is 0, outside"));
    assert!(wrong(with(share(0, 1, f32::NAN))).starts_with("weight of share[6] is NaN, outside"));
    assert_eq!(wrong(vec![share(0, 0, 1.0), share(2, 2, 1.0)]), "annotations with a share: expected 3 values, got 2");
}

/// A Gaussian in two halves is that Gaussian: logits are off by a rounding of the log weight and of a sum, rows by a few U.
#[test]
fn two_halves_are_the_whole() {
    let bayesian = Background::Reciprocal { kappa: 0.1, side: Some(60.0) };
    for background in [soft(), Background::None, Background::Hard { cut_off: 2.0 }, bayesian] {
        let kernel = |shares| {
            let splat = splat(shares).expect("a splat");
            splat.kernel(grid()).background(background).tau(1e-6).build().expect("a kernel").table().expect("a table")
        };
        let whole = kernel((0..3).map(|n| share(n, n, 2.0)).collect());
        let halves = kernel((0..3).flat_map(|n| [share(n, n, 0.7), share(n, n, 0.7)]).collect());
        assert_eq!((&whole.indptr, &whole.indices), (&halves.indptr, &halves.indices), "{background:?}");
        let worst = whole.data.iter().zip(&halves.data).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst <= 8.0 * f64::from(f32::EPSILON), "{background:?}: {worst:e}");
    }
}

#[test]
fn shares_of_one_gaussian_each_are_the_plain_kernel() {
    let mixed = splat((0..3).map(|n| share(n, n, 0.4)).collect()).expect("a splat");
    let plain = Splat::from_table(device(), &GaussianTable { shares: vec![], ..mixed.table().expect("a table") });
    let table = |splat: &Splat| splat.kernel(grid()).build().expect("a kernel").table().expect("a table");
    assert_eq!(table(&mixed), table(&plain.expect("a splat")));
}

/// A crop keeps the Gaussians of what it keeps, free ones too, in their shares.
#[test]
fn crops_keep_shares() {
    let splat = splat(bodies()).expect("a splat");
    let view = View::of([48, 20]).crop([10.0, 0.0], [38, 20]).expect("a view");
    let crop = splat.through(&view, CropTarget::Unit).expect("a crop");
    assert_eq!(crop.kept, [1, 2]);
    let shares = [share(0, 0, 3.0), share(0, 2, 1.0), share(1, 1, 0.5), share(1, 3, 0.5)];
    assert_eq!(crop.splat.shares(), shares);
    let table = crop.splat.table().expect("a table");
    assert_eq!(table.means, [[4.0, 9.0], [12.0, 9.0], [20.0, 9.0], [28.0, 9.0]]);
    assert_eq!((table.free, crop.splat.annotations()), (2, 2));
}

/// A mixture between two plain splats: every image has the bits that it has alone.
#[test]
fn batches_of_mixtures_are_the_kernels_of_each() {
    let plain = |scale| {
        let points = Annotations::new(vec![[3.0, 4.0], [30.0, 12.0]]).expect("points");
        Splat::round(device(), &points, [48, 20], scale).expect("a splat")
    };
    let splats = [plain(3.0), splat(bodies()).expect("a splat"), plain(5.0)];
    let images: Vec<_> = splats.iter().map(|splat| (splat, grid())).collect();
    let alone = |splat: &Splat| splat.kernel(grid()).background(soft()).build().expect("a kernel");
    poison();
    let whole = Kernel::of_all(device(), &images, *alone(&splats[1]).options().expect("options")).expect("a kernel");
    let density: Vec<f32> = (0..3 * grid().len()).map(|i| (i % 11) as f32 / 50.0).collect();
    let on = |kernel: Kernel<_>| {
        let loss = kernel.loss().discrepancy(Discrepancy::L2).expect("a loss");
        loss.transport_cost(1e-3).expect("a loss")
    };
    let joint = on(whole);
    let PlanStep { step, by_plan } = joint.evaluate_plan(&device().upload(&density)).expect("a step");
    let (mass, rows, shares) = (bits(step.transported()), read(&by_plan.parameters), read(&by_plan.log_weights));
    let (mut column, mut gaussian, mut component) = (0, 0, 0);
    let tables = joint.kernel().tables().expect("tables");
    for ((splat, table), density) in splats.iter().zip(&tables).zip(density.chunks_exact(grid().len())) {
        let kernel = alone(splat);
        assert_eq!(kernel.table().expect("a table"), *table);
        let loss = on(kernel);
        let PlanStep { step: own, by_plan: own_plan } = loss.evaluate_plan(&device().upload(density)).expect("a step");
        assert_eq!(bits(own.transported()), mass[column..column + splat.annotations() + 1]);
        // The mean divides by 3, before the sums over some 20 cells, which cancel: as many roundings of their largest.
        let near = |whole: &[f64], own: &[f64]| {
            let largest = own.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
            whole.iter().zip(own).all(|(a, b)| (3.0 * a - b).abs() <= 240.0 * f64::from(f32::EPSILON) * largest)
        };
        let (own_rows, own_shares) = (read(&own_plan.parameters), read(&own_plan.log_weights));
        assert!(near(&rows[gaussian..gaussian + own_rows.len()], &own_rows), "{own_rows:?}");
        assert!(near(&shares[component..component + own_shares.len()], &own_shares), "{own_shares:?}");
        column += splat.annotations() + 1;
        gaussian += own_rows.len();
        component += own_shares.len();
    }
    assert_eq!((column, gaussian, component), (mass.len(), rows.len(), shares.len()));
    let certificates = joint.kernel().certificates().expect("certificates");
    assert_eq!(certificates[1], alone(&splats[1]).certificate());
}

#[test]
fn files_keep_shares() {
    let splat = splat(bodies()).expect("a splat");
    let table = splat.table().expect("a table");
    assert_eq!(table.shares[..3], [share(0, 0, 1.0), share(0, 3, 0.25), share(1, 1, 3.0)]);
    let back = Splat::from_table(device(), &table).expect("a splat");
    assert_eq!(back.shares(), splat.shares());
    let kernel = |splat: &Splat| splat.kernel(grid()).build().expect("a kernel");
    assert_eq!(bits(&kernel(&back).entries().weights), bits(&kernel(&splat).entries().weights));
    // A stored kernel has the sums; its rows sum to 1 as before.
    let table = kernel(&splat).table().expect("a table");
    assert!(table.indices.len() < kernel(&splat).entries().columns.len() + grid().len());
    let stored = Kernel::from_table(device(), &table).expect("a kernel");
    let density = device().upload(&vec![0.05f32; grid().len()]);
    let value = |kernel: Kernel<_>| kernel.loss().evaluate(&density).expect("a step").value().expect("a value");
    let (before, after) = (value(kernel(&splat)), value(stored));
    // 240 cells of weights that were rounded once more.
    assert!((before - after).abs() <= 240.0 * 0.05 * f64::from(f32::EPSILON), "{before} {after}");
}

#[test]
fn what_has_no_derivatives_says_so() {
    let loss = splat(bodies()).expect("a splat").kernel(grid()).build().expect("a kernel").loss();
    let density = device().upload(&vec![0.05f32; grid().len()]);
    let stored = Kernel::from_table(device(), &loss.kernel().table().expect("a table")).expect("a kernel").loss();
    let message = |result: splatport::Result<PlanStep<_, _>>| result.map(|_| ()).expect_err("an error").to_string();
    let with = stored.clone().into_kernel().with_splat(&splat(bodies()).expect("a splat")).expect("a kernel").loss();
    assert_eq!(
        message(with.evaluate_plan(&density)),
        message(stored.evaluate_plan(&density)),
        "a splat says no options"
    );
    assert_eq!(
        message(stored.evaluate_plan(&density)),
        "a stored kernel's record of its options is missing: build it from its splat, with `Splat::kernel`"
    );
}

/// A plan is learned: mass lies where two annotations' Gaussians do not reach, in unequal amounts. Descent along the derivatives
/// by scales and shares lowers the loss to less than a tenth.
#[test]
fn a_plan_can_be_learned() {
    let mut table = splat(bodies()).expect("a splat").table().expect("a table");
    let density: Vec<f32> = (0..grid().len()).map(|i| if i % 24 > 15 { 0.03 } else { 0.005 }).collect();
    let density = device().upload(&density);
    let (mut first, mut last) = (0.0, f64::INFINITY);
    for step in 0..60 {
        let splat = Splat::from_table(device(), &table).expect("a splat");
        let kernel = splat.kernel(grid()).background(soft()).scale_clip(ScaleClip::None).build().expect("a kernel");
        let loss = kernel.loss().discrepancy(Discrepancy::L2).expect("a loss");
        let PlanStep { step: at, by_plan } = loss.evaluate_plan(&density).expect("a step");
        last = at.value().expect("a value");
        if step == 0 {
            first = last;
        }
        let rows = read(&by_plan.parameters);
        for (scales, by) in table.scales.iter_mut().zip(rows.chunks_exact(5)) {
            for k in 0..2 {
                scales[k] *= (-0.3 * scales[k] * by[2 + k]).exp();
            }
        }
        for (share, by) in table.shares.iter_mut().zip(read(&by_plan.log_weights)) {
            share.weight *= (-0.3 * by).exp() as f32;
        }
    }
    println!("{first} -> {last}");
    assert!(last < first / 10.0, "{first} -> {last}");
}
