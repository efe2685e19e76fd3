//! Adam (Kingma and Ba, 2015), for the fit's parameters and for the trainer's.

use cubecl::prelude::*;

use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    real::{Precision, Real, real},
};

/// Step size and decay rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Step size.
    pub rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

impl Default for Adam {
    /// The paper's step size, and everybody's decay rates.
    fn default() -> Self {
        Self { rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

impl Adam {
    pub(crate) fn launch<F: Real, R: Runtime>(&self, step: u32) -> RuleLaunch<F, R> {
        let step = f64::from(step);
        RuleLaunch::new(
            real(self.rate / (1.0 - self.beta1.powf(step))),
            real(self.beta1),
            real(self.beta2),
            real(1.0 / (1.0 - self.beta2.powf(step))),
            real(self.epsilon),
        )
    }
}

/// First and second moments of every parameter.
#[derive(Debug)]
pub struct AdamState<R: Runtime, F: Real> {
    /// Running mean of the gradient.
    pub first: Buffer<R, F>,
    /// Running mean of its square.
    pub second: Buffer<R, F>,
}

impl<R: Runtime, F: Real> AdamState<R, F> {
    /// All zero, for `len` parameters.
    pub fn new<P: Precision<Real = F>>(device: &Device<R, P>, len: usize) -> Self {
        Self { first: device.filled(F::from_int(0), len), second: device.filled(F::from_int(0), len) }
    }
}

/// One step (numbered from 1) of `parameters` against `gradient`, in place.
///
/// # Errors
/// [`crate::Error::Length`] when the arrays disagree.
pub fn adam<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    parameters: &Buffer<R, P::Real>,
    gradient: &Buffer<R, P::Real>,
    state: &AdamState<R, P::Real>,
    rule: Adam,
    step: u32,
) -> Result<()> {
    gradient.expect("gradient", parameters.len())?;
    state.first.expect("first moments", parameters.len())?;
    state.second.expect("second moments", parameters.len())?;
    if !parameters.is_empty() {
        let (count, dim) = device.per_unit(parameters.len());
        step_all::launch::<P::Real, R>(
            device.client(),
            count,
            dim,
            parameters.arg(),
            gradient.arg(),
            state.first.arg(),
            state.second.arg(),
            rule.launch(step),
        );
    }
    Ok(())
}

/// [`Adam`] at one step, with the corrections of its moments' bias.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Rule<F: Real> {
    rate: F,
    beta1: F,
    beta2: F,
    correction2: F,
    epsilon: F,
}

#[cube]
impl<F: Real> Rule<F> {
    /// One parameter's step.
    pub fn step(&self, gradient: F, before: Moments<F>) -> Step<F> {
        let one = F::new(1.0);
        let first = self.beta1 * before.first + (one - self.beta1) * gradient;
        let second = self.beta2 * before.second + (one - self.beta2) * gradient * gradient;
        let change = F::new(0.0) - self.rate * first / ((second * self.correction2).sqrt() + self.epsilon);
        Step::<F> { change, moments: Moments::<F> { first, second } }
    }
}

/// Running means of the gradient and of its square.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Moments<F: Real> {
    pub first: F,
    pub second: F,
}

/// A parameter's change, and its moments after it.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Step<F: Real> {
    pub change: F,
    pub moments: Moments<F>,
}

#[cube(launch)]
fn step_all<F: Real>(
    parameters: &mut Array<F>,
    gradient: &Array<F>,
    first: &mut Array<F>,
    second: &mut Array<F>,
    rule: &Rule<F>,
) {
    if ABSOLUTE_POS < parameters.len() {
        let i = ABSOLUTE_POS;
        let step = rule.step(gradient[i], Moments::<F> { first: first[i], second: second[i] });
        first[i] = step.moments.first;
        second[i] = step.moments.second;
        parameters[i] += step.change;
    }
}
