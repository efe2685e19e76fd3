//! Exit codes and messages, the devices and the small commands.

use std::fs;

use splatport::{DensityTable, Grid, Splat, Wgpu};

use crate::scene::{answer, failure, folder, run, scene, write_scene};

#[test]
fn wrong_usage_ends_with_2() {
    let folder = folder("usage");
    fs::create_dir_all(folder.join("out")).expect("a folder");
    let tau = "option `tau` is 2: must lie between 0 and 1";
    let fitted = "--profile and --steps are of a fit: these Gaussians are fitted already";
    let sized = "--photo goes with an .h5 file: a table knows its photo's size";
    let cases: [(&[&str], &str); 34] = [
        (&[], "Usage: splatport"),
        (&["fit"], "unrecognized subcommand 'fit'"),
        (&["splat", "p.png", "p.csv", "-o", "g.txt"], "the name must end in .npz or .safetensors"),
        (&["splat", "p.png", "p.csv", "-o", "g.npz", "--profile", "best"], "use recommended, paper or reference"),
        (&["splat", "p.png", "p.csv", "-o", "g.npz", "--device", "tpu"], "this program was built with "),
        (&["splat", "p.png", "p.csv", "-o", "g.npz", "--device", "wgpu,wgpu"], "only `splatport run` takes several"),
        (&["run", "-m", "m.jsonl", "-o", "out", "--device", "wgpu,tpu"], "this program was built with "),
        (&["bench", "--device", "wgpu:first"], "`first` is not the index of a device"),
        (&["run", "-m", "m.jsonl", "-o", "out", "--threads", "0"], "0 is not in 1..=1024"),
        (&["run", "-m", "m.jsonl", "-o", "out", "--threads", "100000"], "100000 is not in 1..=1024"),
        (&["bench", "--points", "4294967295"], "4294967295 is not in 0..=1000000"),
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
        // What would be ignored.
        (&["run", "-m", "m.jsonl", "-o", "out", "--tau", "0.1"], "--stride <STRIDE>"),
        (
            &["report", "p.png", "p.csv", "-o", "p.html", "--results", "out"],
            "cannot be used with '--results <RESULTS>'",
        ),
        (&["report", "p.png", "p.csv", "-o", "p.html", "--most", "3"], "cannot be used with '--most <MOST>'"),
        (&["report", "p.png", "g.npz", "-o", "p.html", "--steps", "3"], fitted),
        (&["report", "p.png", "g.h5", "-o", "p.html", "--profile", "paper"], fitted),
        (&["report", "-m", "m.jsonl", "-r", "out", "-o", "p.html", "--steps", "3"], fitted),
        (&["kernel", "g.npz", "-o", "k.npz", "--photo", "p.png"], sized),
        (&["convert", "g.npz", "g.safetensors", "--photo", "p.png"], sized),
        (&["inspect", "p.csv", "--photo", "p.png"], sized),
        (&["bench", "p.png", "p.csv", "--side", "64"], "cannot be used with '--side <SIDE>'"),
        (&["bench", "p.png", "p.csv", "--points", "64"], "cannot be used with '--points <POINTS>'"),
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
    let (code, told) = failure(&folder, &["inspect", "coco.json"]);
    let expected = "error: coco.json has the points of many photos: `splatport manifest --coco` takes it\n";
    assert_eq!((code, &told[..]), (1, expected));
    fs::copy(folder.join("coco.json"), folder.join("p.json")).expect("a file");
    let output = run(&folder, &["manifest", ".", "--name", "{}.json", "-o", "m.jsonl"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(3) && told.contains("p.json has the points of many photos"), "{told}");
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

/// 8192 x 8192 numbers in one array, where the device has room for fewer.
#[test]
fn what_a_device_has_no_room_for_is_an_error() {
    let folder = folder("room");
    let largest = answer(&folder, &["devices"])["devices"][0]["largest_buffer"].as_u64().expect("bytes");
    let arguments = ["bench", "--side", "8192", "--points", "1", "--stride", "1", "--repeat", "1"];
    if largest >= 4 << 26 {
        println!("not run: the device has room for {largest} bytes");
        return;
    }
    let (code, told) = failure(&folder, &arguments);
    assert!(code == 1 && told.starts_with("error: density") && told.lines().count() == 1, "{code}: {told}");
}

/// The first device is the only one where there is one driver, Mesa's; a second is named as it is.
#[test]
fn a_device_is_named_by_its_index() {
    let folder = folder("devices-indexed");
    write_scene(&folder, "p", &scene(48, 40, 3, 0));
    let backend = if cfg!(feature = "vulkan") { "vulkan" } else { "wgpu" };
    let fit = |device: &str, output: &str| {
        let arguments = ["splat", "p.png", "p.csv", "--steps", "3", "-o", output, "--device", device];
        answer(&folder, &arguments)["device"].clone()
    };
    let count = Wgpu::names().len();
    let found = answer(&folder, &["devices"])["devices"].clone();
    let options: Vec<&str> =
        found.as_array().expect("devices").iter().filter_map(|row| row["option"].as_str()).collect();
    let indexed: Vec<String> = (0..count).map(|index| format!("{backend}:{index}")).collect();
    let expected = if count > 1 { &indexed[..] } else { &[] };
    assert!(options[0] == backend && options[1..options.len().min(1 + expected.len())] == *expected, "{options:?}");
    for (index, name) in Wgpu::names().iter().enumerate() {
        assert_eq!(fit(&format!("{backend}:{index}"), "indexed.npz"), *name);
    }
    if count == 1 {
        fit(backend, "g.npz");
        let [one, other] = ["g.npz", "indexed.npz"].map(|name| fs::read(folder.join(name)).expect("a file"));
        assert_eq!(one, other);
    }
    let beyond = format!("{backend}:{count}");
    let (code, told) = failure(&folder, &["splat", "p.png", "p.csv", "-o", "g.npz", "--device", &beyond]);
    assert!(code == 1 && told.contains(&format!("{count}, numbered from 0")), "{told}");
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
