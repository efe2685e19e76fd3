//! Checkpoints of the trainer that needs no Burn.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    splatport_fuzz::as_files(bytes, &["safetensors"], |path| {
        if let Err(error) = splatport::train::check_checkpoint(path, &[("density", 6)]) {
            assert!(!error.to_string().contains('\n'));
        }
    });
});
