//! What a plan has to satisfy, where its cells and points lie, and when a solver stops.

use super::sides;
use crate::{Error, Result, grid::Cells};

/// The cost of carrying a unit of mass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ground {
    /// The squared distance, px².
    Squared,
    /// The distance, px.
    Distance,
    /// `exp(distance / length) - 1` with the length [`Place::stretch`].
    Exponential,
}

/// How a marginal of the plan is bound to the given mass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Marginal {
    /// Equal to it.
    Exact,
    /// Pays `rho` times the Kullback-Leibler divergence from it.
    Relaxed {
        /// In the unit of the costs.
        rho: f64,
    },
}

impl Marginal {
    /// `1 / rho`, 0 for an exact marginal.
    pub fn softness(self) -> f64 {
        match self {
            Self::Exact => 0.0,
            Self::Relaxed { rho } => rho.recip(),
        }
    }
}

/// What the plan is measured against in the joint form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Measure {
    /// `a t'`.
    Product,
    /// `a t'` over the mass of the points.
    ProductOverMass,
}

/// The entropy `H`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// `KL(P | a t')`, over the points' mass if so measured.
    Joint(Measure),
    /// `sum P ln(P / P1)`, the semi-dual.
    Conditional,
    /// `sum P ln P`: the plan of the joint form, other potentials. An empty cell's slope is that of a share of 1e-16.
    Shannon,
    /// `sum P ln P` with `floor` added to the sums of every update, which keeps linear-domain code finite.
    Floored {
        /// 1e-16 in published code.
        floor: f64,
    },
}

/// What is solved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Cost of a unit of mass, times the image's scale.
    pub ground: Ground,
    /// Rule of the cells' marginal.
    pub of_cells: Marginal,
    /// Rule of the points' marginal.
    pub of_points: Marginal,
    /// The entropy.
    pub form: Form,
    /// Divides the density by its sum plus this.
    pub normalise: Option<f64>,
    /// What a unit of mass costs in an image without points.
    pub alone: f64,
}

/// One image: its cells, its points, and the strength of the entropy.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Where the cells are.
    pub cells: Cells,
    /// Points, px.
    pub points: Vec<[f64; 2]>,
    /// Mass of every point, above 0.
    pub masses: Vec<f64>,
    /// Unit of the costs: 1 for px or px².
    pub scale: f64,
    /// Of an exponential cost: its length is the first number, px, plus the second times the sum of the two places' `y`.
    pub stretch: [f64; 2],
    /// Epsilon of every round, in units of the scaled costs, 1e-9 to 1e9; the last one stays.
    pub epsilons: Vec<f64>,
}

/// What solvers keep finite numbers with.
const RANGE: std::ops::RangeInclusive<f64> = 1e-9..=1e9;

/// Rejects what is NaN or outside a range.
fn check(what: &'static str, value: f64, range: std::ops::RangeInclusive<f64>) -> Result<()> {
    let (min, max) = (*range.start(), *range.end());
    if range.contains(&value) { Ok(()) } else { Err(Error::Number { what, value, min, max }) }
}

impl Place {
    pub(super) fn check(&self) -> Result<()> {
        let positive = f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX);
        let any = f64::from(f32::MIN)..=f64::from(f32::MAX);
        check("scale of costs", self.scale, positive.clone())?;
        self.masses.iter().try_for_each(|&mass| check("mass of a point", mass, positive.clone()))?;
        self.epsilons.iter().try_for_each(|&epsilon| check("epsilon", epsilon, RANGE))?;
        self.points.as_flattened().iter().chain(&self.stretch).try_for_each(|&at| check("coordinate", at, any.clone()))
    }

    fn mass(&self) -> f64 {
        self.masses.iter().sum()
    }

    fn last_epsilon(&self) -> f64 {
        self.epsilons.last().copied().unwrap_or(1.0)
    }
}

/// When an image is done: at the first multiple of ten rounds, behind its schedule, at which its error is at most the
/// tolerance, or the limit is reached.
///
/// The error is, with exact marginals, the residual; with relaxed ones, a bound on the relative error of any marginal: the
/// updates contract by a known factor `q`, so the potentials are within `1 / (1 - q)` times their next change of the optimum,
/// and a marginal is `exp(-potential / rho)` times the mass. In the floored form, the squared L2 error of the cells'
/// marginal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stop {
    /// Rounds at most.
    pub limit: usize,
    /// Largest error; below 0 no error is small enough.
    pub tolerance: f64,
}

impl Stop {
    /// Most rounds: `f32` counts no further.
    pub const MOST: usize = 1 << 24;

    pub(super) fn check(self) -> Result<()> {
        let most = Self::MOST as u32;
        if self.limit > Self::MOST {
            let value = u32::try_from(self.limit).unwrap_or(u32::MAX);
            return Err(Error::Count { what: "rounds", value, min: 1, max: most });
        }
        check("tolerance", self.tolerance, f64::from(f32::MIN)..=f64::from(f32::MAX))
    }
}

/// Which error is compared with the tolerance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Criterion {
    Residual,
    Contraction,
    Squares,
}

impl Rules {
    pub(super) fn check(&self) -> Result<()> {
        for marginal in [self.of_cells, self.of_points] {
            if let Marginal::Relaxed { rho } = marginal {
                check("rho", rho, RANGE)?;
            }
        }
        Ok(())
    }

    pub(super) fn criterion(&self) -> Criterion {
        match (self.form, self.of_cells, self.of_points) {
            (Form::Floored { .. }, ..) => Criterion::Squares,
            (_, Marginal::Exact, Marginal::Exact) => Criterion::Residual,
            _ => Criterion::Contraction,
        }
    }

    /// Whether both marginals are exact and nothing is added to sums.
    pub(super) fn is_balanced(&self) -> bool {
        self.criterion() == Criterion::Residual && self.form != Form::Conditional
    }

    pub(super) fn offsets_points(&self) -> bool {
        !matches!(self.form, Form::Joint(_) | Form::Shannon)
    }

    pub(super) fn offsets_cells(&self) -> bool {
        matches!(self.form, Form::Floored { .. })
    }

    /// Damping of the cells' potentials, and what their charges have less: the conditional form moves it there.
    pub(super) fn cell_softness(&self) -> (f64, f64) {
        match self.form {
            Form::Conditional => (0.0, self.of_cells.softness()),
            _ => (self.of_cells.softness(), 0.0),
        }
    }

    pub(super) fn log_floor(&self) -> f64 {
        match self.form {
            Form::Floored { floor } => floor.ln(),
            _ => f64::from(super::NOTHING),
        }
    }

    /// What divides the product of the masses.
    fn measure(&self, place: &Place) -> f64 {
        match self.form {
            Form::Joint(Measure::ProductOverMass) if !place.points.is_empty() => place.mass(),
            _ => 1.0,
        }
    }

    /// Factor from the next change of a potential to its distance from the optimum; negative where none is known.
    fn bound(&self, place: &Place) -> f64 {
        let epsilon = place.last_epsilon();
        let (cells, points) = (epsilon * self.of_cells.softness(), epsilon * self.of_points.softness());
        let factor = match self.form {
            Form::Conditional => (cells - 1.0).abs() / (1.0 + points),
            _ => 1.0 / ((1.0 + cells) * (1.0 + points)),
        };
        let softness = self.of_cells.softness().max(self.of_points.softness());
        // A probe measures the change to come, so the potentials themselves are one factor further away.
        if factor < 1.0 { softness / (1.0 - factor) } else { -1.0 }
    }

    /// See `Problem::start`.
    pub(super) fn start(&self, places: &[Place]) -> Vec<f64> {
        let share = if self.offsets_points() { 0.0 } else { 1.0 };
        // The measure sums all masses of a place: once, not for every point.
        let points = || {
            places.iter().flat_map(|place| {
                let measure = self.measure(place);
                let logs = place.masses.iter().map(move |&mass| (mass, (mass / measure).ln()));
                place.points.iter().zip(logs).map(move |(at, (mass, log_mass))| (place, at, mass, log_mass))
            })
        };
        // The floored form starts from masses, the others from potentials 0.
        let first = |place: &Place, log_mass: f64| match self.form {
            Form::Floored { .. } => place.epsilons[0] * log_mass,
            _ => 0.0,
        };
        let near = points().flat_map(|(place, at, mass, log_mass)| {
            [at[0], at[1], share * log_mass + first(place, log_mass) / place.epsilons[0], mass]
        });
        let far = points().flat_map(|(place, _, _, log_mass)| [first(place, log_mass), log_mass, 0.0, 0.0]);
        near.chain(far).collect()
    }

    /// See `Problem::table`.
    pub(super) fn table(&self, places: &[Place], stages: usize) -> Vec<f64> {
        let epsilon = |stage: usize| places.iter().map(move |p| p.epsilons[stage.min(p.epsilons.len() - 1)]);
        let mut table = vec![0.0; sides::STATUS as usize * places.len()];
        table[..places.len()].fill(1.0);
        table.extend((0..stages).flat_map(epsilon));
        let constants = |row: u32, place: &Place| match row {
            sides::SCALE => place.scale,
            sides::LOG_MEASURE => self.measure(place).ln(),
            sides::RATIO => place.mass() / self.measure(place),
            sides::STAGES => place.epsilons.len() as f64,
            sides::BASE => place.stretch[0],
            sides::SLOPE => place.stretch[1],
            _ => self.bound(place),
        };
        table.extend((0..=sides::BOUND).flat_map(|row| places.iter().map(move |place| constants(row, place))));
        table
    }
}

/// Epsilons of a [`schedule`], at most.
pub const MOST_EPSILONS: usize = 10_000;

/// From `first` down to `last` by `factor` a round, `last` included; just `last` if `first` is not above it. With a factor so near 1 that
/// there would be more than [`MOST_EPSILONS`] above `last`, from that many on it is `last`.
pub fn schedule(first: f64, factor: f64, last: f64) -> Vec<f64> {
    let above = std::iter::successors(Some(first), |epsilon| Some(epsilon * factor));
    let mut epsilons: Vec<f64> = above.take_while(|&epsilon| epsilon > last).take(MOST_EPSILONS).collect();
    epsilons.push(last);
    epsilons
}
