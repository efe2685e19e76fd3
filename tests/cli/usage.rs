//! Exit codes and messages, the devices and the small commands.

use std::fs;

use splatport::{DensityTable, Grid, Splat, Wgpu};

use crate::scene::{answer, failure, folder, run, scene, write_scene};

#[test]
fn wrong_usage_ends_with_2() {
    let folder = folder("usage");
    fs::create_dir_all(folder.join("out")).expect("a folder");
    let tau = "option `tau` is 2: must lie between 0 and 1";
    let cases: [(&[&str], &str); 19] = [
        (&[], "Usage: splatport"),
        (&["fit"], "unrecognized subcommand 'fit'"),
        (&["splat", "p.png", "p.csv", "-o", "g.txt"], "the name must end in .npz or .safetensors"),
        (&["splat", "p.png", "p.csv", "-o", "g.npz", "--profile", "best"], "use recommended, paper or reference"),
        (&["splat", "p.png", "p.csv", "-o", "g.npz", "--device", "tpu"], "this program was built with "),
        (&["splat", "p.png", "p.csv", "-o", "g.npz", "--device", "wgpu,wgpu"], "only `splatport run` takes several"),
        (&["run", "-m", "m.jsonl", "-o", "out", "--device", "wgpu,tpu"], "this program was built with "),
        (&["splat", "p.png", "p.csv", "-o", "g.npz", "--precision", "quarter"], "[possible values: single, half"),
        // What would end the work only after a fit.
        (&["run", "-m", "m.jsonl", "-o", "out", "--stride", "0"], "0 is not in 1.."),
        (&["run", "-m", "m.jsonl", "-o", "out", "--stride", "8", "--tau", "2"], tau),
        (&["run", "-m", "m.jsonl", "-o", "out", "--shard", "2/2"], "there is no shard 2 of 2: the first is 0"),
        (&["kernel", "g.npz", "-o", "k.npz", "--stride", "0"], "0 is not in 1.."),
        (&["kernel", "g.npz", "-o", "k.npz", "--tau", "2"], tau),
        (&["kernel", "g.npz", "-o", "k.npz", "--tau", "NaN"], "option `tau` is NaN: must lie between 0 and 1"),
        (&["bench", "--stride", "0"], "0 is not in 1.."),
        (&["report", "p.png", "p.csv", "-o", "p.html", "--stride", "0"], "0 is not in 1.."),
        (&["manifest", ".", "-o", "m.jsonl", "--name", "points.csv"], "it must have {} where the photo's name goes"),
        (&["verify", "out", "out", "--manifest", "m.jsonl"], "--manifest goes with one folder of results"),
        (&["verify", "g.npz", "--manifest", "m.jsonl"], "--manifest goes with one folder of results"),
    ];
    for (arguments, expected) in cases {
        let (code, told) = failure(&folder, arguments);
        assert_eq!(code, 2, "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}

#[test]
fn errors_end_with_1_and_write_nothing() {
    let folder = folder("errors");
    write_scene(&folder, "p", &scene(24, 16, 2, 0));
    fs::write(folder.join("empty.png"), "").expect("a file");
    fs::write(folder.join("bad.csv"), "x,z\n1,2\n").expect("a file");
    fs::write(folder.join("p.tif"), "1 2\n").expect("a file");
    fs::write(folder.join("coco.json"), r#"{"images": [], "annotations": [], "categories": []}"#).expect("a file");
    let cases: [(&[&str], &str); 6] = [
        (&["absent.png", "p.csv"], "error: cannot read absent.png: No such file or directory"),
        (&["empty.png", "p.csv"], "error: cannot read empty.png: "),
        (&["p.png", "bad.csv"], "error: bad.csv: no column `y`; columns: `x`, `z`"),
        (&["p.png", "p.tif"], "error: p.tif: the name ends in none of `.csv`, `.npy`, `.mat`, `.txt`, `.json`"),
        (
            &["p.png", "coco.json"],
            "error: coco.json has the points of many photos: `splatport manifest --coco` takes it",
        ),
        (&["p.png", "p.csv", "--precision", "double"], "error: "),
    ];
    for (arguments, expected) in cases {
        let (code, told) = failure(&folder, &[&["splat", "-o", "g.npz"], arguments].concat());
        assert_eq!(code, 1, "{arguments:?}: {told}");
        assert!(told.starts_with(expected) && told.lines().count() == 1, "{arguments:?}: {told}");
    }
    assert!(!folder.join("g.npz").exists());
}

#[test]
fn a_density_of_another_grid_is_refused() {
    let folder = folder("wrong-density");
    let (_, points) = scene(24, 16, 2, 0);
    let splat = Splat::round(&Wgpu::best().expect("a device"), &points, [24, 16], 3.0).expect("a splat");
    let kernel = splat.kernel(Grid::over(24, 16, 8)).build().expect("a kernel");
    kernel.table().expect("a table").save(folder.join("k.npz")).expect("a file");
    DensityTable { rows: 3, columns: 2, values: vec![0.0; 6] }.save(folder.join("d.npy")).expect("a file");
    let (code, told) = failure(&folder, &["loss", "k.npz", "--density", "d.npy"]);
    let expected =
        "error: d.npy has 3 x 2 values, the kernel 2 x 3 cells: use a density of the kernel's stride (8 px)\n";
    assert_eq!((code, told.as_str()), (1, expected));
}

#[test]
fn devices_are_listed_and_timed() {
    let folder = folder("devices");
    let found = answer(&folder, &["devices"]);
    let precisions = &found["devices"][0]["precisions"];
    assert_eq!((&precisions[0], found["devices"][0]["name"].is_string()), (&"single".into(), true), "{found}");
    let times = answer(&folder, &["bench", "--side", "48", "--points", "4", "--repeat", "1"]);
    for stage in ["fit", "kernel", "loss and gradient"].iter().zip(times["stages"].as_array().expect("stages")) {
        assert_eq!(stage.1["name"], *stage.0);
        assert!(stage.1["median"].as_f64().expect("seconds") > 0.0, "{times}");
    }
}

#[test]
fn shells_get_completions() {
    let folder = folder("completions");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&folder, &["completions", shell]);
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && script.contains("inspect"), "{shell}");
    }
    #[cfg(target_os = "linux")]
    {
        let full = fs::File::create("/dev/full").expect("a device");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_splatport"));
        let output = command.args(["completions", "bash"]).stdout(full).output().expect("the program");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &told[..]), (Some(1), "error: No space left on device (os error 28)\n"));
    }
    // Whoever reads only the beginning is no error.
    let mut reader = std::process::Command::new(env!("CARGO_BIN_EXE_splatport"));
    let child = reader.current_dir(&folder).args(["devices", "--json"]).stdout(std::process::Stdio::piped()).spawn();
    let mut child = child.expect("the program");
    drop(child.stdout.take());
    assert!(child.wait().expect("an end").success());
}
