//! Many photos: shards that are killed and run again, and photos that are bad.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use image::ImageEncoder;
use image::codecs::jpeg::JpegEncoder;
use serde_json::Value;
use splatport::Pixels;

use crate::scene::{answer, failure, folder, run, scene, splatport, write_scene};

/// Few steps, a kernel too, one photo at a time.
pub const RUN: [&str; 8] = ["run", "--manifest", "m.jsonl", "--steps", "3", "--stride", "8", "--batch"];

/// Writes `count` scenes of several sizes, and their manifest.
pub fn data_set(folder: &Path, count: u32) {
    fs::create_dir_all(folder.join("photos/Straße 7")).expect("a folder");
    for n in 0..count {
        let name = if n % 4 == 3 { format!("photos/Straße 7/{n}") } else { format!("photos/scene {n}") };
        write_scene(folder, &name, &scene(48 + 8 * (n % 3), 40, 2 + n % 5, n));
    }
    let told = answer(folder, &["manifest", "photos", "-o", "m.jsonl"]);
    assert_eq!((&told["photos"], &told["failed"]), (&count.into(), &Value::Array(Vec::new())));
}

/// The results of a folder, by name.
pub fn results(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "npz") {
                let name = path.strip_prefix(folder).expect("inside").to_string_lossy().into_owned();
                found.insert(name, fs::read(path).expect("a file"));
            }
        }
    }
    found
}

pub fn start(folder: &Path, out: &str, further: &[&str]) -> Child {
    let arguments = [&RUN[..], &["1", "--out", out], further].concat();
    let mut command = Command::new(env!("CARGO_BIN_EXE_splatport"));
    command.current_dir(folder).env("XDG_RUNTIME_DIR", folder).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program")
}

/// Waits until `out` has a file.
fn first_result(out: &Path) {
    let start = Instant::now();
    while !out.is_dir() || results(out).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(300), "no result in {}", out.display());
        sleep(Duration::from_millis(5));
    }
}

/// The lines of a report, by photo.
fn report(path: &Path) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(path).expect("a report");
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    records.map(|record| (record["id"].as_str().expect("an id").to_owned(), record)).collect()
}

#[test]
fn killed_shards_end_as_one_run() {
    let folder = folder("shards");
    data_set(&folder, 18);
    let whole = answer(&folder, &[&RUN[..], &["1000000", "--out", "whole"]].concat());
    assert_eq!((&whole["written"], &whole["kept"], &whole["failed"]), (&18.into(), &0.into(), &0.into()));
    let expected = results(&folder.join("whole"));
    assert_eq!(expected.len(), 36);
    assert!(expected.contains_key("Straße 7/3.gaussians.npz") && expected.contains_key("scene 0.kernel.npz"));

    // The first has a folder of its own for a start, to see what it has when it is killed.
    let mut shards = [start(&folder, "parts", &["--shard", "0/3"]), start(&folder, "others", &["--shard", "1/3"])]
        .into_iter()
        .chain([start(&folder, "others", &["--shard", "2/3"])])
        .collect::<Vec<_>>();
    first_result(&folder.join("parts"));
    shards[0].kill().expect("a process");
    for shard in &mut shards {
        shard.wait().expect("an end");
    }
    let left = results(&folder.join("parts"));
    assert!((1..12).contains(&left.len()), "{} of 12 files: the process was not killed midway", left.len());
    assert!(left.iter().all(|(name, bytes)| expected[name] == *bytes), "half a file under a final name");
    assert_eq!(run(&folder, &["verify", "parts", "others"]).status.code(), Some(0));

    let again = answer(&folder, &[&RUN[..], &["1", "--out", "parts", "--shard", "0/3"]].concat());
    assert_eq!((&again["photos"], &again["failed"]), (&6.into(), &0.into()));
    let kept = left.keys().filter(|name| name.ends_with(".gaussians.npz")).count();
    assert_eq!(again["kept"], kept, "what was finished is kept");
    let merged = answer(&folder, &["merge", "parts", "others", "-o", "merged"]);
    assert_eq!((&merged["copied"], &merged["photos"]), (&36.into(), &18.into()));
    assert_eq!(results(&folder.join("merged")), expected, "not the bytes of the unsharded run");
    answer(&folder, &["verify", "merged", "--manifest", "m.jsonl"]);
    let unfinished = answer(&folder, &["gc", "parts", "--older", "0", "--delete"])["files"].clone();
    let unfinished = unfinished.as_array().expect("a list").len();
    let names: Vec<_> = fs::read_dir(folder.join("parts")).expect("a folder").collect();
    assert!(names.into_iter().all(|name| !name.expect("an entry").file_name().to_string_lossy().ends_with(".tmp")));
    // The report at least was being written.
    assert!(unfinished >= 1);
}

/// Two workers on one device are all that a machine without GPUs can have; that they are on different ones changes no code.
#[test]
fn devices_share_a_run_and_give_the_bytes_of_one() {
    let folder = folder("devices-shared");
    data_set(&folder, 10);
    let (image, points) = scene(48, 40, 3, 9);
    write_scene(&folder, "photos/bad", &(image, points));
    answer(&folder, &["manifest", "photos", "-o", "m.jsonl"]);
    fs::write(folder.join("photos/bad.png"), "no longer a photo").expect("a file");
    let backend = if cfg!(feature = "vulkan") { "vulkan" } else { "wgpu" };
    let ran = |out: &str, devices: &str| -> (Value, _) {
        let arguments = [&["--json"], &RUN[..], &["1000000", "--out", out, "--device", devices]].concat();
        let output = run(&folder, &arguments);
        // One photo is bad, and stops neither.
        assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((&told["written"], &told["failed"]), (&10.into(), &1.into()), "{told}");
        (told["times"]["shares"].clone(), report(&folder.join(out).join("report.jsonl")))
    };
    let (alone, expected) = ran("one", backend);
    assert_eq!(alone, serde_json::json!([10]));
    assert!(expected["bad"]["error"].as_str().is_some_and(|error| error.contains("changed after the manifest")));
    let (shares, records) = ran("two", &format!("{backend},{backend}"));
    let shares: Vec<u64> = serde_json::from_value(shares).expect("shares");
    // Whatever is ready at once: none takes more than its part.
    assert!(
        shares.len() == 2 && shares.iter().sum::<u64>() == 10 && shares.iter().all(|&share| share > 0),
        "{shares:?}"
    );
    assert_eq!(records, expected);
    assert_eq!(results(&folder.join("two")), results(&folder.join("one")), "not the bytes of one device");
}

#[test]
fn results_are_kept_replaced_or_refused() {
    let folder = folder("again");
    data_set(&folder, 3);
    let arguments = [&RUN[..], &["1000000", "--out", "out"]].concat();
    assert_eq!(answer(&folder, &arguments)["written"], 3);
    let first = results(&folder.join("out"));
    assert_eq!(answer(&folder, &arguments)["kept"], 3);
    let other = [&arguments[..], &["--profile", "reference"]].concat();
    let refused = run(&folder, &other);
    let told = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{told}");
    assert!(told.contains("was made from another photo, recipe or version: --force replaces it"), "{told}");
    assert_eq!(results(&folder.join("out")), first, "touched without --force");
    assert_eq!(answer(&folder, &[&other[..], &["--force"]].concat())["written"], 3);
    let replaced = results(&folder.join("out"));
    assert!(replaced.keys().eq(first.keys()) && replaced.iter().all(|(name, bytes)| first[name] != *bytes));
}

#[test]
fn a_killed_run_that_replaces_results_goes_on_where_it_was() {
    let folder = folder("force");
    data_set(&folder, 12);
    answer(&folder, &[&RUN[..], &["1000000", "--out", "out"]].concat());
    let first = results(&folder.join("out"));
    let other = ["--profile", "reference", "--force"];
    let mut child = start(&folder, "out", &other);
    let replaced = || {
        let now = results(&folder.join("out"));
        now.iter().filter(|(name, bytes)| name.contains(".gaussians.") && first[*name] != **bytes).count()
    };
    let begin = Instant::now();
    while replaced() == 0 {
        assert!(begin.elapsed() < Duration::from_secs(300), "nothing is replaced");
        sleep(Duration::from_millis(5));
    }
    child.kill().expect("a process");
    child.wait().expect("an end");
    let done = replaced();
    assert!((1..12).contains(&done), "{done} of 12 photos: the process was not killed midway");
    let again = answer(&folder, &[&RUN[..], &["1000000", "--out", "out"], &other].concat());
    assert_eq!((&again["kept"], &again["written"]), (&done.into(), &(12 - done).into()));
    answer(&folder, &[&RUN[..], &["1000000", "--out", "fresh"], &other].concat());
    assert_eq!(results(&folder.join("out")), results(&folder.join("fresh")));
    // What is damaged is written again, and only that.
    let path = folder.join("out/scene 1.kernel.npz");
    fs::write(&path, "no table").expect("a file");
    let again = answer(&folder, &[&RUN[..], &["1000000", "--out", "out"], &other].concat());
    assert_eq!((&again["kept"], &again["written"]), (&11.into(), &1.into()));
    assert_eq!(results(&folder.join("out")), results(&folder.join("fresh")));
}

#[cfg(unix)]
#[test]
fn a_signal_leaves_what_can_go_on() {
    let folder = folder("signal");
    data_set(&folder, 12);
    let child = start(&folder, "out", &[]);
    first_result(&folder.join("out"));
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(kill.expect("kill").success());
    let output = child.wait_with_output().expect("an end");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("of 12 photos: the same command goes on with the rest"), "{told}");
    let done = results(&folder.join("out")).keys().filter(|name| name.contains(".gaussians.")).count();
    let written = |record: &Value| record["status"] == "written";
    assert_eq!(report(&folder.join("out/report.jsonl")).values().filter(|record| written(record)).count(), done);
    let unfinished = answer(&folder, &["gc", "out", "--older", "0"])["files"].clone();
    assert_eq!(unfinished, serde_json::json!([]));
    let rest = answer(&folder, &[&RUN[..], &["1000000", "--out", "out"]].concat());
    assert_eq!((&rest["kept"], &rest["written"]), (&done.into(), &(12 - done).into()));
}

#[test]
fn a_bad_photo_does_not_stop_the_others() {
    let folder = folder("bad");
    data_set(&folder, 3);
    let (image, points) = scene(48, 40, 3, 9);
    write_scene(&folder, "photos/truncated", &(image.clone(), points.clone()));
    let Pixels::U8(samples) = image.pixels() else { unreachable!("an 8-bit scene") };
    let mut jpeg = Vec::new();
    JpegEncoder::new(&mut jpeg).write_image(samples, 48, 40, image::ExtendedColorType::L8).expect("a JPEG");
    fs::remove_file(folder.join("photos/truncated.png")).expect("a file");
    fs::write(folder.join("photos/truncated.jpg"), &jpeg[..jpeg.len() * 2 / 3]).expect("a file");
    for name in ["empty", "lost", "changed", "emptied"] {
        write_scene(&folder, &format!("photos/{name}"), &(image.clone(), points.clone()));
    }
    fs::write(folder.join("photos/empty.png"), "").expect("a file");
    fs::copy(folder.join("photos/lost.png"), folder.join("photos/no points.png")).expect("a file");

    let output = run(&folder, &["manifest", "photos", "-o", "m.jsonl", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &told["photos"]), (Some(3), &7.into()), "{told}");
    assert_eq!(told["without_points"], serde_json::json!(["photos/no points.png"]));
    assert!(told["failed"][0].as_str().is_some_and(|error| error.contains("photos/empty.png")), "{told}");
    fs::remove_file(folder.join("photos/lost.csv")).expect("a file");
    fs::write(folder.join("photos/changed.csv"), "x,y\n1,2\n").expect("a file");
    fs::write(folder.join("photos/emptied.png"), "").expect("a file");

    let output = run(&folder, &[&RUN[..], &["1000000", "--out", "out"]].concat());
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let records = report(&folder.join("out/report.jsonl"));
    let error = |id: &str| records[id]["error"].as_str().unwrap_or_default();
    assert!(error("truncated").starts_with("cannot read photos/truncated.jpg: "), "{}", error("truncated"));
    assert!(error("lost").starts_with("cannot read photos/lost.csv: No such file"), "{}", error("lost"));
    for (id, file) in [("changed", "changed.csv"), ("emptied", "emptied.png")] {
        assert!(error(id).starts_with(&format!("photos/{file} changed after the manifest was made")), "{}", error(id));
    }
    assert_eq!(records.values().filter(|record| record["status"] == "written").count(), 3);
    assert_eq!(results(&folder.join("out")).len(), 6);
}

/// A folder under a result's name, and a name that has no room for the result's ending: no other photo is the worse for
/// it.
#[cfg(unix)]
#[test]
fn a_result_that_cannot_be_written_does_not_stop_the_others() {
    let folder = folder("unwritable");
    let long = "n".repeat(248);
    data_set(&folder, 4);
    write_scene(&folder, &format!("photos/{long}"), &scene(48, 40, 3, 9));
    answer(&folder, &["manifest", "photos", "-o", "m.jsonl"]);
    fs::create_dir_all(folder.join("out/scene 1.gaussians.npz")).expect("a folder");
    for further in [&[][..], &["--force"]] {
        let output = run(&folder, &[&RUN[..], &["1", "--out", "out"], further].concat());
        assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
        let records = report(&folder.join("out/report.jsonl"));
        let error = |id: &str| records[id]["error"].as_str().unwrap_or_default();
        assert!(error("scene 1").ends_with("is a directory"), "{}", error("scene 1"));
        assert!(error(&long).contains("File name too long"), "{}", error(&long));
        assert_eq!(records.values().filter(|record| record["status"] != "failed").count(), 3);
    }
}

#[test]
fn folders_that_disagree_are_not_merged() {
    let folder = folder("merge");
    for (name, content) in [("a", "one"), ("b", "two")] {
        fs::create_dir(folder.join(name)).expect("a folder");
        fs::write(folder.join(name).join("x.gaussians.npz"), content).expect("a file");
    }
    let (code, told) = failure(&folder, &["merge", "a", "b", "-o", "c"]);
    let expected = "error: b/x.gaussians.npz and c/x.gaussians.npz differ: one is of another run\n";
    assert_eq!((code, told.as_str()), (1, expected));
    let line = |id: &str, status: &str| format!("{{\"id\":\"{id}\",\"status\":\"{status}\",\"error\":\"full\"}}\n");
    fs::write(folder.join("a/report.0-of-2.jsonl"), line("x", "kept") + &line("y", "failed")).expect("a file");
    fs::write(folder.join("b/report.1-of-2.jsonl"), line("x", "failed")).expect("a file");
    fs::write(folder.join("b/x.gaussians.npz"), "one").expect("a file");
    let output = splatport(&folder, &["--json", "merge", "a", "b", "-o", "c"]).output().expect("the program");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &told["photos"], &told["failed"]), (Some(3), &2.into(), &1.into()));
    let records = report(&folder.join("c/report.jsonl"));
    assert_eq!((&records["x"]["status"], &records["y"]["status"]), (&"kept".into(), &"failed".into()));
}
