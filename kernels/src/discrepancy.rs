//! Measures how far the transported mass is from the target (paper, Eq. 6, and its usual alternatives).

use cubecl::prelude::*;
use serde::{Deserialize, Serialize};

use crate::real::Real;

/// How transported mass `m` and target `t` are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Discrepancy {
    /// `|m - t|` (paper, Eq. 6); its slope is 0 at 0.
    #[default]
    L1,
    /// `(m - t)^2`.
    L2,
    /// `(m - t)^2 / 2` up to a residual of `width`, `width (|m - t| - width / 2)` beyond.
    Huber {
        /// The residual at which it turns from quadratic to linear.
        width: f64,
    },
    /// `t ln(t / m) - t + m`, the Kullback-Leibler divergence of Poisson counts, with the slope `1 - t / m`. Below a
    /// mass of `least` it continues as its tangent there, so that value and slope stay finite. A negative target counts
    /// as 0 in the logarithm and the slope.
    PoissonKl {
        /// The mass below which it is linear; positive.
        least: f64,
    },
}

/// A discrepancy, as far as it changes the compiled function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    L1,
    L2,
    Huber,
    PoissonKl,
}

impl Discrepancy {
    /// The name and value of its parameter, if it has one. The value must be positive and finite.
    pub fn parameter(self) -> Option<(&'static str, f64)> {
        match self {
            Self::L1 | Self::L2 => None,
            Self::Huber { width } => Some(("width", width)),
            Self::PoissonKl { least } => Some(("least", least)),
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::L1 => Kind::L1,
            Self::L2 => Kind::L2,
            Self::Huber { .. } => Kind::Huber,
            Self::PoissonKl { .. } => Kind::PoissonKl,
        }
    }

    pub(crate) fn width(self) -> f64 {
        self.parameter().map_or(0.0, |(_, value)| value)
    }
}

#[cube]
pub(crate) fn value_of<F: Real>(mass: F, target: F, width: F, #[comptime] kind: Kind) -> F {
    let r = mass - target;
    match comptime!(kind) {
        Kind::L1 => r.abs(),
        Kind::L2 => r * r,
        Kind::Huber => {
            let square = r * r / F::new(2.0);
            let straight = width * (r.abs() - width / F::new(2.0));
            select(r.abs() <= width, square, straight)
        }
        Kind::PoissonKl => {
            let mut value = r;
            if target > F::new(0.0) {
                // Below the least mass the tangent at it.
                let raised = max(mass, width);
                value += target * ((target / raised).ln() + (raised - mass) / raised);
            }
            value
        }
    }
}

#[cube]
pub(crate) fn slope_of<F: Real>(mass: F, target: F, width: F, #[comptime] kind: Kind) -> F {
    let r = mass - target;
    match comptime!(kind) {
        Kind::L1 => {
            let down = select(r < F::new(0.0), F::new(-1.0), F::new(0.0));
            select(r > F::new(0.0), F::new(1.0), down)
        }
        Kind::L2 => F::new(2.0) * r,
        Kind::Huber => clamp(r, F::new(0.0) - width, width),
        Kind::PoissonKl => F::new(1.0) - max(target, F::new(0.0)) / max(mass, width),
    }
}
