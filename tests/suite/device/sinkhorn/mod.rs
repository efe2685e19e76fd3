//! The transport solver against the oracle: equal rounds first, then everything that follows from the device's own
//! potentials.

mod outcome;
mod rounds;
mod stop;

use proptest::collection::vec;
use proptest::prelude::*;
use splatport::kernels::{
    Cells, Error,
    sinkhorn::{Form, Ground, Marginal, Measure, Outcome, Place, Problem, Report, Rules, Solution, Stop, schedule},
};
use splatport::reference::sinkhorn::{self as oracle, squared_distances};
use splatport::{Buffer, Device, Single, strategies};

use super::{R, U, centres, device, poison, single, wide};

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

pub fn solve_on(on: &Device<R>, images: &[Image], rules: Rules, stop: Stop) -> Solved {
    solve_by(on, images, (rules, stop), |problem, on, density| problem.solve(on, density, None))
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
    poison(&[8 * density.len(), 4 * density.len(), 8 * points, 4 * points, 4 * images.len(), 256 * images.len()]);
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

pub fn image(columns: u32, rows: u32, points: &[[f64; 2]], epsilons: Vec<f64>) -> Image {
    let cells = Cells { left: 0.0, top: 0.0, stride: 4.0, columns, rows };
    let masses = vec![1.0 / points.len().max(1) as f64; points.len()];
    let density = (0..cells.len()).map(|i| single(0.1 + (i as f64 * 0.754_877_666).fract())).collect();
    Image {
        place: Place { cells, points: points.to_vec(), masses, scale: 1.0, stretch: [1.0, 0.0], epsilons },
        density,
    }
}
