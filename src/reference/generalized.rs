//! Generalized loss: the published potentials, and the loss at any potentials (Wan et al. 2021).
//!
//! ```
//! use splatport::reference::generalized::{Loss, epsilons, perspective};
//!
//! // A cell on either side of an annotation, half a crop away.
//! let cost = vec![vec![perspective([0.0_f64, 0.5], [0.5, 0.5])], vec![perspective([1.0, 0.5], [0.5, 0.5])]];
//! let loss = Loss { cost, rho: 0.5, tau: 0.1, epsilon: 0.01 };
//! let at = loss.published(&[0.5, 0.5], &epsilons(1.0, 0.01));
//! let (_, slope) = loss.evaluate(&[0.5, 0.5], &at.0, &at.1);
//! assert!((slope[0] - slope[1]).abs() < 1e-12);
//! ```

use super::sinkhorn::log_sum_exp;
use super::{Scalar, count, distance_sq, real, sign};

/// `exp(distance / eta) - 1` with `eta = 0.5 + 0.2 (y + y') / 2`; coordinates in 0..1, y down.
pub fn perspective<T: Scalar>(a: [T; 2], b: [T; 2]) -> T {
    let eta = real::<T>(0.5) + real::<T>(0.1) * (a[1] + b[1]);
    (distance_sq(a, b).sqrt() / eta).exp() - T::one()
}

/// The published schedule: the diameter twice, then halved down to epsilon, which comes last.
pub fn epsilons<T: Scalar>(diameter: T, epsilon: T) -> Vec<T> {
    let halves = (0..).map(|k| diameter * real::<T>(0.5).powi(k)).take_while(|&e| e > epsilon);
    std::iter::once(diameter).chain(halves).chain([epsilon]).collect()
}

/// Costs and constants of the loss. Every annotation has mass 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss<T> {
    /// One row of costs per cell, for coordinates in units of the crop's longer side.
    pub cost: Vec<Vec<T>>,
    /// The price of mass that stays behind or is missing.
    pub rho: T,
    /// Weight of the plan's errors in the marginals.
    pub tau: T,
    /// The last epsilon.
    pub epsilon: T,
}

impl<T: Scalar> Loss<T> {
    fn points(&self) -> usize {
        self.cost.first().map_or(0, Vec::len)
    }

    /// The best potentials of each side against those of the other.
    fn best(&self, density: &[T], (f, g): (&[T], &[T]), epsilon: T) -> (Vec<T>, Vec<T>) {
        let damping = (T::one() + epsilon / self.rho).recip();
        let cell = |row: &Vec<T>| {
            let exponents = row.iter().zip(g).map(|(&c, &g)| (g - c) / epsilon);
            -damping * epsilon * log_sum_exp(exponents)
        };
        let point = |n: usize| {
            let exponents = self.cost.iter().zip(f).zip(density).map(|((row, &f), &z)| z.ln() + (f - row[n]) / epsilon);
            -damping * epsilon * log_sum_exp(exponents)
        };
        (self.cost.iter().map(cell).collect(), (0..self.points()).map(point).collect())
    }

    /// The published potentials: one round from 0, one round for every epsilon in which both sides go half way, and one
    /// with the last epsilon.
    pub fn published(&self, density: &[T], epsilons: &[T]) -> (Vec<T>, Vec<T>) {
        let (zeros, none) = (vec![T::zero(); self.cost.len()], vec![T::zero(); self.points()]);
        let first = epsilons.first().copied().unwrap_or(self.epsilon);
        let (mut f, mut g) = self.best(density, (&zeros, &none), first);
        let half_way =
            |old: &[T], new: Vec<T>| -> Vec<T> { old.iter().zip(new).map(|(&a, b)| (a + b) / real(2.0)).collect() };
        for &epsilon in epsilons {
            let (to_f, to_g) = self.best(density, (&f, &g), epsilon);
            (f, g) = (half_way(&f, to_f), half_way(&g, to_g));
        }
        self.best(density, (&f, &g), self.epsilon)
    }

    /// `k_in`, with which the plan is `z_i k_in`.
    fn shares(&self, f: &[T], g: &[T]) -> Vec<Vec<T>> {
        let row =
            |(row, &f): (&Vec<T>, &T)| row.iter().zip(g).map(|(&c, &g)| ((f + g - c) / self.epsilon).exp()).collect();
        self.cost.iter().zip(f).map(row).collect()
    }

    /// `(rho + epsilon / 2) (1 - exp(-p / rho))`.
    fn price(&self, potential: T) -> T {
        (self.rho + self.epsilon / real(2.0)) * (T::one() - (-potential / self.rho).exp())
    }

    /// The loss with constant potentials, and with the first square's row sums `held` of the density for which these
    /// were found.
    pub fn value_at(&self, density: &[T], f: &[T], g: &[T], held: &[T]) -> T {
        let shares = self.shares(f, g);
        let transport: T =
            density.iter().zip(f).map(|(&z, &f)| z * self.price(f)).sum::<T>() + g.iter().map(|&g| self.price(g)).sum();
        let of_cells: T = held.iter().zip(density).map(|(&p, &z)| (p - z) * (p - z)).sum();
        let of_points: T = self.received(density, &shares).into_iter().map(|p| (p - T::one()).abs()).sum();
        let mut entropy = T::zero();
        for (&z, row) in density.iter().zip(&shares) {
            for &k in row {
                let p = z * k + real(1e-20);
                entropy = entropy + p * p.ln();
            }
        }
        transport + self.tau * (of_cells + of_points) + self.epsilon * entropy / self.pairs()
    }

    fn pairs(&self) -> T {
        count::<T>((self.cost.len() * self.points()).max(1))
    }

    /// The mass that every annotation receives.
    fn received(&self, density: &[T], shares: &[Vec<T>]) -> Vec<T> {
        (0..self.points()).map(|n| density.iter().zip(shares).map(|(&z, row)| z * row[n]).sum()).collect()
    }

    /// The mass that the plan takes from every cell.
    pub fn row_sums(&self, density: &[T], f: &[T], g: &[T]) -> Vec<T> {
        density.iter().zip(self.shares(f, g)).map(|(&z, row)| z * row.into_iter().sum()).collect()
    }

    /// Value and gradient with respect to the density; without annotations `(1 + 2 tau) S` and `1 + 2 tau`.
    pub fn evaluate(&self, density: &[T], f: &[T], g: &[T]) -> (T, Vec<T>) {
        if self.points() == 0 {
            let slope = T::one() + real::<T>(2.0) * self.tau;
            return (slope * density.iter().copied().sum(), vec![slope; density.len()]);
        }
        let (shares, held) = (self.shares(f, g), self.row_sums(density, f, g));
        let signs: Vec<T> = self.received(density, &shares).into_iter().map(|p| sign(p - T::one())).collect();
        let slope = |i: usize| {
            let signed: T = shares[i].iter().zip(&signs).map(|(&k, &s)| k * s).sum();
            let by_entropy: T = shares[i].iter().map(|&k| k * ((density[i] * k + real(1e-20)).ln() + T::one())).sum();
            self.price(f[i])
                + self.tau * (real::<T>(2.0) * (density[i] - held[i]) + signed)
                + self.epsilon * by_entropy / self.pairs()
        };
        (self.value_at(density, f, g, &held), (0..density.len()).map(slope).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{check_gradient, close, photo};
    use crate::reference::grid::Grid;
    use crate::reference::sinkhorn::{Form, Marginal, Problem};

    const POINTS: [[f64; 2]; 3] = [[0.2, 0.3], [0.75, 0.6], [0.8, 0.15]];

    fn example() -> (Loss<f64>, Vec<f64>) {
        let centres = Grid::over(40, 40, 8.0).centres();
        let cost = centres.iter().map(|x| POINTS.iter().map(|&y| perspective(x.map(|v| v / 40.0), y)).collect());
        let loss = Loss { cost: cost.collect(), rho: 0.5, tau: 0.1, epsilon: 0.01 };
        let density = photo(centres.len()).iter().map(|z| 0.3 * z + 0.01).collect();
        (loss, density)
    }

    #[test]
    fn the_schedule_has_ten_epsilons_on_a_square_and_nine_on_a_rectangle() {
        assert_eq!(epsilons(2.0_f64.sqrt(), 0.01).len(), 10);
        assert_eq!(epsilons(1.0_f64.hypot(0.75), 0.01).len(), 9);
    }

    #[test]
    fn gradients_match_differences() {
        let (loss, density) = example();
        let (f, g) = loss.published(&density, &epsilons(1.2, 0.01));
        let held = loss.row_sums(&density, &f, &g);
        let (_, slope) = loss.evaluate(&density, &f, &g);
        check_gradient(&density, &slope, |z| loss.value_at(z, &f, &g, &held));
    }

    /// Published potentials are not the optimum's: rows are off by per cents. With ever more epsilons they come to it.
    #[test]
    fn published_rounds_stop_early() {
        let (loss, density) = example();
        let off = |(f, g): (Vec<f64>, Vec<f64>)| {
            let rows = loss.row_sums(&density, &f, &g);
            let wanted = density.iter().zip(&f).map(|(z, f)| z * (-f / loss.rho).exp());
            rows.iter().zip(wanted).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max)
        };
        assert!(off(loss.published(&density, &epsilons(1.2, 0.01))) > 0.02);
        let mut long = epsilons(1.2, 0.01);
        long.extend([0.01; 3000]);
        let (f, g) = loss.published(&density, &long);
        let rule = Marginal::Relaxed { rho: 0.5 };
        let form = Form::Joint { mass: 1.0 };
        let problem = Problem {
            cost: loss.cost.clone(),
            cells: density.clone(),
            points: vec![1.0; 3],
            of_cells: rule,
            of_points: rule,
            form,
        };
        let optimum = problem.converge(&[0.01], 20_000, 1e-13);
        f.iter().zip(&optimum.cells).for_each(|(&a, &b)| close(a, b, 1e-9));
        assert!(off((f, g)) < 1e-9);
    }

    #[test]
    fn no_annotation_pays_for_all_mass() {
        let loss = Loss { cost: vec![vec![]; 2], rho: 0.5, tau: 0.1, epsilon: 0.01 };
        assert_eq!(loss.evaluate(&[0.5, 1.5], &[0.0; 2], &[]), (1.2 * 2.0, vec![1.2; 2]));
    }
}
