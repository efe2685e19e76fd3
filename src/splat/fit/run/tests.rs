//! Tests of the loop, with a stepper that reports the losses it is told to.

use std::cell::Cell;

use splatport_kernels::{Device, Single, Wgpu, WgpuRuntime, penalty::Penalty};

use super::{super::Part, *};
use crate::{Annotations, Image, Profile};

const STEPS: u32 = 10;
/// The value that [`Stepper::finish`] leaves.
const KEPT: f32 = 99.0;
const STRIDE: usize = 7;

/// Reports the losses it is told to, and sets every Gaussian's color to the number of steps done. An image whose loss
/// is 0 has settled.
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
    let part = |(index, places)| Part::new(index, (&image, places), &options);
    let parts = places.iter().enumerate().map(part).collect::<Vec<_>>();
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
    let left = |(image, fitted): (usize, Fitted<WgpuRuntime, f32>)| {
        assert!(fitted.losses.iter().all(|loss| loss.is_finite()));
        assert_eq!(fitted.rows.len(), STRIDE * (image + 1));
        assert!(fitted.rows.chunks(STRIDE).all(|row| row[6] == fitted.rows[6]), "{:?}", fitted.rows);
        assert_eq!(fitted.parameters.read().expect("parameters"), fitted.rows);
        (fitted.rows[6], fitted.losses.len(), fitted.end)
    };
    Ok((fitted.into_iter().enumerate().map(left).collect(), fake.steps.get()))
}

const NEVER: u32 = u32::MAX;

fn no_number_at(step: u32, value: f32) -> impl Fn(u32, usize) -> f32 {
    move |at, image| if at >= step && image == 1 { value } else { 3.0 }
}

/// The looks are at steps 0, 4, 8 and 10. The parameters that a look sees have not been moved by its step yet, and the
/// last loss belongs to them.
#[test]
fn a_loss_that_is_no_number_brings_back_the_last_good_look() {
    for (step, seen) in [(1, 0_usize), (3, 0), (4, 0), (5, 4), (8, 4), (9, 8), (10, 8)] {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (left, steps) = run::<true>(no_number_at(step, value), NEVER).expect("a fit");
            let end = End::NotFinite { step };
            assert_eq!(left, [(10.0, 11, End::Steps), (seen as f32, seen + 1, end)], "{step} {value}");
            assert_eq!(steps, STEPS + 1);
        }
    }
}

/// The loss may become finite again later; the fit must still have ended.
#[test]
fn one_loss_is_enough() {
    let loss = |at, image| if at == 6 && image == 0 { f32::NAN } else { 3.0 };
    let (left, _) = run::<true>(loss, NEVER).expect("a fit");
    assert_eq!(left, [(4.0, 5, End::NotFinite { step: 6 }), (10.0, 11, End::Steps)]);
}

#[test]
fn without_a_good_image_nothing_goes_on() {
    let loss = |at, _| if at >= 2 { f32::NAN } else { 3.0 };
    let (left, steps) = run::<true>(loss, NEVER).expect("a fit");
    assert_eq!(left, [(0.0, 1, End::NotFinite { step: 2 }); 2]);
    assert_eq!(steps, 5);
}

#[test]
fn a_start_that_is_no_number_is_an_error() {
    let error = run::<true>(no_number_at(0, f32::NAN), NEVER).expect_err("no start");
    let sentence = "reconstruction loss at the start of image[1] is NaN, not a finite number";
    assert_eq!(error.to_string(), sentence);
}

/// A fit that is stopped returns the parameters of the last loss. Fits that ended before stay as they were.
#[test]
fn asked_to_stop_it_keeps_what_the_last_look_saw() {
    for (asked, seen) in [(1, 4), (4, 4), (5, 8), (9, 10)] {
        let (left, steps) = run::<true>(no_number_at(3, f32::NAN), asked).expect("a fit");
        let stopped = (seen as f32, seen as usize + 1, End::Asked);
        assert_eq!(left, [stopped, (0.0, 1, End::NotFinite { step: 3 })], "asked at {asked}");
        assert_eq!(steps, seen + 1);
    }
}

/// Solvers that keep the best parameters themselves are not rolled back. Fits that have settled wait for the others.
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
