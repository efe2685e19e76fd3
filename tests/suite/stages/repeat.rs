//! The same input gives the same bits, whatever lay in the memory before.

use splatport::{
    Grid, Single, SplatRecipe,
    splat::{ExtraGaussians, Inputs, Reconstruction, Solver},
    train::{FreeDensity, Trainer},
};

use super::{Loss, R, Splat, bits, bits_of, blobs, device, poison};

const ADAM: Solver = Solver::Adam { steps: 35, rate: 0.02 };
const GAUSS_NEWTON: Solver = Solver::GaussNewton { steps: 12 };

fn fit_bits(recipe: SplatRecipe<Inputs<'_, R, Single>>) -> Vec<u64> {
    bits_of(&recipe.fit(device()).expect("a splat"))
}

#[test]
fn fits_repeat() {
    let (grey, color) = (blobs(72, 50, 1), blobs(72, 50, 3));
    for solver in [ADAM, GAUSS_NEWTON] {
        let of_grey = || Splat::of(&grey.0, &grey.1).solver(solver);
        let runs: [(&str, &dyn Fn() -> Vec<u64>); 3] = [
            ("color", &|| fit_bits(Splat::of(&color.0, &color.1).solver(solver))),
            ("free", &|| fit_bits(of_grey().extra_gaussians(ExtraGaussians::Count(3)))),
            ("absolute", &|| fit_bits(of_grey().reconstruction(Reconstruction::L1))),
        ];
        for (name, run) in runs {
            let first = run();
            poison();
            assert!(run() == first, "{name} {solver:?}: other bits");
        }
    }
}

fn loss() -> Loss {
    let (image, annotations) = blobs(72, 50, 1);
    let splat = Splat::round(device(), &annotations, [72, 50], 4.0).expect("a splat");
    splat.kernel(Grid::strided(&image, 3)).build().expect("a kernel").loss().transport_cost(1e-3).expect("a loss")
}

#[test]
fn kernels_and_losses_repeat() {
    let run = || {
        let loss = loss();
        let table = loss.kernel().table().expect("a table");
        let step = loss.evaluate(&device().filled(0.037_f32, table.rows)).expect("a step");
        let value = step.value().expect("a value").to_bits();
        let weights: Vec<u64> = table.data.iter().map(|w| w.to_bits()).collect();
        (table.indices, weights, loss.kernel().certificate(), value, bits(step.gradient()), bits(step.transported()))
    };
    let first = run();
    poison();
    assert_eq!(run(), first);
}

#[test]
fn training_repeats() {
    let run = || {
        let loss = loss();
        let model = FreeDensity::new(device(), &loss, 0.02).expect("a model");
        let mut trainer = Trainer::new(device(), &loss, model).rate(0.05);
        let epochs: Vec<_> = (0..12).map(|_| trainer.epoch().expect("an epoch").loss.to_bits()).collect();
        let model = trainer.model();
        let parameters = splatport::train::DensityModel::parameters(model);
        (epochs, parameters.iter().map(|p| bits(&p.values)).collect::<Vec<_>>())
    };
    let first = run();
    poison();
    assert_eq!(run(), first);
}
