//! Nothing is written half.

use std::fs;
use std::path::Path;

use splatport::{CsrTable, GaussianTable, Image};

use crate::files::{chain, file, folder};

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
    fs::create_dir(folder.join("taken")).unwrap();
    fs::write(folder.join("file"), "old").unwrap();
    for name in ["taken", "absent/picture.png", "file/picture.png"] {
        let path = folder.join(name);
        let error = image().save(&path).unwrap_err();
        let text = chain(&error, &path);
        assert!(text.starts_with("cannot write "), "{text}");
        assert!(GaussianTable { channels: 1, width: 1, height: 1, ..Default::default() }.save(&path).is_err());
        assert!(CsrTable { indptr: vec![0], ..Default::default() }.save(&path).is_err());
    }
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "old");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "something else was written");
    assert_eq!(fs::read_dir(folder.join("taken")).unwrap().count(), 0);
}

#[test]
fn a_rejected_table_does_not_touch_the_file() {
    let path = file("rejected", "table.npz", "old");
    let table = GaussianTable { channels: 1, width: 1, height: 1, rotations: vec![0.0], ..Default::default() };
    let error = table.save(&path).unwrap_err();
    assert_eq!(error.to_string(), "rotations: expected 0 values, got 1");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
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
