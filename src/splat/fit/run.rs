//! The loop that every solver shares: steps are queued, the host looks now and then.

use splatport_kernels::{
    Buffer, Gaussians, HostReal, Precision,
    arithmetic::copy,
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
    /// The host looks at every step whose number this divides, and at the last.
    const EVERY: u32;
    /// Growth that lists are made for.
    const GROWTH: f64;

    /// Whether a step leaves the parameters of the next one, not of the best so far.
    const MOVES_AT_ONCE: bool;

    /// Takes in what `state.look` found at `step` and moves the Gaussians, unless `last`.
    fn step(&self, state: &State<'_, R, P>, step: u32, last: bool) -> Result<()>;

    /// Summed penalties of all images at every step, `[steps + 1, images]`; the steps `from ..= to` are asked for.
    fn history(&self, from: u32, to: u32) -> &Buffer<R, P::Real>;

    /// Whether these losses call for no further step.
    fn is_settled(&self, losses: &[f64]) -> bool;

    /// Puts the parameters to be kept into place, after the last step.
    fn finish(&self, state: &State<'_, R, P>);

    /// Steps of single Gaussians that were left out, per Gaussian.
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
struct Track<F> {
    losses: Vec<f64>,
    end: Option<End>,
    /// Parameters to return instead of the last ones.
    rescued: Option<Vec<F>>,
}

impl<R: Runtime, P: Precision> Problem<'_, R, P> {
    pub(super) fn run<S: Stepper<R, P>>(
        &self,
        stepper: &S,
        gaussians: &Gaussians<R, P::Real>,
        steps: u32,
        (sums, floor): (Sums, f64),
        on_step: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Vec<Fitted<P::Real>>> {
        let images = self.parts.len();
        let mut tracks: Vec<Track<P::Real>> =
            (0..images).map(|_| Track { losses: Vec::new(), end: None, rescued: None }).collect();
        let mut safe = if S::MOVES_AT_ONCE { Some(Safe::new(self, gaussians)?) } else { None };
        let mut room = Room::default();
        let mut state = self.state::<S>(gaussians, sums, &mut room)?;
        let (mut next, mut told, mut patience) = (0u32, 0, S::EVERY);
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
            let running = |tracks: &[Track<P::Real>]| tracks.iter().filter(|track| track.end.is_none()).count();
            let before = running(&tracks);
            let (history, stop) = state.clock.read_with(stepper.history(next, until))?;
            let end = stop.map_or(until + 1, |stop| stop.min(until + 1));
            for (image, track) in tracks.iter_mut().enumerate().filter(|(_, track)| track.end.is_none()) {
                let losses = (next..end).map(|step| history[step as usize * images + image].cast_to_f64());
                track.losses.extend(losses.map(|sum| sum * self.parts[image].norm));
                self.check_finite(track, image, safe.as_ref())?;
            }
            if let Some(safe) = safe.as_mut().filter(|_| end == until + 1) {
                safe.confirm();
            }
            next = end;
            if next == boundary + 1 {
                self.look_around(stepper, &mut tracks, (&mut told, steps), on_step);
                for (image, track) in tracks.iter_mut().enumerate().filter(|(_, t)| t.end == Some(End::Asked)) {
                    track.rescued = safe.as_ref().map(|safe| safe.rows(image)).transpose()?;
                }
                if running(&tracks) == 0 {
                    break;
                }
            }
            if stop.is_some() {
                patience = (patience / 2).max(1);
                state.listed = self.listed(gaussians, S::GROWTH, &mut room)?;
                let scene = self.scene(&state.frames, &state.listed);
                state.look = Look::new(self.device, &scene, &self.target, sums)?;
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

    fn state<'s, S: Stepper<R, P>>(
        &self,
        gaussians: &'s Gaussians<R, P::Real>,
        sums: Sums,
        room: &mut Room,
    ) -> Result<State<'s, R, P>> {
        let frames = gaussian::frames(self.device, gaussians, gaussians.len(), Framing::default())?;
        let listed = self.listed(gaussians, S::GROWTH, room)?;
        let look = Look::new(self.device, &self.scene(&frames, &listed), &self.target, sums)?;
        Ok(State { gaussians, frames, listed, look, clock: Clock::new(self.device, self.parts.len()) })
    }

    /// A loss that is no number ends an image's fit: what was last known to be good is kept.
    fn check_finite(&self, track: &mut Track<P::Real>, image: usize, safe: Option<&Safe<'_, R, P>>) -> Result<()> {
        let Some(at) = track.losses.iter().position(|loss| !loss.is_finite()) else { return Ok(()) };
        if at == 0 {
            return Err(Error::NotFinite { what: "reconstruction loss at step", index: 0, value: track.losses[0] });
        }
        track.rescued = safe.map(|safe| safe.rows(image)).transpose()?;
        track.losses.truncate(at);
        track.end = Some(End::NotFinite { step: at as u32 });
        Ok(())
    }

    /// Tells of the steps since the last time, and ends what is done or has settled.
    fn look_around<S: Stepper<R, P>>(
        &self,
        stepper: &S,
        tracks: &mut [Track<P::Real>],
        (told, steps): (&mut usize, u32),
        on_step: &mut dyn FnMut(Progress) -> bool,
    ) {
        let known = tracks.iter().map(|track| track.losses.len()).max().unwrap_or(0);
        let mean = |at: usize| {
            let losses = tracks.iter().filter_map(|track| track.losses.get(at).or(track.losses.last()));
            losses.sum::<f64>() / tracks.len() as f64
        };
        let asked =
            (*told..known.saturating_sub(1)).any(|at| on_step(Progress { step: at as u32 + 1, steps, loss: mean(at) }));
        *told = known.saturating_sub(1);
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
        tracks: Vec<Track<P::Real>>,
    ) -> Result<Vec<Fitted<P::Real>>> {
        let (rows, repairs) = gaussians.parameters.read_with(repairs)?;
        let mut first = 0;
        let collected = tracks.into_iter().zip(&self.parts).map(|(track, part)| {
            let count = part.initial.len();
            let (own, stride) = (first..first + count, gaussians.stride());
            first = own.end;
            Fitted {
                rows: track.rescued.unwrap_or_else(|| rows[own.start * stride..own.end * stride].to_vec()),
                losses: track.losses,
                end: track.end.unwrap_or(End::Steps),
                repairs: repairs[own].iter().copied().map(u64::from).sum(),
            }
        });
        Ok(collected.collect())
    }
}

/// Parameters at the last look of the host whose losses were all numbers, for solvers that write over them.
struct Safe<'a, R: Runtime, P: Precision> {
    problem: &'a Problem<'a, R, P>,
    /// Those, and candidates for them.
    copies: [Buffer<R, P::Real>; 2],
}

impl<'a, R: Runtime, P: Precision> Safe<'a, R, P> {
    fn new(problem: &'a Problem<'a, R, P>, gaussians: &Gaussians<R, P::Real>) -> Result<Self> {
        let room = || problem.device.filled(P::Real::cast_from_f64(0.0), gaussians.parameters.len());
        let safe = Self { problem, copies: [room(), room()] };
        copy(problem.device, &gaussians.parameters, &safe.copies[0])?;
        Ok(safe)
    }

    fn take(&self, gaussians: &Gaussians<R, P::Real>) -> Result<()> {
        Ok(copy(self.problem.device, &gaussians.parameters, &self.copies[1])?)
    }

    fn confirm(&mut self) {
        self.copies.swap(0, 1);
    }

    /// The rows of one image.
    fn rows(&self, image: usize) -> Result<Vec<P::Real>> {
        let (parts, stride) = (&self.problem.parts, 6 + self.problem.channels as usize);
        let first: usize = parts[..image].iter().map(|part| part.initial.len()).sum();
        let end = first + parts[image].initial.len();
        Ok(self.copies[0].read()?[first * stride..end * stride].to_vec())
    }
}

#[cfg(all(test, feature = "wgpu"))]
mod tests;
