//! Where a fit starts: scales from neighbours, colors from the photo.

use rand::{Rng, SeedableRng, rngs::StdRng};
use rstar::{RTree, primitives::GeomWithData};

use super::{InitialColor, InitialScale, Opacity, Solver, SplatOptions};
use crate::{Annotations, Image};

/// Neighbours whose distance counts.
const NEIGHBOURS: usize = 3;
/// Distance that stands in where there is no neighbour, px (the authors' code).
const ALONE: f64 = 8.0;

/// Root mean square distance to the three nearest other annotations, px; fewer if there are fewer, 8 if there is none.
pub(crate) fn neighbour_distances(points: &[[f64; 2]]) -> Vec<f64> {
    of_neighbours(points, |squares| (squares.iter().sum::<f64>() / squares.len() as f64).sqrt())
}

/// Mean distance to the three nearest other annotations, px; fewer if there are fewer, 8 if there is none.
pub(crate) fn neighbour_means(points: &[[f64; 2]]) -> Vec<f64> {
    of_neighbours(points, |squares| squares.iter().map(|square| square.sqrt()).sum::<f64>() / squares.len() as f64)
}

/// What `mean` makes of the squared distances to the nearest others.
fn of_neighbours(points: &[[f64; 2]], mean: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    type Item = GeomWithData<[f64; 2], usize>;
    let items: Vec<Item> = points.iter().enumerate().map(|(i, &p)| Item::new(p, i)).collect();
    let tree = RTree::bulk_load(items);
    let distance = |i: usize, point: &[f64; 2]| {
        let others = tree.nearest_neighbor_iter_with_distance_2(point).filter(|(item, _)| item.data != i);
        let squares: Vec<f64> = others.take(NEIGHBOURS).map(|(_, square)| square).collect();
        if squares.is_empty() { ALONE } else { mean(&squares) }
    };
    points.iter().enumerate().map(|(i, point)| distance(i, point)).collect()
}

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

    /// `backdrop` is what the Gaussians are drawn over, `[pixels, channels]`.
    pub fn new(image: &Image, annotations: &Annotations, backdrop: &[f32], options: &SplatOptions) -> Self {
        let distances = neighbour_distances(annotations.points());
        let mut places: Vec<([f64; 2], f64)> = annotations
            .points()
            .iter()
            .zip(distances)
            .map(|(&point, distance)| {
                let scale = match options.initial_scale {
                    InitialScale::NeighbourFraction { divisor } => neighbour_fraction(distance, divisor, image),
                    InitialScale::LogNeighbour => distance.max(f64::MIN_POSITIVE).ln().max(2.0) + 1.0,
                    InitialScale::Equal { scale } => scale,
                };
                (point, scale)
            })
            .collect();
        places.extend(free_places(image, annotations, options));
        let photo = image.to_f32();
        let channels = usize::from(image.channels());
        let mut rows = Vec::with_capacity(places.len() * (6 + channels));
        for (i, (point, scale)) in places.iter().enumerate() {
            rows.extend([point[0], point[1], *scale, *scale, initial_rotation(i), initial_opacity(options)]);
            let pixel = pixel_at(image, *point, options.initial_color);
            rows.extend((0..channels).map(|c| {
                let at = pixel * channels + c;
                initial_color(photo[at], backdrop[at], options)
            }));
        }
        Self { rows, stride: 6 + channels }
    }
}

/// Golden-angle steps: a round Gaussian has no preferred axis, and no two neighbours should agree on one.
fn initial_rotation(index: usize) -> f64 {
    (index as f64 * 2.399_963_229_728_653).rem_euclid(std::f64::consts::PI)
}

fn initial_opacity(options: &SplatOptions) -> f64 {
    match (options.opacity, options.solver) {
        (Opacity::Learned, Solver::Adam { .. }) => 0.5,
        _ => 1.0,
    }
}

/// Within what the color's map can reach, with the authors' distance from its ends.
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

/// Random places for the free Gaussians. The seed is the annotations' number and the image's size, never the time.
fn free_places(image: &Image, annotations: &Annotations, options: &SplatOptions) -> Vec<([f64; 2], f64)> {
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    let count = options.extra_gaussians.count(annotations.len());
    let seed = u64::from(image.width()) << 40 ^ u64::from(image.height()) << 20 ^ annotations.len() as u64;
    let mut random = StdRng::seed_from_u64(seed);
    // As many discs of this radius as there are free Gaussians cover the image about once.
    let scale = (width * height / (std::f64::consts::PI * count.max(1) as f64)).sqrt().max(2.0) / 2.0;
    (0..count).map(|_| ([random.random::<f64>() * width, random.random::<f64>() * height], scale)).collect()
}
