//! Where a fit starts: scales from the distances to neighbors, colors from the photo.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{InitialColor, InitialScale, Opacity, Solver, SplatOptions, backdrop::Backdrop};
use crate::{Annotations, Image};

/// `clamp(distance / divisor, 2, 0.015 max(width, height))` px; where the two limits cross, the lower one wins.
pub(crate) fn neighbour_fraction(distance: f64, divisor: f64, image: &Image) -> f64 {
    let largest = 0.015 * f64::from(image.width().max(image.height()));
    (distance / divisor).min(largest).max(2.0)
}

/// Initial parameters, one row per Gaussian as in [`crate::Gaussians`], the bound ones first.
pub(crate) struct Initial {
    pub rows: Vec<f64>,
    pub stride: usize,
}

impl Initial {
    pub fn len(&self) -> usize {
        self.rows.len() / self.stride
    }

    /// `distance` gives an annotation's distance to its neighbors; `backdrop` is what the Gaussians are drawn over.
    pub fn new(
        image: &Image,
        annotations: &Annotations,
        distance: impl Fn(usize) -> f64,
        backdrop: &Backdrop,
        options: &SplatOptions,
    ) -> Self {
        let scale = |n: usize| match options.initial_scale {
            InitialScale::NeighbourFraction { divisor } => neighbour_fraction(distance(n), divisor, image),
            InitialScale::LogNeighbour => distance(n).max(f64::MIN_POSITIVE).ln().max(2.0) + 1.0,
            InitialScale::Equal { scale } => scale,
        };
        let bound = annotations.points().iter().enumerate().map(|(n, &point)| (point, scale(n)));
        let channels = usize::from(image.channels());
        let mut rows = Vec::with_capacity(annotations.len() * (6 + channels));
        for (i, (point, scale)) in bound.chain(free_places(image, annotations, options)).enumerate() {
            rows.extend([point[0], point[1], scale, scale, initial_rotation(i), initial_opacity(options)]);
            let first = pixel_at(image, point, options.initial_color) * channels;
            rows.extend((first..first + channels).map(|at| initial_color(image.sample(at), backdrop.at(at), options)));
        }
        Self { rows, stride: 6 + channels }
    }
}

/// Steps of the golden angle: a round Gaussian has no preferred axis, and no two neighbors should get the same one.
fn initial_rotation(index: usize) -> f64 {
    (index as f64 * 2.399_963_229_728_653).rem_euclid(std::f64::consts::PI)
}

fn initial_opacity(options: &SplatOptions) -> f64 {
    match (options.opacity, options.solver) {
        (Opacity::Learned, Solver::Adam { .. }) => 0.5,
        _ => 1.0,
    }
}

/// Clamped to the range of the color's map, minus the authors' margin at both ends.
fn initial_color(photo: f32, backdrop: f32, options: &SplatOptions) -> f64 {
    const MARGIN: f64 = 1e-3;
    if options.signed() {
        (f64::from(photo) - f64::from(backdrop)).clamp(MARGIN - 1.0, 1.0 - MARGIN)
    } else {
        f64::from(photo).clamp(MARGIN, 1.0 - MARGIN)
    }
}

fn pixel_at(image: &Image, [x, y]: [f64; 2], rule: InitialColor) -> usize {
    let (x, y) = match rule {
        InitialColor::AtPoint => (x, y),
        InitialColor::Transposed => (y, x),
    };
    let inside = |v: f64, size: u32| (v.floor().max(0.0) as usize).min(size as usize - 1);
    inside(y, image.height()) * image.width() as usize + inside(x, image.width())
}

/// Random places for the free Gaussians. The seed depends on the number of annotations and the image's size, never on
/// the time.
fn free_places(image: &Image, annotations: &Annotations, options: &SplatOptions) -> Vec<([f64; 2], f64)> {
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    let count = options.extra_gaussians.count(annotations.len());
    let seed = u64::from(image.width()) << 40 ^ u64::from(image.height()) << 20 ^ annotations.len() as u64;
    let mut random = StdRng::seed_from_u64(seed);
    // Twice this scale is the radius at which the free Gaussians' discs together cover the image about once.
    let scale = (width * height / (std::f64::consts::PI * count.max(1) as f64)).sqrt().max(2.0) / 2.0;
    (0..count).map(|_| ([random.random::<f64>() * width, random.random::<f64>() * height], scale)).collect()
}
