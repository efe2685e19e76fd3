//! Paints shapes over one another at twice the resolution, with the label of what is in front.

use super::dice::Dice;
use crate::{Error, Image, Result, error::check_sides};

/// Samples per pixel and axis.
const SAMPLES: u32 = 2;

/// The longest side of a picture, px: a square one takes 4 GB while it is drawn.
const LONGEST: u32 = 8192;

/// Checks the size of a picture.
pub(super) fn check_size(size: [u32; 2]) -> Result<()> {
    check_sides(size, ["width of the picture", "height of the picture"])?;
    match size.into_iter().find(|&side| side > LONGEST) {
        Some(side) => Err(Error::Option { name: "size", value: side.into(), why: "must not be above 8192 px" }),
        None => Ok(()),
    }
}

/// Red, green, blue, 0 to 255.
pub(super) type Color = [f64; 3];

/// A picture being painted. Coordinates are in px; the center of the top-left pixel is (0.5, 0.5).
pub(super) struct Painter {
    width: u32,
    height: u32,
    /// `[SAMPLES * height, SAMPLES * width]`.
    colors: Vec<[u8; 3]>,
    /// The label of what was painted last, or 0.
    labels: Vec<u32>,
}

impl Painter {
    /// A picture with `color(x, y)` in the pixel (x, y).
    pub(super) fn new([width, height]: [u32; 2], color: impl Fn(u32, u32) -> Color) -> Self {
        let mut colors = Vec::new();
        for y in 0..height * SAMPLES {
            if y % SAMPLES > 0 {
                let above = colors.len() - (width * SAMPLES) as usize;
                colors.extend_from_within(above..);
                continue;
            }
            let row = (0..width).map(|x| bytes(color(x, y / SAMPLES)));
            colors.extend(row.flat_map(|color| [color; SAMPLES as usize]));
        }
        Self { width, height, labels: vec![0; colors.len()], colors }
    }

    /// Paints every sample whose center is `inside`, within `left, top, right, bottom`; returns their number. If there
    /// is a label, samples beyond the picture's edge are counted too.
    pub(super) fn fill(
        &mut self,
        [left, top, right, bottom]: [f64; 4],
        color: Color,
        label: u32,
        inside: impl Fn(f64, f64) -> bool,
    ) -> u32 {
        let scale = f64::from(SAMPLES);
        let [columns, rows] = [self.width, self.height].map(|side| i64::from(side * SAMPLES));
        let range = |low: f64, high: f64, end: i64| {
            let (first, last) = ((low * scale - 0.5).ceil() as i64, (high * scale - 0.5).floor() as i64);
            if label == 0 { first.max(0)..=last.min(end - 1) } else { first..=last }
        };
        let (color, mut count) = (bytes(color), 0);
        for row in range(top, bottom, rows) {
            for column in range(left, right, columns) {
                if !inside((column as f64 + 0.5) / scale, (row as f64 + 0.5) / scale) {
                    continue;
                }
                count += 1;
                if (0..columns).contains(&column) && (0..rows).contains(&row) {
                    let at = (row * columns + column) as usize;
                    (self.colors[at], self.labels[at]) = (color, label);
                }
            }
        }
        count
    }

    pub(super) fn rectangle(&mut self, bounds: [f64; 4], color: Color) {
        self.fill(bounds, color, 0, |_, _| true);
    }

    /// Paints an ellipse around `centre` with `radii` in x and y, but only the part above `below`.
    pub(super) fn ellipse(&mut self, centre: [f64; 2], radii: [f64; 2], below: f64, color: Color, label: u32) -> u32 {
        let [[x, y], [a, b]] = [centre, radii];
        self.fill([x - a, y - b, x + a, (y + b).min(below)], color, label, |px, py| {
            let (dx, dy) = ((px - x) / a, (py - y) / b);
            dx * dx + dy * dy <= 1.0
        })
    }

    /// Paints everything within `radius` of the line between two points.
    pub(super) fn limb(&mut self, ends: [[f64; 2]; 2], radius: f64, color: Color, label: u32) {
        let [[ax, ay], [bx, by]] = ends;
        let (dx, dy) = (bx - ax, by - ay);
        let square = (dx * dx + dy * dy).max(f64::MIN_POSITIVE);
        let bounds = [ax.min(bx) - radius, ay.min(by) - radius, ax.max(bx) + radius, ay.max(by) + radius];
        self.fill(bounds, color, label, |x, y| {
            let along = (((x - ax) * dx + (y - ay) * dy) / square).clamp(0.0, 1.0);
            let (ex, ey) = (x - ax - along * dx, y - ay - along * dy);
            ex * ex + ey * ey <= radius * radius
        });
    }

    /// The label at a point, 0 outside the picture.
    pub(super) fn label(&self, [x, y]: [f64; 2]) -> u32 {
        let place = |v: f64, side: u32| {
            let at = (v * f64::from(SAMPLES)).floor();
            (0.0..f64::from(side * SAMPLES)).contains(&at).then_some(at as usize)
        };
        let (Some(x), Some(y)) = (place(x, self.width), place(y, self.height)) else { return 0 };
        self.labels[y * (self.width * SAMPLES) as usize + x]
    }

    /// The number of samples of every label below `end`.
    pub(super) fn counts(&self, end: u32) -> Vec<u32> {
        let mut counts = vec![0; end as usize];
        for &label in &self.labels {
            counts[label as usize] += 1;
        }
        counts
    }

    /// The label of most samples of every pixel; of several equally frequent ones, the first in the pixel.
    pub(super) fn pixel_labels(&self) -> Vec<u32> {
        let most = |block: [u32; 4]| {
            let count = |label: u32| block.iter().filter(|&&other| other == label).count();
            block.into_iter().reduce(|best, label| if count(label) > count(best) { label } else { best })
        };
        self.blocks().map(|places| most(places.map(|at| self.labels[at])).unwrap_or(0)).collect()
    }

    /// The indices of the samples of every pixel.
    fn blocks(&self) -> impl Iterator<Item = [usize; 4]> {
        let columns = (self.width * SAMPLES) as usize;
        (0..self.height as usize).flat_map(move |y| {
            (0..self.width as usize).map(move |x| {
                let first = 2 * y * columns + 2 * x;
                [first, first + 1, first + columns, first + columns + 1]
            })
        })
    }

    /// The photo: samples averaged to pixels, blurred, with tinted channels, changed contrast and noise.
    pub(super) fn photo(&self, dice: &mut Dice) -> Result<Image> {
        let mut values: Vec<Color> = self
            .blocks()
            .map(|places| [0, 1, 2].map(|c| places.iter().map(|&at| f64::from(self.colors[at][c])).sum::<f64>() / 4.0))
            .collect();
        let blur = dice.uniform(0.2, 0.9);
        for _ in 0..2 {
            // Two passes of [w, 1 - 2w, w] have the variance 4w.
            self.smooth(&mut values, blur * blur / 4.0);
        }
        let (tint, gamma, noise) = (dice.color(0.8, 1.2), dice.uniform(0.8, 1.25), dice.uniform(1.0, 7.0));
        let mut pixels = Vec::with_capacity(values.len() * 3);
        for value in values {
            for (channel, tint) in value.into_iter().zip(tint) {
                let bent = 255.0 * libm::pow((channel * tint / 255.0).clamp(0.0, 1.0), gamma);
                pixels.push(dice.normal(bent, noise).round().clamp(0.0, 255.0) as u8);
            }
        }
        Image::from_u8(self.width, self.height, 3, pixels)
    }

    /// Applies `[w, 1 - 2w, w]` along rows and columns; pixels at the edge are repeated beyond it.
    fn smooth(&self, values: &mut Vec<Color>, w: f64) {
        let (width, height) = (self.width as usize, self.height as usize);
        for (step, length, place) in
            [(1, width, (|at, width| at % width) as fn(usize, usize) -> usize), (width, height, |at, width| at / width)]
        {
            *values = (0..values.len())
                .map(|at| {
                    let here = place(at, width);
                    let before = if here == 0 { at } else { at - step };
                    let after = if here + 1 == length { at } else { at + step };
                    [0, 1, 2].map(|c| (1.0 - 2.0 * w) * values[at][c] + w * (values[before][c] + values[after][c]))
                })
                .collect();
        }
    }
}

fn bytes(color: Color) -> [u8; 3] {
    color.map(|channel| channel.round().clamp(0.0, 255.0) as u8)
}

/// A texture of mean 0 and standard deviation 1, `[height, width]`, whose power falls as `frequency^-slope`: a sum of
/// smooth random fields, one for every octave.
pub(super) fn texture(dice: &mut Dice, [width, height]: [u32; 2], slope: f64) -> Vec<f64> {
    let mut values = vec![0.0; width as usize * height as usize];
    let mut period = 1;
    while period < width.max(height) {
        // In two dimensions an octave holds `period^(slope - 2)` of the power.
        let weight = libm::pow(f64::from(period), (slope - 2.0) / 2.0);
        let columns = (width / period + 2) as usize;
        let lattice: Vec<f64> =
            (0..columns * (height / period + 2) as usize).map(|_| dice.uniform(-weight, weight)).collect();
        for (at, value) in values.iter_mut().enumerate() {
            let [(x, fx), (y, fy)] =
                [at as u32 % width, at as u32 / width].map(|v| (v / period, ease(v % period, period)));
            let corner = y as usize * columns + x as usize;
            let above = lattice[corner] + fx * (lattice[corner + 1] - lattice[corner]);
            let under = lattice[corner + columns] + fx * (lattice[corner + columns + 1] - lattice[corner + columns]);
            *value += above + fy * (under - above);
        }
        period *= 2;
    }
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count).sqrt().max(f64::MIN_POSITIVE);
    values.iter().map(|v| (v - mean) / deviation).collect()
}

/// Rises from 0 to 1, with a smooth start and end.
fn ease(at: u32, period: u32) -> f64 {
    let t = f64::from(at) / f64::from(period);
    t * t * (3.0 - 2.0 * t)
}
