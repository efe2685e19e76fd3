//! A data set's own files: COCO keypoints of many photos, and lists of ids.
#![no_main]

use std::sync::LazyLock;

use splatport::data::{Dataset, Layout};

/// A folder of two photos with points; the photos are not opened.
static FOLDER: LazyLock<std::path::PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("splatport-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a writable folder");
    for name in ["a.jpg", "b.jpg", "a_points.csv", "b_points.csv"] {
        std::fs::write(folder.join(name), "x,y\n1,2\n").expect("a writable folder");
    }
    folder
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let set = Dataset::open(Layout::Folder, &*FOLDER).expect("a data set");
    splatport_fuzz::as_files(bytes, &["json"], |path| {
        for set in [Dataset::coco(&*FOLDER, path), set.listed(path)].into_iter().flatten() {
            for points in (0..set.len()).filter_map(|index| set.annotations(index).ok()) {
                assert!(points.points().as_flattened().iter().all(|value| value.is_finite()));
            }
        }
    });
});
