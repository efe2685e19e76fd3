//! Photos of which one has no kernel.

use std::fs;

use splatport::{Annotations, Image};

use crate::scene::{answer, folder, run, scene, write_scene};

/// Side of the dense photo, px: in cells of 16 px one tile, which is of interest to all of its Gaussians, one a pixel. Those are more
/// than a device that runs units one after the other can go through; each of the fit's tiles has few.
const SIDE: u32 = 128;

#[test]
fn one_without_a_kernel_leaves_the_others_theirs() {
    let folder = folder("no-kernel");
    fs::create_dir(folder.join("photos")).expect("a folder");
    for n in 0..5 {
        write_scene(&folder, &format!("photos/{n}"), &scene(48 + 8 * n, 40, 2 + n, n));
    }
    let arguments = ["run", "--manifest", "m.jsonl", "--steps", "1", "--stride", "16", "--out"];
    answer(&folder, &["manifest", "photos", "-o", "m.jsonl"]);
    answer(&folder, &[&arguments[..], &["without"]].concat());

    let centre = |at: u32| [f64::from(at % SIDE) + 0.5, f64::from(at / SIDE) + 0.5];
    let points: Vec<[f64; 2]> = (0..SIDE * SIDE).map(centre).collect();
    let shades: Vec<u8> = (0..SIDE * SIDE).map(|at| (at % 251) as u8).collect();
    let dense = (Image::from_u8(SIDE, SIDE, 1, shades).expect("an image"), Annotations::new(points).expect("points"));
    write_scene(&folder, "photos/dense", &dense);
    answer(&folder, &["manifest", "photos", "-o", "m.jsonl"]);
    let output = run(&folder, &[&["--json"], &arguments[..], &["with"]].concat());
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    if told["devices"][0].as_str().expect("a name").contains("llvmpipe") {
        assert_eq!((&told["written"], &told["failed"], output.status.code()), (&5.into(), &1.into(), Some(3)));
        let error = "Gaussians that matter for one tile: 16384 is not within 0..=16000";
        assert_eq!(told["errors"]["dense"], error);
    }
    for n in 0..5 {
        for name in [format!("{n}.gaussians.npz"), format!("{n}.kernel.npz")] {
            let [one, other] = ["with", "without"].map(|out| fs::read(folder.join(out).join(&name)).expect("a file"));
            assert!(one == other, "{name}");
        }
    }
}
