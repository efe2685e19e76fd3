//! The street and the people on it.

use super::{
    Head,
    place::{Camera, HEAD, Place},
};
use crate::{
    Image, Result,
    data::{
        dice::Dice,
        painter::{Color, Painter, texture},
    },
};

/// How far a color at the farthest distance has moved towards the sky's.
const HAZE: f64 = 0.35;

/// How far down a head the hair reaches, in units of half its height from its center, and for which share of people:
/// seen from the front, from the side, from behind.
const HAIR: [(f64, f64); 3] = [(0.6, -0.1), (0.15, 0.35), (0.25, 0.75)];

/// A street being painted.
pub(super) struct Street<'a> {
    pub(super) painter: Painter,
    camera: Camera,
    size: [f64; 2],
    sky: Color,
    dice: &'a mut Dice,
}

impl<'a> Street<'a> {
    /// Paints the sky, the ground and what stands at the horizon.
    pub(super) fn new(size: [u32; 2], camera: Camera, dice: &'a mut Dice) -> Self {
        let (coarse, fine) = (texture(dice, size, 1.8), texture(dice, size, 1.0));
        let (rough, smooth) = (dice.uniform(8.0, 25.0), dice.uniform(4.0, 14.0));
        let (sky, ground) = (dice.color(120.0, 235.0), dice.color(60.0, 170.0));
        let painter = Painter::new(size, |x, y| {
            let at = y as usize * size[0] as usize + x as usize;
            let base = if f64::from(y) < camera.horizon { sky } else { ground };
            base.map(|channel| channel + rough * coarse[at] + smooth * fine[at])
        });
        let mut street = Self { painter, camera, size: size.map(f64::from), sky, dice };
        for _ in 0..street.dice.below(9) {
            street.facade();
        }
        street
    }

    /// Paints a house front with windows; its foot is at the horizon.
    fn facade(&mut self) {
        let width = self.size[0];
        // In a picture 1024 px wide, this is 30 to 250 px by 40 to 300.
        let unit = width / 1024.0;
        let left = self.dice.uniform(0.0, width);
        let [across, tall] = [(30.0, 250.0), (40.0, 300.0)].map(|(low, high)| unit * self.dice.uniform(low, high));
        let foot = self.camera.horizon.max(0.0) + unit * self.dice.uniform(0.0, 25.0);
        let color = self.dice.color(50.0, 200.0);
        self.painter.rectangle([left, foot - tall, left + across, foot], color);
        let dark = color.map(|channel| channel / 2.0);
        for row in 0..((tall - 14.0 * unit) / (16.0 * unit)).max(0.0) as u32 {
            for column in 0..((across - 13.0 * unit) / (14.0 * unit)).max(0.0) as u32 {
                let x = left + unit * (5.0 + 14.0 * f64::from(column));
                let y = foot - tall + unit * (6.0 + 16.0 * f64::from(row));
                self.painter.rectangle([x, y, x + 7.0 * unit, y + 9.0 * unit], dark);
            }
        }
    }

    /// Paints all people, the farthest first, with poles, trees and balloons among them. The label of the head of
    /// `places[n]` is `n + 1`.
    pub(super) fn people(&mut self, places: &[Place]) -> Vec<Head> {
        let [nearest, farthest] = self.camera.reach;
        let mut things: Vec<f64> = (0..self.dice.below(14))
            .map(|_| self.dice.uniform(nearest * nearest, farthest * farthest).sqrt())
            .collect();
        things.sort_by(|a, b| b.total_cmp(a));
        let mut things = things.into_iter().peekable();
        let mut heads = Vec::with_capacity(places.len());
        for (n, place) in places.iter().enumerate() {
            while let Some(distance) = things.next_if(|&distance| distance > place.distance) {
                self.thing(distance);
            }
            heads.push(self.person(place, n as u32 + 1));
        }
        things.for_each(|distance| self.thing(distance));
        heads
    }

    /// A color seen through the air.
    fn hazed(&self, color: Color, distance: f64) -> Color {
        let haze = HAZE * (distance / self.camera.reach[1]).clamp(0.0, 1.0);
        [0, 1, 2].map(|c| (1.0 - haze) * color[c] + haze * self.sky[c])
    }

    fn color(&mut self, low: f64, high: f64, distance: f64) -> Color {
        let color = self.dice.color(low, high);
        self.hazed(color, distance)
    }

    fn person(&mut self, place: &Place, label: u32) -> Head {
        let (s, distance) = (self.camera.scale(place.distance), place.distance);
        self.body(place, s);
        let radii = [0.38 * HEAD * s * self.dice.uniform(0.9, 1.1), 0.5 * HEAD * s];
        let tone = self.dice.uniform(0.35, 1.0);
        let skin = self.hazed([224.0, 182.0, 150.0].map(|channel| channel * tone), distance);
        let area = self.painter.ellipse(place.head, radii, f64::INFINITY, skin, label);
        let dark = self.dice.chance(0.8);
        let hair = if dark { self.color(10.0, 90.0, distance) } else { self.color(120.0, 220.0, distance) };
        let mut turned = self.dice.uniform(0.0, 1.0);
        let side = HAIR.iter().find(|(part, _)| {
            turned -= part;
            turned < 0.0
        });
        let reach = side.map_or(HAIR[0].1, |(_, reach)| *reach);
        self.painter.ellipse(place.head, radii, place.head[1] + reach * radii[1], hair, label);
        Head { centre: place.head, radii, area }
    }

    /// Paints legs, arms and clothes at `s` px per meter.
    fn body(&mut self, place: &Place, s: f64) {
        let [x, y] = place.head;
        let [legs, clothes] = [(20.0, 120.0), (15.0, 240.0)].map(|(low, high)| self.color(low, high, place.distance));
        let waist = 0.24 * s * self.dice.uniform(0.85, 1.15);
        for side in [-1.0, 1.0] {
            let (hip, shoulder) = (x + side * 0.08 * s, x + side * 0.85 * waist);
            self.painter.limb([[hip, y + 0.75 * s], [hip, y + (place.height - 0.08) * s]], 0.075 * s, legs, 0);
            self.painter.limb([[shoulder, y + 0.27 * s], [shoulder, y + 0.8 * s]], 0.055 * s, clothes, 0);
        }
        self.painter.ellipse([x, y + 0.52 * s], [waist, 0.42 * s], f64::INFINITY, clothes, 0);
        if self.dice.chance(0.4) {
            let stripe = self.color(15.0, 240.0, place.distance);
            self.painter.rectangle([x - 0.8 * waist, y + 0.45 * s, x + 0.8 * waist, y + 0.55 * s], stripe);
        }
    }

    /// Paints a pole, a tree or a balloon, none of which is a head.
    fn thing(&mut self, distance: f64) {
        let s = self.camera.scale(distance);
        let x = self.dice.uniform(0.0, self.size[0]);
        let foot = self.camera.horizon + s * self.camera.height;
        match self.dice.below(3) {
            0 => {
                let color = self.color(30.0, 140.0, distance);
                self.painter.rectangle([x - 0.06 * s, foot - 4.5 * s, x + 0.06 * s, foot], color);
            }
            1 => self.tree([x, foot], s, distance),
            _ => {
                let color = self.color(60.0, 240.0, distance);
                self.painter.ellipse([x, foot - 2.4 * s], [0.13 * s; 2], f64::INFINITY, color, 0);
            }
        }
    }

    fn tree(&mut self, [x, foot]: [f64; 2], s: f64, distance: f64) {
        let bark = self.color(40.0, 90.0, distance);
        self.painter.rectangle([x - 0.1 * s, foot - 2.6 * s, x + 0.1 * s, foot], bark);
        for _ in 0..40 {
            let centre = [self.dice.normal(x, 0.6 * s), self.dice.normal(foot - 2.9 * s, 0.6 * s)];
            let radius = s * self.dice.uniform(0.15, 0.5);
            let color = [(20.0, 70.0), (60.0, 130.0), (10.0, 60.0)].map(|(low, high)| self.dice.uniform(low, high));
            let color = self.hazed(color, distance);
            self.painter.ellipse(centre, [radius; 2], f64::INFINITY, color, 0);
        }
    }

    pub(super) fn photo(self) -> Result<Image> {
        self.painter.photo(self.dice)
    }
}
