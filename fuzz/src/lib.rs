//! What the targets share: readers take files, fuzzers give bytes.
//!
//! `scripts/fuzz 60` runs every target for a minute.

use std::path::Path;

/// Calls `read` with a file of these bytes, of each ending in turn.
pub fn as_files(bytes: &[u8], endings: &[&str], read: impl Fn(&Path)) {
    for ending in endings {
        let path = std::env::temp_dir().join(format!("splatport-fuzz-{}.{ending}", std::process::id()));
        std::fs::write(&path, bytes).expect("a writable folder");
        read(&path);
        std::fs::remove_file(&path).expect("a writable folder");
    }
}
