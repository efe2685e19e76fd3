//! An RGB raster and the three things that are drawn on it.

use crate::error::Result;
use crate::image::{Image, Pixels};

/// A colour, eight bits a channel.
pub(super) type Rgb = [u8; 3];

/// No owner.
pub(super) const WHITE: Rgb = [255; 3];

/// An annotation.
pub(super) const BLACK: Rgb = [0; 3];

/// The golden angle as a part of the circle: multiples of it never come near each other, so points
/// with close indices get clearly different hues.
const GOLDEN: f64 = 0.381_966_011_250_105;

/// `height * width` colours, row-major.
pub(super) struct Canvas {
    width: u32,
    height: u32,
    pixels: Vec<Rgb>,
}

impl Canvas {
    /// A copy of `image` in eight-bit RGB.
    pub(super) fn of(image: &Image) -> Self {
        let bytes: Vec<u8> = match image.pixels() {
            Pixels::U8(values) => values.clone(),
            Pixels::F32(values) => values.iter().map(|&value| byte(value)).collect(),
        };
        let pixels = match image.channels() {
            1 => bytes.into_iter().map(|grey| [grey; 3]).collect(),
            _ => bytes.chunks_exact(3).map(|rgb| [rgb[0], rgb[1], rgb[2]]).collect(),
        };
        Self { width: image.width(), height: image.height(), pixels }
    }

    /// The colour `color(x, y)` in every pixel.
    pub(super) fn filled(width: u32, height: u32, color: impl Fn(u32, u32) -> Rgb) -> Self {
        let row = |y| (0..width).map(move |x| (x, y));
        let pixels = (0..height).flat_map(row).map(|(x, y)| color(x, y)).collect();
        Self { width, height, pixels }
    }

    /// The finished picture.
    pub(super) fn finish(self) -> Result<Image> {
        Image::from_u8(self.width, self.height, 3, self.pixels.into_flattened())
    }

    /// Copies `other` to `left`, `top` px; it must fit.
    pub(super) fn paste(&mut self, other: &Self, [left, top]: [u32; 2]) {
        let rows = self.pixels.chunks_exact_mut(self.width as usize).skip(top as usize);
        for (row, source) in rows.zip(other.pixels.chunks_exact(other.width as usize)) {
            row[left as usize..][..source.len()].copy_from_slice(source);
        }
    }

    /// Straight lines from every corner to the next, one pixel wide.
    pub(super) fn polyline(&mut self, corners: impl Iterator<Item = [f64; 2]>, color: Rgb) {
        let mut last = None;
        for corner in corners {
            if let Some(last) = last.replace(corner) {
                self.line(last, corner, color);
            }
        }
    }

    fn line(&mut self, from: [f64; 2], to: [f64; 2], color: Rgb) {
        // Without clipping, a Gaussian far outside would take time in proportion to its distance.
        let Some((from, to)) = clip(from, to, [self.width.into(), self.height.into()]) else {
            return;
        };
        let delta = [to[0] - from[0], to[1] - from[1]];
        let steps = delta[0].abs().max(delta[1].abs()).ceil().max(1.0);
        for step in 0..=steps as u32 {
            let part = f64::from(step) / steps;
            self.plot(from[0] + part * delta[0], from[1] + part * delta[1], color);
        }
    }

    /// The pixels whose centres are at most `radius` px from `center`, and the one it lies in.
    pub(super) fn dot(&mut self, center: [f64; 2], radius: f64, color: Rgb) {
        let reach = |middle: f64, size: u32| {
            let low = (middle - radius).floor().clamp(0.0, size.into());
            low as u32..(middle + radius).ceil().clamp(0.0, size.into()) as u32
        };
        for y in reach(center[1], self.height) {
            for x in reach(center[0], self.width) {
                let (dx, dy) = (f64::from(x) + 0.5 - center[0], f64::from(y) + 0.5 - center[1]);
                if dx * dx + dy * dy <= radius * radius {
                    self.plot(x.into(), y.into(), color);
                }
            }
        }
        self.plot(center[0], center[1], color);
    }

    fn plot(&mut self, x: f64, y: f64, color: Rgb) {
        let (width, height) = (f64::from(self.width), f64::from(self.height));
        if (0.0..width).contains(&x) && (0.0..height).contains(&y) {
            self.pixels[y as usize * self.width as usize + x as usize] = color;
        }
    }
}

/// The part of a line between (0, 0) and `size` (Liang and Barsky 1984).
fn clip(from: [f64; 2], to: [f64; 2], size: [f64; 2]) -> Option<([f64; 2], [f64; 2])> {
    let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
    for axis in 0..2 {
        let delta = to[axis] - from[axis];
        if delta == 0.0 {
            if !(0.0..size[axis]).contains(&from[axis]) {
                return None;
            }
            continue;
        }
        let (low, high) = (-from[axis] / delta, (size[axis] - from[axis]) / delta);
        enter = enter.max(low.min(high));
        leave = leave.min(low.max(high));
    }
    let at = |part: f64| [0, 1].map(|axis| from[axis] + part * (to[axis] - from[axis]));
    (enter <= leave).then(|| (at(enter), at(leave)))
}

/// The colour of the point `index`: its hue turns by the golden angle, saturation 0.8, value 1.
pub(super) fn hue(index: usize) -> Rgb {
    let turn = (index as f64 * GOLDEN).fract() * 6.0;
    // Each channel falls and rises over the circle, a third apart from the next.
    [5.0, 3.0, 1.0].map(|shift: f64| {
        let place = (shift + turn) % 6.0;
        byte((1.0 - 0.8 * place.min(4.0 - place).clamp(0.0, 1.0)) as f32)
    })
}

/// `color` at a brightness of 0 to 1, clamped.
pub(super) fn scaled(color: Rgb, brightness: f32) -> Rgb {
    color.map(|channel| byte(f32::from(channel) / 255.0 * brightness.clamp(0.0, 1.0)))
}

/// White at 0, red at 1 and above, blue at -1 and below, with equal steps between.
pub(super) fn diverging(value: f32) -> Rgb {
    let rest = 1.0 - value.abs().min(1.0);
    let [most, faint] = [1.0 - 0.25 * (1.0 - rest), rest].map(byte);
    if value > 0.0 { [most, faint, faint] } else { [faint, faint, most] }
}

/// A value of 0 to 1, clamped, as eight bits.
pub(super) fn byte(value: f32) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}
