//! Draws crowds in perspective whose heads are known exactly.

mod paint;
mod place;

use self::{paint::Street, place::Camera};
use super::{Sample, Scene, dice::Dice, painter::check_size, scene};
use crate::{Annotations, Error, Result, annotations::Column};

/// How many people a picture shows. The law is log-normal, like the counts of crowd data sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CountLaw {
    /// The median number of people.
    pub median: f64,
    /// The standard deviation of the logarithm of the number.
    pub spread: f64,
    /// The least and the largest number; draws are clamped to them.
    pub range: [u32; 2],
    /// The probability of a picture without people, 0 to 1.
    pub empty: f64,
}

impl CountLaw {
    /// Like ShanghaiTech part A: median 372, 33 to 3139.
    pub const SHANGHAITECH_A: Self = Self { median: 372.0, spread: 0.78, range: [33, 3139], empty: 0.03 };
    /// Like ShanghaiTech part B: median 97.5, 9 to 578.
    pub const SHANGHAITECH_B: Self = Self { median: 97.5, spread: 0.68, range: [9, 578], empty: 0.03 };
    /// Like JHU-Crowd++: median 148, up to 6000.
    pub const JHU: Self = Self { median: 148.0, spread: 1.3, range: [0, 6000], empty: 0.03 };

    fn draw(&self, dice: &mut Dice) -> u32 {
        let count = dice.log_normal(self.median, self.spread);
        let [least, most] = self.range.map(f64::from);
        if dice.chance(self.empty) { 0 } else { count.max(least).min(most) as u32 }
    }
}

/// Draws crowds: people on a plane in perspective, some in groups, the nearer in front of the farther. The sample has
/// the size and the visible part of every head.
///
/// The camera is 2.5 to 14 m high (less for a small picture, in which nobody would otherwise be near enough to be
/// seen). The horizon lies between a quarter above the picture and a third down in it. Heads have their centers at a
/// height of 1.62 m (standard deviation 0.09 m), and people are at least 0.38 m apart.
///
/// ```
/// use splatport::data::{CountLaw, Crowd};
///
/// let law = CountLaw { median: 12.0, spread: 0.3, range: [6, 30], empty: 0.0 };
/// let scene = Crowd { size: [160, 120], law, ..Crowd::default() }.scene(7)?;
/// let heads = scene.sample.annotations.len();
/// assert!(heads > 0 && heads + scene.hidden <= 30);
/// assert_eq!(scene.sample.scales.map(|scales| scales.len()), Some(heads));
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crowd {
    /// Width and height, px.
    pub size: [u32; 2],
    /// How many people are drawn. There are fewer if there is no room for them, and some are hidden.
    pub law: CountLaw,
    /// The least height of a head, px: nobody stands farther away than this.
    pub least_head: f64,
    /// The least visible part of a head that is annotated, 0 to 1.
    pub least_visible: f64,
    /// The standard deviation of the clicked place, in units of the head's height.
    pub click_noise: f64,
}

impl Default for Crowd {
    /// 1024 x 768 px, people as in ShanghaiTech part B, heads of 4 px or more, annotated if at least 15 % is visible,
    /// clicked with 8 % noise.
    fn default() -> Self {
        let law = CountLaw::SHANGHAITECH_B;
        Self { size: [1024, 768], law, least_head: 4.0, least_visible: 0.15, click_noise: 0.08 }
    }
}

/// The most people that are drawn.
const MOST: u32 = 100_000;

/// A head that was drawn.
#[derive(Clone, Copy, Debug)]
struct Head {
    centre: [f64; 2],
    radii: [f64; 2],
    /// The number of samples of the whole head.
    area: u32,
}

impl Crowd {
    /// Draws the picture of a seed. Its columns are `box_w` and `box_h` (px) of the whole head, and `visible`, the
    /// visible part of it, 0 to 1.
    ///
    /// # Errors
    /// [`Error::Empty`] for a size of 0, [`Error::Option`] for a side above 8192 px and for a law, head size, visible
    /// part or noise out of its range.
    pub fn scene(&self, seed: u64) -> Result<Scene> {
        self.check()?;
        // Separate streams: with another number of people, camera and street stay the same.
        let [mut counts, mut view, mut people, mut street, mut clicks] =
            [0, 1, 2, 3, 4].map(|stream| Dice::new(seed, stream));
        let count = self.law.draw(&mut counts);
        let camera = Camera::draw(self, &mut view);
        let places = camera.places(self.size, count, &mut people);
        let mut street = Street::new(self.size, camera, &mut street);
        let heads = street.people(&places);
        let seen = street.painter.counts(heads.len() as u32 + 1);
        let visible = |n: usize| f64::from(seen[n + 1]) / f64::from(heads[n].area.max(1));
        let kept: Vec<usize> = (0..heads.len()).filter(|&n| visible(n) >= self.least_visible).collect();
        let clicked = kept.iter().map(|&n| self.click(heads[n], &mut clicks)).collect::<Vec<_>>();
        let columns = vec![
            Column::new("box_w", kept.iter().map(|&n| 2.0 * heads[n].radii[0])),
            Column::new("box_h", kept.iter().map(|&n| 2.0 * heads[n].radii[1])),
            Column::new("visible", kept.iter().map(|&n| visible(n))),
        ];
        let owners = scene::owners(&street.painter.pixel_labels(), &kept, heads.len());
        let image = street.photo()?;
        let sample = Sample::new(image, Annotations::new(clicked)?.with(columns));
        Ok(Scene {
            sample,
            exact: kept.iter().map(|&n| heads[n].centre).collect(),
            owners,
            hidden: heads.len() - kept.len(),
        })
    }

    /// Where somebody would click on a head; always on a pixel of the photo.
    fn click(&self, head: Head, dice: &mut Dice) -> [f64; 2] {
        let noise = self.click_noise * 2.0 * head.radii[1];
        [0, 1].map(|k| dice.normal(head.centre[k], noise).clamp(0.5, f64::from(self.size[k]) - 0.5))
    }

    fn check(&self) -> Result<()> {
        check_size(self.size)?;
        let law = self.law;
        let head = self.least_head > 0.0 && self.least_head <= self.size[0].min(self.size[1]).into();
        let options = [
            ("median", law.median, law.median > 0.0, "must be above 0"),
            ("spread", law.spread, law.spread >= 0.0, "must not be negative"),
            ("range", law.range[0].into(), law.range[0] <= law.range[1], "must not be above the largest number"),
            ("range", law.range[1].into(), law.range[1] <= MOST, "must not be above 100000"),
            ("empty", law.empty, (0.0..=1.0).contains(&law.empty), "must lie between 0 and 1"),
            ("least_head", self.least_head, head, "must be above 0 px and not above the picture's shorter side"),
            (
                "least_visible",
                self.least_visible,
                (0.0..=1.0).contains(&self.least_visible),
                "must lie between 0 and 1",
            ),
            ("click_noise", self.click_noise, self.click_noise >= 0.0, "must not be negative"),
        ];
        match options.into_iter().find(|(_, value, fits, _)| !fits || !value.is_finite()) {
            Some((name, value, _, why)) => Err(Error::Option { name, value, why }),
            None => Ok(()),
        }
    }
}
