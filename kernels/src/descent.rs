//! An Adam step of the fit, with the paper's deformity loss: raw numbers, their maps to parameters, and the step.

mod maps;

use cubecl::prelude::*;

pub use self::maps::{ColorMap, Maps, RotationMap, ScaleMap, ShapeOn, ShapeReduce};

use crate::{
    Result,
    adam::{self, Adam, Moments as AdamMoments},
    bins::Bins,
    buffer::Buffer,
    device::Device,
    gaussian::{COLOR_AT, Gaussians},
    gradient::derivatives,
    moments::{Moments, Sums, total},
    real::{Precision, Real, real},
    softplus::{sigmoid, softplus_of},
};

/// Numbers of the objective.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// Factor of the summed penalty: one over the number of values for a mean. (The squared penalty's derivative has a 2.)
    pub norm: f64,
    /// One over the number of values that the mean penalty, the priors' unit, is taken over.
    pub residual_norm: f64,
    /// Factor of the deformity loss.
    pub shape_weight: f64,
    /// Aspect above which it acts.
    pub aspect_limit: f64,
    /// Factor of `(mean ln s - mean ln s_initial)^2` times the mean penalty; 0 for no prior.
    pub size_prior: f64,
    /// Factor of `(ln s0 - ln s1)^2` times the mean penalty; 0 for no prior.
    pub aspect_prior: f64,
    /// Least scale of [`ScaleMap::Softplus`], px.
    pub least_scale: f64,
    /// Gaussians from this one on move; those before stay on their annotations.
    pub free_from: u32,
}

/// Raw numbers and their Adam moments, three rows of a Gaussian's parameters each.
#[derive(Debug)]
pub struct Descent<R: Runtime, F: Real> {
    /// `[n, 3, 6 + channels]`: raw, first moment, second moment.
    pub state: Buffer<R, F>,
    /// Aspect of every Gaussian, on what [`ShapeOn`] says.
    pub aspects: Buffer<R, F>,
    /// Gaussians whose step was not finite and was left out, counted, `[n]`.
    pub repairs: Buffer<R, u32>,
    /// Where the fit started: `[n, 6 + channels]`.
    pub initial: Buffer<R, F>,
}

/// One Adam step of every Gaussian, in place: parameters, raw numbers, aspects.
///
/// `worst` is the largest of the aspects (one element), `penalties[step - 1]` the summed penalty of the residual.
///
/// # Errors
/// [`crate::Error::Length`] when the arrays disagree.
pub fn descend<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    gaussians: &Gaussians<R, P::Real>,
    bins: &Bins<R>,
    moments: &Moments<R, P::Real>,
    descent: &Descent<R, P::Real>,
    worst: &Buffer<R, P::Real>,
    penalties: &Buffer<R, P::Real>,
    objective: &Objective,
    (rule, step): (Adam, u32),
    maps: Maps,
) -> Result<()> {
    descent.state.expect("descent state", 3 * gaussians.parameters.len())?;
    descent.aspects.expect("aspects", gaussians.len())?;
    if gaussians.is_empty() {
        return Ok(());
    }
    let (count, dim) = device.per_unit(gaussians.len());
    step_gaussians::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        SlotSumsLaunch::new(moments.partial.arg(), bins.slot_starts.arg(), worst.arg(), penalties.arg()),
        gaussians.parameters.arg(),
        descent.initial.arg(),
        descent.state.arg(),
        descent.aspects.arg(),
        descent.repairs.arg(),
        TermsLaunch::new(
            real(objective.norm),
            real(objective.residual_norm),
            real(objective.shape_weight),
            real(objective.aspect_limit),
            real(objective.size_prior),
            real(objective.aspect_prior),
            real(objective.least_scale),
            real(std::f64::consts::PI),
            objective.free_from,
            step - 1,
        ),
        rule.launch(step),
        moments.sums,
        maps,
    );
    Ok(())
}

#[derive(CubeType, CubeLaunch)]
struct SlotSums<F: Real> {
    partial: Array<F>,
    starts: Array<u32>,
    worst: Array<F>,
    penalties: Array<F>,
}

#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Terms<F: Real> {
    norm: F,
    residual_norm: F,
    shape_weight: F,
    aspect_limit: F,
    size_prior: F,
    aspect_prior: F,
    least_scale: F,
    pi: F,
    free_from: u32,
    at: u32,
}

#[cube]
impl<F: Real> Terms<F> {
    fn scale(&self, raw: F, #[comptime] map: ScaleMap) -> F {
        match comptime!(map) {
            ScaleMap::ReluPlusOne => max(raw, F::new(0.0)) + F::new(1.0),
            ScaleMap::Softplus => softplus_of::<F>(raw) + self.least_scale,
            ScaleMap::Exp => raw.exp(),
        }
    }

    fn scale_slope(&self, raw: F, #[comptime] map: ScaleMap) -> F {
        match comptime!(map) {
            ScaleMap::ReluPlusOne => select(raw > F::new(0.0), F::new(1.0), F::new(0.0)),
            ScaleMap::Softplus => sigmoid::<F>(raw),
            ScaleMap::Exp => raw.exp(),
        }
    }
}

#[cube]
fn color<F: Real>(raw: F, #[comptime] map: ColorMap) -> F {
    match comptime!(map) {
        ColorMap::Sigmoid => sigmoid::<F>(raw),
        ColorMap::Tanh => raw.tanh(),
    }
}

/// Derivatives of the deformity loss by the two numbers whose ratio is the aspect (paper, Eq. 10).
#[derive(CubeType, Clone, Copy)]
struct ShapePull<F: Real> {
    by0: F,
    by1: F,
}

#[cube]
fn shape_pull<F: Real>(
    a: F,
    b: F,
    aspects: &Array<F>,
    worst: F,
    terms: &Terms<F>,
    #[comptime] reduce: ShapeReduce,
) -> ShapePull<F> {
    let n = ABSOLUTE_POS;
    let mut weight = F::new(0.0);
    if aspects[n] > terms.aspect_limit {
        weight = match comptime!(reduce) {
            ShapeReduce::Mean => terms.shape_weight / F::cast_from(aspects.len() as u32),
            ShapeReduce::Max => {
                let mut active = F::new(0.0);
                if aspects[n] == worst {
                    // A maximum's subgradient belongs to one of those that attain it: the first.
                    active = terms.shape_weight;
                    for earlier in 0..n {
                        if aspects[earlier] == worst {
                            active = F::new(0.0);
                        }
                    }
                }
                active
            }
        };
    }
    let (long, short) = (max(a, b), min(a, b));
    let (by_long, by_short) = (weight / short, F::new(0.0) - weight * long / (short * short));
    ShapePull::<F> { by0: select(a >= b, by_long, by_short), by1: select(a >= b, by_short, by_long) }
}

#[cube(launch)]
fn step_gaussians<F: Real>(
    slots: &SlotSums<F>,
    parameters: &mut Array<F>,
    initial: &Array<F>,
    state: &mut Array<F>,
    aspects: &mut Array<F>,
    repairs: &mut Array<u32>,
    terms: &Terms<F>,
    rule: &adam::Rule<F>,
    #[comptime] sums: Sums,
    #[comptime] maps: Maps,
) {
    let n = ABSOLUTE_POS;
    if n < aspects.len() {
        let stride = comptime!(sums.channels as usize + COLOR_AT);
        let (row, raw) = (n * stride, 3 * n * stride);
        let sum = total(&slots.partial, &slots.starts, n as u32, sums);
        let mut by = derivatives::<F>(&sum, parameters, row, terms.norm, sums);
        let (s0, s1) = (parameters[row + 2], parameters[row + 3]);
        let (raw0, raw1) = (state[raw + 2], state[raw + 3]);

        let prior = terms.norm * terms.residual_norm * slots.penalties[terms.at as usize];
        let size = (s0.ln() + s1.ln() - initial[row + 2].ln() - initial[row + 3].ln()) / F::new(2.0);
        let spread = F::new(2.0) * terms.aspect_prior * (s0.ln() - s1.ln());
        by[2] += prior * (terms.size_prior * size + spread) / s0;
        by[3] += prior * (terms.size_prior * size - spread) / s1;

        if comptime!(maps.shape_on == ShapeOn::Activated) {
            let pull = shape_pull::<F>(s0, s1, aspects, slots.worst[0], terms, maps.shape_reduce);
            by[2] += pull.by0;
            by[3] += pull.by1;
        }
        by[2] *= terms.scale_slope(raw0, maps.scale);
        by[3] *= terms.scale_slope(raw1, maps.scale);
        if comptime!(maps.shape_on == ShapeOn::Raw) {
            let tiny = F::new(1.0e-10);
            let pull = shape_pull::<F>(raw0 + tiny, raw1 + tiny, aspects, slots.worst[0], terms, maps.shape_reduce);
            by[2] += pull.by0;
            by[3] += pull.by1;
        }
        if comptime!(maps.rotation == RotationMap::PiSigmoid) {
            by[4] *= parameters[row + 4] * (F::new(1.0) - parameters[row + 4] / terms.pi);
        }
        by[5] *= parameters[row + 5] * (F::new(1.0) - parameters[row + 5]);
        #[unroll]
        for k in COLOR_AT..stride {
            let c = parameters[row + k];
            by[k] *= match comptime!(maps.color) {
                ColorMap::Sigmoid => c * (F::new(1.0) - c),
                ColorMap::Tanh => F::new(1.0) - c * c,
            };
        }

        let mut finite = true;
        #[unroll]
        for k in 0..stride {
            // NaN and infinities are the only numbers whose difference from themselves is not zero.
            finite = finite && by[k] - by[k] == F::new(0.0);
        }
        if finite {
            #[unroll]
            for k in 0..stride {
                let moves = comptime!(k > 1 && k != 5 || k == 5 && maps.opacity);
                if moves || comptime!(k < 2 && sums.means) && n as u32 >= terms.free_from {
                    let before =
                        AdamMoments::<F> { first: state[raw + stride + k], second: state[raw + 2 * stride + k] };
                    let step = rule.step(by[k], before);
                    state[raw + stride + k] = step.moments.first;
                    state[raw + 2 * stride + k] = step.moments.second;
                    state[raw + k] += step.change;
                }
            }
            activate::<F>(parameters, state, row, raw, terms, sums, maps);
            aspects[n] = match comptime!(maps.shape_on) {
                ShapeOn::Activated => aspect_of::<F>(parameters[row + 2], parameters[row + 3]),
                ShapeOn::Raw => aspect_of::<F>(state[raw + 2] + F::new(1.0e-10), state[raw + 3] + F::new(1.0e-10)),
            };
        } else {
            repairs[n] += 1u32;
        }
    }
}

#[cube]
fn aspect_of<F: Real>(a: F, b: F) -> F {
    max(a, b) / min(a, b)
}

/// Writes the parameters that the raw numbers stand for.
#[cube]
fn activate<F: Real>(
    parameters: &mut Array<F>,
    state: &Array<F>,
    row: usize,
    raw: usize,
    terms: &Terms<F>,
    #[comptime] sums: Sums,
    #[comptime] maps: Maps,
) {
    let channels = comptime!(sums.channels as usize);
    if comptime!(sums.means) {
        parameters[row] = state[raw];
        parameters[row + 1] = state[raw + 1];
    }
    parameters[row + 2] = terms.scale(state[raw + 2], maps.scale);
    parameters[row + 3] = terms.scale(state[raw + 3], maps.scale);
    parameters[row + 4] = match comptime!(maps.rotation) {
        RotationMap::PiSigmoid => terms.pi * sigmoid::<F>(state[raw + 4]),
        RotationMap::Free => state[raw + 4],
    };
    if comptime!(maps.opacity) {
        parameters[row + 5] = sigmoid::<F>(state[raw + 5]);
    }
    #[unroll]
    for c in 0..channels {
        parameters[row + COLOR_AT + c] = color::<F>(state[raw + COLOR_AT + c], maps.color);
    }
}
