//! Reading, building and writing images.

use std::fs;
use std::path::PathBuf;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageBuffer, ImageEncoder};
use splatport::{Image, Pixels};

use crate::files::{all_equal, chain, file, folder, message};

/// Saves what another library made.
fn png(test: &str, image: impl Into<DynamicImage>) -> PathBuf {
    let path = folder(test).join("photo.png");
    image.into().save(&path).expect("a PNG");
    path
}

/// A JPEG of a smooth ramp, large enough to have something to cut off.
fn jpeg(color: image::ExtendedColorType, channels: u32) -> Vec<u8> {
    let samples: Vec<u8> = (0..64 * 48 * channels).map(|at| (at / channels % 64 * 4) as u8).collect();
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
    encoder.write_image(&samples, 64, 48, color).expect("a JPEG");
    bytes
}

#[test]
fn grey_stays_one_channel() {
    let path = png("grey", ImageBuffer::<image::Luma<u8>, _>::from_raw(2, 1, vec![7, 9]).unwrap());
    let image = Image::open(path).unwrap();
    assert_eq!((image.width(), image.height(), image.channels()), (2, 1, 1));
    assert_eq!(image.pixels(), &Pixels::U8(vec![7, 9]));
}

#[test]
fn alpha_is_dropped() {
    let grey = ImageBuffer::<image::LumaA<u8>, _>::from_raw(2, 1, vec![7, 0, 9, 128]).unwrap();
    let rgb = ImageBuffer::<image::Rgba<u8>, _>::from_raw(1, 1, vec![1, 2, 3, 0]).unwrap();
    let (grey, rgb) = (png("grey-alpha", grey), png("rgb-alpha", rgb));
    assert_eq!(Image::open(grey).unwrap(), Image::from_u8(2, 1, 1, vec![7, 9]).unwrap());
    assert_eq!(Image::open(rgb).unwrap(), Image::from_u8(1, 1, 3, vec![1, 2, 3]).unwrap());
}

#[test]
fn sixteen_bits_become_floats() {
    let grey = ImageBuffer::<image::Luma<u16>, _>::from_raw(3, 1, vec![0, 257, 65535]).unwrap();
    let rgba = vec![65535, 0, 514, 9];
    let rgba = ImageBuffer::<image::Rgba<u16>, _>::from_raw(1, 1, rgba).unwrap();
    let alpha = ImageBuffer::<image::LumaA<u16>, _>::from_raw(1, 1, vec![257, 9]).unwrap();
    let unit = |byte: u16| f32::from(byte * 257) / 65535.0;
    let open = |path| Image::open(path).unwrap();
    let grey = open(png("grey-16", grey));
    assert_eq!(grey.channels(), 1);
    assert_eq!(grey.pixels(), &Pixels::F32(vec![0.0, unit(1), 1.0]));
    let rgba = open(png("rgba-16", rgba));
    assert_eq!(rgba.channels(), 3);
    assert_eq!(rgba.pixels(), &Pixels::F32(vec![1.0, 0.0, unit(2)]));
    assert_eq!(open(png("grey-alpha-16", alpha)).pixels(), &Pixels::F32(vec![unit(1)]));
}

#[test]
fn jpegs_are_read_by_content() {
    let grey = file("jpeg-grey", "photo.jpg", jpeg(image::ExtendedColorType::L8, 1));
    let rgb = file("jpeg-rgb", "photo.png", jpeg(image::ExtendedColorType::Rgb8, 3));
    let (grey, rgb) = (Image::open(grey).unwrap(), Image::open(rgb).unwrap());
    assert_eq!((grey.width(), grey.height(), grey.channels()), (64, 48, 1));
    assert_eq!((rgb.width(), rgb.height(), rgb.channels()), (64, 48, 3));
    let ramp = |at: usize, channels: usize| (at / channels % 64 * 4) as f32 / 255.0;
    for (image, channels) in [(grey, 1), (rgb, 3)] {
        let far = |(at, value): (usize, &f32)| (value - ramp(at, channels)).abs() > 0.03;
        assert!(!image.to_f32().iter().enumerate().any(far), "not the ramp");
    }
}

#[test]
fn saved_images_come_back() {
    let folder = folder("save");
    let floats: Vec<f32> = (0..=255_u16).map(|value| f32::from(value * 257) / 65535.0).collect();
    let images = [
        Image::from_u8(2, 2, 1, vec![0, 1, 254, 255]).unwrap(),
        Image::from_u8(1, 2, 3, &[0, 50, 100, 150, 200, 250][..]).unwrap(),
        Image::from_f32(16, 16, 1, &floats).unwrap(),
        Image::from_f32(1, 2, 3, &floats[40..46]).unwrap(),
    ];
    for image in images {
        let path = folder.join("picture.png");
        image.save(&path).unwrap();
        assert_eq!(Image::open(&path).unwrap(), image);
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "a temporary file is left");
}

#[test]
fn bytes_become_unit_floats() {
    let image = Image::from_u8(3, 1, 1, vec![0, 51, 255]).unwrap();
    assert_eq!(image.to_f32(), [0.0, 0.2, 1.0]);
    assert_eq!(format!("{image:?}"), "Image(3 x 1 px, 1 x u8)");
}

#[test]
fn wrong_samples_are_rejected() {
    let bytes = |width, height, channels, length| {
        Image::from_u8(width, height, channels, vec![0; length]).unwrap_err().to_string()
    };
    let floats = |values: &[f32]| Image::from_f32(3, 1, 1, values).unwrap_err().to_string();
    all_equal(&[
        (bytes(0, 4, 1, 0), "width of the image is empty"),
        (bytes(4, 0, 1, 0), "height of the image is empty"),
        (bytes(2, 2, 3, 11), "pixels: expected 12 values, got 11"),
        (bytes(2, 2, 2, 8), "expected 1 or 3 channels, got 2"),
        (bytes(2, 2, 0, 0), "expected 1 or 3 channels, got 0"),
        (floats(&[0.0, 1.0]), "pixels: expected 3 values, got 2"),
        (floats(&[0.0, f32::NAN, 2.0]), "pixels[1] is NaN, not a finite number"),
        (floats(&[0.0, 1.0, f32::NEG_INFINITY]), "pixels[2] is -inf, not a finite number"),
        (floats(&[0.0, 1.5, -1.0]), "pixels[1] is 1.5, outside 0..=1"),
        (floats(&[0.0, 1.0, -0.5]), "pixels[2] is -0.5, outside 0..=1"),
    ]);
}

#[test]
fn bytes_in_memory_are_decoded_or_refused() {
    let path = folder("decoded").join("photo.png");
    let image = Image::from_u8(5, 4, 3, (0..60).collect::<Vec<u8>>()).unwrap();
    image.save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(Image::decode(&bytes).unwrap(), image);
    for wrong in [&bytes[..bytes.len() / 2], b"no picture", b""] {
        let error = Image::decode(wrong).unwrap_err();
        assert_eq!(error.to_string(), "cannot decode the image");
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn unreadable_files_are_named() {
    let noise: Vec<u8> = (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let whole = folder("whole").join("photo.png");
    Image::from_u8(64, 64, 1, noise).unwrap().save(&whole).unwrap();
    let whole = fs::read(whole).unwrap();
    let jpeg = jpeg(image::ExtendedColorType::Rgb8, 3);
    let paths = [
        folder("missing-image").join("photo.png"),
        folder("photo.png"),
        file("empty-image", "photo.png", ""),
        file("text-image", "photo.png", "x,y\n1,2\n"),
        file("text-unnamed", "photo", "x,y\n1,2\n"),
        file("truncated-png", "photo.png", &whole[..whole.len() / 2]),
        file("truncated-jpeg-header", "photo.jpg", &jpeg[..100]),
        file("truncated-jpeg", "photo.jpg", &jpeg[..jpeg.len() / 2]),
        file("truncated-jpeg-end", "photo.jpg", &jpeg[..jpeg.len() - 30]),
        file("gif", "photo.gif", "GIF89a\x01\0\x01\0"),
    ];
    for path in paths {
        let error = match Image::open(&path) {
            Ok(image) => panic!("{} was read as {image:?}", path.display()),
            Err(error) => error,
        };
        println!("{}", chain(&error, &path));
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(message(&error, &path), format!("cannot read {name}"));
    }
}
