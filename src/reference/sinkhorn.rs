//! Entropic optimal transport between the cells' mass and the points' mass, balanced or relaxed, in log domain.
//!
//! With cell masses a, point masses t and costs C the plan P minimizes
//! `<C, P> + D1(P1 | a) + D2(P'1 | t) + epsilon H(P)`, where D is 0 on equality ([`Marginal::Exact`]) or `rho KL`
//! ([`Marginal::Relaxed`]), and H one of [`Form`].
//!
//! ```
//! use splatport::reference::sinkhorn::{Form, Marginal, Problem};
//!
//! // Two cells 1 px apart, a point on each: nothing has to move, and little does.
//! let problem = Problem {
//!     cost: vec![vec![0.0_f64, 1.0], vec![1.0, 0.0]],
//!     cells: vec![0.5, 0.5],
//!     points: vec![0.5, 0.5],
//!     of_cells: Marginal::Exact,
//!     of_points: Marginal::Exact,
//!     form: Form::Joint { mass: 1.0 },
//! };
//! let solution = problem.converge(&[0.1], 1000, 1e-12);
//! assert!((problem.plan(&solution)[0][0] - 0.5).abs() < 1e-4);
//! assert!(problem.primal_cost(&solution) < 1e-4);
//! ```

use super::{Scalar, count, distance_sq};

/// How a marginal of the plan is tied to the given mass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Marginal<T> {
    /// It is equal to the mass.
    Exact,
    /// It pays `rho` times its Kullback-Leibler divergence from the mass.
    Relaxed {
        /// Cost per unit of divergence, in the unit of the costs.
        rho: T,
    },
}

/// The entropy H.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form<T> {
    /// `KL(P | a t' / mass)`.
    Joint {
        /// The divisor of the reference measure: 1, or the mass of the points.
        mass: T,
    },
    /// `sum P ln(P / P1)`: conditional on the cell, independent of the points' masses (the semi-dual).
    Conditional,
}

/// A transport problem: masses, costs and rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem<T> {
    /// A row of costs for every cell.
    pub cost: Vec<Vec<T>>,
    /// Mass of every cell, not negative.
    pub cells: Vec<T>,
    /// Mass of every point, positive.
    pub points: Vec<T>,
    /// The rule for the row sums.
    pub of_cells: Marginal<T>,
    /// The rule for the column sums.
    pub of_points: Marginal<T>,
    /// The entropy.
    pub form: Form<T>,
}

/// The potentials; those of the cells are the best for those of the points.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution<T> {
    /// f, one per cell.
    pub cells: Vec<T>,
    /// g, one per point.
    pub points: Vec<T>,
    /// The last epsilon.
    pub epsilon: T,
    /// The number of rounds made.
    pub rounds: usize,
}

/// Squared distances of every center to every point, px^2.
pub fn squared_distances<T: Scalar>(centres: &[[T; 2]], points: &[[T; 2]]) -> Vec<Vec<T>> {
    centres.iter().map(|&x| points.iter().map(|&y| distance_sq(x, y)).collect()).collect()
}

/// `ln sum exp`; minus infinity for an empty sum.
pub fn log_sum_exp<T: Scalar>(exponents: impl Iterator<Item = T> + Clone) -> T {
    let largest = exponents.clone().fold(T::neg_infinity(), T::max);
    if largest == T::neg_infinity() {
        return largest;
    }
    largest + exponents.map(|e| (e - largest).exp()).sum::<T>().ln()
}

impl<T: Scalar> Marginal<T> {
    /// 1 / rho, 0 for an exact marginal.
    fn softness(self) -> T {
        match self {
            Self::Exact => T::zero(),
            Self::Relaxed { rho } => rho.recip(),
        }
    }

    /// `-phi*(-x)`: what a unit of mass with potential `x` adds to the dual.
    fn worth(self, x: T) -> T {
        match self {
            Self::Exact => x,
            Self::Relaxed { rho } => rho * (T::one() - (-x / rho).exp()),
        }
    }
}

impl<T: Scalar> Problem<T> {
    /// The best potential of cell `i` against those of the points (the dual's optimum with theirs fixed).
    fn best_cell(&self, i: usize, points: &[T], epsilon: T) -> T {
        let exponents = |mass: Option<T>| {
            let weight = move |t: T| mass.map_or(T::zero(), |m| (t / m).ln());
            let terms = self.cost[i].iter().zip(points).zip(&self.points);
            log_sum_exp(terms.map(move |((&c, &g), &t)| weight(t) + (g - c) / epsilon))
        };
        match self.form {
            Form::Joint { mass } => -epsilon * exponents(Some(mass)) / (T::one() + epsilon * self.of_cells.softness()),
            Form::Conditional => -epsilon * exponents(None),
        }
    }

    /// The best potential of point `n` against those of the cells; in the conditional form, one step towards it.
    fn best_point(&self, n: usize, cells: &[T], epsilon: T) -> T {
        let (lift, offset) = match self.form {
            Form::Joint { mass } => (epsilon.recip(), mass.ln()),
            Form::Conditional => (epsilon.recip() - self.of_cells.softness(), self.points[n].ln()),
        };
        let terms = self.cost.iter().zip(cells).zip(&self.cells);
        let total = log_sum_exp(terms.map(|((row, &f), &a)| a.ln() + lift * f - row[n] / epsilon));
        epsilon * (offset - total) / (T::one() + epsilon * self.of_points.softness())
    }

    /// Updates the points, then the cells, once for every epsilon, starting with point potentials of 0.
    pub fn rounds(&self, epsilons: &[T]) -> Solution<T> {
        let epsilon = epsilons.first().copied().unwrap_or_else(T::one);
        let mut solution = Solution { points: vec![T::zero(); self.points.len()], cells: vec![], epsilon, rounds: 0 };
        solution.cells = (0..self.cells.len()).map(|i| self.best_cell(i, &solution.points, epsilon)).collect();
        for &epsilon in epsilons {
            self.advance(&mut solution, epsilon);
        }
        solution
    }

    /// Makes one more round.
    pub fn advance(&self, solution: &mut Solution<T>, epsilon: T) {
        let points: Vec<T> = (0..self.points.len()).map(|n| self.best_point(n, &solution.cells, epsilon)).collect();
        let cells = (0..self.cells.len()).map(|i| self.best_cell(i, &points, epsilon)).collect();
        *solution = Solution { cells, points, epsilon, rounds: solution.rounds + 1 };
    }

    /// Rounds at the last epsilon until [`residual`](Self::residual) is at most `tolerance`, or `limit` in all.
    pub fn converge(&self, epsilons: &[T], limit: usize, tolerance: T) -> Solution<T> {
        let mut solution = self.rounds(epsilons);
        while solution.rounds < limit && self.residual(&solution) > tolerance {
            let epsilon = solution.epsilon;
            self.advance(&mut solution, epsilon);
        }
        solution
    }

    /// The plan, a row for every cell.
    pub fn plan(&self, solution: &Solution<T>) -> Vec<Vec<T>> {
        let Solution { cells, points, epsilon, .. } = solution;
        let entry = |i: usize, n: usize| {
            let exponent = (cells[i] + points[n] - self.cost[i][n]) / *epsilon;
            match self.form {
                Form::Joint { mass } => self.cells[i] * self.points[n] / mass * exponent.exp(),
                Form::Conditional => self.cells[i] * (exponent - cells[i] * self.of_cells.softness()).exp(),
            }
        };
        (0..cells.len()).map(|i| (0..points.len()).map(|n| entry(i, n)).collect()).collect()
    }

    /// The mass that every point receives, `P'1`.
    pub fn transported(&self, solution: &Solution<T>) -> Vec<T> {
        let plan = self.plan(solution);
        (0..self.points.len()).map(|n| plan.iter().map(|row| row[n]).sum()).collect()
    }

    /// `sum_n |(P'1)_n - t_n exp(-g_n / rho)|` over `sum_n t_n exp(-g_n / rho)`: 0 at the optimum.
    pub fn residual(&self, solution: &Solution<T>) -> T {
        let softness = self.of_points.softness();
        let wanted = self.points.iter().zip(&solution.points).map(|(&t, &g)| t * (-g * softness).exp());
        let wanted: Vec<T> = wanted.collect();
        let error = self.transported(solution).iter().zip(&wanted).map(|(&m, &w)| (m - w).abs()).sum::<T>();
        let total = wanted.iter().copied().sum::<T>();
        if total > T::zero() { error / total } else { T::zero() }
    }

    /// The dual objective, never above the optimum.
    pub fn value(&self, solution: &Solution<T>) -> T {
        let side = |rule: Marginal<T>, masses: &[T], potentials: &[T]| {
            masses.iter().zip(potentials).map(|(&m, &p)| m * rule.worth(p)).sum::<T>()
        };
        let worth =
            side(self.of_cells, &self.cells, &solution.cells) + side(self.of_points, &self.points, &solution.points);
        match self.form {
            Form::Conditional => worth,
            Form::Joint { mass } => {
                let moved: T = self.plan(solution).iter().flatten().copied().sum();
                let reference = self.cells.iter().copied().sum::<T>() * self.points.iter().copied().sum() / mass;
                worth - solution.epsilon * (moved - reference)
            }
        }
    }

    /// `<C, P>`.
    pub fn primal_cost(&self, solution: &Solution<T>) -> T {
        let plan = self.plan(solution);
        plan.iter().flatten().zip(self.cost.iter().flatten()).map(|(&p, &c)| p * c).sum()
    }

    /// Derivative of the value with respect to the mass of every cell, with the optimal potentials held constant
    /// (envelope theorem).
    pub fn slope(&self, solution: &Solution<T>) -> Vec<T> {
        let softness = self.of_cells.softness();
        let points: T = self.points.iter().copied().sum();
        let one = |&f: &T| match self.form {
            Form::Conditional => self.of_cells.worth(f),
            Form::Joint { mass } => self.of_cells.worth(f) - solution.epsilon * ((-f * softness).exp() - points / mass),
        };
        solution.cells.iter().map(one).collect()
    }
}

/// The linear system behind the derivative of a plan's cost: how far the points' potentials move with the cells' masses a.
///
/// With the row sums p of the plan, `s` is how much a cell's potential makes up for the points': `1 / (1 + epsilon / rho)`
/// in the joint form, `1 - epsilon / rho` in the conditional one, 1 if the cells' marginal is exact.
#[derive(Clone, Debug, PartialEq)]
pub struct CostSystem<T> {
    /// `(1 + epsilon / rho) diag(P'1) - s P' diag(1 / p) P`, with the points' rho. It maps constants to 0 if both
    /// marginals are exact.
    pub matrix: Vec<Vec<T>>,
    /// `sum_i P_in (C_in - s c_i)`.
    pub right: Vec<T>,
    /// The rows `P_i / p_i`.
    pub rows: Vec<Vec<T>>,
    /// Their mean costs c.
    pub means: Vec<T>,
    /// `p / a`: `exp(-f / rho)`.
    pub shares: Vec<T>,
    /// Whether both marginals are exact.
    pub is_balanced: bool,
}

impl<T: Scalar> Problem<T> {
    /// The system of a plan.
    pub fn cost_system(&self, solution: &Solution<T>) -> CostSystem<T> {
        let n = self.points.len();
        let (cells, points) = (self.of_cells.softness(), self.of_points.softness());
        let (loose, held) = (solution.epsilon * cells, T::one() + solution.epsilon * points);
        let made_up = match self.form {
            Form::Joint { .. } => (T::one() + loose).recip(),
            Form::Conditional => T::one() - loose,
        };
        // The rows of empty cells are those that a little mass would have.
        let mut rows = Self { cells: vec![T::one(); self.cells.len()], ..self.clone() }.plan(solution);
        let shares: Vec<T> = rows.iter().map(|row| row.iter().copied().sum()).collect();
        rows.iter_mut().zip(&shares).for_each(|(row, &share)| row.iter_mut().for_each(|k| *k = *k / share));
        let mean = |(row, cost): (&Vec<T>, &Vec<T>)| row.iter().zip(cost).map(|(&k, &c)| k * c).sum::<T>();
        let means: Vec<T> = rows.iter().zip(&self.cost).map(mean).collect();
        let (mut matrix, mut right) = (vec![vec![T::zero(); n]; n], vec![T::zero(); n]);
        for (i, row) in rows.iter().enumerate() {
            let p = self.cells[i] * shares[i];
            for (m, &k) in row.iter().enumerate() {
                matrix[m][m] = matrix[m][m] + held * p * k;
                right[m] = right[m] + p * k * (self.cost[i][m] - made_up * means[i]);
                row.iter().zip(&mut matrix[m]).for_each(|(&other, entry)| *entry = *entry - made_up * p * k * other);
            }
        }
        CostSystem { matrix, right, rows, means, shares, is_balanced: cells == T::zero() && points == T::zero() }
    }

    /// Derivative of [`primal_cost`](Self::primal_cost) with respect to the mass of every cell, for a plan that is solved
    /// anew for that mass; up to a constant if both marginals are exact, because the cells' masses must then have the
    /// same sum as the points'.
    pub fn cost_slope(&self, solution: &Solution<T>) -> Vec<T> {
        let system = self.cost_system(solution);
        let w = system.solve(&system.right);
        let moved = |row: &Vec<T>| row.iter().zip(&w).map(|(&k, &w)| k * w).sum::<T>();
        let rows = system.rows.iter().zip(&system.means).zip(&system.shares);
        rows.map(|((row, &mean), &share)| share * (mean - moved(row))).collect()
    }
}

impl<T: Scalar> CostSystem<T> {
    /// The solution, by elimination; of mean 0 if both marginals are exact.
    pub fn solve(&self, right: &[T]) -> Vec<T> {
        let n = right.len();
        let each = if self.is_balanced { count::<T>(n.max(1)).recip() } else { T::zero() };
        let mut rows: Vec<Vec<T>> =
            self.matrix.iter().zip(right).map(|(row, &b)| [row.as_slice(), &[b]].concat()).collect();
        rows.iter_mut().for_each(|row| row[..n].iter_mut().for_each(|entry| *entry = *entry + each));
        for k in 0..n {
            let pivot = rows[k].clone();
            for row in rows.iter_mut().skip(k + 1) {
                let factor = row[k] / pivot[k];
                row.iter_mut().zip(&pivot).for_each(|(entry, &above)| *entry = *entry - factor * above);
            }
        }
        let mut w = vec![T::zero(); n];
        for k in (0..n).rev() {
            let known: T = (k + 1..n).map(|m| rows[k][m] * w[m]).sum();
            w[k] = (rows[k][n] - known) / rows[k][k];
        }
        w
    }
}

/// The derivative with respect to the density z of a value at the cell masses `z / sum z`, given its slope with respect
/// to those masses.
pub fn slope_by_density<T: Scalar>(slope: &[T], density: &[T]) -> Vec<T> {
    let total: T = density.iter().copied().sum();
    let mean = slope.iter().zip(density).map(|(&s, &z)| s * z).sum::<T>() / total;
    slope.iter().map(|&s| (s - mean) / total).collect()
}

/// From `first` down to `last`, multiplied by `factor` each round, `last` included; only `last` if `first` is not above
/// it.
pub fn schedule<T: Scalar>(first: T, factor: T, last: T) -> Vec<T> {
    let mut epsilons = vec![];
    let mut epsilon = first;
    while epsilon > last {
        epsilons.push(epsilon);
        epsilon = epsilon * factor;
    }
    epsilons.push(last);
    epsilons
}

/// The least cost of a one-to-one assignment of `cost`'s rows to its columns, found by trying all; for a handful of
/// rows.
pub fn least_assignment<T: Scalar>(cost: &[Vec<T>]) -> T {
    let Some(row) = cost.first() else { return T::zero() };
    let rest = |n: usize| -> Vec<Vec<T>> {
        let others = |row: &Vec<T>| row.iter().enumerate().filter(|&(m, _)| m != n).map(|(_, &c)| c).collect();
        cost[1..].iter().map(others).collect()
    };
    (0..row.len()).map(|n| row[n] + least_assignment(&rest(n))).fold(T::infinity(), T::min)
}

/// `n` equal masses that sum to 1.
pub fn uniform<T: Scalar>(n: usize) -> Vec<T> {
    vec![count::<T>(n.max(1)).recip(); n]
}

#[cfg(test)]
mod tests;
