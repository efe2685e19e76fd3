//! What the command line keeps of a data set: its manifest, reports of runs, and what a result was made from.
#![no_main]

// Of the command line's modules the readers alone are called here.
#[expect(dead_code)]
#[path = "../../src/bin/splatport/dataset/manifest.rs"]
mod manifest;
#[expect(dead_code)]
#[path = "../../src/bin/splatport/origin.rs"]
mod origin;
#[path = "../../src/bin/splatport/dataset/record.rs"]
mod record;

use manifest::Manifest;
use origin::Origin;
use record::Record;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(origin) = std::str::from_utf8(bytes).ok().and_then(Origin::read) {
        let again = Origin::read(&origin.text().expect("an origin that was read")).expect("an origin that was written");
        assert!(again.same(&origin));
    }
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
