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
mod tests {
    use std::cell::Cell;

    use splatport_kernels::{Device, Single, Wgpu, WgpuRuntime, penalty::Penalty};

    use super::{super::Part, *};
    use crate::{Annotations, Image, Profile};

    const STEPS: u32 = 10;
    /// What [`Stepper::finish`] leaves.
    const KEPT: f32 = 99.0;
    const STRIDE: usize = 7;

    /// Reports what it is told to, and leaves the number of steps done as everybody's color. Settled is who has no loss.
    struct Fake<'a, const AT_ONCE: bool> {
        device: &'a Device<WgpuRuntime>,
        /// `[STEPS + 1, 2]`.
        history: Buffer<WgpuRuntime, f32>,
        repairs: Buffer<WgpuRuntime, u32>,
        steps: Cell<u32>,
    }

    /// Three Gaussians, in the middle of their pixels' tile.
    fn rows(color: f32) -> Vec<f32> {
        [[2.5, 3.5, 1.0, 1.0, 0.0, 1.0, color]; 3].concat()
    }

    impl<const AT_ONCE: bool> Fake<'_, AT_ONCE> {
        fn paint(&self, state: &State<'_, WgpuRuntime, Single>, color: f32) -> Result<()> {
            Ok(copy(self.device, &self.device.upload(&rows(color)), &state.gaussians.parameters)?)
        }
    }

    impl<const AT_ONCE: bool> Stepper<WgpuRuntime, Single> for Fake<'_, AT_ONCE> {
        const EVERY: u32 = 4;
        const GROWTH: f64 = 1.5;
        const MOVES_AT_ONCE: bool = AT_ONCE;

        fn step(&self, state: &State<'_, WgpuRuntime, Single>, step: u32, last: bool) -> Result<()> {
            assert_eq!(last, step == STEPS);
            self.steps.set(step + 1);
            if last { Ok(()) } else { self.paint(state, (step + 1) as f32) }
        }

        fn history(&self, _from: u32, _to: u32) -> &Buffer<WgpuRuntime, f32> {
            &self.history
        }

        fn is_settled(&self, losses: &[f64]) -> bool {
            losses.last() == Some(&0.0)
        }

        fn finish(&self, state: &State<'_, WgpuRuntime, Single>) {
            if !AT_ONCE {
                self.paint(state, KEPT).expect("the kept parameters");
            }
        }

        fn repairs(&self) -> &Buffer<WgpuRuntime, u32> {
            &self.repairs
        }
    }

    /// What is left of an image: color, number of losses, end.
    type Left = (f32, usize, End);

    /// Runs two images, of one and two Gaussians, until `asked`; gives the steps that were queued, too.
    fn run<const AT_ONCE: bool>(loss: impl Fn(u32, usize) -> f32, asked: u32) -> Result<(Vec<Left>, u32)> {
        let device = Wgpu::best()?;
        let image = Image::from_u8(8, 8, 1, [50; 64])?;
        let places = [Annotations::new(vec![[2.5, 3.5]])?, Annotations::new(vec![[2.5, 3.5]; 2])?];
        let options = Profile::default().splat();
        let parts = places.iter().map(|places| Part::new(&image, places, &options)).collect::<Vec<_>>();
        let problem = Problem::new(&device, &options, 1, parts.iter().collect())?;
        let history: Vec<f32> = (0..=STEPS).flat_map(|step| [0, 1].map(|image| loss(step, image))).collect();
        let fake = Fake::<AT_ONCE> {
            device: &device,
            history: device.upload(&history),
            repairs: device.upload(&[1, 20, 300]),
            steps: Cell::new(0),
        };
        let gaussians = Gaussians { parameters: device.upload(&rows(0.0)), channels: 1 };
        let sums = Sums { channels: 1, means: false, curvature: false, penalty: Penalty::Squared, over: false };
        let fitted = problem.run(&fake, &gaussians, STEPS, (sums, 1e-3), &mut |progress| progress.step == asked)?;
        assert_eq!(fitted.iter().map(|fitted| fitted.repairs).collect::<Vec<_>>(), [1, 320]);
        let left = |(image, fitted): (usize, Fitted<f32>)| {
            assert!(fitted.losses.iter().all(|loss| loss.is_finite()));
            assert_eq!(fitted.rows.len(), STRIDE * (image + 1));
            assert!(fitted.rows.chunks(STRIDE).all(|row| row[6] == fitted.rows[6]), "{:?}", fitted.rows);
            (fitted.rows[6], fitted.losses.len(), fitted.end)
        };
        Ok((fitted.into_iter().enumerate().map(left).collect(), fake.steps.get()))
    }

    const NEVER: u32 = u32::MAX;

    fn no_number_at(step: u32, value: f32) -> impl Fn(u32, usize) -> f32 {
        move |at, image| if at >= step && image == 1 { value } else { 3.0 }
    }

    /// Looks are at 0, 4, 8 and 10; the parameters that a look saw are those that its step has not moved yet.
    #[test]
    fn a_loss_that_is_no_number_brings_back_the_last_good_look() {
        for (step, seen) in [(1, 0), (3, 0), (4, 0), (5, 4), (8, 4), (9, 8), (10, 8)] {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let (left, steps) = run::<true>(no_number_at(step, value), NEVER).expect("a fit");
                let end = End::NotFinite { step };
                assert_eq!(left, [(10.0, 11, End::Steps), (seen as f32, step as usize, end)], "{step} {value}");
                assert_eq!(steps, STEPS + 1);
            }
        }
    }

    /// It may be a number again later: what it was is remembered.
    #[test]
    fn one_loss_is_enough() {
        let loss = |at, image| if at == 6 && image == 0 { f32::NAN } else { 3.0 };
        let (left, _) = run::<true>(loss, NEVER).expect("a fit");
        assert_eq!(left, [(4.0, 6, End::NotFinite { step: 6 }), (10.0, 11, End::Steps)]);
    }

    #[test]
    fn without_a_good_image_nothing_goes_on() {
        let loss = |at, _| if at >= 2 { f32::NAN } else { 3.0 };
        let (left, steps) = run::<true>(loss, NEVER).expect("a fit");
        assert_eq!(left, [(0.0, 2, End::NotFinite { step: 2 }); 2]);
        assert_eq!(steps, 5);
    }

    #[test]
    fn a_start_that_is_no_number_is_an_error() {
        let error = run::<true>(no_number_at(0, f32::NAN), NEVER).expect_err("no start");
        assert!(matches!(error, Error::NotFinite { what: "reconstruction loss at step", index: 0, .. }), "{error}");
        assert_eq!(error.to_string(), "reconstruction loss at step[0] is NaN, not a finite number");
    }

    /// Who stops gets the parameters of the last loss; what ended before stays as it was.
    #[test]
    fn asked_to_stop_it_keeps_what_the_last_look_saw() {
        for (asked, seen) in [(1, 4), (4, 4), (5, 8), (9, 10)] {
            let (left, steps) = run::<true>(no_number_at(3, f32::NAN), asked).expect("a fit");
            let stopped = (seen as f32, seen as usize + 1, End::Asked);
            assert_eq!(left, [stopped, (0.0, 3, End::NotFinite { step: 3 })], "asked at {asked}");
            assert_eq!(steps, seen + 1);
        }
    }

    /// Solvers that keep the best themselves are not rolled back; who has settled waits for the others.
    #[test]
    fn solvers_that_keep_the_best_put_it_into_place() {
        let loss = |at, image| match image {
            0 if at >= 3 => 0.0,
            1 if at >= 9 => f32::NAN,
            _ => 3.0,
        };
        let (left, steps) = run::<false>(loss, NEVER).expect("a fit");
        assert_eq!(left, [(KEPT, 5, End::Settled), (KEPT, 9, End::NotFinite { step: 9 })]);
        assert_eq!(steps, STEPS + 1);
    }
}
