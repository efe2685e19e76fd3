//! Gaussians and kernels: what can be read can be written.
#![no_main]

use splatport::Table;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    splatport_fuzz::as_files(bytes, &["npz", "safetensors"], |path| {
        if let Ok(table) = Table::open(path) {
            table.save(path).expect("a table that was read");
        }
    });
});
