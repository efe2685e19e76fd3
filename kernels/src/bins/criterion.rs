//! When a Gaussian provably does not matter for a tile.

use cubecl::prelude::*;

use crate::{
    gaussian::{Area, Frame},
    real::Real,
};

/// A rule, as far as it changes the compiled function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Bound {
    Within,
    Nearest(u32),
    Posterior,
}

impl Bound {
    /// How many nearest Gaussians are kept.
    pub fn nearest(self) -> usize {
        match self {
            Self::Nearest(count) => count as usize,
            _ => 1,
        }
    }
}

#[derive(CubeType, CubeLaunch)]
pub(super) struct Criteria<F: Real> {
    /// The range of every image, `[images]`; see [`Criterion`].
    ranges: Array<F>,
    slack: F,
    pub margin: F,
}

/// The criterion of one image.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Criterion<F: Real> {
    /// A Gaussian is kept when the best it can reach is within `range` of what is surely reached.
    pub range: F,
    pub slack: F,
}

#[cube]
impl<F: Real> Criteria<F> {
    pub fn of(&self, image: u32) -> Criterion<F> {
        Criterion::<F> { range: self.ranges[image as usize], slack: self.slack }
    }

    pub fn widen(&self, area: Area<F>) -> Area<F> {
        let mut wide = area;
        wide.low.x -= self.margin;
        wide.low.y -= self.margin;
        wide.high.x += self.margin;
        wide.high.y += self.margin;
        wide
    }
}

#[cube]
impl<F: Real> Criterion<F> {
    /// What this Gaussian reaches at every cell of the box.
    pub fn surely(&self, frame: &Frame<F>, area: Area<F>) -> Reach<F> {
        Reach::of(frame, frame.farthest_in(area) * (F::new(1.0) + self.slack))
    }

    /// The most this Gaussian reaches at any cell of the box.
    fn at_best(&self, frame: &Frame<F>, area: Area<F>) -> Reach<F> {
        Reach::of(frame, frame.nearest_in(area) * (F::new(1.0) - self.slack))
    }

    pub fn keeps(&self, frame: &Frame<F>, area: Area<F>, reached: &Reach<F>, #[comptime] bound: Bound) -> bool {
        let reach = self.at_best(frame, area);
        match comptime!(bound) {
            Bound::Within => reach.nearness + self.range >= F::new(0.0),
            Bound::Nearest(_) => reach.nearness >= reached.nearness,
            Bound::Posterior => reach.nearness >= reached.nearness || reach.logit + self.range >= reached.logit,
        }
    }
}

/// How near a Gaussian comes (minus its squared Mahalanobis distance), and its log density there.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Reach<F: Real> {
    pub nearness: F,
    pub logit: F,
}

#[cube]
impl<F: Real> Reach<F> {
    fn of(frame: &Frame<F>, mahalanobis_sq: F) -> Reach<F> {
        Reach::<F> {
            nearness: F::new(0.0) - mahalanobis_sq,
            logit: frame.log_normaliser - mahalanobis_sq / F::new(2.0),
        }
    }
}
