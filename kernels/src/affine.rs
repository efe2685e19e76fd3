//! Gaussians moved with their image: crops, flips, turns, resizes, any affine map.
//!
//! `x' = A x + t` takes a Gaussian to `mean' = A mean + t`, `Sigma' = A Sigma A'`. The long axis comes out first; its variance
//! is the larger eigenvalue, the short one follows from the determinant, `s0' s1' = |det A| s0 s1`, which cancels nothing.

use cubecl::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    gaussian::{COLOR_AT, Gaussians},
    real::{Precision, Real},
};

/// `x' = A x + t` in px.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Affine {
    /// `A`, row by row.
    pub matrix: [[f64; 2]; 2],
    /// `t`.
    pub shift: [f64; 2],
}

impl Affine {
    /// `det A`.
    pub fn determinant(&self) -> f64 {
        let [[a, b], [c, d]] = self.matrix;
        a * d - b * c
    }

    /// Where a point goes.
    pub fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        std::array::from_fn(|k| self.matrix[k][0] * x + self.matrix[k][1] * y + self.shift[k])
    }
}

/// What [`transform`] moves of one image.
#[derive(Debug)]
pub struct Moved<'a, R: Runtime, F: Real> {
    /// The image's Gaussians.
    pub gaussians: &'a Gaussians<R, F>,
    /// Which of them, in which order.
    pub picked: Vec<u32>,
    /// Where to.
    pub affine: Affine,
}

/// Images whose Gaussians one launch moves.
const AT_ONCE: usize = 8;

/// Maps some Gaussians of every image: two copies to the device, and a launch for every eight images. What comes out lies in one
/// array, so that [`frames_of_batch`](crate::gaussian::frames_of_batch) packs all of it in one launch; it is in memory for as long as
/// any of it is.
///
/// # Errors
/// [`crate::Error::Length`] when the parameters of an image are no whole number of rows; [`crate::Error::NoRoom`].
pub fn transform<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    images: &[Moved<'_, R, P::Real>],
) -> Result<Vec<Gaussians<R, P::Real>>> {
    images.iter().try_for_each(|image| image.gaussians.check())?;
    let lens: Vec<usize> = images.iter().map(|image| image.picked.len() * image.gaussians.stride()).collect();
    let parts = device.room_for_parts("moved Gaussians", &lens)?;
    let Some((whole, _)) = parts.first().and_then(Buffer::whole) else { return Ok(Vec::new()) };
    // Where every image's picks end and where they go, then the picks; and the maps.
    let (mut table, mut maps, mut end) = (Vec::new(), Vec::new(), 0);
    for Moved { picked, affine, .. } in images {
        end += picked.len();
        table.push(end as u32);
        maps.extend(affine.matrix.as_flattened().iter().chain(&affine.shift));
    }
    table.extend(parts.iter().filter_map(Buffer::whole).map(|(_, place)| place as u32));
    table.extend(images.iter().flat_map(|image| &image.picked));
    let (table, maps) = (device.upload(&table), device.upload_f64(&maps));
    let (mut image, mut first) = (0, 0);
    let alike = images.chunk_by(|a, b| a.gaussians.channels == b.gaussians.channels);
    for group in alike.flat_map(|alike| alike.chunks(AT_ONCE)) {
        let units = group.iter().map(|image| image.picked.len()).sum();
        let mut from = SequenceArg::new();
        group.iter().for_each(|source| from.push(source.gaussians.parameters.arg()));
        if units > 0 {
            let (count, dim) = device.per_unit(units);
            let numbers = [image, first, images.len()].map(|number| number as u32);
            move_gaussians::launch::<P::Real, R>(
                device.client(),
                count,
                dim,
                from,
                whole.arg(),
                table.arg(),
                maps.arg(),
                numbers[0],
                numbers[1],
                numbers[2],
                group[0].gaussians.channels,
            );
        }
        (image, first) = (image + group.len(), first + units);
    }
    let gaussians = |(image, parameters): (&Moved<'_, R, P::Real>, _)| {
        let channels = image.gaussians.channels;
        Gaussians { parameters, channels }
    };
    Ok(images.iter().zip(parts).map(gaussians).collect())
}

#[derive(CubeType, Clone, Copy)]
struct Map<F: Real> {
    a: F,
    b: F,
    c: F,
    d: F,
    x: F,
    y: F,
}

#[cube]
impl<F: Real> Map<F> {
    fn load(maps: &Array<F>, image: u32) -> Map<F> {
        let at = 6 * image as usize;
        Map::<F> { a: maps[at], b: maps[at + 1], c: maps[at + 2], d: maps[at + 3], x: maps[at + 4], y: maps[at + 5] }
    }
}

/// One unit per pick, from number `first` on; `image` is the number of the first image here, of `images`.
#[cube(launch)]
fn move_gaussians<F: Real>(
    parameters: &Sequence<Array<F>>,
    moved: &mut Array<F>,
    table: &Array<u32>,
    maps: &Array<F>,
    image: u32,
    first: u32,
    images: u32,
    #[comptime] channels: u32,
) {
    let pick = first + ABSOLUTE_POS as u32;
    let mut begin = first;
    #[unroll]
    for source in 0..parameters.len() {
        let number = image + comptime!(source as u32);
        let end = table[number as usize];
        if pick >= begin && pick < end {
            let (from, map) = (table[(2u32 * images + pick) as usize], Map::<F>::load(maps, number));
            let stride = comptime!(channels as usize + COLOR_AT);
            let to = table[(images + number) as usize] as usize + (pick - begin) as usize * stride;
            move_one::<F>(parameters.index(source), from as usize * stride, moved, to, &map, stride);
        }
        begin = end;
    }
}

/// Moves the Gaussian whose `stride` numbers begin at `from` to `to`.
#[cube]
fn move_one<F: Real>(
    parameters: &Array<F>,
    from: usize,
    moved: &mut Array<F>,
    to: usize,
    map: &Map<F>,
    #[comptime] stride: usize,
) {
    let (x, y) = (parameters[from], parameters[from + 1]);
    let (s0, s1) = (parameters[from + 2], parameters[from + 3]);
    let (cos, sin) = (parameters[from + 4].cos(), parameters[from + 4].sin());
    // The axes, mapped.
    let (ux, uy) = (s0 * (map.a * cos + map.b * sin), s0 * (map.c * cos + map.d * sin));
    let (vx, vy) = (s1 * (map.b * cos - map.a * sin), s1 * (map.d * cos - map.c * sin));
    let half = (ux * ux + vx * vx - uy * uy - vy * vy) / F::new(2.0);
    let cross = ux * uy + vx * vy;
    let middle = (ux * ux + vx * vx + uy * uy + vy * vy) / F::new(2.0);
    let spread = (half * half + cross * cross).sqrt();
    let long = (middle + spread).sqrt();
    let area = (map.a * map.d - map.b * map.c).abs() * s0 * s1;
    let mut rotation = F::new(0.0);
    if spread > F::new(0.0) {
        rotation = cross.atan2(half) / F::new(2.0);
    }
    moved[to] = map.a * x + map.b * y + map.x;
    moved[to + 1] = map.c * x + map.d * y + map.y;
    moved[to + 2] = long;
    // Rounding must not make the short axis the longer one.
    moved[to + 3] = min(area / long, long);
    moved[to + 4] = rotation;
    #[unroll]
    for k in 5..stride {
        moved[to + k] = parameters[from + k];
    }
}
