//! Plans as tables of transport kernels.

use splatport::losses::{Epsilon, Sinkhorn};
use splatport::{CsrTable, Error, Grid, Kernel};

use super::sinkhorn::problem;
use super::{Scene, bound, densities, edges, scene, scenes, solutions};
use crate::device::sinkhorn::half_error;
use crate::device::{R, device, once, property};
use crate::stages::kernel::rows;

/// Rows are the shares of the oracle's plan given the device's potentials, up to `tau` and rounding; cells and masses are the
/// image's; the dropped mass is what it is. Measured: 0.5 of the tolerance.
#[test]
fn rows_are_the_shares_of_the_plan() {
    property("tables of plans", 12, scenes(1), |scenes, tally| {
        let scenes: Vec<Scene> = scenes.iter().filter(|scene| scene.mass() > 0.0).cloned().collect();
        if scenes.is_empty() {
            return;
        }
        let (tau, epsilon) = (1e-2, 100.0);
        let loss = Sinkhorn::default().epsilon(Epsilon::Absolute(epsilon)).on(device(), &bound(&scenes));
        let step = loss.expect("a loss").evaluate(&densities(&scenes)).expect("a step");
        let tables = step.plan_tables(tau).expect("tables");
        tally.equal("images", &tables.len(), &scenes.len());
        for ((scene, table), at) in scenes.iter().zip(&tables).zip(solutions(&scenes, &step, |_| epsilon)) {
            let problem = problem(scene);
            let rounding = (3.0 * half_error(&problem, &at, epsilon) / epsilon).exp_m1();
            let mut dropped = 0.0_f64;
            for (i, (row, want)) in rows(table).iter().zip(problem.plan(&at)).enumerate() {
                let total: f64 = want.iter().sum();
                if total == 0.0 {
                    tally.equal("background of an empty cell", &row[want.len()], &1.0);
                    continue;
                }
                let apart: f64 = row.iter().zip(&want).map(|(share, mass)| (share - mass / total).abs()).sum();
                tally.near("row", i, (apart, 0.0), tau + 2.0 * rounding);
                let kept: f64 = row.iter().zip(&want).filter(|(share, _)| **share > 0.0).map(|(_, mass)| mass).sum();
                dropped = dropped.max(1.0 - kept / total);
            }
            tally.near("dropped", 0, (table.worst_dropped, dropped), 2.0 * rounding);
            tally.holds(table.worst_dropped <= table.bound && table.bound < tau, || format!("{table:?}"));
            let kernel = Kernel::<R>::from_table(device(), table).expect("a kernel");
            tally.equal("grid", &kernel.grid(), &scene.grid);
            tally.equal("table", &kernel.table().expect("a table").data, &table.data);
        }
    });
}

/// Every loss that solves has tables of kernels, whatever its epsilon and its image.
#[test]
fn every_plan_is_a_kernel() {
    once("every plan", |tally| {
        let scenes = edges::extremes();
        for epsilon in [1e-9, 0.01, 1e9] {
            for (name, loss) in edges::solved(&scenes, epsilon) {
                let step = loss.expect("a loss").evaluate(&densities(&scenes)).expect("a step");
                for table in step.plan_tables(1e-3).expect("tables") {
                    let checked = table.check_kernel();
                    tally.holds(checked.is_ok(), || format!("{name}, {epsilon}: {checked:?}"));
                    if table.cols == 1 {
                        let background = CsrTable { indices: vec![0; 15], data: vec![1.0; 15], ..table.clone() };
                        tally.equal("no annotations", &table, &background);
                    }
                }
            }
        }
        let loss = Sinkhorn::default().on(device(), &bound(&[scene(0.25, &[[9.0, 9.0]])])).expect("a loss");
        let step = loss.evaluate(&device().filled(0.25, Grid::over(40, 24, 8).len())).expect("a step");
        for tau in [1.0, -0.1, f64::NAN] {
            let refused = step.plan_tables(tau);
            tally.holds(matches!(refused, Err(Error::Option { name: "tau", .. })), || format!("{refused:?}"));
        }
    });
}
