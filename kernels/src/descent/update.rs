//! The step of every Gaussian on the device.

use cubecl::prelude::*;

use super::{
    RING, TERMS,
    deformity::{Deformity, note_aspect, shape_pull},
    maps::{ColorMap, Maps, RotationMap, ScaleMap, ShapeOn},
};
use crate::{
    adam::{self, Moments as AdamMoments},
    clock::{still_running, stop_at},
    gaussian::{COLOR_AT, Point, write_frame},
    gradient::derivatives,
    grid::{Count, Plots},
    listed::Ellipses,
    moments::{Sums, total},
    penalty::{bundle_sum, image_sum},
    real::{Quad, Real, is_finite},
    softplus::{sigmoid, softplus_of},
};

/// [`super::Objective`] as device functions see it.
#[derive(CubeType, Clone, Copy)]
struct Terms<F: Real> {
    norm: F,
    residual_norm: F,
    shape_weight: F,
    aspect_limit: F,
    size_prior: F,
    aspect_prior: F,
    least_scale: F,
    pi: F,
    free_from: F,
}

#[cube]
impl<F: Real> Terms<F> {
    fn load(table: &Array<F>, image: u32) -> Terms<F> {
        let at = (image * TERMS) as usize;
        Terms::<F> {
            norm: table[at],
            residual_norm: table[at + 1],
            shape_weight: table[at + 2],
            aspect_limit: table[at + 3],
            size_prior: table[at + 4],
            aspect_prior: table[at + 5],
            least_scale: table[at + 6],
            pi: table[at + 7],
            free_from: table[at + 8],
        }
    }

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

/// What a look found.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Found<F: Real> {
    partial: Array<Quad<F>>,
    slot_starts: Array<u32>,
    strips: Array<Quad<F>>,
}

/// See [`super::Descent`].
#[derive(CubeType, CubeLaunch)]
pub(super) struct Memory<F: Real> {
    state: Array<F>,
    aspects: Array<F>,
    worst: Array<Atomic<u32>>,
    repairs: Array<u32>,
    initial: Array<F>,
    bundles: Array<F>,
    history: Array<F>,
}

#[derive(CubeType, CubeLaunch)]
pub(super) struct Output<F: Real> {
    parameters: Array<F>,
    frames: Array<Quad<F>>,
}

/// One unit per Gaussian, then one per bundle of tiles.
#[cube(launch)]
pub(super) fn descend<F: Real>(
    found: &Found<F>,
    memory: &mut Memory<F>,
    output: &mut Output<F>,
    listed: &Ellipses<F>,
    table: &Array<F>,
    plots: &Plots<F>,
    clock: &mut Array<Atomic<u32>>,
    rule: &adam::Rule<F>,
    step: u32,
    #[comptime] sums: Sums,
    #[comptime] maps: Maps,
    #[comptime] priors: bool,
) {
    let n = ABSOLUTE_POS as u32;
    let gaussians = plots.total(Count::Gaussians);
    if n < gaussians {
        let image = plots.holding(n, Count::Gaussians);
        if still_running(clock, image, step) {
            let terms = Terms::<F>::load(table, image);
            let row = n as usize * comptime!(sums.channels as usize + COLOR_AT);
            move_one::<F>(found, memory, output, plots, &terms, rule, n, image, step, sums, maps, priors);
            let scales = Point::<F> { x: output.parameters[row + 2], y: output.parameters[row + 3] };
            // Drawing needs no logits.
            let logit = Point::<F> { x: F::new(0.0), y: F::new(0.0) };
            write_frame::<F>(&mut output.frames, n, &output.parameters, row, scales, logit, sums.channels);
            if !listed.hold(n, &output.parameters, row) {
                stop_at(clock, step + 1u32);
            }
        }
    } else if comptime!(!priors) {
        let bundle = n - gaussians;
        let bundles = plots.total(Count::Bundles);
        if bundle < bundles {
            let at = step % RING * bundles + bundle;
            memory.bundles[at as usize] = bundle_sum::<F>(&found.strips, plots, bundle);
        }
    }
}

/// Adds up the penalties of the images at the steps from `from` on.
#[cube(launch)]
pub(super) fn gather<F: Real>(bundles: &Array<F>, plots: &Plots<F>, history: &mut Array<F>, from: u32, rows: u32) {
    let row = ABSOLUTE_POS as u32;
    if row < rows {
        let (step, image) = (from + row / plots.images(), row % plots.images());
        let first = step % RING * plots.total(Count::Bundles);
        history[(step * plots.images() + image) as usize] = image_sum::<F>(bundles, plots, image, first);
    }
}

/// The step of one Gaussian.
#[cube]
fn move_one<F: Real>(
    found: &Found<F>,
    memory: &mut Memory<F>,
    output: &mut Output<F>,
    plots: &Plots<F>,
    terms: &Terms<F>,
    rule: &adam::Rule<F>,
    gaussian: u32,
    image: u32,
    step: u32,
    #[comptime] sums: Sums,
    #[comptime] maps: Maps,
    #[comptime] priors: bool,
) {
    let n = gaussian as usize;
    let stride = comptime!(sums.channels as usize + COLOR_AT);
    let (row, raw) = (n * stride, 3 * n * stride);
    let gaussians = plots.total(Count::Gaussians);
    let (old, new) = (step % 2u32 * gaussians, (step + 1u32) % 2u32 * gaussians);
    let at = (step * plots.images() + image) as usize;
    let sum = total(&found.partial, &found.slot_starts, gaussian, sums);
    let mut by = derivatives::<F>(&sum, &output.parameters, row, terms.norm, sums);
    let (s0, s1) = (output.parameters[row + 2], output.parameters[row + 3]);
    let (raw0, raw1) = (memory.state[raw + 2], memory.state[raw + 3]);

    if comptime!(priors) {
        let unit = terms.norm * terms.residual_norm * memory.history[at];
        let size = (s0.ln() + s1.ln() - memory.initial[row + 2].ln() - memory.initial[row + 3].ln()) / F::new(2.0);
        let spread = F::new(2.0) * terms.aspect_prior * (s0.ln() - s1.ln());
        by[2] += unit * (terms.size_prior * size + spread) / s0;
        by[3] += unit * (terms.size_prior * size - spread) / s1;
    }

    let first = plots.before(image, Count::Gaussians);
    let deformity = Deformity::<F> {
        limit: terms.aspect_limit,
        weight: terms.shape_weight,
        aspect: memory.aspects[(old + gaussian) as usize],
        worst: memory.worst[2 * at].load(),
        shared: memory.worst[2 * at + 1].load(),
        n: old + gaussian,
        first: old + first,
        count: plots.before(image + 1u32, Count::Gaussians) - first,
    };
    if comptime!(maps.shape_on == ShapeOn::Activated) {
        let pull = shape_pull::<F>(s0, s1, &memory.aspects, &deformity, maps.shape_reduce);
        by[2] += pull.by0;
        by[3] += pull.by1;
    }
    by[2] *= terms.scale_slope(raw0, maps.scale);
    by[3] *= terms.scale_slope(raw1, maps.scale);
    if comptime!(maps.shape_on == ShapeOn::Raw) {
        let tiny = F::new(1.0e-10);
        let pull = shape_pull::<F>(raw0 + tiny, raw1 + tiny, &memory.aspects, &deformity, maps.shape_reduce);
        by[2] += pull.by0;
        by[3] += pull.by1;
    }
    if comptime!(maps.rotation == RotationMap::PiSigmoid) {
        by[4] *= output.parameters[row + 4] * (F::new(1.0) - output.parameters[row + 4] / terms.pi);
    }
    by[5] *= output.parameters[row + 5] * (F::new(1.0) - output.parameters[row + 5]);
    #[unroll]
    for k in COLOR_AT..stride {
        let c = output.parameters[row + k];
        by[k] *= match comptime!(maps.color) {
            ColorMap::Sigmoid => c * (F::new(1.0) - c),
            ColorMap::Tanh => F::new(1.0) - c * c,
        };
    }

    let mut finite = true;
    #[unroll]
    for k in 0..stride {
        finite = finite && is_finite::<F>(by[k]);
    }
    let mut aspect = memory.aspects[(old + gaussian) as usize];
    if finite {
        let free = F::cast_from(gaussian - first) >= terms.free_from;
        #[unroll]
        for k in 0..stride {
            let moves = comptime!(k > 1 && k != 5 || k == 5 && maps.opacity);
            if moves || comptime!(k < 2 && sums.means) && free {
                let before = AdamMoments::<F> {
                    first: memory.state[raw + stride + k],
                    second: memory.state[raw + 2 * stride + k],
                };
                let taken = rule.step(by[k], before);
                memory.state[raw + stride + k] = taken.moments.first;
                memory.state[raw + 2 * stride + k] = taken.moments.second;
                memory.state[raw + k] += taken.change;
            }
        }
        activate::<F>(&mut output.parameters, &memory.state, row, raw, terms, sums, maps);
        aspect = match comptime!(maps.shape_on) {
            ShapeOn::Activated => aspect_of::<F>(output.parameters[row + 2], output.parameters[row + 3]),
            ShapeOn::Raw => {
                aspect_of::<F>(memory.state[raw + 2] + F::new(1.0e-10), memory.state[raw + 3] + F::new(1.0e-10))
            }
        };
    } else {
        memory.repairs[n] += 1u32;
    }
    memory.aspects[(new + gaussian) as usize] = aspect;
    note_aspect::<F>(&mut memory.worst, 2 * (at + plots.images() as usize), aspect);
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
