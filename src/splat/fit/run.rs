//! The loop that all solvers share: steps are queued on the device, and the host looks at the results now and then.

use std::ops::Range;

use splatport_kernels::{
    Buffer, Gaussians, HostReal, Precision, Real,
    arithmetic::{copy, copy_part, split},
    bins::Room,
    clock::Clock,
    cubecl::Runtime,
    evaluate::{Look, evaluate},
    gaussian::{self, Frames, Framing},
    listed::Listed,
    moments::Sums,
};

use super::{Fitted, Problem};
use crate::{
    Error, Result,
    splat::{End, Progress},
};

/// What a solver does between two looks of the host.
pub(super) trait Stepper<R: Runtime, P: Precision> {
    /// The host looks at every step whose number is a multiple of this, and at the last.
    const EVERY: u32;
    /// Growth of a Gaussian that tile lists allow for.
    const GROWTH: f64;

    /// Whether a step overwrites the parameters with those of the next step, rather than keeping the best so far.
    const MOVES_AT_ONCE: bool;

    /// Uses what `state.look` found at `step` to move the Gaussians, unless this is the `last` step.
    fn step(&self, state: &State<'_, R, P>, step: u32, last: bool) -> Result<()>;

    /// Summed penalties of all images at every step, `[steps + 1, images]`. Only the steps `from ..= to` need to be
    /// filled in.
    fn history(&self, from: u32, to: u32) -> &Buffer<R, P::Real>;

    /// Whether these losses make further steps unnecessary.
    fn is_settled(&self, losses: &[f64]) -> bool;

    /// After the last step, puts the parameters to be kept into place.
    fn finish(&self, state: &State<'_, R, P>);

    /// Number of skipped steps, per Gaussian.
    fn repairs(&self) -> &Buffer<R, u32>;
}

/// What changes from step to step, on the device.
pub(super) struct State<'a, R: Runtime, P: Precision> {
    pub gaussians: &'a Gaussians<R, P::Real>,
    pub frames: Frames<R, P::Real>,
    pub listed: Listed<R, P::Real>,
    pub look: Look<R, P::Real>,
    pub clock: Clock<R>,
}

/// What is known of one image.
struct Track<R: Runtime, F: Real> {
    losses: Vec<f64>,
    end: Option<End>,
    /// Parameters to return instead of the last ones.
    rescued: Option<Buffer<R, F>>,
}

impl<R: Runtime, P: Precision> Problem<'_, R, P> {
    pub(super) fn run<S: Stepper<R, P>>(
        &self,
        stepper: &S,
        gaussians: &Gaussians<R, P::Real>,
        steps: u32,
        (sums, floor): (Sums, f64),
        on_step: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Vec<Fitted<R, P::Real>>> {
        let images = self.parts.len();
        let mut tracks: Vec<Track<R, P::Real>> =
            (0..images).map(|_| Track { losses: Vec::new(), end: None, rescued: None }).collect();
        let mut safe = if S::MOVES_AT_ONCE { Some(Safe::new(self, gaussians)?) } else { None };
        let mut room = Room::default();
        let frames = gaussian::frames(self.device, gaussians, gaussians.len(), Framing::default())?;
        let clock = Clock::new(self.device, images);
        let mut state = self.listing::<S>(gaussians, (frames, clock), sums, &mut room)?;
        let (mut next, mut told, mut patience, mut rebuilds) = (0u32, 0, S::EVERY, 0);
        loop {
            let boundary = next.next_multiple_of(S::EVERY).min(steps);
            let until = boundary.min(next + patience - 1);
            for step in next..=until {
                let scene = self.scene(&state.frames, &state.listed);
                evaluate(self.device, &scene, &self.target, &state.look, (&state.clock, step), floor);
                if let Some(safe) = safe.as_ref().filter(|_| step == until) {
                    safe.take(gaussians)?;
                }
                stepper.step(&state, step, step == steps)?;
            }
            let running = |tracks: &[Track<R, P::Real>]| tracks.iter().filter(|track| track.end.is_none()).count();
            let before = running(&tracks);
            let new = next as usize * images..(until as usize + 1) * images;
            let (history, stop) = state.clock.read_with(stepper.history(next, until), new)?;
            let end = stop.map_or(until + 1, |stop| stop.min(until + 1));
            for (image, track) in tracks.iter_mut().enumerate().filter(|(_, track)| track.end.is_none()) {
                let losses =
                    (next..end).zip(history.iter().skip(image).step_by(images)).map(|(_, sum)| sum.cast_to_f64());
                track.losses.extend(losses.map(|sum| sum * self.parts[image].norm));
                self.check_finite(track, image, safe.as_ref())?;
            }
            if let Some(safe) = safe.as_mut().filter(|_| end == until + 1) {
                safe.confirm(until);
            }
            next = end;
            if next == boundary + 1 {
                self.look_around(stepper, &mut tracks, (&mut told, steps, rebuilds), on_step);
                for (image, track) in tracks.iter_mut().enumerate().filter(|(_, t)| t.end == Some(End::Asked)) {
                    track.rescued = safe.as_ref().map(|safe| safe.rows(image)).transpose()?;
                }
                if running(&tracks) == 0 {
                    break;
                }
            }
            if stop.is_some() {
                patience = (patience / 2).max(1);
                rebuilds += 1;
                // The old lists are dropped first, so that there need not be room for both.
                let State { frames, listed, look, clock, .. } = state;
                drop((listed, look));
                state = self.listing::<S>(gaussians, (frames, clock), sums, &mut room)?;
            } else {
                patience = (patience * 2).min(S::EVERY);
            }
            if stop.is_some() || running(&tracks) < before {
                let stops: Vec<Option<u32>> = tracks.iter().map(|track| track.end.map(|_| 0)).collect();
                state.clock = Clock::with_stops(self.device, &stops);
            }
        }
        stepper.finish(&state);
        self.collect(gaussians, stepper.repairs(), tracks)
    }

    /// Makes tile lists for the Gaussians.
    fn listing<'s, S: Stepper<R, P>>(
        &self,
        gaussians: &'s Gaussians<R, P::Real>,
        (frames, clock): (Frames<R, P::Real>, Clock<R>),
        sums: Sums,
        room: &mut Room,
    ) -> Result<State<'s, R, P>> {
        let listed = self.listed(gaussians, S::GROWTH, room)?;
        let look = Look::new(self.device, &self.scene(&frames, &listed), &self.target, sums)?;
        Ok(State { gaussians, frames, listed, look, clock })
    }

    /// A loss that is not finite ends an image's fit. The last parameters known to be good are kept, with the losses up
    /// to them.
    fn check_finite(&self, track: &mut Track<R, P::Real>, image: usize, safe: Option<&Safe<'_, R, P>>) -> Result<()> {
        let Some(at) = track.losses.iter().position(|loss| !loss.is_finite()) else { return Ok(()) };
        if at == 0 {
            let (what, index) = ("reconstruction loss at the start of image", self.parts[image].index);
            return Err(Error::NotFinite { what, index, value: track.losses[0] });
        }
        track.rescued = safe.map(|safe| safe.rows(image)).transpose()?;
        track.losses.truncate(safe.map_or(at, |safe| safe.step as usize + 1));
        track.end = Some(End::NotFinite { step: at as u32 });
        Ok(())
    }

    /// Reports the steps since the last look, and ends the fits that are done or have settled.
    fn look_around<S: Stepper<R, P>>(
        &self,
        stepper: &S,
        tracks: &mut [Track<R, P::Real>],
        (told, steps, rebuilds): (&mut usize, u32, u32),
        on_step: &mut dyn FnMut(Progress) -> bool,
    ) {
        let known = tracks.iter().map(|track| track.losses.len()).max().unwrap_or(0);
        let mean = |at: usize| {
            let losses = tracks.iter().filter_map(|track| track.losses.get(at).or(track.losses.last()));
            losses.sum::<f64>() / tracks.len() as f64
        };
        let asked = (*told..known.saturating_sub(1))
            .any(|at| on_step(Progress { step: at as u32 + 1, steps, loss: mean(at), rebuilds }));
        *told = known.saturating_sub(1).max(*told);
        for track in tracks.iter_mut().filter(|track| track.end.is_none()) {
            let done = track.losses.len() > steps as usize;
            track.end = match stepper.is_settled(&track.losses) {
                _ if asked => Some(End::Asked),
                _ if done => Some(End::Steps),
                true => Some(End::Settled),
                false => None,
            };
        }
    }

    fn collect(
        &self,
        gaussians: &Gaussians<R, P::Real>,
        repairs: &Buffer<R, u32>,
        tracks: Vec<Track<R, P::Real>>,
    ) -> Result<Vec<Fitted<R, P::Real>>> {
        let whole = &gaussians.parameters;
        for (image, track) in tracks.iter().enumerate() {
            if let Some(rescued) = &track.rescued {
                copy_part(self.device, (rescued, 0), (whole, self.values(image).start), rescued.len())?;
            }
        }
        // A single image has all parameters, so nothing is copied.
        let own = match tracks.len() {
            1 => vec![whole.clone()],
            images => split(self.device, whole, (0..images).map(|image| self.values(image).len()))?,
        };
        let (rows, repairs) = whole.read_with(repairs)?;
        let collected = tracks.into_iter().zip(own).enumerate().map(|(image, (track, parameters))| {
            let values = self.values(image);
            let counts = &repairs[values.start / gaussians.stride()..values.end / gaussians.stride()];
            Fitted {
                parameters,
                rows: rows[values].to_vec(),
                losses: track.losses,
                end: track.end.unwrap_or(End::Steps),
                repairs: counts.iter().copied().map(u64::from).sum(),
            }
        });
        Ok(collected.collect())
    }

    /// Range of an image's parameters among those of all images.
    fn values(&self, image: usize) -> Range<usize> {
        let first: usize = self.parts[..image].iter().map(|part| part.initial.rows.len()).sum();
        first..first + self.parts[image].initial.rows.len()
    }
}

/// Parameters at the host's last look at which all losses were finite, for solvers that overwrite them.
struct Safe<'a, R: Runtime, P: Precision> {
    problem: &'a Problem<'a, R, P>,
    /// Those parameters, and the candidates to replace them.
    copies: [Buffer<R, P::Real>; 2],
    /// The step whose loss belongs to them.
    step: u32,
}

impl<'a, R: Runtime, P: Precision> Safe<'a, R, P> {
    fn new(problem: &'a Problem<'a, R, P>, gaussians: &Gaussians<R, P::Real>) -> Result<Self> {
        let room = || problem.device.filled(P::Real::cast_from_f64(0.0), gaussians.parameters.len());
        let safe = Self { problem, copies: [room(), room()], step: 0 };
        copy(problem.device, &gaussians.parameters, &safe.copies[0])?;
        Ok(safe)
    }

    fn take(&self, gaussians: &Gaussians<R, P::Real>) -> Result<()> {
        Ok(copy(self.problem.device, &gaussians.parameters, &self.copies[1])?)
    }

    fn confirm(&mut self, step: u32) {
        self.copies.swap(0, 1);
        self.step = step;
    }

    /// The parameters of one image.
    fn rows(&self, image: usize) -> Result<Buffer<R, P::Real>> {
        let values = self.problem.values(image);
        let rows = self.problem.device.filled(P::Real::cast_from_f64(0.0), values.len());
        copy_part(self.problem.device, (&self.copies[0], values.start), (&rows, 0), values.len())?;
        Ok(rows)
    }
}

#[cfg(all(test, feature = "wgpu"))]
mod tests;
