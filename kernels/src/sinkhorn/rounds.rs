//! Alternating rounds until every image is done, and what the device says of them.

use cubecl::prelude::*;

use super::{Problem, Report, Solution, State, sides};
use crate::{
    Error, Result,
    buffer::Buffer,
    device::Device,
    real::{HostReal, Precision},
};

/// Rounds between two looks at the error, which cost half a round each.
const BUNCH: usize = 10;
/// Bunches between two read-backs, at most.
const LOOKS: usize = 10;

impl<R: Runtime, P: Precision> Problem<R, P> {
    /// Solves for a density, `[cells of all images]`, mass per cell; waits for the device every hundred rounds.
    ///
    /// With the points' potentials of a solution nearby, `[points]`, it starts there, with every image's last epsilon, and may be done
    /// after no round at all; it then waits after ten rounds, twenty more, and so on. What is no number starts from 0.
    ///
    /// # Errors
    /// [`Error::Length`] when the density has not one element per cell, or `from` one per point; [`Error::Device`].
    pub fn solve(
        &self,
        device: &Device<R, P>,
        density: &Buffer<R, P::Real>,
        from: Option<&Buffer<R, P::Real>>,
    ) -> Result<Solution<R, P::Real>> {
        let state = self.begin(device, density, from)?;
        self.cells_half(device, &state, [0, 0]);
        if from.is_some() {
            self.look(device, &state, 0);
        }
        // A batch goes on until its longest schedule is through, an image until its own is.
        let last = self.stop.limit.max(self.stages - state.skipped).next_multiple_of(BUNCH);
        let mut looks = if from.is_some() { 1 } else { LOOKS };
        let mut made = 0;
        loop {
            for _ in 0..looks.min((last - made) / BUNCH) {
                for round in made..made + BUNCH {
                    self.points_half(device, &state, round, false);
                    self.cells_half(device, &state, [round, round + 1]);
                }
                made += BUNCH;
                self.look(device, &state, made);
            }
            looks = LOOKS.min(2 * looks);
            if made == last || self.all_stopped(&state.table.read()?) {
                return self.finish(device, state);
            }
        }
    }

    /// Solves where every image has one point at most and both marginals are exact: the first half of a round does, because
    /// every cell's mass goes to the point.
    ///
    /// # Errors
    /// [`Error::Length`] when the density has not one element per cell, [`Error::Count`] for an image with more points,
    /// [`Error::Device`].
    pub fn solve_single(&self, device: &Device<R, P>, density: &Buffer<R, P::Real>) -> Result<Solution<R, P::Real>> {
        if let Some((_, points)) = self.images().iter().find(|image| image.1 > 1) {
            return Err(Error::Count { what: "points of an image", value: *points as u32, min: 0, max: 1 });
        }
        let state = self.begin(device, density, None)?;
        self.cells_half(device, &state, [0, 0]);
        self.look(device, &state, 0);
        self.finish(device, state)
    }

    /// A probe of the points, and what it says.
    pub(super) fn look(&self, device: &Device<R, P>, state: &State<R, P::Real>, made: usize) {
        self.points_half(device, state, made, true);
        self.judge(device, state, made);
    }

    pub(super) fn all_stopped(&self, table: &[P::Real]) -> bool {
        table[..self.images().len()].iter().all(|runs| runs.cast_to_f64() == 0.0)
    }

    /// Reads what a state came to.
    pub(super) fn finish(&self, device: &Device<R, P>, state: State<R, P::Real>) -> Result<Solution<R, P::Real>> {
        let roundings = self.roundings(device, &state);
        let read = [&state.table, &state.sums].into_iter().chain(roundings.iter().flatten());
        let read = Buffer::read_all(&read.collect::<Vec<_>>())?;
        let images = self.images().len();
        let of = |row: u32, image: usize| read[0][row as usize * images + image].cast_to_f64();
        let rounding = |image: usize| {
            let of = |k: usize| read[2..].iter().map(move |side| side[4 * image + k].cast_to_f64());
            let due = of(0).next().unwrap_or_default();
            if due > 0.0 { of(1).sum::<f64>() / due } else { 0.0 }
        };
        let report = |(image, sums): (usize, &[P::Real])| {
            let (error, rounding) = (of(sides::ERROR, image), rounding(image));
            Report {
                rounds: of(sides::MADE, image) as usize,
                residual: of(sides::RESIDUAL, image),
                error,
                rounding,
                converged: error.max(rounding) <= self.stop.tolerance,
                mass: sums[0].cast_to_f64(),
                refused: sums[1].cast_to_f64() as usize,
            }
        };
        let reports = read[1].chunks_exact(4).enumerate().map(report).collect();
        Ok(Solution { state, reports, published: false })
    }
}
