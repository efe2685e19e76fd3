//! Gaussians moved with their image: crops, flips, turns, resizes, any affine map.
//!
//! `x' = A x + t` takes a Gaussian to `mean' = A mean + t`, `Sigma' = A Sigma A'`. The long axis comes out first; its variance
//! is the larger eigenvalue, the short one follows from the determinant, `s0' s1' = |det A| s0 s1`, which cancels nothing.

use cubecl::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    gaussian::{COLOR_AT, Gaussians},
    real::{Precision, Real, real},
};

/// `x' = A x + t` in px.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Affine {
    /// `A`, row by row.
    pub matrix: [[f64; 2]; 2],
    /// `t`.
    pub shift: [f64; 2],
}

impl Affine {
    /// `det A`.
    pub fn determinant(&self) -> f64 {
        let [[a, b], [c, d]] = self.matrix;
        a * d - b * c
    }

    /// Where a point goes.
    pub fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        std::array::from_fn(|k| self.matrix[k][0] * x + self.matrix[k][1] * y + self.shift[k])
    }
}

/// Maps the Gaussians with the indices `picked`, in their order.
///
/// # Errors
/// [`crate::Error::Length`] when the parameters are no whole number of rows.
pub fn transform<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    gaussians: &Gaussians<R, P::Real>,
    picked: &Buffer<R, u32>,
    affine: Affine,
) -> Result<Gaussians<R, P::Real>> {
    gaussians.check()?;
    let moved =
        Gaussians { parameters: device.uninit(picked.len() * gaussians.stride()), channels: gaussians.channels };
    if !picked.is_empty() {
        let (count, dim) = device.per_unit(picked.len());
        let [[a, b], [c, d]] = affine.matrix;
        move_gaussians::launch::<P::Real, R>(
            device.client(),
            count,
            dim,
            gaussians.parameters.arg(),
            picked.arg(),
            moved.parameters.arg(),
            MapLaunch::new(real(a), real(b), real(c), real(d), real(affine.shift[0]), real(affine.shift[1])),
            gaussians.channels,
        );
    }
    Ok(moved)
}

#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Map<F: Real> {
    a: F,
    b: F,
    c: F,
    d: F,
    x: F,
    y: F,
}

#[cube(launch)]
fn move_gaussians<F: Real>(
    parameters: &Array<F>,
    picked: &Array<u32>,
    moved: &mut Array<F>,
    map: &Map<F>,
    #[comptime] channels: u32,
) {
    if ABSOLUTE_POS < picked.len() {
        let stride = comptime!(channels as usize + COLOR_AT);
        let (from, to) = (picked[ABSOLUTE_POS] as usize * stride, ABSOLUTE_POS * stride);
        let (x, y) = (parameters[from], parameters[from + 1]);
        let (s0, s1) = (parameters[from + 2], parameters[from + 3]);
        let (cos, sin) = (parameters[from + 4].cos(), parameters[from + 4].sin());
        // The axes, mapped.
        let (ux, uy) = (s0 * (map.a * cos + map.b * sin), s0 * (map.c * cos + map.d * sin));
        let (vx, vy) = (s1 * (map.b * cos - map.a * sin), s1 * (map.d * cos - map.c * sin));
        let half = (ux * ux + vx * vx - uy * uy - vy * vy) / F::new(2.0);
        let cross = ux * uy + vx * vy;
        let middle = (ux * ux + vx * vx + uy * uy + vy * vy) / F::new(2.0);
        let spread = (half * half + cross * cross).sqrt();
        let long = (middle + spread).sqrt();
        let area = (map.a * map.d - map.b * map.c).abs() * s0 * s1;
        let mut rotation = F::new(0.0);
        if spread > F::new(0.0) {
            rotation = cross.atan2(half) / F::new(2.0);
        }
        moved[to] = map.a * x + map.b * y + map.x;
        moved[to + 1] = map.c * x + map.d * y + map.y;
        moved[to + 2] = long;
        // Rounding must not make the short axis the longer one.
        moved[to + 3] = min(area / long, long);
        moved[to + 4] = rotation;
        #[unroll]
        for k in 5..stride {
            moved[to + k] = parameters[from + k];
        }
    }
}
