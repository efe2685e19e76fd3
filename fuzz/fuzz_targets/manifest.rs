//! What the command line keeps of a data set: its manifest, and reports of runs.
#![no_main]
#![allow(dead_code)]

#[path = "../../src/bin/splatport/dataset/manifest.rs"]
mod manifest;
#[path = "../../src/bin/splatport/dataset/record.rs"]
mod record;

use manifest::Manifest;
use record::Record;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    splatport_fuzz::as_files(bytes, &["jsonl"], |path| {
        if let Ok(read) = Manifest::open(path) {
            Manifest::write(path, &read.entries).expect("a manifest that was read");
            assert_eq!(Manifest::open(path).expect("a manifest that was written").entries, read.entries);
        }
        for record in Record::read(path).into_iter().flatten() {
            let line = serde_json::to_string(&record).expect("a record that was read");
            let again: Record = serde_json::from_str(&line).expect("a record that was written");
            assert_eq!(serde_json::to_string(&again).expect("the same record"), line);
        }
    });
});
