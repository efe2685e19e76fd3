//! Potentials: those of as many rounds of the oracle, in both shapes.

use proptest::collection::vec;
use splatport::kernels::{
    Shape,
    sinkhorn::{Problem, Rules},
};
use splatport::reference::sinkhorn as oracle;
use splatport::{Buffer, Device, Single};

use super::{
    Image, any_rules, balanced, exactly, half_error, image, images, prepared, solve, solve_by, solve_on, theirs,
};
use crate::device::{R, Tally, device, once, property};

/// Updates never move two sets of potentials further apart, so errors of rounds add: 2 halves a round and a first one.
/// Measured: 0.02 of it.
#[test]
fn equal_rounds_give_equal_potentials() {
    property("potentials", 24, (vec(images(0, 25), 1..4), any_rules(), 1..25usize), |(images, rules, limit), tally| {
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

/// Both shapes, twice, alone and in a batch. Measured: 0.008 of the tolerance.
#[test]
fn shapes_agree_and_bits_repeat() {
    property("shapes", 6, (vec(images(0, 25), 2..4), any_rules()), |(images, rules), tally| {
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
        all_close(&images, [&one, &other], limit, rules, tally);
    });
}

/// Two solvers' potentials after as many rounds.
fn all_close(images: &[Image], [one, other]: [&[[Vec<f64>; 2]]; 2], limit: usize, rules: &Rules, tally: &mut Tally) {
    for ((image, a), b) in images.iter().zip(one).zip(other) {
        let problem = theirs(image, rules);
        let epsilon = image.place.epsilons[0];
        let [cells, points] = a.clone();
        let at = oracle::Solution { cells, points, epsilon, rounds: limit };
        let tolerance = 2.0 * (2 * limit + 1) as f64 * half_error(&problem, &at, epsilon);
        tally.all_near("cell", &a[0], &b[0], |_| tolerance);
        tally.all_near("point", &a[1], &b[1], |_| tolerance);
    }
}

/// Beside large images and beside many points a row has fewer units and a unit two rows, with the same lanes and the same tree. Measured:
#[test]
fn units_of_a_row_do_not_change_its_bits() {
    once("units", |tally| {
        let many: Vec<[f64; 2]> = (0..4200).map(|n| [f64::from(n % 50) * 0.16, f64::from(n / 50) * 0.1]).collect();
        let points = [[6.0, 6.0], [18.5, 9.0], [211.0, 21.0]];
        let sizes: [(u32, u32, &[[f64; 2]]); 4] =
            [(6, 6, &points), (256, 128, &points), (2, 2, &many), (128, 256, &points)];
        let images = sizes.map(|(columns, rows, points)| image(columns, rows, points, vec![5000.0, 900.0]));
        let limit = 3;
        let [one, other] = [Shape::Gathered, Shape::Tiled].map(|shape| {
            let on = device().with_shape(shape);
            let got = solve_on(&on, &images, balanced(), exactly(limit)).potentials();
            for (image, together) in images.iter().zip(&got) {
                let alone = solve_on(&on, std::slice::from_ref(image), balanced(), exactly(limit)).potentials();
                tally.holds(alone[0] == *together, || format!("{shape:?}: alone is not as in a batch"));
            }
            got
        });
        all_close(&images, [&one, &other], limit, &balanced(), tally);
    });
}

/// Ten rounds, and ten more from where they ended, are twenty, to the bit: what points remember is their potentials alone.
#[test]
fn potentials_are_all_that_rounds_remember() {
    property("warm", 8, (vec(images(0, 25), 1..4), any_rules()), |(images, rules), tally| {
        let mut images: Vec<Image> = images.iter().map(|image| prepared(image, rules)).collect();
        images.iter_mut().for_each(|image| image.place.epsilons = vec![image.place.epsilons[0]]);
        let first = solve(&images, *rules, exactly(10));
        let from = first.problem.potentials(&first.on, &first.solution).1;
        let method = |problem: &Problem<R, Single>, on: &Device<R>, density: &Buffer<R, f32>| {
            problem.solve(on, density, Some(&from))
        };
        let second = solve_by(device(), &images, (*rules, exactly(10)), method);
        tally.equal("potentials", &second.potentials(), &solve(&images, *rules, exactly(20)).potentials());
    });
}
