//! PNG and JPEG.
#![no_main]

use splatport::Image;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    splatport_fuzz::as_files(bytes, &["png"], |path| {
        if let Ok(image) = Image::open(path) {
            assert!(image.to_f32().iter().all(|value| (0.0..=1.0).contains(value)));
        }
    });
});
