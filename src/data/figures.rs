//! Draws figures whose joints are known exactly.

use super::{
    Sample,
    dice::Dice,
    painter::{Color, Painter, check_size, texture},
};
use crate::{Annotations, Error, Result, annotations::Column};

/// Names of the joints, in COCO's order.
pub const JOINTS: [&str; 17] = [
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
];

/// The parts of a body, in the order of their labels.
const TORSO: u32 = 0;
const HEAD: u32 = 1;
/// Left and right.
const ARMS: [u32; 2] = [2, 3];
const LEGS: [u32; 2] = [4, 5];
const PARTS: u32 = 6;

/// The part that each joint is on; shoulders and hips are on the torso as well.
const PART_OF: [u32; 17] = {
    let [arm, other_arm, leg, other_leg] = [ARMS[0], ARMS[1], LEGS[0], LEGS[1]];
    [
        HEAD, HEAD, HEAD, HEAD, HEAD, arm, other_arm, arm, other_arm, arm, other_arm, leg, other_leg, leg, other_leg,
        leg, other_leg,
    ]
};

/// The most figures that are drawn, and the most boards.
const MOST: u32 = 1000;

/// Draws figures that roughly face the camera, with arms and legs in random poses, partly hidden by one another and by
/// boards.
///
/// ```
/// use splatport::data::Figures;
///
/// let sample = Figures { size: [96, 128], figures: [1, 1], boards: 0 }.sample(3)?;
/// assert!(sample.annotations.len() <= 17);
/// assert!(sample.annotations.numeric("visibility")?.iter().all(|&v| v == 1.0 || v == 2.0));
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Width and height of the picture, px.
    pub size: [u32; 2],
    /// The least and the largest number of figures.
    pub figures: [u32; 2],
    /// The largest number of boards that hide parts of figures.
    pub boards: u32,
}

impl Default for Figures {
    /// 256 x 320 px, one to three figures, up to two boards.
    fn default() -> Self {
        Self { size: [256, 320], figures: [1, 3], boards: 2 }
    }
}

/// A figure's joints, px, in the order of [`JOINTS`], and its measurements.
struct Figure {
    joints: [[f64; 2]; 17],
    /// The height from head to foot if the figure stood straight, px.
    height: f64,
    head: [f64; 2],
}

impl Figures {
    /// Draws the picture of a seed, with a point for every joint in it.
    ///
    /// The columns are those of [`Annotations::from_coco`], `name`, `visibility` (1 hidden, 2 visible) and `person`,
    /// counted from 0, followed by `height`: from head to foot of the figure if it stood straight, px.
    ///
    /// # Errors
    /// [`Error::Empty`] for a size of 0, [`Error::Option`] for a side above 8192 px, for a least number of figures
    /// above the largest, or if the largest or the number of boards is above 1000.
    pub fn sample(&self, seed: u64) -> Result<Sample> {
        check_size(self.size)?;
        let [least, most] = self.figures;
        if least > most || most > MOST {
            let why = "must not be above the largest number, nor that above 1000";
            return Err(Error::Option { name: "figures", value: least.into(), why });
        }
        if self.boards > MOST {
            return Err(Error::Option { name: "boards", value: self.boards.into(), why: "must not be above 1000" });
        }
        let dice = &mut Dice::new(seed, 0);
        let mut painter = self.backdrop(dice);
        let count = least + dice.below(most - least + 1);
        let mut boards = dice.below(self.boards + 1);
        let mut figures = Vec::new();
        for n in 0..count {
            let figure = self.pose(dice);
            figure.paint(&mut painter, 1 + n * PARTS, dice);
            figures.push(figure);
            if boards > 0 && (n + 1 == count || dice.chance(0.5)) {
                self.board(&mut painter, dice);
                boards -= 1;
            }
        }
        let (points, columns) = self.seen(&painter, &figures);
        let annotations = Annotations::new(points)?.with(columns);
        Ok(Sample { image: painter.photo(dice)?, annotations, scales: None })
    }

    /// The joints inside the picture.
    fn seen(&self, painter: &Painter, figures: &[Figure]) -> (Vec<[f64; 2]>, Vec<Column>) {
        let inside = |point: &[f64; 2]| (0..2).all(|k| (0.0..f64::from(self.size[k])).contains(&point[k]));
        let mut rows = Vec::new();
        for (n, figure) in figures.iter().enumerate() {
            let label = |part| 1 + n as u32 * PARTS + part;
            for (joint, point) in figure.joints.iter().enumerate().filter(|(_, point)| inside(point)) {
                let shown = painter.label(*point);
                let on_torso = matches!(joint, 5 | 6 | 11 | 12) && shown == label(TORSO);
                let visible = on_torso || shown == label(PART_OF[joint]);
                rows.push((*point, JOINTS[joint], 1 + u8::from(visible), n, figure.height));
            }
        }
        let columns = vec![
            Column::new("name", rows.iter().map(|row| row.1)),
            Column::new("visibility", rows.iter().map(|row| row.2)),
            Column::new("person", rows.iter().map(|row| row.3)),
            Column::new("height", rows.iter().map(|row| row.4)),
        ];
        (rows.iter().map(|row| row.0).collect(), columns)
    }

    fn backdrop(&self, dice: &mut Dice) -> Painter {
        let (coarse, fine) = (texture(dice, self.size, 1.8), texture(dice, self.size, 1.0));
        let (rough, smooth) = (dice.uniform(8.0, 25.0), dice.uniform(4.0, 14.0));
        let (wall, floor) = (dice.color(90.0, 225.0), dice.color(60.0, 170.0));
        let edge = f64::from(self.size[1]) * dice.uniform(0.6, 0.85);
        Painter::new(self.size, |x, y| {
            let at = y as usize * self.size[0] as usize + x as usize;
            let base = if f64::from(y) < edge { wall } else { floor };
            base.map(|channel| channel + rough * coarse[at] + smooth * fine[at])
        })
    }

    fn board(&self, painter: &mut Painter, dice: &mut Dice) {
        let [width, height] = self.size.map(f64::from);
        let [left, top] = [width, height].map(|side| side * dice.uniform(0.0, 0.85));
        let [across, down] = [width, height].map(|side| side * dice.uniform(0.08, 0.25));
        painter.rectangle([left, top, left + across, top + down], dice.color(20.0, 230.0));
    }

    /// A figure somewhere in the picture. Left is the figure's left, at the picture's right.
    fn pose(&self, dice: &mut Dice) -> Figure {
        let [width, down] = self.size.map(f64::from);
        let height = dice.uniform(0.55, 0.95) * down.min(1.6 * width);
        let turned = dice.uniform(-1.0, 1.0);
        let narrow = libm::cos(turned);
        let hips = [width * dice.uniform(0.25, 0.75), down * 0.5 + dice.uniform(-0.05, 0.12) * down];
        // The directions up along the trunk and, at a right angle, to the figure's left.
        let tilt = dice.normal(0.0, 0.2);
        let (sin, cos) = (libm::sin(tilt), libm::cos(tilt));
        let from = |origin: [f64; 2], up: f64, left: f64| {
            [origin[0] + height * (up * sin + left * cos), origin[1] + height * (left * sin - up * cos)]
        };
        let along = |origin: [f64; 2], angle: f64, length: f64| {
            [origin[0] + height * length * libm::sin(angle), origin[1] + height * length * libm::cos(angle)]
        };
        let chest = from(hips, 0.28, 0.0);
        let head = from(chest, 0.125, dice.normal(0.0, 0.01));
        let mut joints = [[0.0; 2]; 17];
        joints[0] = from(head, -0.01, 0.055 * libm::sin(turned));
        for (k, side) in [1.0, -1.0].into_iter().enumerate() {
            joints[1 + k] = from(head, 0.015, side * 0.024 * narrow + 0.045 * libm::sin(turned));
            joints[3 + k] = from(head, 0.0, side * 0.058 * narrow);
            joints[5 + k] = from(chest, 0.0, side * 0.11 * narrow);
            let arm = dice.normal(side * 0.45, 0.7);
            joints[7 + k] = along(joints[5 + k], arm, 0.16);
            joints[9 + k] = along(joints[7 + k], arm + dice.normal(side * 0.3, 0.8), 0.14);
            joints[11 + k] = from(hips, 0.0, side * 0.065 * narrow);
            let leg = dice.normal(side * 0.12, 0.22);
            joints[13 + k] = along(joints[11 + k], leg, 0.23);
            joints[15 + k] = along(joints[13 + k], leg + dice.normal(0.0, 0.2), 0.22);
        }
        Figure { joints, height, head }
    }
}

impl Figure {
    /// Paints the figure; the labels of its parts start at `first`.
    fn paint(&self, painter: &mut Painter, first: u32, dice: &mut Dice) {
        let j = &self.joints;
        let (trousers, shirt, skin) = (dice.color(15.0, 160.0), dice.color(20.0, 240.0), skin(dice));
        let far = usize::from(dice.chance(0.5));
        self.arm(painter, first, far, [shirt, skin]);
        for k in [far, 1 - far] {
            for [a, b, radius] in [[11, 13, 42], [13, 15, 33]] {
                painter.limb([j[a + k], j[b + k]], self.height * radius as f64 / 1000.0, trousers, first + LEGS[k]);
            }
        }
        let middle = |a: usize, b: usize| [0, 1].map(|k| (j[a][k] + j[b][k]) / 2.0);
        let (chest, hips) = (middle(5, 6), middle(11, 12));
        for side in [5, 6] {
            painter.limb([j[side], j[side + 6]], 0.05 * self.height, shirt, first + TORSO);
        }
        painter.limb([chest, hips], 0.07 * self.height, shirt, first + TORSO);
        painter.limb([chest, self.head], 0.028 * self.height, skin, first + HEAD);
        self.face(painter, first + HEAD, skin, dice);
        self.arm(painter, first, 1 - far, [shirt, skin]);
    }

    fn arm(&self, painter: &mut Painter, first: u32, side: usize, [shirt, skin]: [Color; 2]) {
        let j = &self.joints;
        painter.limb([j[5 + side], j[7 + side]], 0.03 * self.height, shirt, first + ARMS[side]);
        painter.limb([j[7 + side], j[9 + side]], 0.024 * self.height, skin, first + ARMS[side]);
    }

    fn face(&self, painter: &mut Painter, label: u32, skin: Color, dice: &mut Dice) {
        let size = self.height;
        let hair = dice.color(10.0, 110.0);
        // The far ear of a turned head lies behind it.
        let near = |ear: [f64; 2]| (ear[0] - self.head[0]).abs() >= 0.045 * size;
        let [x, y] = self.head;
        painter.ellipse(self.head, [0.056 * size, 0.07 * size], f64::INFINITY, skin, label);
        painter.ellipse([x, y - 0.005 * size], [0.059 * size, 0.072 * size], y - 0.03 * size, hair, label);
        for ear in [self.joints[3], self.joints[4]].into_iter().filter(|&ear| near(ear)) {
            painter.ellipse(ear, [0.012 * size, 0.02 * size], f64::INFINITY, skin.map(|c| 0.85 * c), label);
        }
        for eye in [self.joints[1], self.joints[2]] {
            painter.ellipse(eye, [0.009 * size, 0.007 * size], f64::INFINITY, [25.0; 3], label);
        }
        painter.ellipse(self.joints[0], [0.008 * size, 0.014 * size], f64::INFINITY, skin.map(|c| 0.7 * c), label);
    }
}

fn skin(dice: &mut Dice) -> Color {
    let tone = dice.uniform(0.35, 1.0);
    [224.0, 182.0, 150.0].map(|channel| channel * tone)
}
