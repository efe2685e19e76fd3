use proptest::collection::vec;
use proptest::prelude::*;
use splatport::losses::{Demanders, HeatmapTransport};
use splatport::reference::heatmap::{demanders, single as closed};
use splatport::reference::sinkhorn::{Form, Marginal, Problem, Solution, slope_by_density, squared_distances};
use splatport::{Error, Grid, strategies};

use crate::device::sinkhorn::{half_error, size};
use crate::device::{R, U, device, once, poison, property, single, wide};

type Step = splatport::losses::Step<R>;

/// Maps of one size, each with its joint, px.
#[derive(Debug, Clone)]
struct Maps {
    grid: Grid,
    joints: Vec<Option<[f64; 2]>>,
    heat: Vec<Vec<f64>>,
}

fn poses() -> impl Strategy<Value = Vec<Maps>> {
    let pose = (2..14u32, 2..11u32, 1..4usize, 0..9u32).prop_flat_map(|(columns, rows, channels, left)| {
        let grid = Grid::over(60 + 4 * columns, 4 * rows, 4).crop(left, 0, 4 * columns, 4 * rows);
        let inside = (0.0..4.0 * f64::from(columns), 0.0..4.0 * f64::from(rows));
        let joint = inside.prop_map(move |(x, y)| [single(x) + f64::from(left), single(y)]);
        let map = strategies::density(grid.len()).prop_map(|heat| heat.iter().map(|h| single(h - 0.4)).collect());
        (vec(proptest::option::weighted(0.8, joint), channels), vec(map, channels))
            .prop_map(move |(joints, heat)| Maps { grid, joints, heat })
    });
    vec(pose, 1..3)
}

fn evaluate(loss: &HeatmapTransport, poses: &[Maps]) -> Step {
    let bound: Vec<_> = poses.iter().map(|pose| (pose.grid, pose.joints.as_slice())).collect();
    let loss = loss.on(device(), &bound).expect("a loss");
    let heat: Vec<f64> = poses.iter().flat_map(|pose| pose.heat.concat()).collect();
    poison(&[heat.len(), 4 * heat.len(), 5 * heat.len(), 32]);
    loss.evaluate(&device().upload_f64(&heat)).expect("a step")
}

/// A grid, a joint in cells, and what is given for it.
type Channel<'a> = (&'a Grid, Option<[f64; 2]>, &'a Vec<f64>);

fn channels(poses: &[Maps]) -> Vec<Channel<'_>> {
    let in_cells =
        |grid: &Grid, joint: [f64; 2]| [0, 1].map(|axis| (joint[axis] - f64::from(grid.corner()[axis])) / 4.0);
    poses
        .iter()
        .flat_map(|pose| {
            pose.joints.iter().zip(&pose.heat).map(|(j, h)| (&pose.grid, j.map(|j| in_cells(&pose.grid, j)), h))
        })
        .collect()
}

fn centres(grid: &Grid) -> Vec<[f64; 2]> {
    let columns = grid.columns() as usize;
    (0..grid.len()).map(|i| [(i % columns) as f64 + 0.5, (i / columns) as f64 + 0.5]).collect()
}

fn total(map: &[f64]) -> f64 {
    map.iter().map(|h| h.max(0.0)).sum()
}

/// Heat against the cells around a joint with their weights.
pub(super) fn problem(grid: &Grid, map: &[f64], around: &[([f64; 2], f64)]) -> Problem<f64> {
    Problem {
        cost: squared_distances(&centres(grid), &around.iter().map(|d| d.0).collect::<Vec<_>>()),
        cells: map.iter().map(|h| h.max(0.0) / (total(map) + 1e-8)).collect(),
        points: around.iter().map(|d| d.1).collect(),
        of_cells: Marginal::Exact,
        of_points: Marginal::Exact,
        form: Form::Joint { mass: 1.0 },
    }
}

/// Numbers of every channel, one after the other.
fn by_channel(poses: &[Maps], all: &splatport::Buffer<R, f32>) -> Vec<Vec<f64>> {
    let mut rest = wide(all.read().expect("numbers"));
    let mut take = |(grid, ..): Channel<'_>| {
        let others = rest.split_off(grid.len());
        std::mem::replace(&mut rest, others)
    };
    channels(poses).into_iter().map(&mut take).collect()
}

/// The closed form of one demander. A sum of U's a cell; costs are off by 8 U of the largest. Measured: 0.02 of the tolerance.
#[test]
fn the_joint_itself_has_a_closed_form() {
    property("joint", 24, poses(), |poses, tally| {
        let step = evaluate(&HeatmapTransport::default().demanders(Demanders::Joint), poses);
        let (values, slopes) = (step.values().expect("values"), by_channel(poses, step.gradient()));
        let visible = channels(poses).iter().filter(|channel| channel.1.is_some()).count().max(1) as f64;
        for (k, (grid, joint, map)) in channels(poses).into_iter().enumerate() {
            let Some(joint) = joint else {
                tally.equal("hidden", &(values[k], slopes[k].clone()), &(0.0, vec![0.0; map.len()]));
                continue;
            };
            if total(map) == 0.0 {
                tally.equal("cold", &(values[k], slopes[k].clone()), &(0.0, vec![0.0; map.len()]));
                tally.holds(!step.reports()[k].converged, || "a cold map converged".to_owned());
                continue;
            }
            let cost: Vec<f64> = squared_distances(&centres(grid), &[joint]).concat();
            let (value, slope) = closed(map, &cost);
            let most = size(&cost);
            let off = (grid.len() as f64 / 64.0 + 90.0) * U * most + 1e-8 / total(map) * most;
            tally.near("value", k, (values[k], value / visible), off / visible);
            let theirs: Vec<f64> = slope.iter().map(|s| s / visible).collect();
            tally.all_near("slope", &slopes[k], &theirs, |_| 2.0 * off / total(map) / visible);
            tally.holds(step.reports()[k].converged, || format!("{:?}", step.reports()[k]));
        }
    });
}

/// Value and gradient given the device's potentials, and how near these are to the optimum. Measured: 0.003 of the tolerance.
#[test]
fn four_cells_are_solved_for() {
    property("bilinear", 12, poses(), |poses, tally| {
        let step = evaluate(&HeatmapTransport::default().rounds(400).tolerance(1e-4), poses);
        let (values, slopes) = (step.values().expect("values"), by_channel(poses, step.gradient()));
        let (cells, points) = step.potentials();
        let (cells, mut points) = (by_channel(poses, &cells), wide(points.read().expect("points")));
        let visible = channels(poses).iter().filter(|channel| channel.1.is_some()).count().max(1) as f64;
        for (k, (grid, joint, map)) in channels(poses).into_iter().enumerate() {
            let Some(joint) = joint else { continue };
            let around = demanders(joint, grid.columns() as usize, grid.rows() as usize);
            let others = points.split_off(around.len());
            let own = std::mem::replace(&mut points, others);
            if total(map) == 0.0 {
                continue;
            }
            let at = Solution { cells: cells[k].clone(), points: own, epsilon: 0.1, rounds: 0 };
            let problem = problem(grid, map, &around);
            // Weights are rounded too.
            let exponent = 3.0 * half_error(&problem, &at, 0.1) / 0.1 + 8.0 * U;
            tally.near("residual", k, (step.reports()[k].residual, problem.residual(&at)), 4.0 * exponent.exp_m1());
            let sizes = size(&at.cells) + size(&at.points) + 0.1;
            let off =
                (grid.len() as f64 / 16.0 + 320.0) * U * sizes + 0.1 * exponent.exp_m1() + 1e-8 / total(map) * sizes;
            tally.near("value", k, (values[k], problem.value(&at) / visible), off / visible);
            let heat: Vec<f64> = map.iter().map(|h| h.max(0.0)).collect();
            let slope = slope_by_density(&problem.slope(&at), &heat);
            let theirs: Vec<f64> =
                slope.iter().zip(map).map(|(s, h)| if *h < 0.0 { 0.0 } else { s / visible }).collect();
            tally.all_near("slope", &slopes[k], &theirs, |_| 2.0 * off / total(map) / visible);
        }
    });
}

/// The default tolerance is one that rounding lets be met, on a map as large as networks have.
#[test]
fn the_defaults_converge_on_a_large_map() {
    once("large map", |tally| {
        let grid = Grid::over(256, 256, 4);
        let heat = (0..64 * 64).map(|i| {
            let [x, y] = [(i % 64) as f64 - 40.0, (i / 64) as f64 - 20.0];
            single((-(x * x + y * y) / 8.0).exp())
        });
        let pose = [Maps { grid, joints: vec![Some([158.0, 84.5])], heat: vec![heat.collect()] }];
        let report = evaluate(&HeatmapTransport::default(), &pose).reports()[0];
        tally.holds(report.converged && report.rounds < 1000, || format!("{report:?}"));
        println!("{report:?}");
    });
}

/// A peak of one cell goes to the joint it lies on for nothing.
#[test]
fn a_peak_on_the_joint_is_the_least() {
    once("peak", |tally| {
        let grid = Grid::over(20, 12, 4);
        let mut heat = vec![0.0; 15];
        heat[7] = 2.0;
        let pose = [Maps { grid, joints: vec![Some([10.0, 6.0])], heat: vec![heat] }];
        for demanders in [Demanders::Joint, Demanders::Bilinear] {
            let step = evaluate(&HeatmapTransport::default().demanders(demanders), &pose);
            tally.near("value", 0, (step.value().expect("a value"), 0.0), 400.0 * U);
            let slopes = wide(step.gradient().read().expect("slopes"));
            tally.holds(slopes.iter().all(|&s| s >= slopes[7]), || format!("{slopes:?}"));
        }
    });
}

/// Whatever the entropy and the map, numbers.
#[test]
fn edges_are_numbers() {
    once("heatmap edges", |tally| {
        let grid = Grid::over(20, 12, 4);
        let mut peak = vec![0.0; 15];
        peak[7] = 2.0;
        let maps = [peak, vec![0.0; 15], vec![-1.0; 15], vec![1e6; 15], vec![1e-8; 15]];
        let joints = [Some([10.0, 6.0]), None, Some([-1.5, 13.0])];
        let pose = |map: &Vec<f64>| Maps { grid, joints: joints.to_vec(), heat: vec![map.clone(); 3] };
        let poses: Vec<Maps> = maps.iter().map(pose).collect();
        for epsilon in [1e-9, 1e-4, 1.0, 1e9] {
            for demanders in [Demanders::Joint, Demanders::Bilinear] {
                let step = evaluate(&HeatmapTransport::default().epsilon(epsilon).demanders(demanders), &poses);
                let (value, slopes) = (step.value().expect("a value"), wide(step.gradient().read().expect("slopes")));
                tally.holds(value.is_finite() && slopes.iter().all(|s| s.is_finite()), || format!("{epsilon} {value}"));
            }
        }
    });
}

#[test]
fn bad_input_is_refused() {
    let grid = Grid::over(20, 12, 4);
    let refused = |loss: HeatmapTransport, joint| loss.on(device(), &[(grid, &[None, Some(joint)])]).map(|_| ());
    let loss = HeatmapTransport::default();
    for joint in [[f64::NAN, 0.0], [0.0, f64::INFINITY]] {
        assert!(matches!(refused(loss.clone(), joint), Err(Error::NotFinite { what: "joint", index: 1, .. })));
    }
    for joint in [[-3.0, 6.0], [6.0, 99.0]] {
        assert!(matches!(refused(loss.clone(), joint), Err(Error::OutOfRange { index: 1, .. })), "{joint:?}");
    }
    // Where all weights are 0, on both sides; the axis that is wrong is named.
    for (joint, at, most) in [([-2.0, 6.0], -0.5, 5.5), ([22.0, 6.0], 5.5, 5.5), ([6.0, -2.0], -0.5, 3.5)] {
        let refused = refused(loss.clone(), joint);
        let named = matches!(refused, Err(Error::OutOfRange { value, max, .. }) if value == at && max == most);
        assert!(named, "{joint:?}: {refused:?}");
    }
    assert!(refused(loss.clone(), [-1.9, 13.9]).is_ok());
    for epsilon in [0.0, -1.0, 1e-10, 1e10, f64::NAN, f64::INFINITY] {
        let refused = refused(loss.clone().epsilon(epsilon), [6.0, 6.0]);
        assert!(matches!(refused, Err(Error::Option { name: "epsilon", .. })), "{epsilon}");
    }
    assert!(matches!(loss.on(device(), &[]).map(|_| ()), Err(Error::Empty { .. })));
    let joints = [Some([6.0, 6.0])];
    let bound = loss.on(device(), &[(grid, &joints)]).expect("a loss");
    let mut map = vec![0.25f32; 15];
    map[3] = f32::NAN;
    assert!(matches!(bound.evaluate(&device().upload(&map)).map(|_| ()), Err(Error::NotFinite { index: 3, .. })));
}
