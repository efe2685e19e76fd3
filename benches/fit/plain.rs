//! The yardstick for CPUs: a single-purpose loop over the pairs of pixel and Gaussian of one look, on all cores.
//!
//! It knows the same tiles and lists, draws a tile's residual and takes its sums while the tile is in the cache, and does
//! nothing else: no update, no report, no option.

use std::ops::Range;

use splatport::GaussianTable;

const TILE: usize = 8;

/// Gaussians on a photo, with their lists.
pub struct Plain<const C: usize> {
    width: usize,
    height: usize,
    /// Photo, `[pixels]`.
    photo: Vec<[f32; C]>,
    /// Mean, whitening matrix, color.
    gaussians: Vec<([f32; 2], [f32; 4], [f32; C])>,
    starts: Vec<usize>,
    members: Vec<usize>,
    support: f32,
}

impl<const C: usize> Plain<C> {
    pub fn new([width, height]: [usize; 2], photo: &[f32], fitted: &GaussianTable, support: f64) -> Self {
        let (photo, _) = photo.as_chunks::<C>();
        let frame = |((mean, scales), rotation): ((&[f64; 2], &[f64; 2]), &f64)| {
            let (mean, [s0, s1]) = (mean.map(|v| v as f32), scales.map(|v| v as f32));
            let color = photo[mean[1] as usize * width + mean[0] as usize];
            let (s, c) = (*rotation as f32).sin_cos();
            (mean, [c / s0, s / s0, -s / s1, c / s1], color)
        };
        let gaussians: Vec<_> = fitted.means.iter().zip(&fitted.scales).zip(&fitted.rotations).map(frame).collect();
        let (mut starts, mut members) = (vec![0], Vec::new());
        for top in (0..height).step_by(TILE) {
            for left in (0..width).step_by(TILE) {
                // Between the centres of its outermost pixels.
                let side = |first: usize, size: usize| [first as f32 + 0.5, (first + TILE).min(size) as f32 - 0.5];
                let (x, y) = (side(left, width), side(top, height));
                let near = |n: &usize| least(&gaussians[*n].0, &gaussians[*n].1, x, y) <= support as f32;
                members.extend((0..gaussians.len()).filter(near));
                starts.push(members.len());
            }
        }
        Self { width, height, photo: photo.to_vec(), gaussians, starts, members, support: support as f32 }
    }

    pub fn pairs(&self) -> usize {
        self.members.len()
    }

    /// One look: sums of every pair, those of the curvature too if asked for; gives something that depends on all of them.
    pub fn look(&self, curvature: bool) -> f32 {
        if curvature { self.look_for::<true>() } else { self.look_for::<false>() }
    }

    fn look_for<const CURVATURE: bool>(&self) -> f32 {
        let tiles = self.starts.len() - 1;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let part = |at: usize| tiles * at / cores..tiles * (at + 1) / cores;
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|at| scope.spawn(move || self.tiles::<CURVATURE>(part(at)))).collect();
            workers.into_iter().map(|worker| worker.join().expect("no panic")).sum()
        })
    }

    fn tiles<const CURVATURE: bool>(&self, tiles: Range<usize>) -> f32 {
        let across = self.width.div_ceil(TILE);
        let mut partial = vec![[0.0f32; 15]; self.starts[tiles.end] - self.starts[tiles.start]];
        let (mut slot, mut penalty) = (0, 0.0);
        for tile in tiles {
            let (left, top) = (tile % across * TILE, tile / across * TILE);
            let columns = left..(left + TILE).min(self.width);
            let rows = top..(top + TILE).min(self.height);
            let mut residual = [([0.0f32; C], 0.0f32); TILE * TILE];
            let members = &self.members[self.starts[tile]..self.starts[tile + 1]];
            for (at, row) in rows.clone().enumerate() {
                for (x, column) in columns.clone().enumerate() {
                    residual[at * TILE + x].0 = self.photo[row * self.width + column].map(|v| -v);
                }
            }
            for &n in members {
                let color = self.gaussians[n].2;
                self.reached(n, &rows, &columns, |at, _, w| {
                    let (e, coverage) = &mut residual[at];
                    (0..C).for_each(|c| e[c] += w * color[c]);
                    *coverage += w;
                });
            }
            penalty += residual.iter().map(|(e, _)| e.iter().map(|e| e * e).sum::<f32>()).sum::<f32>();
            for &n in members {
                let color = self.gaussians[n].2;
                let sums = &mut partial[slot];
                self.reached(n, &rows, &columns, |at, [v0, v1], w| {
                    let (e, coverage) = residual[at];
                    (0..C).for_each(|c| sums[c] += w * e[c]);
                    let along = w * (0..C).map(|c| e[c] * color[c]).sum::<f32>();
                    let (xx, xy, yy) = (v0 * v0, v0 * v1, v1 * v1);
                    let shape = [along * xx, along * xy, along * yy];
                    shape.iter().zip(&mut sums[3..]).for_each(|(term, sum)| *sum += term);
                    if CURVATURE {
                        let k = w * (w + coverage) / 2.0;
                        let fourth = [xx * xx, xx * xy, xx * yy, xy * yy, yy * yy];
                        let terms = [1.0, xx, xy, yy].into_iter().chain(fourth);
                        terms.zip(&mut sums[6..]).for_each(|(term, sum)| *sum += k * term);
                    }
                });
                slot += 1;
            }
        }
        penalty + partial.iter().flatten().sum::<f32>()
    }

    /// Calls for every pixel of the tile that the Gaussian reaches.
    #[inline(always)]
    fn reached(
        &self,
        n: usize,
        rows: &Range<usize>,
        columns: &Range<usize>,
        mut call: impl FnMut(usize, [f32; 2], f32),
    ) {
        let (mean, [a, b, c, d], _) = self.gaussians[n];
        for (at, row) in rows.clone().enumerate() {
            for (x, column) in columns.clone().enumerate() {
                let (dx, dy) = (column as f32 + 0.5 - mean[0], row as f32 + 0.5 - mean[1]);
                let v = [a * dx + b * dy, c * dx + d * dy];
                let q = v[0] * v[0] + v[1] * v[1];
                if q <= self.support {
                    call(at * TILE + x, v, (-q / 2.0).exp());
                }
            }
        }
    }
}

/// Least squared Mahalanobis distance from a mean to a box: 0 inside, else on one of its sides.
fn least(mean: &[f32; 2], [a, b, c, d]: &[f32; 4], x: [f32; 2], y: [f32; 2]) -> f32 {
    let ([left, right], [top, bottom]) = (x.map(|v| v - mean[0]), y.map(|v| v - mean[1]));
    if left <= 0.0 && right >= 0.0 && top <= 0.0 && bottom >= 0.0 {
        return 0.0;
    }
    let (xx, xy, yy) = (a * a + c * c, a * b + c * d, b * b + d * d);
    let q = |x: f32, y: f32| xx * x * x + 2.0 * xy * x * y + yy * y * y;
    let upright = [left, right].map(|x| q(x, (-xy * x / yy).clamp(top, bottom)));
    let level = [top, bottom].map(|y| q((-xy * y / xx).clamp(left, right), y));
    upright.into_iter().chain(level).fold(f32::INFINITY, f32::min)
}
