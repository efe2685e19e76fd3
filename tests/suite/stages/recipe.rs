//! The whole chain as a value: it gives what the steps give, for any image, and can be stored.

use splatport::{
    Annotations, Discrepancy, Grid, Image, LossRecipe,
    kernel::{Background, CutOff, ScaleClip},
    splat::{BackgroundImage, Prior, Solver},
};

use super::{Splat, bits, blobs, device, photo, points};

const SOLVER: Solver = Solver::GaussNewton { steps: 5 };
const DISCREPANCY: Discrepancy = Discrepancy::PoissonKl { least: 0.25 };
const BACKGROUND: Background = Background::Soft { cut_off: 2.0, rule: CutOff::Exponent };

fn recipe() -> LossRecipe {
    let splat = splatport::recipe().solver(SOLVER).background_image(BackgroundImage::KnnMask).support(9.0);
    let kernel = splat.kernel(4).background(BACKGROUND).scale_clip(ScaleClip::None).tau(1e-4);
    kernel.loss().discrepancy(DISCREPANCY).transport_cost(0.01)
}

fn images() -> Vec<(Image, Annotations)> {
    let empty = (photo(9, 31, 3, &[0.5; 9 * 31 * 3]), points(&[]));
    let single = (photo(33, 17, 1, &super::noise(4, 33 * 17)), points(&[[12.5, 8.0]]));
    vec![blobs(40, 30, 1), blobs(24, 50, 3), empty, single]
}

#[test]
fn recipes_are_the_chain() {
    let images = images();
    let pairs: Vec<_> = images.iter().map(|(image, points)| (image, points)).collect();
    let whole = recipe().run_all(device(), &pairs).expect("a loss");
    let cells: usize = whole.kernel().parts().iter().map(|(_, grid)| grid.len()).sum();
    let joint = bits(whole.evaluate(&device().filled(0.04_f32, cells)).expect("a step").transported());
    let mut column = 0;
    for (image, annotations) in &images {
        let fit = Splat::of(image, annotations).solver(SOLVER).background_image(BackgroundImage::KnnMask).support(9.0);
        let splat = fit.fit(device()).expect("a splat");
        let build = splat.kernel(Grid::strided(image, 4)).background(BACKGROUND).scale_clip(ScaleClip::None).tau(1e-4);
        let loss = build.build().expect("a kernel").loss().transport_cost(0.01).expect("a loss");
        let loss = loss.discrepancy(DISCREPANCY).expect("a loss");
        let alone = recipe().run(device(), image, annotations).expect("a loss");
        assert_eq!(alone.kernel().table().expect("a table"), loss.kernel().table().expect("a table"));
        let density = device().filled(0.04_f32, loss.kernel().grid().len());
        let [a, b] = [alone, loss].map(|loss| loss.evaluate(&density).expect("a step"));
        assert_eq!(a.value().expect("a value").to_bits(), b.value().expect("a value").to_bits());
        assert_eq!((bits(a.gradient()), bits(a.transported())), (bits(b.gradient()), bits(b.transported())));
        assert_eq!(bits(b.transported()), joint[column..column + annotations.len() + 1]);
        column += annotations.len() + 1;
    }
    assert_eq!(column, joint.len());
}

/// Bound to an image by a builder of its own, a recipe is the same as without.
#[test]
fn every_option_is_carried() {
    let prior = Some(Prior { size: 0.5, aspect: 0.25 });
    let unbound = splatport::recipe().prior(prior).solver(SOLVER);
    let (image, annotations) = blobs(24, 24, 1);
    let bound = Splat::of(&image, &annotations).prior(prior).solver(SOLVER);
    assert_eq!(unbound.options(), bound.options());
}

#[test]
fn recipes_can_be_stored() {
    for recipe in [recipe(), splatport::recipe().kernel(8).loss()] {
        let text = serde_json::to_string(&recipe).expect("text");
        let back: LossRecipe = serde_json::from_str(&text).expect("a recipe");
        assert_eq!(back, recipe, "{text}");
    }
    assert_ne!(recipe(), splatport::recipe().kernel(8).loss());
    let text = serde_json::to_string(&recipe()).expect("text").replace("KnnMask", "Unknown");
    let error = serde_json::from_str::<LossRecipe>(&text).expect_err("an unknown background").to_string();
    assert!(error.contains("unknown variant `Unknown`"), "{error}");
}

/// What is stored may hold any number: it is checked when it runs.
#[test]
fn stored_options_are_checked() {
    let text = serde_json::to_string(&recipe()).expect("text").replace("\"tau\":0.0001", "\"tau\":2.5");
    let recipe: LossRecipe = serde_json::from_str(&text).expect("a recipe");
    let (image, annotations) = blobs(24, 24, 1);
    let error = recipe.run(device(), &image, &annotations).expect_err("a tau of 2.5");
    assert_eq!(error.to_string(), "option `tau` is 2.5: must lie between 0 and 1");
    let error = splatport::recipe().kernel(4).loss().transport_cost(f64::NAN).run(device(), &image, &annotations);
    assert_eq!(
        error.expect_err("no number").to_string(),
        "option `transport cost` is NaN: must be finite, in the device's float too"
    );
    let huber = splatport::recipe().kernel(4).loss().discrepancy(Discrepancy::Huber { width: 0.0 });
    let error = huber.run(device(), &image, &annotations).expect_err("no width").to_string();
    assert_eq!(error, "option `width` is 0: must be positive and finite, in the device's float too");
}

/// Recipes that were stored before they had a discrepancy have the paper's.
#[test]
fn stored_without_a_discrepancy() {
    let recipe = splatport::recipe().kernel(8).loss();
    let text = serde_json::to_string(&recipe).expect("text");
    let without = text.replace("\"discrepancy\":\"L1\",", "");
    assert_ne!(without, text);
    assert_eq!(serde_json::from_str::<LossRecipe>(&without).expect("a recipe"), recipe);
}
