//! PNG and JPEG.
#![no_main]

use std::io::Cursor;

use image::ImageReader;
use splatport::Image;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A file of some hundred bytes may be a photo of a hundred million pixels, which is no error and takes a minute
    // here; one of more than the 4 GiB that the library takes for any is refused by its header.
    let size = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok().and_then(|it| it.into_dimensions().ok());
    let pixels = size.map_or(0, |(width, height)| u64::from(width) * u64::from(height));
    if pixels > 4 << 30 {
        assert!(Image::decode(bytes).is_err());
    }
    if pixels > 1 << 20 {
        return;
    }
    splatport_fuzz::as_files(bytes, &["png"], |path| {
        if let Ok(image) = Image::open(path) {
            assert!(image.to_f32().iter().all(|value| (0.0..=1.0).contains(value)));
        }
    });
});
