//! The trainer: it lowers the loss, counts right, and goes on from a file with the same bits.

use std::{fs, path::Path};

use splatport::{
    Error, Grid, Kernel, Result,
    kernels::Single,
    train::{DensityModel, FreeDensity, Parameter, Trainer},
};

use super::{Buffer, Loss, R, Splat, bits, device, points, sample};
use crate::files::{folder, message};

type Trained<'a> = Trainer<'a, R, Single, FreeDensity<R, Single>>;

#[test]
fn free_densities_learn_the_nuclei() {
    let (image, annotations) = sample("nuclei_dsb2018");
    let loss = splatport::recipe().kernel(8).loss().run(device(), &image, &annotations).expect("a loss");
    let model = FreeDensity::new(device(), &loss, 125.0 / 4096.0).expect("a model");
    let mut trainer = Trainer::new(device(), &loss, model).rate(0.2);
    let first = trainer.epoch().expect("an epoch");
    for _ in 0..200 {
        trainer.epoch().expect("an epoch");
    }
    let last = trainer.epoch().expect("an epoch");
    // Measured: 198 at first, 2.5 at last. A hard boundary leaks nothing, so nothing but Adam's step size is left.
    assert!(first.loss > 100.0 && last.loss < 5.0 && last.mae < 1.0, "{first:?} {last:?}");
    assert_eq!((trainer.epochs(), last.epoch), (202, 202));
}

fn splat(places: &[[f64; 2]]) -> Splat {
    Splat::round(device(), &points(places), [24, 16], 4.0).expect("a splat")
}

/// The loss of so many images of one annotation, and of one of three.
fn loss(images: usize) -> Loss {
    let (one, three) = (splat(&[[6.0, 6.0]]), splat(&[[4.0, 4.0], [18.0, 9.0], [20.0, 12.0]]));
    let grid = Grid::over(24, 16, 4);
    let options = *one.kernel(grid).build().expect("a kernel").options().expect("options");
    let mut images = vec![(&one, grid); images];
    images.push((&three, grid));
    Kernel::of_all(device(), &images, options).expect("a kernel").loss()
}

fn trainer<'a>(loss: &'a Loss, density: f64) -> Trained<'a> {
    let model = FreeDensity::new(device(), loss, density).expect("a model");
    Trainer::new(device(), loss, model).rate(0.05)
}

fn state(trainer: &Trained<'_>) -> (u32, Vec<Vec<u32>>) {
    (trainer.epochs(), trainer.model().parameters().iter().map(|p| bits(&p.values)).collect())
}

#[test]
fn errors_of_counts_are_means() {
    let loss = loss(1);
    let epoch = trainer(&loss, 0.25).epoch().expect("an epoch");
    // 24 cells of 1/4 are 6: off by 5 and by 3. A softplus and its inverse in f32, 24 terms: 24 * 8 * 2^-24.
    assert!((epoch.mae - 4.0).abs() < 1e-5, "{epoch:?}");
    assert!((epoch.rmse - 17.0_f64.sqrt()).abs() < 1e-5, "{epoch:?}");
    let step = loss.evaluate(&device().filled(0.25_f32, 48)).expect("a step");
    assert!((epoch.loss - step.value().expect("a value")).abs() < 1e-5, "{epoch:?}");
}

#[test]
fn checkpoints_go_on_with_the_same_bits() {
    let (loss, path) = (loss(1), folder("checkpoints_go_on").join("model.safetensors"));
    let mut whole = trainer(&loss, 0.1);
    let mut losses = Vec::new();
    for epoch in 0..10 {
        if epoch == 4 {
            whole.save(&path).expect("a checkpoint");
        }
        losses.push(whole.epoch().expect("an epoch").loss.to_bits());
    }
    // Its step size is the checkpoint's from there on.
    let mut resumed = trainer(&loss, 0.7).rate(0.3);
    resumed.epoch().expect("an epoch");
    resumed.resume(&path).expect("a checkpoint");
    assert_eq!(resumed.epochs(), 4);
    let again: Vec<u64> = (4..10).map(|_| resumed.epoch().expect("an epoch").loss.to_bits()).collect();
    assert_eq!(again, losses[4..]);
    assert_eq!(state(&resumed), state(&whole));
}

fn rejects(trainer: &mut Trained<'_>, path: &Path, expected: &str) {
    let before = state(trainer);
    let error = trainer.resume(path).expect_err(expected);
    assert_eq!(message(&error, path), expected);
    assert_eq!(state(trainer), before, "{expected}");
}

#[test]
fn foreign_checkpoints_are_rejected() {
    let (loss, folder) = (loss(1), folder("foreign_checkpoints"));
    let mut trainer = trainer(&loss, 0.1);
    trainer.epoch().expect("an epoch");
    rejects(&mut trainer, &folder.join("missing"), "cannot read missing");
    for (other, expected) in [(0, 24), (2, 72)] {
        let other = self::loss(other);
        let path = folder.join("other");
        self::trainer(&other, 0.1).save(&path).expect("a checkpoint");
        rejects(&mut trainer, &path, &format!("other: array `density`: shape [{expected}], expected [48]"));
    }
    let parameter = device().filled(0.5_f32, 48);
    let path = folder.join("renamed");
    Trainer::new(device(), &loss, Broken { parameter }).save(&path).expect("a checkpoint");
    rejects(&mut trainer, &path, "renamed: array `density`: missing");
}

/// Every truncation and every damaged byte of the data is an error that leaves the trainer alone, and so is one of the header, or it
/// changes nothing.
#[test]
fn damaged_checkpoints_are_rejected() {
    let (loss, folder) = (loss(1), folder("damaged_checkpoints"));
    let mut trainer = trainer(&loss, 0.1);
    trainer.epoch().expect("an epoch");
    let whole = folder.join("whole");
    trainer.save(&whole).expect("a checkpoint");
    let bytes = fs::read(&whole).expect("bytes");
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let before = state(&trainer);
    let path = folder.join("damaged");
    let mut attempt = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).expect("a file");
        if let Err(error) = trainer.resume(&path) {
            assert!(matches!(error, Error::Read { .. } | Error::Format { .. }), "{what}: {error:?}");
            assert!(!message(&error, &path).is_empty());
            assert_eq!(state(&trainer), before, "{what}");
            return true;
        }
        false
    };
    for length in (0..bytes.len()).step_by(29) {
        assert!(attempt(&bytes[..length], "truncated"), "{length} of {} bytes were taken", bytes.len());
    }
    let rejected = (0..header).step_by(3).filter(|&at| {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x04;
        attempt(&damaged, "damaged")
    });
    assert!(rejected.count() > header / 6);
    for at in header..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x04;
        assert!(attempt(&damaged, "damaged data"), "byte {at} was taken");
    }
}

/// Numbers that no trainer leaves, in files that are whole.
#[test]
fn impossible_checkpoints_are_rejected() {
    let (loss, folder) = (loss(1), folder("impossible_checkpoints"));
    let mut trainer = trainer(&loss, 0.1);
    trainer.epoch().expect("an epoch");
    let whole = folder.join("whole");
    trainer.save(&whole).expect("a checkpoint");
    let bytes = fs::read(&whole).expect("bytes");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    // Without a check sum, as other programs write.
    let with = |name: &str, number: &[u8]| {
        let arrays = file.tensors().into_iter().map(|(own, array)| {
            let mut data = array.data().to_vec();
            if own == name {
                data[..number.len()].copy_from_slice(number);
            }
            (own, array.dtype(), array.shape().to_vec(), data)
        });
        let arrays: Vec<_> = arrays.collect();
        let views = arrays.iter().map(|(name, dtype, shape, data)| {
            (name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).expect("a view"))
        });
        let path = folder.join("changed");
        fs::write(&path, safetensors::serialize(views, None).expect("bytes")).expect("a file");
        path
    };
    for (name, number, said) in [
        ("density", f32::NAN.to_le_bytes(), "NaN"),
        ("adam.first.density", f32::INFINITY.to_le_bytes(), "inf"),
        ("adam.second.density", (-1.0f32).to_le_bytes(), "-1"),
    ] {
        rejects(&mut trainer, &with(name, &number), &format!("changed: array `{name}`: [0] is {said}"));
    }
    rejects(&mut trainer, &with("adam.rate", &(-0.5f64).to_le_bytes()), "changed: array `adam.rate`: [0] is -0.5");
    trainer.resume(with("epochs", &u32::MAX.to_le_bytes())).expect("a number of epochs");
    let before = state(&trainer);
    let error = trainer.epoch().expect_err("no more").to_string();
    assert_eq!(error, "epochs[0] is 4294967295, outside 0..=4294967294");
    assert_eq!(state(&trainer), before);
}

/// A model that has gone wrong.
struct Broken {
    parameter: Buffer,
}

impl DensityModel<R, Single> for Broken {
    fn density(&mut self) -> Result<Buffer> {
        Ok(device().filled(f32::NAN, 24))
    }
    fn backward(&mut self, gradient: &Buffer) -> Result<Vec<Option<Buffer>>> {
        Ok(vec![Some(gradient.clone())])
    }
    fn parameters(&self) -> Vec<Parameter<R, Single>> {
        vec![Parameter { name: "broken".to_owned(), values: self.parameter.clone() }]
    }
}

#[test]
fn losses_that_are_no_number_stop_the_training() {
    let loss = loss(0);
    let parameter = device().filled(0.5_f32, 24);
    let mut trainer = Trainer::new(device(), &loss, Broken { parameter: parameter.clone() });
    let error = trainer.epoch().expect_err("no number");
    assert!(matches!(error, Error::NotFinite { what: "loss of epoch", index: 0, .. }), "{error}");
    assert_eq!((trainer.epochs(), super::read(&parameter)), (0, vec![0.5; 24]));
}

#[test]
fn options_are_checked() {
    let loss = loss(1);
    for density in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = FreeDensity::new(device(), &loss, density).expect_err("a density").to_string();
        assert_eq!(error, format!("option `density` is {density}: must be positive and finite"));
    }
    for rate in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        let mut trainer = trainer(&loss, 0.1).rate(rate);
        let before = state(&trainer);
        let error = trainer.epoch().expect_err("a rate").to_string();
        assert_eq!(error, format!("option `rate` is {rate}: must be positive and finite"));
        assert_eq!(state(&trainer), before);
    }
}

/// A model's own error keeps its cause; a model that was trained can be taken out.
#[test]
fn errors_of_models_keep_their_cause() {
    struct Foreign(FreeDensity<R, Single>);

    impl DensityModel<R, Single> for Foreign {
        fn density(&mut self) -> Result<Buffer> {
            Err(Error::model("out of ideas"))
        }
        fn backward(&mut self, gradient: &Buffer) -> Result<Vec<Option<Buffer>>> {
            self.0.backward(gradient)
        }
        fn parameters(&self) -> Vec<Parameter<R>> {
            self.0.parameters()
        }
    }

    let loss = loss(0);
    let model = Foreign(FreeDensity::new(device(), &loss, 0.1).expect("a model"));
    let mut trainer = Trainer::new(device(), &loss, model);
    let error = trainer.epoch().expect_err("no density");
    let source = std::error::Error::source(&error).expect("a cause").to_string();
    assert_eq!((error.to_string().as_str(), source.as_str()), ("the model failed", "out of ideas"));
    assert_eq!(trainer.into_model().parameters().len(), 1);
}
