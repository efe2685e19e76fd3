//! Gauss-Newton for many overlapping Gaussians at once, one small system each, all decisions on the device.
//!
//! **Coordinates.** A Gaussian's shape is half the logarithm of its covariance, `[[t + d, o], [o, t - d]]`: with
//! `r = sqrt(d^2 + o^2)` the scales are `e^(t + r)`, `e^(t - r)` and the rotation is `atan2(o, d) / 2`. No column of the
//! system vanishes for a round Gaussian, and a limit on the aspect is the disc `r <= ln(limit) / 2`.
//!
//! **System.** The residual's derivatives by shape, color (and mean) give each Gaussian its own normal matrix, from the
//! moments that [`crate::rasterize::moments`] sums. Its weight `w (w + S) / 2`, `S` the sum of all weights at the pixel,
//! lies half way between the Gaussian's own curvature and a bound on the curvature of all together (`w S`, by the
//! Cauchy-Schwarz inequality), so that Gaussians that overlap do not overshoot together.
//!
//! **Steps.** Every Gaussian has its own damping, step limit and momentum. Its share of the change is the trapezoid
//! `(g + g') . s / 2`, exact for a quadratic whatever the overlap; the damping follows that share against its prediction.
//! The whole step is kept when the objective falls.

mod system;

use cubecl::prelude::*;

use self::system::{Block, block, predicted, shape_of, solve};
use crate::{
    Result,
    bins::Bins,
    buffer::Buffer,
    device::Device,
    gaussian::{COLOR_AT, Gaussians},
    rasterize::{Moments, Penalty, Sums, total},
    real::{Precision, Real, real},
    reduce::{Reduction, reduce_into},
};

/// Numbers of the objective and its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// One over the number of values that the mean penalty, the priors' unit, is taken over.
    pub residual_norm: f64,
    /// Factor of `(t - t_initial)^2` times the mean penalty.
    pub size_prior: f64,
    /// Factor of `(ln s0 - ln s1)^2` times the mean penalty.
    pub aspect_prior: f64,
    /// Largest aspect.
    pub aspect_limit: f64,
    /// Least scale, px.
    pub least_scale: f64,
    /// Largest scale, px.
    pub largest_scale: f64,
    /// Least color: 0, or -1 for differences.
    pub least_color: f64,
    /// Width and height of the image, px: free means stay inside.
    pub size: [f64; 2],
    /// Gaussians from this one on move; those before stay on their annotations.
    pub free_from: u32,
}

impl Objective {
    fn launch<F: Real, R: Runtime>(&self, penalty: Penalty) -> TermsLaunch<F, R> {
        // The system works with half the derivative of the squared penalty, whose prior is then taken once; the absolute
        // penalty's derivative is taken whole, which doubles it.
        let prior = match penalty {
            Penalty::Squared => 1.0,
            Penalty::Absolute => 2.0,
        };
        TermsLaunch::new(
            real(self.residual_norm),
            real(prior),
            real(self.size_prior),
            real(self.aspect_prior),
            real((self.aspect_limit.ln() / 2.0).max(1e-6)),
            real(self.least_scale.max(1e-3).ln()),
            real(self.largest_scale.max(self.least_scale).ln()),
            real(self.least_color),
            real(self.size[0]),
            real(self.size[1]),
            self.free_from,
        )
    }
}

/// [`Objective`] as device functions see it.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Terms<F: Real> {
    pub residual_norm: F,
    pub prior: F,
    pub size_prior: F,
    pub aspect_prior: F,
    pub disc: F,
    pub least_t: F,
    pub largest_t: F,
    pub least_color: F,
    pub width: F,
    pub height: F,
    pub free_from: u32,
}

/// What a running solver remembers, on the device.
#[derive(Debug)]
pub struct GaussNewton<R: Runtime, F: Real> {
    /// Per Gaussian, see [`Layout`].
    state: Buffer<R, F>,
    /// Sums at the trial point, `[n, sums]`.
    fresh: Buffer<R, F>,
    /// Share of the change, its ratio to the prediction, and the slope at the trial along the step, `[n, 3]`.
    verdicts: Buffer<R, F>,
    /// 1 where the share is a rise, `[n]`.
    rises: Buffer<R, F>,
    /// Prior of the trial point, `[n]`.
    priors: Buffer<R, F>,
    /// `[steps + 1]` each: is any share a rise; the priors' sum at the trial; summed penalty and priors of what was kept.
    any_rise: Buffer<R, F>,
    trial_priors: Buffer<R, F>,
    kept: Buffer<R, F>,
    kept_priors: Buffer<R, F>,
    /// Systems whose solution was not finite and was left out, counted, `[n]`.
    repairs: Buffer<R, u32>,
    objective: Objective,
    sums: Sums,
}

/// Places in a Gaussian's state: four points (kept, previous and current target, trial), damping, step limit, momentum
/// count, initial `t`, and the sums at the kept point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    pub sums: Sums,
}

impl Layout {
    /// Where `t` stands in a point; the mean comes before it.
    pub fn t(self) -> usize {
        if self.sums.means { 2 } else { 0 }
    }
    /// Numbers of a point before its colors.
    pub fn shape(self) -> usize {
        self.t() + 3
    }
    /// Numbers of a point.
    pub fn point(self) -> usize {
        self.shape() + self.channels()
    }
    pub fn channels(self) -> usize {
        self.sums.channels as usize
    }
    pub fn kinds(self) -> usize {
        self.sums.count() as usize
    }
    /// Row of [`crate::Gaussians`].
    pub fn row(self) -> usize {
        COLOR_AT + self.channels()
    }
    fn controls(self) -> usize {
        4 * self.point()
    }
    fn saved(self) -> usize {
        self.controls() + 4
    }
    fn size(self) -> usize {
        self.saved() + self.kinds()
    }
}

impl<R: Runtime, F: Real> GaussNewton<R, F> {
    /// A solver for at most `steps` steps from `gaussians`, whose opacities are 1. They are rewritten in the solver's
    /// coordinates, within its bounds: the longer axis first, a round one's axes along the image's.
    ///
    /// # Errors
    /// [`crate::Error::Length`] when the parameters are no whole number of rows.
    pub fn new<P: Precision<Real = F>>(
        device: &Device<R, P>,
        gaussians: &Gaussians<R, F>,
        objective: Objective,
        sums: Sums,
        steps: u32,
    ) -> Result<Self> {
        gaussians.check()?;
        let layout = Layout { sums };
        let (count, history) = (gaussians.len(), steps as usize + 1);
        let zeros = |len: usize| device.filled(F::from_int(0), len);
        let solver = Self {
            state: zeros(count * layout.size()),
            fresh: zeros(count * layout.kinds()),
            verdicts: zeros(3 * count),
            rises: zeros(count),
            priors: zeros(count),
            any_rise: zeros(history),
            trial_priors: zeros(history),
            kept: zeros(history),
            kept_priors: zeros(history),
            repairs: device.filled(0u32, count),
            objective,
            sums,
        };
        if count > 0 {
            let (cubes, dim) = device.per_unit(count);
            begin::launch::<F, R>(
                device.client(),
                cubes,
                dim,
                gaussians.parameters.arg(),
                solver.state.arg(),
                solver.priors.arg(),
                objective.launch(sums.penalty),
                layout,
            );
        }
        Ok(solver)
    }

    /// Takes in the sums of the point that was last proposed (step 0: of the start).
    pub fn judge<P: Precision<Real = F>>(
        &self,
        device: &Device<R, P>,
        bins: &Bins<R>,
        moments: &Moments<R, F>,
        step: u32,
    ) {
        let (cubes, dim) = device.per_unit(self.rises.len());
        weigh_step::launch::<F, R>(
            device.client(),
            cubes,
            dim,
            moments.partial.arg(),
            bins.slot_starts.arg(),
            self.state.arg(),
            self.fresh.arg(),
            self.verdicts.arg(),
            self.rises.arg(),
            self.kept.arg(),
            self.objective.launch(self.sums.penalty),
            step,
            Layout { sums: self.sums },
        );
        reduce_into(device, &self.rises, Reduction::Largest, &self.any_rise, step as usize);
        reduce_into(device, &self.priors, Reduction::Sum, &self.trial_priors, step as usize);
    }

    /// Keeps or drops the judged point; `penalties[step]` is its summed penalty.
    pub fn settle<P: Precision<Real = F>>(&self, device: &Device<R, P>, penalties: &Buffer<R, F>, step: u32) {
        let (cubes, dim) = device.per_unit(self.rises.len());
        settle::launch::<F, R>(
            device.client(),
            cubes,
            dim,
            self.state.arg(),
            SharesLaunch::new(self.fresh.arg(), self.verdicts.arg(), self.any_rise.arg()),
            ObjectivesLaunch::new(penalties.arg(), self.trial_priors.arg(), self.kept.arg(), self.kept_priors.arg()),
            real(self.objective.residual_norm),
            self.rises.len() as u32,
            step,
            Layout { sums: self.sums },
        );
    }

    /// Writes the next trial into `gaussians`.
    pub fn propose<P: Precision<Real = F>>(&self, device: &Device<R, P>, gaussians: &Gaussians<R, F>, step: u32) {
        let (cubes, dim) = device.per_unit(self.rises.len());
        propose::launch::<F, R>(
            device.client(),
            cubes,
            dim,
            gaussians.parameters.arg(),
            self.state.arg(),
            self.priors.arg(),
            self.kept.arg(),
            self.repairs.arg(),
            self.objective.launch(self.sums.penalty),
            step,
            Layout { sums: self.sums },
        );
    }

    /// Writes what was kept into `gaussians`.
    pub fn finish<P: Precision<Real = F>>(&self, device: &Device<R, P>, gaussians: &Gaussians<R, F>) {
        let (cubes, dim) = device.per_unit(self.rises.len());
        write_kept::launch::<F, R>(
            device.client(),
            cubes,
            dim,
            gaussians.parameters.arg(),
            self.state.arg(),
            self.rises.len() as u32,
            Layout { sums: self.sums },
        );
    }

    /// Summed penalty of what was kept after every step, from step 0: `[steps + 1]`.
    pub fn kept(&self) -> &Buffer<R, F> {
        &self.kept
    }

    /// Systems whose solution was not finite, per Gaussian.
    pub fn repairs(&self) -> &Buffer<R, u32> {
        &self.repairs
    }
}

const FIRST_DAMPING: f32 = 0.125;
const LEAST_DAMPING: f32 = 0.0009765625;
const LARGEST_DAMPING: f32 = 10000.0;
/// First limit of a step in log scale: small enough that a Gaussian finds the optimum on its side.
const FIRST_LIMIT: f32 = 0.125;
const LARGEST_LIMIT: f32 = 0.5;

#[cube(launch)]
fn begin<F: Real>(
    parameters: &mut Array<F>,
    state: &mut Array<F>,
    priors: &mut Array<F>,
    terms: &Terms<F>,
    #[comptime] layout: Layout,
) {
    let n = ABSOLUTE_POS;
    if n < priors.len() {
        let (row, at) = (n * comptime!(layout.row()), n * comptime!(layout.size()));
        let mut point = Array::<F>::new(comptime!(layout.point()));
        let t = comptime!(layout.t());
        let (l0, l1) = (parameters[row + 2].ln(), parameters[row + 3].ln());
        let half = (l0 - l1) / F::new(2.0);
        if comptime!(layout.sums.means) {
            point[0] = parameters[row];
            point[1] = parameters[row + 1];
        }
        point[t] = (l0 + l1) / F::new(2.0);
        point[t + 1] = half * (F::new(2.0) * parameters[row + 4]).cos();
        point[t + 2] = half * (F::new(2.0) * parameters[row + 4]).sin();
        #[unroll]
        for c in 0..comptime!(layout.channels()) {
            point[comptime!(layout.shape()) + c] = parameters[row + COLOR_AT + c];
        }
        let start = point[t];
        project::<F>(&mut point, n as u32, terms, layout);
        // The first sums are taken along the axes that the system assumes, and at the projected point.
        write_row::<F>(parameters, &point, n, layout);
        #[unroll]
        for k in 0..comptime!(layout.point()) {
            #[unroll]
            for copy in 0..4usize {
                state[at + copy * comptime!(layout.point()) + k] = point[k];
            }
        }
        let controls = at + comptime!(layout.controls());
        state[controls] = F::new(FIRST_DAMPING);
        state[controls + 1] = F::new(FIRST_LIMIT);
        state[controls + 2] = F::new(0.0);
        state[controls + 3] = start;
        priors[n] = prior_of::<F>(&point, start, terms, layout);
    }
}

/// Colors into their box, `t` into its range, the free mean into the image, `(d, o)` into the disc where both scales stay in
/// range.
#[cube]
fn project<F: Real>(point: &mut Array<F>, n: u32, terms: &Terms<F>, #[comptime] layout: Layout) {
    let t = comptime!(layout.t());
    if comptime!(layout.sums.means) {
        if n >= terms.free_from {
            point[0] = clamp(point[0], F::new(0.0), terms.width);
            point[1] = clamp(point[1], F::new(0.0), terms.height);
        }
    }
    point[t] = clamp(point[t], terms.least_t, terms.largest_t);
    let room = min(terms.disc, min(point[t] - terms.least_t, terms.largest_t - point[t]));
    let r = (point[t + 1] * point[t + 1] + point[t + 2] * point[t + 2]).sqrt();
    if r > room {
        let shrink = room / r;
        point[t + 1] *= shrink;
        point[t + 2] *= shrink;
    }
    #[unroll]
    for c in comptime!(layout.shape())..comptime!(layout.point()) {
        point[c] = clamp(point[c], terms.least_color, F::new(1.0));
    }
}

#[cube]
fn prior_of<F: Real>(point: &Array<F>, start: F, terms: &Terms<F>, #[comptime] layout: Layout) -> F {
    let t = comptime!(layout.t());
    let size = point[t] - start;
    let r2 = point[t + 1] * point[t + 1] + point[t + 2] * point[t + 2];
    terms.size_prior * size * size + F::new(4.0) * terms.aspect_prior * r2
}

#[cube]
fn load<F: Real>(array: &Array<F>, at: usize, #[comptime] length: usize) -> Array<F> {
    let mut values = Array::<F>::new(length);
    #[unroll]
    for k in 0..length {
        values[k] = array[at + k];
    }
    values
}

/// Sums at the trial, and the Gaussian's share of the change against its prediction.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn weigh_step<F: Real>(
    partial: &Array<F>,
    slot_starts: &Array<u32>,
    state: &Array<F>,
    fresh: &mut Array<F>,
    verdicts: &mut Array<F>,
    rises: &mut Array<F>,
    kept_penalties: &Array<F>,
    terms: &Terms<F>,
    step: u32,
    #[comptime] layout: Layout,
) {
    let n = ABSOLUTE_POS;
    if n < rises.len() {
        let size = comptime!(layout.point());
        let at = n * comptime!(layout.size());
        let sum = total(partial, slot_starts, n as u32, layout.sums);
        #[unroll]
        for k in 0..comptime!(layout.kinds()) {
            fresh[n * comptime!(layout.kinds()) + k] = sum[k];
        }
        rises[n] = F::new(0.0);
        if step > 0 {
            let kept = load::<F>(state, at, size);
            let trial = load::<F>(state, at + 3 * size, size);
            let saved = load::<F>(state, at + comptime!(layout.saved()), comptime!(layout.kinds()));
            let start = state[at + comptime!(layout.controls() + 3)];
            let unit = terms.prior * terms.residual_norm * kept_penalties[step as usize - 1];
            let before = block::<F>(&saved, &kept, start, unit, terms, layout);
            let after = block::<F>(&sum, &trial, start, unit, terms, layout);
            let mut change = F::new(0.0);
            let mut uphill = F::new(0.0);
            let mut moved = Array::<F>::new(size);
            #[unroll]
            for k in 0..size {
                moved[k] = trial[k] - kept[k];
                change += (before.gradient[k] + after.gradient[k]) / F::new(2.0) * moved[k];
                uphill += after.gradient[k] * moved[k];
            }
            let wanted = predicted::<F>(&before, &kept, &moved, unit, terms, layout);
            let mut ratio = F::new(-1.0);
            if wanted < F::new(0.0) {
                ratio = change / wanted;
            } else if change < F::new(0.0) {
                ratio = F::new(1.0);
            }
            verdicts[3 * n] = change;
            verdicts[3 * n + 1] = ratio;
            verdicts[3 * n + 2] = uphill;
            if change > F::new(0.0) {
                rises[n] = F::new(1.0);
            }
        }
    }
}

#[derive(CubeType, CubeLaunch)]
struct Shares<F: Real> {
    fresh: Array<F>,
    verdicts: Array<F>,
    any_rise: Array<F>,
}

#[derive(CubeType, CubeLaunch)]
struct Objectives<F: Real> {
    penalties: Array<F>,
    trial_priors: Array<F>,
    kept: Array<F>,
    kept_priors: Array<F>,
}

/// Keeps or drops the trial, and adapts damping, limit and momentum.
#[cube(launch)]
fn settle<F: Real>(
    state: &mut Array<F>,
    shares: &Shares<F>,
    objectives: &mut Objectives<F>,
    residual_norm: F,
    gaussians: u32,
    step: u32,
    #[comptime] layout: Layout,
) {
    let n = ABSOLUTE_POS;
    if (n as u32) < gaussians {
        let at = n * comptime!(layout.size());
        let now = step as usize;
        let mut accepted = step == 0u32;
        if step > 0 {
            let before = objectives.kept[now - 1];
            let unit = residual_norm * before;
            let old = before + unit * objectives.kept_priors[now - 1];
            let new = objectives.penalties[now] + unit * objectives.trial_priors[now];
            // Sums in f32 of a million squares wobble in the last digits: what is level is kept.
            accepted = new < old * F::new(1.000001);
            adapt::<F>(state, shares, n, accepted, step, layout);
        }
        if accepted {
            #[unroll]
            for k in 0..comptime!(layout.kinds()) {
                state[at + comptime!(layout.saved()) + k] = shares.fresh[n * comptime!(layout.kinds()) + k];
            }
        }
        if n == 0 {
            // Units read the elements before this one: none reads what is written here.
            if accepted {
                objectives.kept[now] = objectives.penalties[now];
                objectives.kept_priors[now] = objectives.trial_priors[now];
            } else {
                objectives.kept[now] = objectives.kept[now - 1];
                objectives.kept_priors[now] = objectives.kept_priors[now - 1];
            }
        }
    }
}

#[cube]
fn adapt<F: Real>(
    state: &mut Array<F>,
    shares: &Shares<F>,
    n: usize,
    accepted: bool,
    step: u32,
    #[comptime] layout: Layout,
) {
    let size = comptime!(layout.point());
    let at = n * comptime!(layout.size());
    let controls = at + comptime!(layout.controls());
    let (change, ratio, uphill) = (shares.verdicts[3 * n], shares.verdicts[3 * n + 1], shares.verdicts[3 * n + 2]);
    let mut damping = state[controls];
    let mut limit = state[controls + 1];
    let mut momentum = state[controls + 2];
    let (zero, four) = (F::new(0.0), F::new(4.0));
    if !accepted && momentum > zero && change > zero {
        // Momentum pays first.
        momentum = zero;
    } else if ratio >= F::new(0.25) {
        if ratio > F::new(0.75) && accepted {
            damping = max(damping / four, F::new(LEAST_DAMPING));
        }
    } else {
        damping = min(damping * four, F::new(LARGEST_DAMPING));
    }
    if accepted {
        if ratio > F::new(0.5) {
            limit = min(limit * F::new(2.0), F::new(LARGEST_LIMIT));
        }
        // A step that ends uphill went too far along its momentum.
        momentum = select(uphill > zero, zero, momentum + F::new(1.0));
        #[unroll]
        for k in 0..size {
            state[at + size + k] = state[at + 2 * size + k];
            state[at + k] = state[at + 3 * size + k];
        }
    } else if shares.any_rise[step as usize] < F::new(0.5) {
        // Nobody's own share rose, yet all together did: everybody is too bold.
        damping = min(damping * four, F::new(LARGEST_DAMPING));
        momentum = zero;
    }
    state[controls] = damping;
    state[controls + 1] = limit;
    state[controls + 2] = momentum;
}

#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn propose<F: Real>(
    parameters: &mut Array<F>,
    state: &mut Array<F>,
    priors: &mut Array<F>,
    kept: &Array<F>,
    repairs: &mut Array<u32>,
    terms: &Terms<F>,
    step: u32,
    #[comptime] layout: Layout,
) {
    let n = ABSOLUTE_POS;
    if n < priors.len() {
        let at = n * comptime!(layout.size());
        let mut point = load::<F>(state, at, comptime!(layout.point()));
        let start = state[at + comptime!(layout.controls() + 3)];
        let unit = terms.prior * terms.residual_norm * kept[step as usize];
        let saved = load::<F>(state, at + comptime!(layout.saved()), comptime!(layout.kinds()));
        let system = block::<F>(&saved, &point, start, unit, terms, layout);
        if !next_trial::<F>(&mut point, state, at, &system, n as u32, unit, terms, layout) {
            repairs[n] += 1u32;
        }
        priors[n] = prior_of::<F>(&point, start, terms, layout);
        write_row::<F>(parameters, &point, n, layout);
    }
}

#[cube(launch)]
fn write_kept<F: Real>(parameters: &mut Array<F>, state: &Array<F>, gaussians: u32, #[comptime] layout: Layout) {
    let n = ABSOLUTE_POS;
    if (n as u32) < gaussians {
        let point = load::<F>(state, n * comptime!(layout.size()), comptime!(layout.point()));
        write_row::<F>(parameters, &point, n, layout);
    }
}

/// Solves the Gaussian's system and writes the next target and trial; `point` becomes the trial. False when the solution is
/// not finite: the Gaussian then stays.
#[cube]
#[allow(clippy::too_many_arguments)]
fn next_trial<F: Real>(
    point: &mut Array<F>,
    state: &mut Array<F>,
    at: usize,
    system: &Block<F>,
    n: u32,
    unit: F,
    terms: &Terms<F>,
    #[comptime] layout: Layout,
) -> bool {
    let size = comptime!(layout.point());
    let t = comptime!(layout.t());
    let controls = at + comptime!(layout.controls());
    let (limit, count) = (state[controls + 1], state[controls + 2]);
    let solution = solve::<F>(system, point, state[controls], n >= terms.free_from, unit, terms, layout);
    let mut good = true;
    let mut target = Array::<F>::new(size);
    #[unroll]
    for k in 0..size {
        good = good && solution[k] - solution[k] == F::new(0.0);
        target[k] = point[k] + solution[k];
    }
    if good {
        project::<F>(&mut target, n, terms, layout);
        let factor = count / (count + F::new(3.0));
        let mut trial = Array::<F>::new(size);
        #[unroll]
        for k in 0..size {
            trial[k] = target[k] + factor * (target[k] - state[at + size + k]);
        }
        if comptime!(layout.sums.means) {
            shorten::<F>(&mut trial, point, 0usize, F::new(2.0) * limit * point[t].exp());
        }
        trial[t] = clamp(trial[t], point[t] - limit, point[t] + limit);
        shorten::<F>(&mut trial, point, comptime!(layout.t() + 1), limit);
        project::<F>(&mut trial, n, terms, layout);
        #[unroll]
        for k in 0..size {
            point[k] = trial[k];
        }
    } else {
        #[unroll]
        for k in 0..size {
            target[k] = point[k];
        }
    }
    #[unroll]
    for k in 0..size {
        state[at + 2 * size + k] = target[k];
        state[at + 3 * size + k] = point[k];
    }
    good
}

/// Limits the length of the move of two coordinates.
#[cube]
fn shorten<F: Real>(trial: &mut Array<F>, from: &Array<F>, #[comptime] at: usize, limit: F) {
    let (dx, dy) = (trial[at] - from[at], trial[at + 1] - from[at + 1]);
    let length = (dx * dx + dy * dy).sqrt();
    if length > limit {
        trial[at] = from[at] + dx * limit / length;
        trial[at + 1] = from[at + 1] + dy * limit / length;
    }
}

#[cube]
fn write_row<F: Real>(parameters: &mut Array<F>, point: &Array<F>, n: usize, #[comptime] layout: Layout) {
    let row = n * comptime!(layout.row());
    let t = comptime!(layout.t());
    let shape = shape_of::<F>(point, layout);
    if comptime!(layout.sums.means) {
        parameters[row] = point[0];
        parameters[row + 1] = point[1];
    }
    parameters[row + 2] = (point[t] + shape.r).exp();
    parameters[row + 3] = (point[t] - shape.r).exp();
    parameters[row + 4] = shape.theta;
    #[unroll]
    for c in 0..comptime!(layout.channels()) {
        parameters[row + COLOR_AT + c] = point[comptime!(layout.shape()) + c];
    }
}
