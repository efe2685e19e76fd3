//! Newton's method on the points' potentials, for balanced transport.
//!
//! With the cells' potentials the best for the points', the dual is a concave function of the latter, with the gradient `t - m`
//! (`m = P'1`) and the Hessian `-(diag(m) - P' diag(1 / a) P) / epsilon`. A step solves with it by conjugate gradients,
//! whose products are a pass over the cells and one over the points; neither plan nor Hessian is stored. The step `d`, over
//! epsilon, is taken `ln(1 + r) / r` of the way with `r = 2 max |d|`: sums of exponentials are self-concordant in the sense of
//! Bach (*Self-concordant analysis for logistic regression*, 2010), so the dual never falls, and near the optimum the step is whole.

mod products;
mod sensitivity;
mod steps;

use cubecl::prelude::*;

pub use self::sensitivity::CostGradient;
use self::{
    products::{average, multiply},
    steps::{advance, aim, turn},
};
use super::{
    Problem, Solution, State,
    halves::CELL_LANES,
    sides::CUBE,
    spread::{Spread, per_image},
};
use crate::{
    Result,
    buffer::Buffer,
    device::{Device, Shape},
    grid::Count,
    real::{Precision, Real},
};

/// Conjugate gradients a step: more find a better step, but a step costs as much as two of them.
const PRODUCTS: usize = 10;
/// Steps between two read-backs.
const STEPS: usize = 4;

/// Where conjugate gradients are.
struct Search<R: Runtime, F: Real> {
    /// `[points, 4]`: solution, residual, direction, product.
    vectors: Buffer<R, F>,
    /// Mass that every point receives, `[points]`.
    masses: Buffer<R, F>,
    /// Mean of the direction over every cell's plan, `[cells]`.
    means: Buffer<R, F>,
    /// `[images, 4]`: the residual's square, and what it was.
    squares: Buffer<R, F>,
}

impl<R: Runtime, P: Precision> Problem<R, P> {
    /// Solves by Newton's method, one step for every epsilon of the image's schedule and more with the last one, until the stop; from
    /// the points' potentials of a solution nearby, as [`solve`](Self::solve), only with the last one. A round of the
    /// [`Report`](super::Report) is a step.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] unless both marginals are exact and nothing is added to sums; [`crate::Error::Length`] when the density
    /// has not one element per cell or `from` one per point; [`crate::Error::Device`].
    pub fn solve_newton(
        &self,
        device: &Device<R, P>,
        density: &Buffer<R, P::Real>,
        from: Option<&Buffer<R, P::Real>>,
    ) -> Result<Solution<R, P::Real>> {
        if !self.rules.is_balanced() {
            return Err(crate::Error::Unsupported { what: "Newton's steps for marginals that are not exact" });
        }
        let most = self.images().iter().map(|image| image.1).max().unwrap_or(0);
        device.check_rounds("points of an image, three times over", 3 * most as u32)?;
        let state = self.begin(device, density, from)?;
        let points = self.mosaic.total(Count::Gaussians);
        let search = Search {
            vectors: device.uninit(4 * points),
            masses: device.uninit(points),
            means: device.uninit(density.len()),
            squares: device.uninit(4 * self.mosaic.images().len()),
        };
        let scheduled = self.stages - state.skipped;
        let last = self.stop.limit.max(scheduled);
        for made in 0..=last {
            self.cells_half(device, &state, [made; 2]);
            self.look(device, &state, made);
            if made == last || (made >= scheduled && (made - scheduled).is_multiple_of(STEPS)) {
                if made == last || self.all_stopped(&state.table.read()?) {
                    return self.finish(device, state);
                }
            }
            if points > 0 {
                self.step(device, &state, &search, made);
            }
        }
        unreachable!("the last round returns")
    }

    fn step(&self, device: &Device<R, P>, state: &State<R, P::Real>, search: &Search<R, P::Real>, made: usize) {
        let tiled = device.shape() == Shape::Tiled;
        let lanes = if tiled { CUBE } else { 1 };
        let (client, ground) = (device.client(), self.rules.ground);
        let (per_image, image_dim) = per_image(device, self.mosaic.images().len(), lanes);
        let of_cells = Spread::own(device, &self.mosaic, true, CELL_LANES);
        let of_points = Spread::own(device, &self.mosaic, false, CUBE);
        let [(per_cell, cell_dim), (per_point, point_dim)] =
            [of_cells, of_points].map(|spread| spread.launch(device, &self.mosaic));
        let (counts, round) = (|| self.mosaic.counts(), |next| self.round(state, [made, next]));
        let [vectors, masses] = [&search.vectors, &search.masses];
        let squares = || search.squares.arg();
        aim::launch::<P::Real, R>(
            client,
            per_image.clone(),
            image_dim,
            counts(),
            round(made),
            state.points.arg(),
            vectors.arg(),
            masses.arg(),
            squares(),
            self.points_side(),
            lanes,
        );
        for _ in 0..PRODUCTS {
            average::launch::<P::Real, R>(
                client,
                per_cell.clone(),
                cell_dim,
                counts(),
                round(made),
                state.cells.arg(),
                state.points.arg(),
                vectors.arg(),
                squares(),
                search.means.arg(),
                ground,
                of_cells,
                false,
            );
            multiply::launch::<P::Real, R>(
                client,
                per_point.clone(),
                point_dim,
                counts(),
                round(made),
                state.cells.arg(),
                state.points.arg(),
                search.means.arg(),
                masses.arg(),
                squares(),
                vectors.arg(),
                ground,
                of_points,
            );
            turn::launch::<P::Real, R>(
                client,
                per_image.clone(),
                image_dim,
                counts(),
                round(made),
                state.points.arg(),
                masses.arg(),
                vectors.arg(),
                squares(),
                lanes,
            );
        }
        advance::launch::<P::Real, R>(
            client,
            per_image,
            image_dim,
            counts(),
            round(made + 1),
            state.points.arg(),
            vectors.arg(),
            self.points_side(),
            lanes,
        );
    }
}
