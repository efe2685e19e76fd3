//! From one photo to Gaussians, a kernel, a loss and pictures: the same as by the library.

use std::fs;
use std::path::Path;

use splatport::{CsrTable, DensityTable, GaussianTable, Grid, Image, Table, Wgpu};

use crate::scene::{answer, failure, folder, run, scene, write_scene};

#[test]
fn the_stages_give_what_the_library_gives() {
    let folder = folder("stages");
    let (image, points) = scene(72, 48, 6, 0);
    write_scene(&folder, "a photo", &(image.clone(), points.clone()));

    let told = answer(&folder, &["splat", "a photo.png", "a photo.csv", "-o", "g.npz", "--steps", "8"]);
    let device = Wgpu::best().expect("a device");
    let recipe = splatport::recipe();
    let recipe = recipe.clone().solver(recipe.options().solver.at_most(8));
    let splat = recipe.fit_all(&device, &[(&image, &points)]).expect("splats").remove(0);
    let gaussians = GaussianTable::open(folder.join("g.npz")).expect("gaussians");
    let origin = gaussians.origin.clone();
    assert_eq!(GaussianTable { origin: String::new(), ..gaussians }, splat.table().expect("a table"));
    assert_eq!(told["report"]["losses"], serde_json::json!(splat.report().losses));
    assert_eq!((&told["gaussians"], &told["profile"]), (&6.into(), &"recommended".into()));
    for part in ["\"steps\":8", "\"splatport\":\"0.", "\"precision\":\"single\""] {
        assert!(origin.contains(part), "no {part} in {origin}");
    }

    let told = answer(&folder, &["kernel", "g.npz", "-o", "k.safetensors", "--stride", "4", "--tau", "0.01"]);
    let kernel = splat.kernel(Grid::strided(&image, 4)).tau(0.01).build().expect("a kernel");
    let stored = CsrTable::open(folder.join("k.safetensors")).expect("a kernel");
    assert!(stored.origin.contains("\"kernel\":{\"stride\":4,"), "{}", stored.origin);
    assert_eq!(CsrTable { origin: String::new(), ..stored }, kernel.table().expect("a table"));
    assert_eq!(told["certificate"]["bound"], kernel.certificate().bound);
    // What a kernel says is its own precision and version, not its Gaussians'.
    let older = origin.replace("\"splatport\":\"", "\"splatport\":\"0.0.");
    GaussianTable { origin: older, ..splat.table().expect("a table") }.save(folder.join("old.npz")).expect("a file");
    for precision in ["single", "half"] {
        answer(&folder, &["kernel", "old.npz", "-o", "p.npz", "--stride", "4", "--precision", precision]);
        let origin = CsrTable::open(folder.join("p.npz")).expect("a kernel").origin;
        let expected = format!("{{\"splatport\":\"{}\",\"precision\":\"{precision}\"", env!("CARGO_PKG_VERSION"));
        assert!(origin.starts_with(&expected), "no {expected} in {origin}");
    }

    let values: Vec<f32> = (0..18 * 12).map(|cell| (cell % 7) as f32 * 0.01).collect();
    let density = DensityTable { rows: 12, columns: 18, values: values.clone() };
    density.save(folder.join("d.npy")).expect("a density");
    let told = answer(&folder, &["loss", "k.safetensors", "--density", "d.npy", "--gradient", "slope.npy"]);
    let step = kernel.loss().evaluate(&device.upload(&values)).expect("a step");
    assert_eq!(told["value"], step.value().expect("a value"));
    let slope = DensityTable::open(folder.join("slope.npy")).expect("a gradient");
    assert_eq!(slope.values, step.gradient().read().expect("a gradient"));
    // Without a density: as much mass as there are points.
    let told = answer(&folder, &["loss", "k.safetensors"]);
    assert!((told["mass"].as_f64().expect("a mass") - 6.0).abs() < 1e-5, "{told}");

    let told = answer(&folder, &["render", "g.npz", "a photo.png", "-o", "r.png", "--show", "reconstruction,residual"]);
    assert_eq!((&told["width"], &told["height"]), (&(72 * 2 + 4).into(), &48.into()));
    let picture = Image::open(folder.join("r.png")).expect("a picture");
    let values = splat.reconstruction().expect("an image");
    let expected = splatport::draw::reconstruction(72, 48, 1, &values).expect("a picture");
    let left = |image: &Image| -> Vec<f32> {
        image.to_f32().chunks(image.width() as usize * 3).flat_map(|row| row[..72 * 3].to_vec()).collect()
    };
    assert_eq!(left(&picture), left(&expected));
}

#[test]
fn files_are_told_converted_and_verified() {
    let folder = folder("files");
    let (image, points) = scene(40, 30, 3, 0);
    write_scene(&folder, "p", &(image, points.clone()));
    let device = Wgpu::best().expect("a device");
    let splat = splatport::Splat::round(&device, &points, [40, 30], 4.0).expect("a splat");
    let kernel = splat.kernel(Grid::over(40, 30, 8)).build().expect("a kernel").table().expect("a table");
    let table = || splat.table().expect("a table");
    table().save(folder.join("g.npz")).expect("a file");
    kernel.save(folder.join("k.npz")).expect("a file");
    DensityTable { rows: 4, columns: 5, values: vec![0.5; 20] }.save(folder.join("d.npy")).expect("a file");

    let kinds = [("p.png", "photo"), ("p.csv", "points"), ("g.npz", "gaussians"), ("k.npz", "kernel")];
    for (name, kind) in kinds.into_iter().chain([("d.npy", "density")]) {
        assert_eq!(answer(&folder, &["inspect", name])["kind"], kind, "{name}");
    }
    let told = answer(&folder, &["inspect", "g.npz"]);
    assert_eq!((&told["gaussians"], &told["scales"]), (&3.into(), &serde_json::json!([4.0, 4.0])));
    assert_eq!(answer(&folder, &["inspect", "d.npy"])["mass"], 10.0);
    // Nothing but text where the output is no terminal.
    let text = run(&folder, &["inspect", "g.npz"]).stdout;
    assert!(text.is_ascii() && !text.contains(&0x1b), "{}", String::from_utf8_lossy(&text));

    answer(&folder, &["convert", "k.npz", "k.safetensors"]);
    answer(&folder, &["convert", "k.safetensors", "back.npz"]);
    assert_eq!(Table::open(folder.join("k.safetensors")).expect("a table"), Table::Kernel(kernel));
    assert_eq!(fs::read(folder.join("back.npz")).expect("a file"), fs::read(folder.join("k.npz")).expect("a file"));

    assert_eq!(answer(&folder, &["verify", "."])["checked"], 4);
    let mut bytes = fs::read(folder.join("k.safetensors")).expect("a file");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(folder.join("k.safetensors"), bytes).expect("a file");
    let output = run(&folder, &["verify", "."]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3));
    assert!(told.contains("k.safetensors: check sum") && told.contains("4 files, 1 wrong"), "{told}");
    // Gaussians that no other command takes.
    for (at, (change, expected)) in [
        (GaussianTable { profile: "best".into(), ..table() }, "profile `best` is not one of"),
        (GaussianTable { opacities: vec![1.0, 1.5, 1.0], ..table() }, "opacities[1] is 1.5, outside 0..=1"),
        (GaussianTable { means: vec![[0.0, 2e7]; 3], ..table() }, "y[0] is 20000000, outside -16777216..=16777216"),
        (GaussianTable { scales: vec![[1.0, 1e-7]; 3], ..table() }, "scales[0] is "),
    ]
    .into_iter()
    .enumerate()
    {
        change.save(folder.join("wrong.npz")).expect("a file");
        for command in [&["verify", "wrong.npz"][..], &["kernel", "wrong.npz", "-o", "x.npz"]] {
            let output = run(&folder, command);
            let told = [output.stdout, output.stderr].concat();
            let told = String::from_utf8_lossy(&told);
            assert!(!output.status.success() && told.contains(expected), "{at}, {command:?}: {told}");
        }
    }
    fs::remove_file(folder.join("wrong.npz")).expect("a file");
    // What is read is checked, whatever the command.
    assert_eq!(run(&folder, &["convert", "k.safetensors", "other.npz"]).status.code(), Some(1));
    assert!(!folder.join("other.npz").exists());
}

/// Two Gaussians of a photo of 40 x 30 px, which is there too.
fn two_gaussians(folder: &Path) -> GaussianTable {
    write_scene(folder, "p", &scene(40, 30, 3, 0));
    let table = GaussianTable {
        means: vec![[10.5, 20.25], [1.0, 2.0]],
        scales: vec![[2.0, 1.0], [3.5, 0.125]],
        rotations: vec![0.5, -3.0],
        colors: vec![0.75, 0.5],
        channels: 1,
        opacities: vec![1.0; 2],
        profile: "recommended".into(),
        width: 40,
        height: 30,
        ..GaussianTable::default()
    };
    table.save(folder.join("g.npz")).expect("a file");
    table
}

#[test]
fn the_authors_files_are_converted_and_used() {
    let folder = folder("authors");
    let table = two_gaussians(&folder);
    answer(&folder, &["convert", "g.npz", "p_gs_params.h5"]);
    answer(&folder, &["convert", "p_gs_params.h5", "back.npz", "--photo", "p.png"]);
    let back = GaussianTable::open(folder.join("back.npz")).expect("gaussians");
    let colors = vec![0.75, 0.75, 0.75, 0.5, 0.5, 0.5];
    assert_eq!(back, GaussianTable { colors, channels: 3, profile: "reference".into(), ..table });

    // Without another step the file gives what the table gives.
    let inspected = answer(&folder, &["inspect", "p_gs_params.h5", "--photo", "p.png"]);
    assert_eq!((&inspected["gaussians"], &inspected["profile"]), (&2.into(), &"reference".into()));
    assert_eq!(inspected, answer(&folder, &["inspect", "back.npz"]));
    answer(&folder, &["kernel", "back.npz", "-o", "k.npz", "--stride", "8"]);
    answer(&folder, &["kernel", "p_gs_params.h5", "-o", "same.npz", "--stride", "8", "--photo", "p.png"]);
    let [one, other] = ["k.npz", "same.npz"].map(|name| fs::read(folder.join(name)).expect("a kernel"));
    assert!(one == other, "the kernels differ");
    let verified = answer(&folder, &["verify", "p_gs_params.h5", "same.npz"]);
    assert_eq!(verified, serde_json::json!({ "checked": 2, "wrong": [] }));
}

/// Their Gaussians are coloured: a grey photo is drawn as the coloured one with three equal channels is.
#[test]
fn the_authors_files_are_drawn() {
    let folder = folder("authors-drawn");
    two_gaussians(&folder).save_params(folder.join("p.h5")).expect("a file");
    answer(&folder, &["convert", "p.h5", "g.npz", "--photo", "p.png"]);
    let grey = Image::open(folder.join("p.png")).expect("a photo").to_f32();
    let values: Vec<f32> = grey.into_iter().flat_map(|value| [value; 3]).collect();
    fs::create_dir(folder.join("colored")).expect("a folder");
    let colored = Image::from_f32(40, 30, 3, &values).expect("an image");
    colored.save(folder.join("colored/p.png")).expect("a photo");

    let show = ["--show", "ellipses,reconstruction,residual,ownership"];
    let drawn = ["p.h5", "g.npz"].into_iter().zip(["p.png", "colored/p.png"]).map(|(gaussians, photo)| {
        answer(&folder, &[&["render", gaussians, photo, "-o", "r.png"], &show[..]].concat());
        answer(&folder, &["report", photo, gaussians, "-o", "r.html"]);
        let page = fs::read_to_string(folder.join("r.html")).expect("a page");
        (Image::open(folder.join("r.png")).expect("a picture"), page)
    });
    let [(picture, page), (expected, expected_page)] = drawn.collect::<Vec<_>>().try_into().expect("two");
    assert!(picture == expected, "the pictures differ");
    assert!(page.contains("40 x 30 px, grey</td>"), "the photo's own channels");
    assert!(page.replace("px, grey</td>", "px, color</td>") == expected_page, "the pages differ");
    // Points, but no fit, whose curve would be the third.
    assert!(page.contains("2</td>") && page.contains("reference</td>"), "what the file says");
    assert_eq!((page.matches("<img ").count(), page.matches("<svg ").count()), (4, 2));
}

#[test]
fn the_authors_files_are_refused_with_a_reason() {
    let folder = folder("authors-refused");
    two_gaussians(&folder).save_params(folder.join("p.h5")).expect("a file");
    answer(&folder, &["kernel", "g.npz", "-o", "k.npz", "--stride", "8"]);
    fs::write(folder.join("text.h5"), "x,y\n").expect("a file");
    let refused = |arguments: &[&str], expected: &str| {
        let (code, told) = failure(&folder, arguments);
        assert_eq!((code, told), (1, format!("error: {expected}\n")), "{arguments:?}");
    };
    let foreign = "text.h5: not an HDF5 file: HDF5 signature not found at any valid offset";
    for (command, output) in [("convert", &["x.npz"][..]), ("kernel", &["-o", "x.npz"]), ("inspect", &[])] {
        let without = "p.h5 lacks the size of its photo: give it with --photo";
        refused(&[&[command, "p.h5"], output].concat(), without);
        refused(&[&[command, "text.h5", "--photo", "p.png"], output].concat(), foreign);
    }
    refused(&["render", "text.h5", "p.png", "-o", "x.png"], foreign);
    refused(&["report", "p.png", "text.h5", "-o", "x.html"], foreign);
    let output = run(&folder, &["--json", "verify", "p.h5", "text.h5"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), told), (Some(3), serde_json::json!({ "checked": 2, "wrong": [foreign] })));
    refused(&["convert", "k.npz", "x.h5"], "x.h5: a kernel has no such format, only Gaussians");
    assert!(!folder.join("x.npz").exists() && !folder.join("x.h5").exists());
}
