//! Where people stand, and where the camera sees them.

use std::collections::HashMap;

use super::Crowd;
use crate::data::dice::Dice;

/// The least distance between two people, m.
const APART: f64 = 0.38;

/// The height of a head, m.
pub(super) const HEAD: f64 = 0.25;

/// A camera that looks along a plane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Camera {
    /// Focal length, px.
    pub(super) focus: f64,
    /// Height above the plane, m.
    pub(super) height: f64,
    /// Row of the horizon, px; negative if it is above the picture.
    pub(super) horizon: f64,
    /// Distances at which people stand, m.
    pub(super) reach: [f64; 2],
}

/// A person in the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Center of the head, px.
    pub(super) head: [f64; 2],
    /// Distance, m.
    pub(super) distance: f64,
    /// Height of the head's center above the plane, m.
    pub(super) height: f64,
}

impl Camera {
    pub(super) fn draw(crowd: &Crowd, dice: &mut Dice) -> Self {
        let [width, height] = crowd.size.map(f64::from);
        let focus = width * dice.uniform(0.8, 1.6);
        let horizon = height * dice.uniform(-0.25, 0.35);
        let farthest = HEAD * focus / crowd.least_head;
        let foot = 1.02 * height - horizon;
        // From higher up even the lower edge would be too far away.
        let highest = (1.6 + 0.5 * farthest * foot / focus).clamp(1.8, 14.0);
        let camera = dice.log_uniform(2.5_f64.min(highest), highest);
        let nearest = (focus * (camera - 1.6) / foot).max(3.0).min(0.7 * farthest);
        Self { focus, height: camera, horizon, reach: [nearest, farthest] }
    }

    /// Pixels per meter at a distance.
    pub(super) fn scale(&self, distance: f64) -> f64 {
        self.focus / distance
    }

    /// Places `count` people, or fewer if there is no room; about half of them stand in groups.
    pub(super) fn places(&self, size: [u32; 2], count: u32, dice: &mut Dice) -> Vec<Place> {
        let width = f64::from(size[0]);
        let [nearest, farthest] = self.reach;
        // People per square meter.
        let density = dice.log_normal(0.5, 0.9).clamp(0.03, 4.0);
        let needed = 2.0 * f64::from(count.max(1)) / density * self.focus / width + nearest * nearest;
        let depths = [nearest, needed.sqrt().min(farthest)];
        let anywhere = |dice: &mut Dice| {
            let z = dice.uniform(depths[0] * depths[0], depths[1] * depths[1]).sqrt();
            [dice.uniform(-0.52, 0.52) * width / self.focus * z, z]
        };
        let groups = (f64::from(count) / dice.uniform(4.0, 25.0)) as u32;
        let groups: Vec<[f64; 2]> = (0..groups.max(1)).map(|_| anywhere(dice)).collect();
        let (mut places, mut taken) = (Vec::new(), Taken::default());
        for _ in 0..40 * u64::from(count) + 50 {
            if places.len() == count as usize {
                break;
            }
            let [x, z] = if dice.chance(0.55) {
                let group = groups[dice.below(groups.len() as u32) as usize];
                group.map(|centre| dice.normal(centre, 1.2))
            } else {
                anywhere(dice)
            };
            let height = dice.normal(1.62, 0.09);
            if !(nearest..=farthest).contains(&z) {
                continue;
            }
            let head = [width / 2.0 + self.scale(z) * x, self.horizon + self.scale(z) * (self.height - height)];
            let seen = (0..2).all(|k| (1.0..f64::from(size[k]) - 1.0).contains(&head[k]));
            if seen && taken.take([x, z]) {
                places.push(Place { head, distance: z, height });
            }
        }
        // The farthest first, the order in which they are painted.
        places.sort_by(|a, b| b.distance.total_cmp(&a.distance));
        places
    }
}

/// Places that are already taken, by squares of [`APART`] m.
#[derive(Default)]
struct Taken(HashMap<[i64; 2], Vec<[f64; 2]>>);

impl Taken {
    /// Whether there is room at `place`; if so, takes it.
    fn take(&mut self, place: [f64; 2]) -> bool {
        let [i, j] = place.map(|v| (v / APART).floor() as i64);
        let near = |other: &[f64; 2]| {
            let (dx, dz) = (other[0] - place[0], other[1] - place[1]);
            dx * dx + dz * dz < APART * APART
        };
        let mut squares = (-1..=1).flat_map(|a| (-1..=1).map(move |b| [i + a, j + b]));
        if squares.any(|square| self.0.get(&square).is_some_and(|others| others.iter().any(near))) {
            return false;
        }
        self.0.entry([i, j]).or_default().push(place);
        true
    }
}
