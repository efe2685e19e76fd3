//! Stored kernels back on a device: the same bits, and nothing that is not a kernel.

use splatport::{
    BFloat, Buffer, CsrTable, Device, Double, Error, Fixed, GaussianTable, Grid, Half, Kernel, Precision, Single,
    Splat,
    kernel::{Background, CutOff},
    kernels::{Shape, cubecl::prelude::CubeElement},
    reference::{gaussian::Gaussian, loss::l1},
    strategies,
};

use super::{R, apart, device, kernel, noise, poison, read};
use crate::{
    device::property,
    files::{all_equal, folder},
};

fn bytes<E: CubeElement>(buffer: &Buffer<R, E>) -> Vec<u8> {
    bytemuck::cast_slice(&buffer.read().expect("values")).to_vec()
}

/// Gaussians of a 150 x 90 px image on any device.
fn splat<P: Precision>(device: &Device<R, P>, set: &[Gaussian<f64>]) -> Splat<R, P> {
    let mut table =
        GaussianTable { channels: 1, profile: "paper".into(), width: 150, height: 90, ..GaussianTable::default() };
    for g in set {
        table.means.push(g.mean);
        table.scales.push(g.scales);
        table.rotations.push(g.rotation);
        table.colors.push(1.0);
        table.opacities.push(1.0);
    }
    Splat::from_table(device, &table).expect("a splat")
}

/// Bytes of everything that a kernel is made of but its transposed entries, which the loss shows.
fn parts<P: Precision>(kernel: &Kernel<R, P>) -> [Vec<u8>; 4] {
    let entries = kernel.entries();
    [bytes(&entries.weights), bytes(&entries.background), bytes(&entries.columns), bytes(&entries.row_starts)]
}

/// Bytes of the loss, its gradient and the masses, all at one density.
fn step<P: Precision>(kernel: Kernel<R, P>, transport_cost: f64) -> [Vec<u8>; 3] {
    let density = kernel.device().upload_f64(&noise(9, kernel.grid().len()));
    poison();
    let step = kernel.loss().transport_cost(transport_cost).expect("a loss").evaluate(&density).expect("a step");
    [step.value().expect("a value").to_le_bytes().to_vec(), bytes(step.gradient()), bytes(step.transported())]
}

/// A kernel from a file of its table is what it was.
fn same<P: Precision>(test: &str, built: Kernel<R, P>) {
    let table = built.table().expect("a table");
    let stored = ["k.npz", "k.safetensors"].map(|name| {
        let path = folder(test).join(name);
        table.save(&path).expect("a file");
        Kernel::from_table(built.device(), &CsrTable::open(&path).expect("a table")).expect("a kernel")
    });
    for stored in &stored {
        assert_eq!(stored.table().expect("a table"), table);
        assert_eq!(parts(stored), parts(&built));
        let certificate = built.certificate();
        let bytes = stored.certificate().bytes;
        assert_eq!(stored.certificate(), splatport::Certificate { bytes, ..certificate });
        assert!(bytes <= certificate.bytes, "more slots than tiles");
        assert_eq!((stored.annotations(), stored.profile()), (built.annotations(), built.profile()));
        assert_eq!(stored.options(), None);
        assert_eq!(stored.grid(), built.grid());
        assert_eq!(stored.owners().expect("owners"), built.owners().expect("owners"));
    }
    let expected = step(built, 0.0);
    for stored in stored {
        assert_eq!(step(stored, 0.0), expected, "loss, gradient, masses");
    }
}

/// Any Gaussians, more than one coarse tile of cells (64 x 64), a crop off the lattice, every kind of background.
#[test]
fn stored_kernels_keep_every_bit() {
    let backgrounds = [
        Background::None,
        Background::Soft { cut_off: 1.5, rule: CutOff::Crossover },
        Background::Hard { cut_off: 1.5 },
    ];
    property("stored kernels", 12, strategies::gaussians(30, 150, 90, 6.0), |set, _| {
        let splat = splat(device(), set);
        let whole = Grid::over(150, 90, 1);
        let grids = [whole, Grid::over(150, 90, 8), Grid::over(150, 90, 3).crop(7, 5, 140, 31)];
        for (background, grid) in backgrounds.into_iter().zip(grids) {
            same("stored", splat.kernel(grid).background(background).build().expect("a kernel"));
        }
    });
}

/// Kernels and Gaussians whose numbers need all bits of the precision.
#[test]
fn precisions_keep_every_bit() {
    fn check<P: Precision>(precision: P) {
        let Ok(device) = device().with_precision(precision) else { return };
        let mut set: Vec<Gaussian<f64>> = super::gaussians_of(&kernel::splat().table().expect("a table"));
        set.iter_mut().for_each(|g| g.rotation += 0.1);
        let splat = splat(&device, &set);
        for name in ["g.npz", "g.safetensors"] {
            let path = folder(&format!("gaussians-{}", P::NAME)).join(name);
            splat.table().expect("a table").save(&path).expect("a file");
            let back = Splat::from_table(&device, &GaussianTable::open(&path).expect("a table")).expect("a splat");
            assert_eq!(bytes(&back.gaussians().parameters), bytes(&splat.gaussians().parameters), "{}", P::NAME);
        }
        same(P::NAME, splat.kernel(Grid::over(150, 90, 2)).build().expect("a kernel"));
    }
    check(Single);
    check(Half);
    check(BFloat);
    check(Fixed);
    check(Double);
}

/// The certificate's word on storing, against the same kernel in the widest type that the device has; and what another type
/// moves when a table is put back counts as well.
#[test]
fn storing_moves_no_weight_by_more_than_certified() {
    fn check<P: Precision>(precision: P, exact: &CsrTable) {
        let Ok(device) = device().with_precision(precision) else { return };
        let set: Vec<Gaussian<f64>> = super::gaussians_of(&kernel::splat().table().expect("a table"));
        let built = splat(&device, &set).kernel(Grid::over(150, 90, 2)).build().expect("a kernel");
        let bound = built.certificate().storage;
        let (exact_rows, rows) = (kernel::rows(exact), kernel::rows(&built.table().expect("a table")));
        let moved = exact_rows.iter().flatten().zip(rows.iter().flatten()).map(|(a, b)| (a - b).abs());
        let moved = moved.fold(0.0, f64::max);
        // Both posteriors are computed alike, in single precision, which the widest type holds as it is.
        assert!(moved <= bound, "{}: {moved} of {bound}", P::NAME);
        assert!(P::NAME == Single::NAME || moved >= bound / 16.0, "{}: {bound} says nothing of {moved}", P::NAME);
        let again = Kernel::from_table(&device, exact).expect("a kernel").certificate().storage;
        assert!(again <= exact.storage + bound && again >= exact.storage, "{}: {again}", P::NAME);
    }
    let set: Vec<Gaussian<f64>> = super::gaussians_of(&kernel::splat().table().expect("a table"));
    let exact = splat(device(), &set).kernel(Grid::over(150, 90, 2)).build().expect("a kernel");
    let exact = exact.table().expect("a table");
    check(Single, &exact);
    check(Half, &exact);
    check(BFloat, &exact);
    check(Fixed, &exact);
}

#[test]
fn what_a_table_does_not_hold_is_missed() {
    let splat = kernel::splat();
    let build = || splat.kernel(Grid::over(60, 44, 3)).build().expect("a kernel");
    let stored = || Kernel::from_table(device(), &build().table().expect("a table")).expect("a kernel");
    let with = stored().with_splat(&splat).expect("as many Gaussians");
    assert_eq!(step(with, 0.3), step(build(), 0.3));
    let error = stored().loss().transport_cost(0.3).expect_err("no means");
    assert_eq!(error.to_string(), "the splat of a kernel from a table is missing: `Kernel::with_splat` gives it back");
    assert!(stored().loss().transport_cost(0.0).is_ok());
    let error = stored().rebuild(&[(&splat, Grid::over(60, 44, 3))]).expect_err("no options");
    assert_eq!(
        error.to_string(),
        "a stored kernel's record of its options is missing: build the next one with `Kernel::of_all`"
    );
    let fewer = Splat::round(device(), &super::points(&[[1.0, 1.0]]), [60, 44], 2.0).expect("a splat");
    let error = stored().with_splat(&fewer).expect_err("one Gaussian");
    assert!(matches!(error, Error::Length { what: "annotations", expected: 8, got: 1 }), "{error}");
}

/// A driver that would leave a row half done does not get it.
#[test]
fn rows_end_where_a_unit_would() {
    let row = |entries: u32| CsrTable {
        rows: 1,
        cols: entries as usize,
        indptr: vec![0, entries],
        indices: (0..entries).collect(),
        // The background has the rest.
        data: (1..entries).map(|_| 1.0 / 131_072.0).chain([f64::from(131_073 - entries) / 131_072.0]).collect(),
        grid_width: 1,
        ..by_hand()
    };
    let longest = Kernel::from_table(device(), &row(65_000)).expect("a kernel");
    let pulled = longest.pull_back(&device().filled(2.0_f32, 65_000)).expect("a value");
    assert_eq!(read(&pulled), [2.0]);
    let longer = Kernel::from_table(device(), &row(70_000));
    if device().shape() == Shape::Gathered {
        let error = longer.expect_err("a half row").to_string();
        assert!(error.starts_with("entries of a row") && error.contains("70000"), "{error}");
    } else {
        let pulled = longer.expect("a kernel").pull_back(&device().filled(2.0_f32, 70_000)).expect("a value");
        assert_eq!(read(&pulled), [2.0]);
    }
}

/// What a user may write by hand: two cells, two annotations and the background.
fn by_hand() -> CsrTable {
    CsrTable {
        rows: 2,
        cols: 3,
        indptr: vec![0, 2, 4],
        indices: vec![0, 2, 0, 1],
        data: vec![0.25, 0.75, 0.5, 0.5],
        profile: "recommended".into(),
        stride: 8,
        grid_width: 2,
        grid_height: 1,
        ..CsrTable::default()
    }
}

#[test]
fn tables_made_by_hand_are_kernels() {
    let made = Kernel::from_table(device(), &by_hand()).expect("a kernel");
    let mass = made.push_forward(&device().upload(&[1.0_f32, 2.0])).expect("mass");
    assert_eq!(read(&mass), [1.25, 1.0, 0.75]);
    let rows = kernel::rows(&by_hand());
    let expected = l1(&rows, &[1.0, 2.0], &[1.0, 1.0]);
    let step = made.loss().evaluate(&device().upload(&[1.0_f32, 2.0])).expect("a step");
    assert_eq!(step.value().expect("a value"), expected.value);
    assert_eq!(apart(&read(step.gradient()), &expected.gradient), 0.0);
    // No annotation, and one without any cell.
    let none = CsrTable { cols: 1, indptr: vec![0, 1, 2], indices: vec![0; 2], data: vec![1.0; 2], ..by_hand() };
    let none = Kernel::from_table(device(), &none).expect("a kernel");
    assert_eq!(none.annotations(), 0);
    assert_eq!(read(&none.push_forward(&device().upload(&[1.0_f32, 2.0])).expect("mass")), [3.0]);
    let empty = CsrTable { indptr: vec![0, 1, 2], indices: vec![2; 2], data: vec![1.0; 2], ..by_hand() };
    let empty = Kernel::from_table(device(), &empty).expect("a kernel");
    assert_eq!(read(&empty.push_forward(&device().upload(&[1.0_f32, 2.0])).expect("mass")), [0.0, 0.0, 3.0]);
}

#[test]
fn what_is_no_kernel_is_rejected() {
    let from = |change: fn(&mut CsrTable)| {
        let mut table = by_hand();
        change(&mut table);
        Kernel::from_table(device(), &table).expect_err("no kernel").to_string()
    };
    // Rejected before anything of that length is made: by its bytes, or on a device that has them by the cells that it needs.
    let many = from(|t| t.cols = u32::MAX as usize);
    let bytes = many.starts_with("annotations takes 17179869180 bytes, the device allows ");
    let cells = "batch of grids: 4294967294 elements are more than the 1073741823 that 32-bit indices allow";
    assert!(bytes || many == cells, "{many}");
    let whole = |name, value| format!("option `{name}` is {value}: must be a whole number of px, 0 or more");
    all_equal(&[
        (from(|t| t.indptr[2] = 3), "indptr[2] is 3, outside 4..=4"),
        (from(|t| t.data[1] = f64::NAN), "data[1] is NaN, not a finite number"),
        (from(|t| t.indices[3] = 3), "indices[3] is 3, outside 0..=2"),
        (from(|t| t.indices.swap(2, 3)), "indices[3] is 0, outside 2..=2"),
        (from(|t| t.indices[1] = 0), "indices[1] is 0, outside 1..=2"),
        (from(|t| t.data[2] = -0.5), "data[2] is -0.5, outside 0..=1"),
        (from(|t| t.data[2] = 0.75), "sum of row[1] is 1.25, outside 0.9960784316062927..=1.0039215087890625"),
        (from(|t| t.data[2] = 0.25), "sum of row[1] is 0.75, outside 0.9960784316062927..=1.0039215087890625"),
        (
            from(|t| t.data[3] = f64::from(f32::MAX)),
            "sum of row[1] is 340282346638528860000000000000000000000, outside 0.9960784316062927..=1.0039215087890625",
        ),
        (from(|t| t.profile = "mine".into()), "profile `mine` is not one of recommended, paper, reference"),
        (from(|t| t.tau = 1.0), "option `tau` is 1: must be 0 or more and below 1"),
        (from(|t| t.tau = -0.1), "option `tau` is -0.1: must be 0 or more and below 1"),
        (from(|t| t.bound = -1.0), "bound[0] is -1, outside 0..=inf"),
        (from(|t| t.worst_dropped = 0.1), "worst_dropped[0] is 0.1, outside 0..=0"),
        (from(|t| t.storage = -0.5), "storage[0] is -0.5, outside 0..=1"),
        (from(|t| t.size = [30, 8]), "cells in a row of the stored size: expected 2 values, got 4"),
        (from(|t| t.size = [16, 9]), "rows of cells of the stored size: expected 1 values, got 2"),
        (from(|t| t.image = [16, 7]), "end of the crop, axis[1] is 8, outside 0..=7"),
        (from(|t| t.stride = 0), "option `stride` is 0: must be at least 1"),
        (from(|t| t.left = 0.5), &whole("left", "0.5")),
        (from(|t| t.top = -1.0), &whole("top", "-1")),
        (from(|t| t.top = 5e9), &whole("top", "5000000000")),
        (from(|t| t.left = 4294967294.0), "end of the grid, axis[0] is 4294967310, outside 0..=4294967295"),
        (from(|t| t.stride = u32::MAX), "end of the grid, axis[0] is 8589934590, outside 0..=4294967295"),
        (
            from(|t| (t.cols, t.indices) = (u32::MAX as usize + 1, vec![0, 1, 0, 1])),
            "annotations: 4294967295 elements are more than the 4294967294 that 32-bit indices allow",
        ),
        (
            from(|t| t.cols = usize::MAX),
            "annotations: 18446744073709551614 elements are more than the 4294967294 that 32-bit indices allow",
        ),
        (
            from(|t| *t = CsrTable { indptr: vec![0], profile: "paper".into(), stride: 1, ..CsrTable::default() }),
            "grid is empty",
        ),
        (
            from(|t| {
                *t = CsrTable { cols: 0, indptr: vec![0; 3], indices: vec![], data: vec![], ..by_hand() };
            }),
            "columns is empty",
        ),
    ]);
}
