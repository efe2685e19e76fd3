//! Pictures inside a page.

use std::io::Cursor;

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use image::{DynamicImage, ImageFormat, RgbImage, imageops::FilterType};
use splatport::{Image, draw};

/// The longest side of a picture, px: a page with twenty photos should still open at once.
const SIDE: u32 = 800;

/// A picture as a data address.
pub fn address(picture: &Image) -> Result<String> {
    // Three channels of eight bits.
    let rgb = draw::beside(&[picture])?;
    let bytes: Vec<u8> = rgb.to_f32().into_iter().map(|value| (value * 255.0).round() as u8).collect();
    let mut image = DynamicImage::ImageRgb8(
        RgbImage::from_raw(rgb.width(), rgb.height(), bytes).context("a picture without pixels")?,
    );
    if image.width().max(image.height()) > SIDE {
        image = image.resize(SIDE, SIDE, FilterType::Triangle);
    }
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Jpeg)?;
    Ok(format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(file.into_inner())))
}
