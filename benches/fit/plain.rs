//! The yardstick for CPUs: a single-purpose loop over the pairs of pixel and Gaussian of one look, on all cores.
//!
//! It knows the same tiles and lists, draws a tile's residual and takes its sums while the tile is in the cache, and does
//! nothing else: no update, no report, no option.

use std::ops::Range;

const TILE: usize = 8;

/// Round Gaussians of one scale on a photo, with their lists.
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
    pub fn new([width, height]: [usize; 2], photo: &[f32], points: &[[f64; 2]], scales: &[f64], support: f64) -> Self {
        let (photo, _) = photo.as_chunks::<C>();
        let frame = |(point, &scale): (&[f64; 2], &f64)| {
            let color = photo[point[1] as usize * width + point[0] as usize];
            (point.map(|v| v as f32), [1.0 / scale as f32, 0.0, 0.0, 1.0 / scale as f32], color)
        };
        let gaussians: Vec<_> = points.iter().zip(scales).map(frame).collect();
        let (mut starts, mut members) = (vec![0], Vec::new());
        for top in (0..height).step_by(TILE) {
            for left in (0..width).step_by(TILE) {
                let near = |n: &usize| {
                    let ([x, y], [w, ..], _) = gaussians[*n];
                    let gap = |v: f32, low: usize| v - v.clamp(low as f32 + 0.5, (low + TILE) as f32 - 0.5);
                    (gap(x, left).powi(2) + gap(y, top).powi(2)) * w * w <= support as f32
                };
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
