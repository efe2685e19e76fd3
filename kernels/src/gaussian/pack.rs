//! Packing: from a Gaussian's parameters to its frame, for one image, many images or the components of a mixture.

use std::sync::Arc;

use cubecl::prelude::*;

use super::{COLOR_AT, FRAME, Frames, Framing, Gaussians, Point, write_frame};
use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    mixture::Mixture,
    real::{Precision, Quad, Real, real},
    scan::owner,
};

/// What has no room where there are too many Gaussians.
const PACKED: &str = "whitened Gaussians";

/// Packs and whitens the first `first` Gaussians.
///
/// # Errors
/// [`crate::Error::Length`] when the parameters are not a whole number of rows, or fewer than `first` rows;
/// [`crate::Error::NoRoom`].
pub fn frames<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    gaussians: &Gaussians<R, P::Real>,
    first: usize,
    framing: Framing,
) -> Result<Frames<R, P::Real>> {
    gaussians.check()?;
    if first > gaussians.len() {
        return Err(crate::Error::Length { what: "gaussians", expected: first, got: gaussians.len() });
    }
    let frames = Frames { packed: device.room(PACKED, first * FRAME)?, channels: gaussians.channels };
    write_frames(device, &Part { gaussians, first, framing }, &frames, 0);
    Ok(frames)
}

/// The input of [`frames_of_batch`] for one image.
#[derive(Debug)]
pub struct Part<'a, R: Runtime, F: Real> {
    /// The image's Gaussians.
    pub gaussians: &'a Gaussians<R, F>,
    /// How many of them are used, from the first on; with a mixture, the number of the image's components.
    pub first: usize,
    /// How they are converted.
    pub framing: Framing,
}

/// Packs and whitens the first Gaussians of many images, or the components of a mixture, one image after the other.
/// They are not for drawing.
///
/// # Errors
/// [`crate::Error::Length`] as for [`frames`], and when the mixture has a different number of components;
/// [`crate::Error::NoRoom`].
pub fn frames_of_batch<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    images: &[Part<'_, R, P::Real>],
    mixture: Option<&Mixture<R, P::Real>>,
) -> Result<Frames<R, P::Real>> {
    let total: usize = images.iter().map(|part| part.first).sum();
    if let Some(mixture) = mixture {
        mixture.gaussians.expect("components", total)?;
    }
    let frames = Frames { packed: device.room(PACKED, total * FRAME)?, channels: 0 };
    for part in images {
        part.gaussians.check()?;
        if mixture.is_none() && part.first > part.gaussians.len() {
            return Err(crate::Error::Length { what: "gaussians", expected: part.first, got: part.gaussians.len() });
        }
    }
    if let Some(whole) = whole_of(images).filter(|_| mixture.is_none()) {
        write_whole(device, images, whole, &frames);
        return Ok(frames);
    }
    let mut at = 0;
    let alike = images.chunk_by(|a, b| a.framing == b.framing && a.gaussians.channels == b.gaussians.channels);
    for group in alike.flat_map(|alike| alike.chunks(AT_ONCE)) {
        match group {
            [part] if mixture.is_none() => write_frames(device, part, &frames, at),
            group => write_many(device, group, mixture, &frames, at),
        }
        at += group.iter().map(|part| part.first).sum::<usize>();
    }
    Ok(frames)
}

/// The array that the parameters of all images lie in, if there is one and they are packed alike.
fn whole_of<'a, R: Runtime, F: Real>(images: &'a [Part<'_, R, F>]) -> Option<&'a Buffer<R, F>> {
    let (first, others) = images.split_first().filter(|(_, others)| !others.is_empty())?;
    let (whole, _) = first.gaussians.parameters.whole()?;
    let alike = |part: &Part<'_, R, F>| {
        let same = part.gaussians.parameters.whole().is_some_and(|(other, _)| Arc::ptr_eq(whole, other));
        same && part.framing == first.framing && part.gaussians.channels == first.gaussians.channels
    };
    others.iter().all(alike).then_some(whole)
}

/// Writes the first Gaussians of images that lie in one array: one launch.
fn write_whole<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    images: &[Part<'_, R, P::Real>],
    whole: &Buffer<R, P::Real>,
    frames: &Frames<R, P::Real>,
) {
    let (Some(any), total) = (images.first(), frames.len()) else { return };
    if total == 0 {
        return;
    }
    // The number of every image's first Gaussian, then where its parameters begin.
    let firsts = images.iter().scan(0, |next, part| Some(std::mem::replace(next, *next + part.first as u32)));
    let places = images.iter().filter_map(|part| part.gaussians.parameters.whole());
    let table: Vec<u32> = firsts.chain(places.map(|(_, place)| place as u32)).collect();
    let (count, dim) = device.per_unit(total);
    pack_whole::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        whole.arg(),
        device.upload(&table).arg(),
        frames.packed.arg(),
        any.framing.arg(),
        images.len() as u32,
        total as u32,
        any.gaussians.channels,
    );
}

/// Images whose Gaussians one launch packs.
const AT_ONCE: usize = 8;

/// Writes the first Gaussians, or the components, of some images of one framing from place `at` on: one launch, because
/// launches are what crops cost.
fn write_many<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    group: &[Part<'_, R, P::Real>],
    mixture: Option<&Mixture<R, P::Real>>,
    frames: &Frames<R, P::Real>,
    at: usize,
) {
    let total: usize = group.iter().map(|part| part.first).sum();
    let Some(last) = group.last().filter(|_| total > 0) else { return };
    let mut parameters = SequenceArg::new();
    let mut ends = Vec::new();
    for source in 0..AT_ONCE {
        // What is left of a group that is not full is empty.
        let (part, more) = group.get(source).map_or((last, 0), |part| (part, part.first));
        ends.push(ends.last().map_or(0, |&end| end) + more as u32);
        parameters.push(part.gaussians.parameters.arg());
    }
    let (count, dim) = device.per_unit(total);
    let components = mixture.map(|mixture| ComponentsLaunch::new(mixture.gaussians.arg(), mixture.log_weights.arg()));
    let (ends, packed) = (device.upload(&ends), frames.packed.arg());
    pack_many::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        parameters,
        ends.arg(),
        components.into(),
        packed,
        last.framing.arg(),
        at as u32,
        last.gaussians.channels,
    );
}

/// Writes the first Gaussians of an image from place `at` on.
fn write_frames<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    &Part { gaussians, first, framing }: &Part<'_, R, P::Real>,
    frames: &Frames<R, P::Real>,
    at: usize,
) {
    if first > 0 {
        let (count, dim) = device.per_unit(first);
        let (parameters, packed) = (gaussians.parameters.arg(), frames.packed.arg());
        let (client, first, at, channels) = (device.client(), first as u32, at as u32, gaussians.channels);
        pack::launch::<P::Real, R>(client, count, dim, parameters, packed, framing.arg(), first, at, channels);
    }
}

#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Shaping<F: Real> {
    threshold: F,
    per_log_det: F,
    per_log_weight: F,
    least: F,
    largest: F,
    growth: F,
}

impl Framing {
    fn arg<F: Real, R: Runtime>(self) -> ShapingLaunch<F, R> {
        ShapingLaunch::new(
            real(self.threshold),
            real(self.threshold_per_log_det),
            real(self.threshold_per_log_weight),
            real(self.least_scale),
            real(self.largest_scale),
            real(self.growth),
        )
    }
}

/// The Gaussian of every component, numbered within its image, and the logarithm of its share.
#[derive(CubeType, CubeLaunch)]
struct Components<F: Real> {
    gaussians: Array<u32>,
    log_weights: Array<F>,
}

/// `ends` says where the Gaussians or the components of every image end.
#[cube(launch)]
fn pack_many<F: Real>(
    parameters: &Sequence<Array<F>>,
    ends: &Array<u32>,
    components: &ComptimeOption<Components<F>>,
    packed: &mut Array<Quad<F>>,
    shaping: &Shaping<F>,
    at: u32,
    #[comptime] channels: u32,
) {
    let n = ABSOLUTE_POS as u32;
    let mut first = 0u32;
    #[unroll]
    for source in 0..AT_ONCE {
        let end = ends[source];
        if n >= first && n < end {
            let own = parameters.index(source);
            #[comptime]
            match components {
                ComptimeOption::Some(components) => {
                    let to = (at + n) as usize;
                    let row = components.gaussians[to] as usize * stride_of(channels);
                    shape::<F>(packed, at + n, own, row, components.log_weights[to], shaping, channels);
                }
                ComptimeOption::None => {
                    let row = (n - first) as usize * stride_of(channels);
                    shape::<F>(packed, at + n, own, row, F::new(0.0), shaping, channels);
                }
            }
        }
        first = end;
    }
}

/// `table` says which Gaussian is every image's first, and then where its parameters begin.
#[cube(launch)]
fn pack_whole<F: Real>(
    parameters: &Array<F>,
    table: &Array<u32>,
    packed: &mut Array<Quad<F>>,
    shaping: &Shaping<F>,
    images: u32,
    total: u32,
    #[comptime] channels: u32,
) {
    let n = ABSOLUTE_POS as u32;
    if n < total {
        let image = owner(table, images, n);
        let own = (n - table[image as usize]) as usize * stride_of(channels);
        let row = table[(images + image) as usize] as usize + own;
        shape::<F>(packed, n, parameters, row, F::new(0.0), shaping, channels);
    }
}

#[cube(launch)]
fn pack<F: Real>(
    parameters: &Array<F>,
    packed: &mut Array<Quad<F>>,
    shaping: &Shaping<F>,
    first: u32,
    at: u32,
    #[comptime] channels: u32,
) {
    let n = ABSOLUTE_POS as u32;
    if n < first {
        shape::<F>(packed, at + n, parameters, n as usize * stride_of(channels), F::new(0.0), shaping, channels);
    }
}

/// Numbers of a Gaussian.
#[cube]
fn stride_of(#[comptime] channels: u32) -> comptime_type!(usize) {
    comptime!(channels as usize + COLOR_AT)
}

/// Writes the Gaussian whose parameters begin at `row` to place `to`.
#[cube]
fn shape<F: Real>(
    packed: &mut Array<Quad<F>>,
    to: u32,
    parameters: &Array<F>,
    row: usize,
    log_weight: F,
    shaping: &Shaping<F>,
    #[comptime] channels: u32,
) {
    let s0 = clamp(parameters[row + 2], shaping.least, shaping.largest) * shaping.growth;
    let s1 = clamp(parameters[row + 3], shaping.least, shaping.largest) * shaping.growth;
    let log_det = F::new(2.0) * (s0.ln() + s1.ln());
    let scales = Point::<F> { x: s0, y: s1 };
    let threshold = shaping.threshold + shaping.per_log_det * log_det + shaping.per_log_weight * log_weight;
    let logit = Point::<F> { x: log_det / F::new(-2.0) + log_weight, y: threshold };
    write_frame::<F>(packed, to, parameters, row, scales, logit, channels);
}
