//! From a component's sums to derivatives by what it was made of.

use cubecl::prelude::*;

use super::{BY, sums::QUADS};
use crate::{
    buffer::Buffer,
    device::Device,
    gaussian::{COLOR_AT, Part, Point, own_axes, twist},
    gradient::turned,
    mixture::Mixture,
    moments::turn,
    real::{Precision, Quad, Real, real},
};

/// Writes the derivatives by the parameters of one image's Gaussians, from row `first` on.
pub(super) fn by_parameters<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    mixture: &Mixture<R, P::Real>,
    part: &Part<'_, R, P::Real>,
    sums: &Buffer<R, P::Real>,
    (gradient, first): (&Buffer<R, P::Real>, usize),
) {
    if part.gaussians.is_empty() {
        return;
    }
    let (count, dim) = device.per_unit(part.gaussians.len());
    write_parameters::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        sums.arg(),
        mixture.gaussian_starts.arg(),
        mixture.of_gaussians.arg(),
        part.gaussians.parameters.arg(),
        gradient.arg(),
        LimitsLaunch::new(
            real(part.framing.least_scale),
            real(part.framing.largest_scale),
            real(1.0 + 2.0 * part.framing.threshold_per_log_det),
        ),
        first as u32,
        part.gaussians.len() as u32,
        part.gaussians.channels,
    );
}

/// Writes the derivatives by the log weights.
pub(super) fn by_log_weights<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    mixture: &Mixture<R, P::Real>,
    sums: &Buffer<R, P::Real>,
    gradient: &Buffer<R, P::Real>,
) {
    if !mixture.is_empty() {
        let (count, dim) = device.per_unit(mixture.len());
        write_log_weights::launch::<P::Real, R>(
            device.client(),
            count,
            dim,
            sums.arg(),
            mixture.starts.arg(),
            mixture.annotations.arg(),
            mixture.log_weights.arg(),
            gradient.arg(),
        );
    }
}

/// Adds what a transport cost has of its own: `-2 price` times the displacements, to the means of the Gaussians bound to
/// annotations. `images` are annotations and Gaussians of every image.
pub(super) fn by_places<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    displacements: &Buffer<R, P::Real>,
    price: f64,
    images: impl Iterator<Item = (usize, usize)>,
    gradient: &Buffer<R, P::Real>,
) {
    let (mut annotation, mut gaussian) = (0, 0);
    for (annotations, gaussians) in images {
        if annotations > 0 {
            let (count, dim) = device.per_unit(annotations);
            add_places::launch::<P::Real, R>(
                device.client(),
                count,
                dim,
                displacements.arg(),
                gradient.arg(),
                real(-2.0 * price),
                annotation as u32,
                annotations as u32,
                gaussian as u32,
            );
        }
        (annotation, gaussian) = (annotation + annotations, gaussian + gaussians);
    }
}

#[cube(launch)]
fn add_places<F: Real>(
    displacements: &Array<Quad<F>>,
    gradient: &mut Array<F>,
    factor: F,
    annotation: u32,
    annotations: u32,
    gaussian: u32,
) {
    let n = ABSOLUTE_POS as u32;
    if n < annotations {
        let moved = displacements[(annotation + n) as usize];
        let to = (gaussian + n) as usize * comptime!(BY);
        gradient[to] += factor * moved[0];
        gradient[to + 1] += factor * moved[1];
    }
}

/// How scales were clipped, and how often `-ln|Sigma|/2` stands in the background's logit.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Limits<F: Real> {
    least: F,
    largest: F,
    normalisers: F,
}

/// One unit per Gaussian: its components' sums, and what follows from them.
#[cube(launch)]
fn write_parameters<F: Real>(
    sums: &Array<Quad<F>>,
    gaussian_starts: &Array<u32>,
    of_gaussians: &Array<u32>,
    parameters: &Array<F>,
    gradient: &mut Array<F>,
    limits: &Limits<F>,
    first: u32,
    gaussians: u32,
    #[comptime] channels: u32,
) {
    let m = ABSOLUTE_POS as u32;
    if m < gaussians {
        let at = (first + m) as usize;
        let mut low = Quad::<F>::new(F::new(0.0));
        let mut high = Quad::<F>::new(F::new(0.0));
        for place in gaussian_starts[at]..gaussian_starts[at + 1] {
            let component = of_gaussians[place as usize] as usize * comptime!(QUADS as usize);
            low += sums[component];
            high += sums[component + 1];
        }
        let row = ABSOLUTE_POS * comptime!(channels as usize + COLOR_AT);
        let (raw0, raw1, rotation) = (parameters[row + 2], parameters[row + 3], parameters[row + 4]);
        let (s0, s1) = (clamp(raw0, limits.least, limits.largest), clamp(raw1, limits.least, limits.largest));
        let scales = Point::<F> { x: s0, y: s1 };
        let axes = own_axes::<F>(scales, rotation);
        let mut moments = Array::<F>::new(5usize);
        moments[0] = low[1];
        moments[1] = low[2];
        moments[2] = low[3];
        moments[3] = high[0];
        moments[4] = high[1];
        turn::<F>(&mut moments, &axes, 0usize, 1usize);
        turn::<F>(&mut moments, &axes, 2usize, 2usize);
        let by_mean = turned::<F>(Point::<F> { x: moments[0] / s0, y: moments[1] / s1 }, rotation);
        let normalisers = low[0] + limits.normalisers * high[2];
        let to = at * comptime!(BY);
        gradient[to] = by_mean.x;
        gradient[to + 1] = by_mean.y;
        gradient[to + 2] = select(s0 == raw0, (moments[2] - normalisers) / s0, F::new(0.0));
        gradient[to + 3] = select(s1 == raw1, (moments[4] - normalisers) / s1, F::new(0.0));
        gradient[to + 4] = moments[3] * twist::<F>(scales);
    }
}

/// One unit per component. Shares are scaled to sum to 1, so one that rises lowers the others.
#[cube(launch)]
fn write_log_weights<F: Real>(
    sums: &Array<Quad<F>>,
    starts: &Array<u32>,
    annotations: &Array<u32>,
    log_weights: &Array<F>,
    gradient: &mut Array<F>,
) {
    let component = ABSOLUTE_POS;
    if component < gradient.len() {
        let annotation = annotations[component] as usize;
        let mut together = F::new(0.0);
        for other in starts[annotation]..starts[annotation + 1] {
            together += sums[other as usize * comptime!(QUADS as usize)][0];
        }
        let own = sums[component * comptime!(QUADS as usize)][0];
        gradient[component] = own - log_weights[component].exp() * together;
    }
}
