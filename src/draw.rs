//! Pictures of a splat and a kernel, drawn from plain numbers: eight bits, three channels.
//!
//! All coordinates are in px, with the center of the top-left pixel at (0.5, 0.5). The pixel that contains a point is
//! therefore the floor of its coordinates.

mod canvas;

use std::f64::consts::TAU;

use self::canvas::{BLACK, Canvas, WHITE, diverging, hue, scaled};
use crate::error::{Error, Result, check_finite, check_length};
use crate::image::Image;

/// Number of straight pieces of an outline: with 48, their distance from the ellipse is 0.2 % of its radius.
const SEGMENTS: u32 = 48;

/// The radius of the dot at a mean or an annotation, px.
const DOT: f64 = 1.5;

/// The white columns between two pictures, px.
const GAP: u32 = 4;

/// Draws the outline of every Gaussian on the photo, `deviations` standard deviations from its mean, and a dot at the
/// mean.
///
/// `means` and `scales` are `[n, 2]` px, `rotations` are `[n]` rad from the x axis towards y. A Gaussian has the same
/// color in all pictures, because the color depends only on its index.
///
/// # Errors
/// [`Error::Length`] if the slices differ in length, [`Error::NotFinite`] with the first Gaussian that is NaN or
/// infinite, [`Error::Option`] unless `deviations` is finite and positive.
///
/// ```
/// use splatport::{Image, draw};
///
/// let photo = Image::from_u8(16, 16, 1, vec![128; 256])?;
/// let picture = draw::ellipses(&photo, &[[8.0, 8.0]], &[[2.0, 1.0]], &[0.0], 3.0)?;
/// assert_eq!((picture.width(), picture.channels()), (16, 3));
/// # Ok::<(), splatport::Error>(())
/// ```
pub fn ellipses(
    image: &Image,
    means: &[[f64; 2]],
    scales: &[[f64; 2]],
    rotations: &[f64],
    deviations: f64,
) -> Result<Image> {
    check_length("scales", means.len(), scales.len())?;
    check_length("rotations", means.len(), rotations.len())?;
    check_finite("means", 2, means.as_flattened())?;
    check_finite("scales", 2, scales.as_flattened())?;
    check_finite("rotations", 1, rotations)?;
    if !(deviations.is_finite() && deviations > 0.0) {
        return Err(Error::Option { name: "deviations", value: deviations, why: "must be finite and positive" });
    }
    let mut canvas = Canvas::of(image);
    for (index, ((&mean, scale), &rotation)) in means.iter().zip(scales).zip(rotations).enumerate() {
        let radii = scale.map(|scale| scale * deviations);
        let corners = (0..=SEGMENTS).map(|step| {
            let (sin, cos) = (TAU * f64::from(step) / f64::from(SEGMENTS)).sin_cos();
            on_ellipse(mean, [radii[0] * cos, radii[1] * sin], rotation)
        });
        canvas.polyline(corners, hue(index));
        canvas.dot(mean, DOT, hue(index));
    }
    canvas.finish()
}

/// The point `offset` from `mean` along axes turned by `rotation`.
fn on_ellipse(mean: [f64; 2], offset: [f64; 2], rotation: f64) -> [f64; 2] {
    let (sin, cos) = rotation.sin_cos();
    [mean[0] + cos * offset[0] - sin * offset[1], mean[1] + sin * offset[0] + cos * offset[1]]
}

/// Draws which annotation owns every cell, as in the paper's Figure 5.
///
/// `owner` and `strength` hold `width * height` cells, row-major. A cell is a square of `stride` px in its owner's
/// color, as bright as its strength (0, black, to 1; clamped). A cell without an owner is white. `points` are `[n, 2]`
/// px from the upper left corner of the grid; each is drawn as a black dot.
///
/// # Errors
/// [`Error::Empty`] without any cell, [`Error::Length`] if a slice has another length,
/// [`Error::NotFinite`] if a strength or a point is NaN or infinite, [`Error::Option`] if `stride`
/// is 0 or makes the picture larger than 2^32 px a side.
///
/// ```
/// use splatport::draw;
///
/// let picture = draw::ownership(2, 1, &[Some(0), None], &[0.5, 0.0], 8, &[[4.0, 4.0]])?;
/// assert_eq!((picture.width(), picture.height()), (16, 8));
/// # Ok::<(), splatport::Error>(())
/// ```
pub fn ownership(
    width: u32,
    height: u32,
    owner: &[Option<u32>],
    strength: &[f64],
    stride: u32,
    points: &[[f64; 2]],
) -> Result<Image> {
    let [across, down] = check_map(width, height, stride, &[("owner", owner.len()), ("strength", strength.len())])?;
    check_finite("strength", 1, strength)?;
    check_finite("points", 2, points.as_flattened())?;
    let mut canvas = Canvas::filled(across, down, |x, y| {
        let cell = (y / stride) as usize * width as usize + (x / stride) as usize;
        owner[cell].map_or(WHITE, |point| scaled(hue(point as usize), strength[cell] as f32))
    });
    for &point in points {
        canvas.dot(point, DOT, BLACK);
    }
    canvas.finish()
}

/// Draws a map of positive and negative numbers: 0 is white, 1 and above red, -1 and below blue.
///
/// `values` holds `width * height` cells, row-major, each a square of `stride` px. `points` are `[n, 2]` px from the
/// upper left corner of the grid; each is drawn as a black dot.
///
/// # Errors
/// As [`ownership`].
///
/// ```
/// use splatport::draw;
///
/// let picture = draw::signed(2, 1, &[1.0, -0.5], 8, &[])?;
/// assert_eq!((picture.width(), picture.height()), (16, 8));
/// # Ok::<(), splatport::Error>(())
/// ```
pub fn signed(width: u32, height: u32, values: &[f32], stride: u32, points: &[[f64; 2]]) -> Result<Image> {
    let [across, down] = check_map(width, height, stride, &[("values", values.len())])?;
    check_finite("values", 1, values)?;
    check_finite("points", 2, points.as_flattened())?;
    let mut canvas = Canvas::filled(across, down, |x, y| {
        diverging(values[(y / stride) as usize * width as usize + (x / stride) as usize])
    });
    for &point in points {
        canvas.dot(point, DOT, BLACK);
    }
    canvas.finish()
}

/// Checks that every slice has one value per cell, and returns the size of a picture of `width * height` cells, px.
fn check_map(width: u32, height: u32, stride: u32, lengths: &[(&'static str, usize)]) -> Result<[u32; 2]> {
    let cells = (width as usize).saturating_mul(height as usize);
    if cells == 0 {
        return Err(Error::Empty { what: "grid" });
    }
    for &(what, got) in lengths {
        check_length(what, cells, got)?;
    }
    let option = |why| Error::Option { name: "stride", value: stride.into(), why };
    if stride == 0 {
        return Err(option("must be at least 1"));
    }
    match (width.checked_mul(stride), height.checked_mul(stride)) {
        (Some(across), Some(down)) => Ok([across, down]),
        _ => Err(option("makes the picture too large")),
    }
}

/// Places the pictures side by side, tops aligned, with white gaps. Gray ones become RGB.
///
/// # Errors
/// [`Error::Empty`] without any picture, [`Error::Length`] if together they are wider than 2^32 px.
pub fn beside(images: &[&Image]) -> Result<Image> {
    assemble(images, 0, "images side by side")
}

/// Places the pictures one below the other, left edges aligned, with white gaps. Gray ones become RGB.
///
/// # Errors
/// [`Error::Empty`] without any picture, [`Error::Length`] if together they are higher than 2^32 px.
pub fn below(images: &[&Image]) -> Result<Image> {
    assemble(images, 1, "images below each other")
}

/// The pictures one after the other along `axis`.
fn assemble(images: &[&Image], axis: usize, what: &'static str) -> Result<Image> {
    let size = |image: &Image| [image.width(), image.height()];
    let other = images.iter().map(|image| size(image)[1 - axis]).max();
    let other = other.ok_or(Error::Empty { what: "images" })?;
    let gaps = u64::from(GAP) * (images.len() as u64 - 1);
    let along = images.iter().map(|image| u64::from(size(image)[axis])).sum::<u64>() + gaps;
    let got = usize::try_from(along).unwrap_or(usize::MAX);
    let along = u32::try_from(along).map_err(|_| Error::Length { what, expected: u32::MAX as usize, got })?;
    let mut canvas = match axis {
        0 => Canvas::filled(along, other, |_, _| WHITE),
        _ => Canvas::filled(other, along, |_, _| WHITE),
    };
    let mut at = [0, 0];
    for image in images {
        canvas.paste(&Canvas::of(image), at);
        at[axis] += size(image)[axis] + GAP;
    }
    canvas.finish()
}

/// The image that a splat renders: `values` holds `height * width * channels`, clamped to 0..=1.
///
/// # Errors
/// As [`Image::from_f32`], except that every finite value is in range.
pub fn reconstruction(width: u32, height: u32, channels: u8, values: &[f32]) -> Result<Image> {
    check_finite("values", 1, values)?;
    let bytes: Vec<u8> = values.iter().map(|&value| canvas::byte(value)).collect();
    Canvas::of(&Image::from_u8(width, height, channels, bytes)?).finish()
}
