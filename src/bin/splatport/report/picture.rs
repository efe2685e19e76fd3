//! Pictures inside a page.

use std::io::Cursor;

use anyhow::Result;
use base64::{Engine, prelude::BASE64_STANDARD};
use image::{DynamicImage, ImageFormat, imageops::FilterType};
use splatport::Image;

use crate::pictures::rgb;

/// The longest side of a picture, px: a page with twenty photos should still open at once.
const SIDE: u32 = 800;

/// A picture as a data address.
pub fn address(picture: &Image) -> Result<String> {
    let mut image = DynamicImage::ImageRgb8(rgb(picture)?);
    if image.width().max(image.height()) > SIDE {
        image = image.resize(SIDE, SIDE, FilterType::Triangle);
    }
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Jpeg)?;
    Ok(format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(file.into_inner())))
}
