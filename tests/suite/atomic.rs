//! Nothing is written half.

use std::fs;
use std::path::Path;

use splatport::{CsrTable, Error, GaussianTable, Image};

use crate::files::{chain, file, folder};
use crate::tables::{gaussians, kernel};

fn image() -> Image {
    Image::from_u8(1, 1, 1, vec![9]).unwrap()
}

#[test]
fn an_existing_file_is_replaced() {
    let path = file("replace", "picture.png", "old");
    image().save(&path).unwrap();
    assert_eq!(Image::open(&path).unwrap(), image());
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_failed_write_leaves_everything_as_it_was() {
    let folder = folder("unwritable");
    for name in ["taken.png", "taken.npz", "taken.safetensors"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    fs::write(folder.join("file"), "old").unwrap();
    let check = |result: Result<(), Error>, path: &Path| {
        let text = chain(&result.unwrap_err(), path);
        assert!(text.starts_with("cannot write "), "{text}");
    };
    for name in ["taken", "absent/new", "file/new"] {
        let path = folder.join(name);
        check(image().save(path.with_extension("png")), &path.with_extension("png"));
        for format in ["npz", "safetensors"] {
            let path = path.with_extension(format);
            check(gaussians().save(&path), &path);
            check(kernel().save(&path), &path);
        }
    }
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "old");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 4, "something else was written");
    assert_eq!(fs::read_dir(folder.join("taken.npz")).unwrap().count(), 0);
}

#[test]
fn a_rejected_table_does_not_touch_the_file() {
    for name in ["table.npz", "table.safetensors"] {
        let path = file("rejected", name, "old");
        let error = GaussianTable { rotations: vec![0.0], ..gaussians() }.save(&path).unwrap_err();
        assert_eq!(error.to_string(), "rotations: expected 2 values, got 1");
        let error = CsrTable { indptr: vec![], ..kernel() }.save(&path).unwrap_err();
        assert_eq!(error.to_string(), "indptr: expected 5 values, got 0");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    }
}

/// A table in place of another, which may be longer; nothing else stays in the folder.
#[test]
fn an_existing_table_is_replaced() {
    for name in ["table.npz", "table.safetensors"] {
        let path = file("replace-table", name, [7; 100_000]);
        kernel().save(&path).unwrap();
        assert_eq!(CsrTable::open(&path).unwrap(), kernel());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_followed_and_a_device_refused() {
    let path = file("link", "real.png", "old");
    let link = path.with_file_name("link.png");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    image().save(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(Image::open(&path).unwrap(), image());
    let null = Path::new("/dev/null");
    let error = image().save(null).unwrap_err();
    assert_eq!(chain(&error, null), "cannot write null <- not a regular file");
}
