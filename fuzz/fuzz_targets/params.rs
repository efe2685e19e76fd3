//! The authors' files: what can be read can be written.
#![no_main]

use splatport::GaussianTable;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    splatport_fuzz::as_files(bytes, &["h5"], |path| {
        if let Ok(table) = GaussianTable::from_params(path, [64, 48]) {
            table.save_params(path).expect("a table that was read");
        }
    });
});
