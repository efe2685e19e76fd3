use super::*;
use crate::reference::check::{check_gradient, close, photo};
use crate::reference::grid::Grid;

const POINTS: [[f64; 2]; 3] = [[3.2, 2.9], [7.7, 5.1], [8.4, 1.6]];

/// Twenty cells of 2 px, two of them empty, to three points.
fn example(of: Marginal<f64>, form: Form<f64>) -> Problem<f64> {
    let centres = Grid::over(9, 7, 2.0).centres();
    let mut cells = photo(centres.len());
    (cells[4], cells[11]) = (0.0, 0.0);
    let points = vec![1.0, 0.5, 1.75];
    Problem { cost: squared_distances(&centres, &POINTS), cells, points, of_cells: of, of_points: of, form }
}

/// The same with masses of sum 1.
fn balanced() -> Problem<f64> {
    let mut problem = example(Marginal::Exact, Form::Joint { mass: 1.0 });
    for masses in [&mut problem.cells, &mut problem.points] {
        let total: f64 = masses.iter().sum();
        masses.iter_mut().for_each(|m| *m /= total);
    }
    problem
}

fn relaxed() -> [Problem<f64>; 3] {
    let rule = Marginal::Relaxed { rho: 6.0 };
    [Form::Conditional, Form::Joint { mass: 1.0 }, Form::Joint { mass: 3.25 }].map(|form| example(rule, form))
}

/// At `b* = sum_n a_n softmax_i(-C / epsilon)` the potential of `sum P ln P` is constant.
#[test]
fn the_potential_is_constant_at_the_blur() {
    let (mut problem, epsilon) = (balanced(), 3.0);
    problem.cells.fill(0.0);
    for n in 0..3 {
        let total = log_sum_exp(problem.cost.iter().map(|row| -row[n] / epsilon));
        for (cell, row) in problem.cells.iter_mut().zip(&problem.cost) {
            *cell += problem.points[n] * (-row[n] / epsilon - total).exp();
        }
    }
    let solution = problem.converge(&[epsilon], 20_000, 1e-13);
    let shannon = |i: usize| solution.cells[i] + epsilon * problem.cells[i].ln();
    (1..problem.cells.len()).for_each(|i| close(shannon(i), shannon(0), 1e-9));
}

#[test]
fn marginals_hold_and_the_dual_ascends() {
    let problem = balanced();
    let solution = problem.converge(&[2.0], 5000, 1e-13);
    let plan = problem.plan(&solution);
    (0..plan.len()).for_each(|i| close(plan[i].iter().sum(), problem.cells[i], 1e-14));
    problem.transported(&solution).iter().zip(&problem.points).for_each(|(&m, &t)| close(m, t, 1e-13));
    for problem in [&relaxed()[1], &relaxed()[2], &problem] {
        let mut solution = problem.rounds(&[0.7]);
        for _ in 0..40 {
            let before = problem.value(&solution);
            problem.advance(&mut solution, 0.7);
            assert!(problem.value(&solution) >= before - 1e-13, "{before}");
        }
    }
}

/// `0 <= <C, P> - OT <= epsilon ln n` for n equal masses each side, plus twice the largest cost times the residual.
#[test]
fn small_epsilon_is_the_assignment() {
    for n in [1, 2, 5, 7] {
        let places = photo(4 * n);
        let pair = |k: usize| [9.0 * places[2 * k], 9.0 * places[2 * k + 1]];
        let (left, right): (Vec<_>, Vec<_>) = (0..n).map(|k| (pair(k), pair(n + k))).unzip();
        let cost = squared_distances(&left, &right);
        let exact = least_assignment(&cost) / n as f64;
        let rule = Marginal::Exact;
        let (cells, points) = (uniform(n), uniform(n));
        let problem = Problem { cost, cells, points, of_cells: rule, of_points: rule, form: Form::Joint { mass: 1.0 } };
        for epsilon in [1.0, 0.1, 0.03] {
            let solution = problem.converge(&schedule(100.0, 0.8, epsilon), 20_000, 1e-9);
            let slack = 2.0 * 162.0 * problem.residual(&solution) + 1e-12;
            let above = problem.primal_cost(&solution) - exact;
            assert!(-slack <= above && above <= epsilon * (n as f64).ln() + slack, "{n} {epsilon} {above}");
        }
    }
}

#[test]
fn shifts_of_costs_and_potentials_change_nothing_else() {
    let problem = balanced();
    let solution = problem.converge(&[1.0], 5000, 1e-13);
    let mut dearer = problem.clone();
    dearer.cost.iter_mut().flatten().for_each(|c| *c += 5.0);
    let shifted = dearer.converge(&[1.0], 5000, 1e-13);
    close(dearer.value(&shifted), problem.value(&solution) + 5.0, 1e-11);
    let slopes = [&solution, &shifted].map(|s| slope_by_density(&problem.slope(s), &problem.cells));
    slopes[0].iter().zip(&slopes[1]).for_each(|(&a, &b)| close(a, b, 1e-10));
    close(slopes[0].iter().zip(&problem.cells).map(|(s, z)| s * z).sum(), 0.0, 1e-13);
}

/// The value as a function of the density, solved anew each time.
fn solved(problem: &Problem<f64>, cells: Vec<f64>) -> f64 {
    let problem = Problem { cells, ..problem.clone() };
    problem.value(&problem.converge(&[1.5], 20_000, 1e-13))
}

#[test]
fn slopes_match_differences() {
    for problem in relaxed() {
        // An empty cell cannot lose mass; its slope is one-sided.
        let mut problem = problem;
        problem.cells.iter_mut().for_each(|z| *z += 0.01);
        let solution = problem.converge(&[1.5], 20_000, 1e-13);
        check_gradient(&problem.cells, &problem.slope(&solution), |z| solved(&problem, z.to_vec()));
    }
    let problem = balanced();
    let density: Vec<f64> = problem.cells.iter().map(|a| 3.0 * a + 0.01).collect();
    let normal = |z: &[f64]| z.iter().map(|v| v / z.iter().sum::<f64>()).collect::<Vec<f64>>();
    let at = Problem { cells: normal(&density), ..problem };
    let solution = at.converge(&[1.5], 20_000, 1e-13);
    let slope = slope_by_density(&at.slope(&solution), &density);
    check_gradient(&density, &slope, |z| solved(&at, normal(z)));
}

/// Of the cost alone, whose plan changes with the density; a cell is empty but for a thousandth.
#[test]
fn slopes_of_the_cost_match_differences() {
    let solved = |problem: &Problem<f64>, cells: &[f64]| {
        let problem = Problem { cells: cells.to_vec(), ..problem.clone() };
        let solution = problem.converge(&[1.5], 20_000, 1e-15);
        (problem, solution)
    };
    // The prices of the two sides differ, and may be lower than epsilon.
    for mut problem in relaxed().into_iter().chain([example(Marginal::Relaxed { rho: 1.0 }, Form::Conditional)]) {
        problem.cells.iter_mut().for_each(|z| *z += 0.001);
        for rho in [0.9, 6.0, 40.0] {
            problem.of_points = Marginal::Relaxed { rho };
            let (at, solution) = solved(&problem, &problem.cells);
            check_gradient(&problem.cells, &at.cost_slope(&solution), |cells| {
                let (problem, solution) = solved(&problem, cells);
                problem.primal_cost(&solution)
            });
        }
    }
    let problem = balanced();
    let density: Vec<f64> = problem.cells.iter().map(|a| 3.0 * a + 0.001).collect();
    let normal = |z: &[f64]| z.iter().map(|v| v / z.iter().sum::<f64>()).collect::<Vec<f64>>();
    let cost = |z: &[f64]| {
        let problem = Problem { cells: normal(z), ..problem.clone() };
        problem.primal_cost(&problem.converge(&[1.5], 20_000, 1e-14))
    };
    let at = Problem { cells: normal(&density), ..problem.clone() };
    let solution = at.converge(&[1.5], 20_000, 1e-14);
    check_gradient(&density, &slope_by_density(&at.cost_slope(&solution), &density), cost);
    // It is not the loss's.
    let other = slope_by_density(&at.slope(&solution), &density);
    let apart =
        slope_by_density(&at.cost_slope(&solution), &density).iter().zip(&other).any(|(a, b)| (a - b).abs() > 0.1);
    assert!(apart);
}

/// Of `sum P ln P`, which is `KL(P | a t')` and what `a` and `t` have of their own: `epsilon ln a` more slope, up to a
/// constant that the density's sum takes away.
#[test]
fn the_shannon_slope_matches_differences() {
    let (problem, epsilon) = (balanced(), 1.5);
    let density: Vec<f64> = problem.cells.iter().map(|a| 3.0 * a + 0.01).collect();
    let normal = |z: &[f64]| z.iter().map(|v| v / z.iter().sum::<f64>()).collect::<Vec<f64>>();
    let own = |a: &[f64]| a.iter().map(|a| epsilon * a * a.ln()).sum::<f64>();
    let at = Problem { cells: normal(&density), ..problem };
    let solution = at.converge(&[epsilon], 20_000, 1e-13);
    let slope: Vec<f64> = at.slope(&solution).iter().zip(&at.cells).map(|(s, a)| s + epsilon * a.ln()).collect();
    check_gradient(&density, &slope_by_density(&slope, &density), |z| solved(&at, normal(z)) + own(&normal(z)));
}

/// `P1 = z exp(-f / rho)`, slopes below rho, and no gap between primal and dual.
#[test]
fn relaxed_plans_are_optimal() {
    let rho = 6.0;
    for problem in relaxed() {
        let solution = problem.converge(&[1.5], 20_000, 1e-14);
        let plan = problem.plan(&solution);
        let rows: Vec<f64> = plan.iter().map(|row| row.iter().sum()).collect();
        for (i, &row) in rows.iter().enumerate() {
            close(row, problem.cells[i] * (-solution.cells[i] / rho).exp(), 1e-13);
        }
        let kl = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() - p + q } else { q };
        let divergence = |p: &[f64], q: &[f64]| rho * p.iter().zip(q).map(|(&p, &q)| kl(p, q)).sum::<f64>();
        let columns = problem.transported(&solution);
        let mut primal =
            problem.primal_cost(&solution) + divergence(&rows, &problem.cells) + divergence(&columns, &problem.points);
        for (i, row) in plan.iter().enumerate() {
            for (n, &p) in row.iter().enumerate().filter(|&(_, &p)| p > 0.0) {
                primal += 1.5
                    * match problem.form {
                        Form::Conditional => p * (p / rows[i]).ln(),
                        Form::Joint { mass } => kl(p, problem.cells[i] * problem.points[n] / mass),
                    };
            }
        }
        close(primal, problem.value(&solution), 1e-9);
        if problem.form == Form::Conditional {
            assert!(problem.slope(&solution).iter().all(|&s| s <= rho));
        }
    }
}

#[test]
fn stiff_marginals_are_exact_ones() {
    let exact = balanced();
    let want = exact.converge(&[1.5], 20_000, 1e-14);
    for rho in [1e4, 1e6] {
        let rule = Marginal::Relaxed { rho };
        let soft = Problem { of_cells: rule, of_points: rule, ..exact.clone() };
        let got = soft.converge(&[1.5], 20_000, 1e-14);
        // The plan changes in proportion to the potentials (about 10 px^2) over rho.
        let (a, b) = (soft.plan(&got), exact.plan(&want));
        a.iter().flatten().zip(b.iter().flatten()).for_each(|(&a, &b)| close(a, b, 30.0 / rho));
    }
}

#[test]
fn nothing_to_carry_is_no_error() {
    let empty = Problem { cost: vec![], cells: vec![], ..balanced() };
    assert_eq!(empty.primal_cost(&Solution { cells: vec![], points: vec![0.0; 3], epsilon: 1.0, rounds: 0 }), 0.0);
    assert_eq!(schedule(1.0, 0.5, 2.0), [2.0]);
    assert_eq!(least_assignment::<f64>(&[]), 0.0);
}
