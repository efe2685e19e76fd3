//! The transport solver against the oracle: equal rounds first, then everything that follows from the device's own
//! potentials.

use proptest::collection::vec;
use proptest::prelude::*;
use splatport::kernels::{
    Cells, Error, Shape,
    sinkhorn::{Form, Ground, Marginal, Measure, Outcome, Place, Problem, Report, Rules, Solution, Stop, schedule},
};
use splatport::reference::sinkhorn::{self as oracle, squared_distances};
use splatport::{Buffer, Device, Single, strategies};

use super::{R, U, centres, device, once, poison, property, single, wide};

/// One image with its density.
#[derive(Debug, Clone)]
pub struct Image {
    pub place: Place,
    pub density: Vec<f64>,
}

/// Up to 17 x 17 cells of 1 to 8 px and up to `most` points in and around them.
pub fn images(least: usize, most: usize) -> impl Strategy<Value = Image> {
    let sizes = (1..18u32, 1..18u32, prop_oneof![Just(1u32), Just(3), Just(8)], 0..90u32, 0..90u32);
    sizes.prop_flat_map(move |(columns, rows, stride, left, top)| {
        let cells = Cells { left: left.into(), top: top.into(), stride: stride.into(), columns, rows };
        let size = [columns, rows].map(|side| (side * stride) as usize);
        let points = strategies::points(most, size[0], size[1]).prop_filter("points", move |p| p.len() >= least);
        let masses = vec((0.1..2.0).prop_map(single), most);
        (points, masses, strategies::density(cells.len()), 0.3..200.0).prop_map(move |(mut points, m, z, epsilon)| {
            points.iter_mut().for_each(|p| *p = [single(p[0] + cells.left), single(p[1] + cells.top)]);
            let epsilons = schedule(largest_cost(&cells, &points), 0.5, single(epsilon));
            let masses = m[..points.len()].to_vec();
            Image { place: Place { cells, points, masses, scale: 1.0, stretch: [1.0, 0.0], epsilons }, density: z }
        })
    })
}

pub fn largest_cost(cells: &Cells, points: &[[f64; 2]]) -> f64 {
    squared_distances(&centres(cells), points).into_iter().flatten().fold(0.0, f64::max)
}

/// Every form; the balanced one is given masses of sum 1.
fn any_rules() -> impl Strategy<Value = Rules> {
    let relaxed = |rho: f64| Marginal::Relaxed { rho: single(rho) };
    let joint = prop_oneof![Just(Form::Joint(Measure::Product)), Just(Form::Joint(Measure::ProductOverMass))];
    let ground = Ground::Squared;
    prop_oneof![
        Just(Rules { normalise: Some(0.0), ..balanced() }),
        (joint, 5.0..500.0, 5.0..500.0).prop_map(move |(form, a, b)| {
            Rules { ground, of_cells: relaxed(a), of_points: relaxed(b), form, normalise: None, alone: 0.0 }
        }),
        (5.0..500.0).prop_map(move |rho| {
            let rule = relaxed(rho);
            Rules { ground, of_cells: rule, of_points: rule, form: Form::Conditional, normalise: None, alone: 0.0 }
        }),
    ]
}

pub fn balanced() -> Rules {
    let form = Form::Joint(Measure::Product);
    let (ground, exact) = (Ground::Squared, Marginal::Exact);
    Rules { ground, of_cells: exact, of_points: exact, form, normalise: Some(0.0), alone: 0.0 }
}

/// With points' masses of sum 1 where the cells' have.
pub fn prepared(image: &Image, rules: &Rules) -> Image {
    let mut image = image.clone();
    if rules.normalise.is_some() {
        let count = image.place.masses.len().max(1);
        image.place.masses.fill(1.0 / count as f64);
    }
    image
}

/// The oracle's problem.
pub fn theirs(image: &Image, rules: &Rules) -> oracle::Problem<f64> {
    let rule = |marginal| match marginal {
        Marginal::Exact => oracle::Marginal::Exact,
        Marginal::Relaxed { rho } => oracle::Marginal::Relaxed { rho },
    };
    let points = image.place.masses.clone();
    let total: f64 = image.density.iter().sum();
    let norm = if rules.normalise.is_some() && total > 0.0 { total } else { 1.0 };
    oracle::Problem {
        cost: squared_distances(&centres(&image.place.cells), &image.place.points),
        cells: image.density.iter().map(|z| z / norm).collect(),
        of_cells: rule(rules.of_cells),
        of_points: rule(rules.of_points),
        form: match rules.form {
            Form::Joint(Measure::ProductOverMass) => oracle::Form::Joint { mass: points.iter().sum() },
            Form::Joint(Measure::Product) => oracle::Form::Joint { mass: 1.0 },
            _ => oracle::Form::Conditional,
        },
        points,
    }
}

/// A batch on a device, solved.
pub struct Solved {
    pub problem: Problem<R, Single>,
    pub solution: Solution<R, f32>,
    pub on: Device<R>,
}

fn solve_on(on: &Device<R>, images: &[Image], rules: Rules, stop: Stop) -> Solved {
    solve_by(on, images, (rules, stop), Problem::solve)
}

/// Solves by any of a problem's methods.
pub fn solve_by(
    on: &Device<R>,
    images: &[Image],
    (rules, stop): (Rules, Stop),
    method: impl Fn(&Problem<R, Single>, &Device<R>, &Buffer<R, f32>) -> Result<Solution<R, f32>, Error>,
) -> Solved {
    let places: Vec<Place> = images.iter().map(|image| image.place.clone()).collect();
    let problem = Problem::new(on, &places, rules, stop).expect("a problem");
    let density: Vec<f64> = images.iter().flat_map(|image| image.density.clone()).collect();
    let points: usize = places.iter().map(|p| p.points.len()).sum();
    let buffer = on.upload_f64(&density);
    poison(&[5 * density.len(), 4 * density.len(), 8 * points, 4 * points, 4 * images.len(), 256 * images.len()]);
    let solution = method(&problem, on, &buffer).expect("a solution");
    Solved { problem, solution, on: on.clone() }
}

fn solve(images: &[Image], rules: Rules, stop: Stop) -> Solved {
    solve_on(device(), images, rules, stop)
}

/// `limit` rounds whatever the error.
fn exactly(limit: usize) -> Stop {
    Stop { limit, tolerance: -1.0 }
}

impl Solved {
    /// Cells' and points' potentials of every image.
    pub fn potentials(&self) -> Vec<[Vec<f64>; 2]> {
        let (cells, points) = self.problem.potentials(&self.on, &self.solution);
        let (mut cells, mut points) = (wide(cells.read().expect("cells")), wide(points.read().expect("points")));
        let mut split = |&(grid, n): &(Cells, usize)| {
            let (rest, others) = (cells.split_off(grid.len()), points.split_off(n));
            [std::mem::replace(&mut cells, rest), std::mem::replace(&mut points, others)]
        };
        self.problem.images().iter().map(&mut split).collect()
    }

    fn outcome(&self) -> Outcome<R, f32> {
        self.problem.outcome(&self.on, &self.solution)
    }

    pub fn reports(&self) -> &[Report] {
        self.solution.reports()
    }
}

/// The largest number in absolute value.
pub fn size<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().fold(0.0, |most, v| most.max(v.abs()))
}

/// Rounding of one half of a round: a cost and its exponent are off by 6 U of the largest cost; potentials, logarithms of
/// masses and charges by 4 U; exponentials of 4 U are added one by one.
pub fn half_error(problem: &oracle::Problem<f64>, solution: &oracle::Solution<f64>, epsilon: f64) -> f64 {
    let masses = problem.cells.iter().chain(&problem.points).filter(|&&m| m > 0.0);
    let logs = masses.map(|m| m.ln().abs()).fold(0.0, f64::max);
    let potentials = size(&solution.cells).max(size(&solution.points));
    let terms = (problem.cells.len().max(problem.points.len()) + 10) as f64;
    U * (6.0 * size(problem.cost.iter().flatten()) + 4.0 * (potentials + epsilon * logs) + epsilon * terms)
}

/// Updates never move two sets of potentials further apart, so errors of rounds add: 2 halves a round and a first one.
/// Measured: 0.02 of it.
#[test]
fn equal_rounds_give_equal_potentials() {
    property("potentials", 24, (vec(images(0, 9), 1..4), any_rules(), 1..25usize), |(images, rules, limit), tally| {
        let images: Vec<Image> = images.iter().map(|image| prepared(image, rules)).collect();
        let solved = solve(&images, *rules, exactly(*limit));
        for ((image, [cells, points]), report) in images.iter().zip(&solved.potentials()).zip(solved.reports()) {
            let problem = theirs(image, rules);
            let epsilons = &image.place.epsilons;
            let made: Vec<f64> = (0..report.rounds).map(|k| epsilons[k.min(epsilons.len() - 1)]).collect();
            if points.is_empty() || problem.cells.iter().all(|&z| z == 0.0) {
                tally.holds(cells.iter().all(|f| f.is_finite()), || "nothing to carry".to_owned());
                continue;
            }
            let want = problem.rounds(&made);
            let tolerance = (2 * report.rounds + 1) as f64 * half_error(&problem, &want, made[0]);
            tally.all_near("cell", cells, &want.cells, |_| tolerance);
            tally.all_near("point", points, &want.points, |_| tolerance);
        }
    });
}

/// Value, slope, received mass, residual and cost, each given the device's potentials. Measured: 0.17 of the tolerance.
#[test]
fn outcomes_follow_from_potentials() {
    property("outcome", 24, (vec(images(1, 9), 1..4), any_rules(), 5..60usize), |(images, rules, limit), tally| {
        let images: Vec<Image> = images.iter().map(|image| prepared(image, rules)).collect();
        let solved = solve(&images, *rules, exactly(*limit));
        let outcome = solved.outcome();
        let (values, slope) = outcome.values.read_with(&outcome.slope).expect("values");
        let (values, slope, received) = (wide(values), wide(slope), wide(outcome.received.read().expect("masses")));
        let costs = wide(solved.problem.cost(device(), &solved.solution).read().expect("costs"));
        let (mut cell, mut point) = (0, 0);
        for (k, (image, [cells, points])) in images.iter().zip(solved.potentials()).enumerate() {
            let problem = theirs(image, rules);
            let all = cell..cell + cells.len();
            let mine = point..point + points.len();
            (cell, point) = (all.end, mine.end);
            if problem.cells.iter().all(|&z| z == 0.0) {
                tally.holds(slope[all].iter().all(|s| s.is_finite()), || "slope of nothing".to_owned());
                continue;
            }
            let epsilon = image.place.epsilons[image.place.epsilons.len() - 1];
            let at = oracle::Solution { cells, points, epsilon, rounds: *limit };
            let half = half_error(&problem, &at, epsilon);
            let wanted = problem.transported(&at);
            // A probe's half, and its difference to the potential.
            let exponent = 3.0 * half / epsilon;
            tally.all_near("received", &received[mine], &wanted, |n| {
                exponent.exp_m1() * (wanted[n] + problem.points[n])
            });
            let moved: f64 = wanted.iter().sum();
            let residual = solved.reports()[k].residual;
            let due = moved / (1.0 + residual);
            let off = exponent.exp_m1() * (2.0 * moved + problem.points.iter().sum::<f64>()) / due.max(1e-30);
            tally.near("residual of", k, (residual, problem.residual(&at)), off * (1.0 + residual) * 2.0);
            let theirs = problem.slope(&at);
            tally.all_near("slope", &slope[all], &theirs, |i| {
                16.0 * U * (theirs[i].abs() + at.cells[i].abs() + 500.0 + epsilon * (1.0 + moved))
            });
            let parts = theirs.iter().zip(&problem.cells).map(|(s, z)| (s.abs() + 500.0) * z).sum::<f64>()
                + at.points.iter().zip(&problem.points).map(|(g, t)| (g.abs() + 500.0) * t).sum::<f64>();
            let value = (cells_in_a_sum(&problem) + 16.0) * U * parts + epsilon * exponent.exp_m1() * moved;
            tally.near("value of", k, (values[k], problem.value(&at)), value);
            let cost = problem.primal_cost(&at);
            tally.near("cost of", k, (costs[4 * k], cost), exponent.exp_m1() * cost + 600.0 * U * cost);
        }
    });
}

/// A unit adds a 64th of the cells and one adds 64 parts.
fn cells_in_a_sum(problem: &oracle::Problem<f64>) -> f64 {
    (problem.cells.len().max(problem.points.len()) / 64 + 65) as f64
}

/// Both shapes, twice, alone and in a batch. Measured: 0.008 of the tolerance.
#[test]
fn shapes_agree_and_bits_repeat() {
    property("shapes", 6, (vec(images(0, 9), 2..4), any_rules()), |(images, rules), tally| {
        let images: Vec<Image> = images.iter().map(|image| prepared(image, rules)).collect();
        let limit = 12;
        let [one, other] = [Shape::Gathered, Shape::Tiled].map(|shape| {
            let on = device().with_shape(shape);
            let got = solve_on(&on, &images, *rules, exactly(limit)).potentials();
            let again = solve_on(&on, &images, *rules, exactly(limit)).potentials();
            tally.holds(got == again, || format!("{shape:?}: two runs differ"));
            for (image, together) in images.iter().zip(&got) {
                let alone = solve_on(&on, std::slice::from_ref(image), *rules, exactly(limit)).potentials();
                tally.holds(alone[0] == *together, || format!("{shape:?}: alone is not as in a batch"));
            }
            got
        });
        for ((image, a), b) in images.iter().zip(&one).zip(&other) {
            let problem = theirs(image, rules);
            let epsilon = image.place.epsilons[0];
            let [cells, points] = a.clone();
            let at = oracle::Solution { cells, points, epsilon, rounds: limit };
            let tolerance = 2.0 * (2 * limit + 1) as f64 * half_error(&problem, &at, epsilon);
            tally.all_near("cell", &a[0], &b[0], |_| tolerance);
            tally.all_near("point", &a[1], &b[1], |_| tolerance);
        }
    });
}

pub fn image(columns: u32, rows: u32, points: &[[f64; 2]], epsilons: Vec<f64>) -> Image {
    let cells = Cells { left: 0.0, top: 0.0, stride: 4.0, columns, rows };
    let masses = vec![1.0 / points.len().max(1) as f64; points.len()];
    let density = (0..cells.len()).map(|i| single(0.1 + (i as f64 * 0.754_877_666).fract())).collect();
    Image {
        place: Place { cells, points: points.to_vec(), masses, scale: 1.0, stretch: [1.0, 0.0], epsilons },
        density,
    }
}

/// Images stop one by one, at the tolerance, and say so.
#[test]
fn solvers_stop_where_they_say() {
    once("stops", |tally| {
        let points = [[6.0, 6.0], [18.5, 9.0], [11.0, 21.0]];
        let images = [
            image(6, 6, &points, schedule(800.0, 0.8, 30.0)),
            image(5, 7, &points[..1], vec![30.0]),
            image(3, 3, &[], vec![30.0]),
            image(6, 6, &points, schedule(800.0, 0.8, 0.05)),
        ];
        let solved = solve(&images, balanced(), Stop { limit: 400, tolerance: 1e-4 });
        for (k, report) in solved.reports().iter().enumerate().take(3) {
            tally.holds(report.converged && report.residual <= 1e-4, || format!("{k}: {report:?}"));
        }
        let rounds: Vec<usize> = solved.reports().iter().map(|report| report.rounds).collect();
        tally.equal("one point", &rounds[1], &10);
        tally.equal("no point", &rounds[2], &10);
        tally.holds(rounds[0] < 400 && rounds[0].is_multiple_of(10), || format!("{rounds:?}"));
        let hard = solved.reports()[3];
        tally.holds(!hard.converged && hard.rounds == 400 && hard.error > 1e-4, || format!("{hard:?}"));
    });
}

#[test]
fn bad_input_is_refused() {
    let stop = exactly(1);
    let good = image(3, 3, &[[2.0, 2.0]], vec![1.0]).place;
    let refused =
        |place: &[Place]| matches!(Problem::new(device(), place, balanced(), stop), Err(Error::Length { .. }));
    assert!(refused(&[]));
    assert!(refused(&[Place { epsilons: vec![], ..good.clone() }]));
    assert!(refused(&[Place { masses: vec![], ..good.clone() }]));
    let problem = Problem::new(device(), &[good], balanced(), stop).expect("a problem");
    assert!(matches!(problem.solve(device(), &device().filled(1.0, 8)), Err(Error::Length { .. })));
}

/// Sparse rows hold the plan up to `tau` of every row's mass. Measured: 0.55 of the tolerance.
#[test]
fn plans_on_demand_are_the_oracles() {
    property("plan", 12, (vec(images(0, 9), 1..3), any_rules()), |(images, rules), tally| {
        let images: Vec<Image> = images.iter().map(|image| prepared(image, rules)).collect();
        let solved = solve(&images, *rules, exactly(20));
        let tau = 1e-3;
        poison(&[images.iter().map(|image| image.density.len()).sum()]);
        let rows = solved.problem.plan(device(), &solved.solution, tau).expect("a plan");
        let (starts, columns) = rows.row_starts.read_with(&rows.columns).expect("rows");
        let masses = wide(rows.masses.read().expect("masses"));
        let mut first = 0;
        for (image, [cells, points]) in images.iter().zip(solved.potentials()) {
            let problem = theirs(image, rules);
            let epsilon = image.place.epsilons[image.place.epsilons.len() - 1];
            let at = oracle::Solution { cells, points, epsilon, rounds: 20 };
            let rounding = (2.0 * half_error(&problem, &at, epsilon) / epsilon).exp_m1();
            for (i, want) in problem.plan(&at).iter().enumerate() {
                let total: f64 = want.iter().sum();
                let mut row = vec![0.0; want.len()];
                let mut before = None;
                for at in starts[first + i] as usize..starts[first + i + 1] as usize {
                    tally.holds(before < Some(columns[at]), || format!("row {i}: columns do not ascend"));
                    before = Some(columns[at]);
                    row[columns[at] as usize] = masses[at];
                }
                let apart: f64 = row.iter().zip(want).map(|(a, b)| (a - b).abs()).sum();
                tally.near("row", i, (apart, 0.0), (tau * (1.0 + rounding) + rounding) * total + 1e-37);
            }
            first += problem.cells.len();
        }
    });
}

/// With the error that a relaxed solver reports, every marginal of the optimum is known. Measured: 0.96 of the bound.
#[test]
fn contraction_bounds_the_distance_to_the_optimum() {
    property("contraction", 12, (images(1, 6), any_rules()), |(image, rules), tally| {
        let image = prepared(image, rules);
        let Marginal::Relaxed { rho } = rules.of_points else { return };
        let problem = theirs(&image, rules);
        if problem.cells.iter().all(|&z| z == 0.0) {
            return;
        }
        let solved = solve(std::slice::from_ref(&image), *rules, Stop { limit: 60, tolerance: 1e-3 });
        let epsilons = &image.place.epsilons;
        let epsilon = epsilons[epsilons.len() - 1];
        let want = problem.converge(epsilons, 4000, 1e-12);
        let [cells, points] = solved.potentials().remove(0);
        let report = solved.reports()[0];
        let got = oracle::Solution { cells, points, epsilon, rounds: report.rounds };
        let Marginal::Relaxed { rho: other } = rules.of_cells else { return };
        // The bound is on potentials, in units of the smaller rho; rounding moves the fixed point itself.
        let least = rho.min(other);
        let (a, b) = (epsilon / rho, epsilon / other);
        let factor = match rules.form {
            Form::Conditional => (b - 1.0).abs() / (1.0 + a),
            _ => 1.0 / ((1.0 + a) * (1.0 + b)),
        };
        let rounding = 4.0 * half_error(&problem, &got, epsilon) / (1.0 - factor);
        tally.all_near("point", &got.points, &want.points, |_| report.error * least * 1.001 + rounding);
        tally.equal("convergence", &report.converged, &(report.error <= 1e-3));
    });
}

/// Nothing to carry, epsilons far too small or too large, points on top of each other, densities that are none: numbers
/// that say so, never a NaN.
#[test]
fn extremes_stay_finite() {
    let points = [[6.0, 6.0], [6.0, 6.0], [-4e3, 9.0]];
    let relaxed = Marginal::Relaxed { rho: 10.0 };
    let of = |form| Rules {
        ground: Ground::Distance,
        of_cells: relaxed,
        of_points: relaxed,
        form,
        normalise: None,
        alone: 0.0,
    };
    let rules = [
        balanced(),
        Rules { form: Form::Shannon, ..balanced() },
        of(Form::Conditional),
        of(Form::Joint(Measure::Product)),
    ];
    let floored = Rules { form: Form::Floored { floor: 1e-16 }, ..balanced() };
    for rules in rules.into_iter().chain([floored]) {
        for epsilon in [1e-9, 1.0, 1e9] {
            for density in [0.0, 1.0, 1e-30, 1e9, -1.0, f64::NAN, f64::INFINITY] {
                let mut image = image(6, 6, &points, vec![epsilon]);
                image.density.fill(density);
                let solved = solve(&[image], rules, Stop { limit: 20, tolerance: 1e-3 });
                let outcome = solved.outcome();
                let numbers =
                    [&outcome.values, &outcome.slope, &outcome.received].map(|b| wide(b.read().expect("numbers")));
                let cost = wide(solved.problem.cost(device(), &solved.solution).read().expect("costs"));
                let finite = numbers.iter().flatten().chain(&cost).all(|v| v.is_finite());
                let report = solved.reports()[0];
                assert!(finite && report.residual.is_finite(), "{rules:?} {epsilon} {density}: {report:?} {numbers:?}");
                let valid = density >= 0.0 && density.is_finite();
                assert_eq!(report.refused, if valid { 0 } else { 36 }, "{density}");
                if !valid || density == 0.0 {
                    assert_eq!(report.mass, 0.0, "{density}");
                    assert_eq!(numbers[2], [0.0; 3], "{density}");
                }
            }
        }
    }
}
