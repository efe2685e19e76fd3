//! Where the objects are assumed to be.

use crate::{Image, splat::initial::neighbour_fraction};

/// Squared distance, in standard deviations, at which a Gaussian of opacity 1 falls below one 8-bit level: the radius
/// of the mask's discs. (The rasterizer of the authors' code also cuts off, at 3.33 standard deviations, which is
/// slightly more.)
fn radius_sq() -> f64 {
    2.0 * 255.0_f64.ln()
}

/// Pixels whose center is within 3.329 initial standard deviations of an annotation. `distances` are those to the
/// neighbors.
pub(crate) fn mask(image: &Image, points: &[[f64; 2]], distances: &[f64]) -> Vec<bool> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut mask = vec![false; width * height];
    for (&[x, y], &distance) in points.iter().zip(distances) {
        let scale = neighbour_fraction(distance, 6.0, image);
        let square = radius_sq() * scale * scale;
        for row in span(y, square.sqrt(), height) {
            let dy = row as f64 + 0.5 - y;
            let inside = |column: usize| {
                let dx = column as f64 + 0.5 - x;
                dx * dx + dy * dy <= square
            };
            // One more pixel on both sides, in case the root was rounded down.
            let columns = span(x, (square - dy * dy).max(0.0).sqrt() + 1.0, width);
            let first = columns.clone().find(|&column| inside(column));
            if let (Some(first), Some(last)) = (first, columns.rev().find(|&column| inside(column))) {
                mask[row * width + first..=row * width + last].fill(true);
            }
        }
    }
    mask
}

/// The pixels along one side whose centers are at most `reach` px from `centre`.
fn span(centre: f64, reach: f64, size: usize) -> std::ops::Range<usize> {
    let first = (centre - reach - 0.5).ceil().clamp(0.0, size as f64) as usize;
    let end = (centre + reach - 0.5).floor().clamp(-1.0, size as f64 - 1.0) + 1.0;
    first..end as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels at 3.3285 and 3.3295 standard deviations (of 2 px, the least) on all four sides: the boundary at one
    /// 8-bit level lies between them.
    #[test]
    fn discs_end_at_one_level() {
        let image = Image::from_u8(40, 40, 1, vec![0; 1600]).expect("a photo");
        let near_and_far = [(3.3285 * 2.0, true), (3.3295 * 2.0, false)];
        for (distance, inside) in near_and_far {
            for (place, at) in [
                ([20.5 - distance, 20.5], 20 * 40 + 20),
                ([20.5 + distance, 20.5], 20 * 40 + 20),
                ([20.5, 20.5 - distance], 20 * 40 + 20),
                ([20.5, 20.5 + distance], 20 * 40 + 20),
            ] {
                assert_eq!(mask(&image, &[place], &[1.0])[at], inside, "{place:?}");
            }
        }
    }
}
