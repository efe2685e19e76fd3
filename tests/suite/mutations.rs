//! Every reader, given damaged files: an error or what a whole file can hold, never a panic or a promise that is followed.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use splatport::{Annotations, DensityTable, GaussianTable, Image, Table};

use crate::annotations::npy;
use crate::data::points::{CROWD, KEYPOINTS, shipped};
use crate::device::property;
use crate::files::folder;
use crate::tables::{gaussians, kernel};

/// Damage to a file.
#[derive(Clone, Debug)]
enum Damage {
    Truncated(Index),
    FlippedBit(Index, u8),
    /// A number in a header that promises too much.
    Number(Index, u64, usize),
    Removed(Index, usize),
    Repeated(Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let numbers = prop_oneof![Just(0), Just(u64::MAX), Just(1 << 31), Just(1 << 61), Just(u64::MAX >> 1), any::<u64>()];
    prop_oneof![
        any::<Index>().prop_map(Damage::Truncated),
        (any::<Index>(), 0_u8..8).prop_map(|(at, bit)| Damage::FlippedBit(at, bit)),
        (any::<Index>(), numbers, 1_usize..9).prop_map(|(at, number, bytes)| Damage::Number(at, number, bytes)),
        (any::<Index>(), 1_usize..40).prop_map(|(at, bytes)| Damage::Removed(at, bytes)),
        (any::<Index>(), 1_usize..40).prop_map(|(at, bytes)| Damage::Repeated(at, bytes)),
    ]
}

impl Damage {
    fn to(&self, bytes: &mut Vec<u8>) {
        let (Self::Truncated(at)
        | Self::FlippedBit(at, _)
        | Self::Number(at, ..)
        | Self::Removed(at, _)
        | Self::Repeated(at, _)) = self;
        if bytes.is_empty() {
            return;
        }
        let at = at.index(bytes.len());
        let end = |length: usize| (at + length).min(bytes.len());
        match *self {
            Self::Truncated(_) => bytes.truncate(at),
            Self::FlippedBit(_, bit) => bytes[at] ^= 1 << bit,
            Self::Number(_, number, length) => {
                let end = end(length);
                bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            }
            Self::Removed(_, length) => drop(bytes.drain(at..end(length))),
            Self::Repeated(_, length) => {
                let again = bytes[at..end(length)].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}

/// Reads a file; what was read must be what a whole file can hold.
type Reader = fn(&Path) -> Result<(), String>;

fn photo(path: &Path) -> Result<(), String> {
    let image = Image::open(path).map_err(|error| error.to_string())?;
    let samples = image.width() as usize * image.height() as usize * usize::from(image.channels());
    assert_eq!(image.to_f32().len(), samples);
    assert!(image.to_f32().iter().all(|value| (0.0..=1.0).contains(value)));
    Ok(())
}

fn points(path: &Path) -> Result<(), String> {
    let points = Annotations::open(path).map_err(|error| error.to_string())?;
    assert!(points.points().as_flattened().iter().all(|value| value.is_finite()));
    Ok(())
}

/// A COCO file holds the joints of many photos, hence has a function of its own.
fn joints(path: &Path) -> Result<(), String> {
    let points = Annotations::from_coco(path, 7).map_err(|error| error.to_string())?;
    assert!(points.points().as_flattened().iter().all(|value| value.is_finite()));
    Ok(())
}

/// Likewise the authors' file, which lacks the size of its photo.
fn params(path: &Path) -> Result<(), String> {
    let table = GaussianTable::from_params(path, [64, 48]).map_err(|error| error.to_string())?;
    table.save_params(path).expect("a table that was read");
    Ok(())
}

fn density(path: &Path) -> Result<(), String> {
    let density = DensityTable::open(path).map_err(|error| error.to_string())?;
    assert_eq!(density.values.len(), density.rows * density.columns);
    Ok(())
}

/// A table that can be read can be written, which checks it.
fn table(path: &Path) -> Result<(), String> {
    let table = Table::open(path).map_err(|error| error.to_string())?;
    table.save(path).expect("a table that was read");
    Ok(())
}

/// Whole files of every format, and their readers.
fn whole(folder: &Path) -> Vec<(&'static str, Reader)> {
    let pixels: Vec<u8> = (0..20 * 14 * 3).map(|at| (at * 7 % 251) as u8).collect();
    let color = Image::from_u8(20, 14, 3, pixels.clone()).unwrap();
    color.save(folder.join("color.png")).unwrap();
    let deep: Vec<f32> = (0..60).map(|at| at as f32 / 60.0).collect();
    Image::from_f32(10, 6, 1, &deep).unwrap().save(folder.join("deep.png")).unwrap();
    let mut jpeg = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
    image::ImageEncoder::write_image(encoder, &pixels, 20, 14, image::ExtendedColorType::Rgb8).unwrap();
    fs::write(folder.join("photo.jpg"), jpeg).unwrap();
    fs::write(folder.join("points.csv"), "x,y,\"a, b\"\n1,2,3\n4.5,6,\"7\"\n-1e3,0,\n").unwrap();
    fs::write(folder.join("points.npy"), npy(None, npyz::Order::C, &[2, 2], &[1.0, 2.0, 3.0, 4.5])).unwrap();
    DensityTable { rows: 3, columns: 2, values: vec![0.5; 6] }.save(folder.join("density.npy")).unwrap();
    for ending in ["npz", "safetensors"] {
        gaussians().save(folder.join("gaussians").with_extension(ending)).unwrap();
        kernel().save(folder.join("kernel").with_extension(ending)).unwrap();
    }
    for name in ["shanghai.mat", "qnrf.mat", "params.h5", "params_v114.h5"] {
        fs::write(folder.join(name), shipped(name)).unwrap();
    }
    fs::write(folder.join("jhu.txt"), "12 30 8 10 1 0 \n\n  13  31  9  11  3  1\r\n").unwrap();
    fs::write(folder.join("nwpu.json"), CROWD).unwrap();
    fs::write(folder.join("coco.json"), KEYPOINTS).unwrap();
    vec![
        ("shanghai.mat", points),
        ("qnrf.mat", points),
        ("jhu.txt", points),
        ("nwpu.json", points),
        ("coco.json", joints),
        ("params.h5", params),
        ("params_v114.h5", params),
        ("color.png", photo),
        ("deep.png", photo),
        ("photo.jpg", photo),
        ("points.csv", points),
        ("points.npy", points),
        ("density.npy", density),
        ("gaussians.npz", table),
        ("gaussians.safetensors", table),
        ("kernel.npz", table),
        ("kernel.safetensors", table),
    ]
}

#[test]
fn damaged_files_are_errors_or_sound() {
    let (seeds, damaged) = (folder("mutations-seeds"), folder("mutations"));
    for (name, reader) in whole(&seeds) {
        let bytes = fs::read(seeds.join(name)).unwrap();
        let path = damaged.join(name);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(reader(&path), Ok(()), "{name}");
        let refused = Cell::new(0);
        property(name, 400, prop::collection::vec(damage(), 1..4), |damages, _| {
            let mut bytes = bytes.clone();
            damages.iter().for_each(|damage| damage.to(&mut bytes));
            fs::write(&path, &bytes).unwrap();
            if let Err(message) = reader(&path) {
                assert!(message.contains(name) && !message.contains('\n'), "{message}");
                refused.set(refused.get() + 1);
            }
        });
        println!("{name}: {} of 400 damaged files are refused", refused.get());
        assert!(refused.get() > 0, "{name}: every damaged file was read");
    }
}
