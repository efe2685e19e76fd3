//! Every format of points, and densities.
#![no_main]

use splatport::{Annotations, DensityTable};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    splatport_fuzz::as_files(bytes, &["csv", "npy", "mat", "txt", "json"], |path| {
        for points in [Annotations::open(path), Annotations::from_coco(path, 7)].into_iter().flatten() {
            assert!(points.points().as_flattened().iter().all(|value| value.is_finite()));
        }
        if let Ok(density) = DensityTable::open(path) {
            assert_eq!(density.values.len(), density.rows * density.columns);
        }
    });
});
