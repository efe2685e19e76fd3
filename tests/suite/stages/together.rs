//! Kernels that are built together have the bits that each has alone.

use std::{fs, path::Path};

use splatport::{
    Certificate, CsrTable, Device, Fixed, GaussianTable, Grid, Half, Kernel, Precision, Profile, Single, Splat,
    kernel::{Background, CutOff, KernelOptions},
    kernels::HostReal,
};

use super::{R, device, noise, poison};
use crate::device::single;
use crate::files::folder;

/// Columns and rows of an image in px, its Gaussians, their largest scale, the stride.
type Plot = ([u32; 2], usize, f64, u32);

/// Sizes that are no whole number of tiles; more Gaussians than a block of 256, and more than one coarse tile; none at all, at the
/// ends and between.
const IMAGES: [Plot; 9] = [
    ([9, 31], 0, 1.0, 1),
    ([40, 30], 5, 3.0, 2),
    ([130, 67], 300, 4.0, 1),
    ([1, 1], 1, 1.0, 1),
    ([64, 64], 0, 1.0, 8),
    ([33, 200], 1, 60.0, 3),
    ([150, 90], 40, 0.8, 4),
    ([21, 70], 7, 20.0, 1),
    ([50, 9], 0, 1.0, 5),
];

fn soft(cut_off: f64) -> Background {
    Background::Soft { cut_off, rule: CutOff::Crossover }
}

fn images<P: Precision>(device: &Device<R, P>) -> Vec<(Splat<R, P>, Grid)> {
    let image = |(seed, ([width, height], count, largest, stride)): (u64, Plot)| {
        let mut table =
            GaussianTable { channels: 1, profile: "paper".into(), width, height, ..GaussianTable::default() };
        for r in noise(seed, 5 * count).chunks_exact(5) {
            table.means.push([single(r[0] * f64::from(width)), single(r[1] * f64::from(height))]);
            table.scales.push([r[2], r[3]].map(|r| single(largest * (0.4 + 0.6 * r))));
            table.rotations.push(single(6.0 * r[4] - 3.0));
            table.colors.push(1.0);
            table.opacities.push(1.0);
        }
        (Splat::from_table(device, &table).expect("a splat"), Grid::over(width, height, stride))
    };
    (40..).zip(IMAGES).map(image).collect()
}

/// The bytes of a table's file.
fn file(folder: &Path, table: &CsrTable) -> Vec<u8> {
    let path = folder.join("k.npz");
    table.save(&path).expect("a file");
    fs::read(path).expect("a file")
}

/// What comes of an image's cells: bits of `K' z`, for which entries are added by annotation, and of `K v`, by cell.
fn carried<P: Precision>(kernel: &Kernel<R, P>, density: &[f64], values: &[f64]) -> [Vec<u64>; 2] {
    let device = kernel.device();
    let [density, values] = [density, values].map(|values| device.upload_f64(values));
    let (mass, value) = (kernel.push_forward(&density), kernel.pull_back(&values));
    [mass, value].map(|v| v.expect("sums").read().expect("sums").iter().map(|v| v.cast_to_f64().to_bits()).collect())
}

/// Compares a batch, its first image first or last, with every image alone.
fn same_as_alone<P: Precision>(test: &str, device: &Device<R, P>, options: KernelOptions) {
    let folder = folder(test);
    let images = images(device);
    let name = format!("{}, {:?}", P::NAME, options.background);
    let mut batch: Vec<_> = images.iter().map(|(splat, grid)| (splat, *grid)).collect();
    for turned in [false, true] {
        poison();
        let whole = Kernel::of_all(device, &batch, options).expect("a kernel");
        let (tables, certificates) = (whole.tables().expect("tables"), whole.certificates().expect("certificates"));
        assert_eq!((tables.len(), certificates.len()), (batch.len(), batch.len()));
        let cells: usize = tables.iter().map(|table| table.rows).sum();
        let columns: usize = tables.iter().map(|table| table.cols).sum();
        let (density, values) = (noise(1, cells), noise(2, columns));
        let [mass, value] = carried(&whole, &density, &values);
        let (mut cell, mut column) = (0, 0);
        for (at, (splat, grid)) in batch.iter().enumerate() {
            let alone = Kernel::of_all(device, &[(*splat, *grid)], options).expect("a kernel");
            let table = alone.table().expect("a table");
            assert!(file(&folder, &tables[at]) == file(&folder, &table), "{name}: table {at}, turned: {turned}");
            assert_eq!(certificates[at], alone.certificate(), "{name}: certificate {at}, turned: {turned}");
            assert_eq!(alone.certificates().expect("one"), [alone.certificate()]);
            let (own_cells, own_columns) = (cell..cell + table.rows, column..column + table.cols);
            let own = carried(&alone, &density[own_cells.clone()], &values[own_columns.clone()]);
            assert!(own[0] == mass[own_columns.clone()], "{name}: masses of {at}, turned: {turned}");
            assert!(own[1] == value[own_cells.clone()], "{name}: values of {at}, turned: {turned}");
            (cell, column) = (own_cells.end, own_columns.end);
        }
        is_the_worst_of(&whole.certificate(), &certificates);
        batch.reverse();
    }
}

/// A batch's certificate holds for every image; neither all images drop the same, nor none anything.
fn is_the_worst_of(whole: &Certificate, images: &[Certificate]) {
    let worst = |of: fn(&Certificate) -> f64| images.iter().map(of).fold(0.0, f64::max);
    assert_eq!((whole.worst_dropped, whole.bound), (worst(|c| c.worst_dropped), worst(|c| c.bound)));
    assert_eq!(whole.entries, images.iter().map(|certificate| certificate.entries).sum::<usize>());
    assert!(whole.worst_dropped > 0.0 && images.iter().any(|image| image.worst_dropped < whole.worst_dropped));
}

/// Gaussians too are copied together as alone; the table of an image without Gaussians keeps its size.
#[test]
fn tables_of_splats() {
    let images = images(device());
    let splats: Vec<_> = images.iter().map(|(splat, _)| splat).collect();
    let tables = Splat::tables(&splats).expect("tables");
    let alone: Vec<GaussianTable> = splats.iter().map(|splat| splat.table().expect("a table")).collect();
    assert_eq!(tables, alone);
    assert_eq!(tables.iter().map(|table| table.means.len()).sum::<usize>(), 354);
    assert_eq!((tables[0].width, tables[0].height), (9, 31));
    assert!(Splat::<R, Single>::tables(&[]).expect("no tables").is_empty());
}

#[test]
fn every_background() {
    let options = Profile::Recommended.kernel();
    for background in [
        Background::None,
        soft(1.5),
        soft(3.0),
        Background::Ratio { cut_off: 3.0, kappa: 0.015 },
        Background::Reciprocal { kappa: 0.1, side: None },
        Background::Hard { cut_off: 2.0 },
    ] {
        same_as_alone("together-backgrounds", device(), KernelOptions { background, ..options });
    }
}

#[test]
fn every_tolerance_and_storage() {
    fn check<P: Precision>(precision: P) {
        let Ok(device) = device().with_precision(precision) else { return };
        for tau in [1e-1, 1e-5] {
            same_as_alone("together-storage", &device, KernelOptions { tau, ..Profile::Recommended.kernel() });
        }
    }
    check(Single);
    check(Half);
    check(Fixed);
}
