//! Folders of photos and of results: what belongs in them, what is left over, and what is behind links.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::dataset::{RUN, data_set, results, start};
use crate::scene::{answer, folder, run};

/// The lines of an answer that verifies, without their first word; the exit code must be that of some that failed.
fn wrong(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let output = run(folder, &[&["verify", "--json"], arguments].concat());
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(if told["wrong"] == serde_json::json!([]) { 0 } else { 3 }), "{told}");
    serde_json::from_value(told["wrong"].clone()).expect("lines")
}

#[test]
fn a_folder_has_the_results_of_its_manifest_and_no_others() {
    let folder = folder("complete");
    data_set(&folder, 3);
    fs::create_dir(folder.join("empty")).expect("a folder");
    assert_eq!(wrong(&folder, &["empty"]), ["empty: no tables"]);
    assert_eq!(wrong(&folder, &["absent"]), ["cannot read absent: No such file or directory (os error 2)"]);
    let missing = |n: u32| format!("scene {n}: no Gaussians: `splatport run` makes them");
    assert_eq!(wrong(&folder, &["empty", "--manifest", "m.jsonl"]), [missing(0), missing(1), missing(2)]);
    answer(&folder, &[&RUN[..], &["1000000", "--out", "out"]].concat());
    let all = ["out", "--manifest", "m.jsonl"];
    assert_eq!(wrong(&folder, &all), [""; 0]);

    let lines = fs::read_to_string(folder.join("m.jsonl")).expect("a manifest");
    let fewer: Vec<&str> = lines.lines().skip(1).collect();
    fs::write(folder.join("fewer.jsonl"), fewer.join("\n")).expect("a file");
    let foreign = ["gaussians", "kernel"].map(|kind| format!("out/scene 0.{kind}.npz: of no photo of the manifest"));
    assert_eq!(wrong(&folder, &["out", "--manifest", "fewer.jsonl"]), foreign);
    fs::remove_file(folder.join("out/scene 1.kernel.npz")).expect("a file");
    let lost = "scene 1: no kernel, though others have one: `splatport run --stride` makes them";
    assert_eq!(wrong(&folder, &all), [lost]);
    fs::copy(folder.join("out/scene 0.kernel.npz"), folder.join("out/scene 1.kernel.npz")).expect("a file");
    assert_eq!(wrong(&folder, &all), ["out/scene 1.kernel.npz: not made from the manifest's photo and points"]);
    fs::write(folder.join("out/scene 1.kernel.npz"), "no table").expect("a file");
    let told = wrong(&folder, &all);
    assert!(told.len() == 1 && told[0].starts_with("out/scene 1.kernel.npz: not a .npz file: "), "{told:?}");
}

/// What lies beside Gaussians belongs to them: a kernel of others is refused, removed when they are replaced, and seen
/// where it is.
#[test]
fn no_kernel_of_other_gaussians_stays_beside_new_ones() {
    let folder = folder("anew");
    data_set(&folder, 2);
    let kernels = |folder: &Path| results(folder).keys().filter(|name| name.contains(".kernel.")).count();
    let gaussians = ["run", "--manifest", "m.jsonl", "--steps", "3", "--out", "out"];
    let other = [&gaussians[..], &["--profile", "reference"]].concat();
    answer(&folder, &[&RUN[..], &["1000000", "--out", "out"]].concat());
    let old = fs::read(folder.join("out/scene 0.kernel.npz")).expect("a kernel");
    assert_eq!(answer(&folder, &gaussians)["kept"], 2);
    assert_eq!(kernels(&folder.join("out")), 2, "kernels of these very Gaussians");
    fs::remove_file(folder.join("out/scene 0.gaussians.npz")).expect("a file");
    let refused = run(&folder, &other);
    let told = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!((refused.status.code(), told.matches("--force replaces it").count()), (Some(3), 2), "{told}");
    assert!(told.contains("out/scene 0.kernel.npz was made from another photo, recipe or version"), "{told}");
    assert_eq!(answer(&folder, &[&other[..], &["--force"]].concat())["written"], 2);
    assert_eq!((kernels(&folder.join("out")), results(&folder.join("out")).len()), (0, 2));
    let all = ["out", "--manifest", "m.jsonl"];
    assert_eq!(wrong(&folder, &all), [""; 0]);

    // As an earlier version left it.
    fs::write(folder.join("out/scene 0.kernel.npz"), old).expect("a file");
    let of_others = "of another recipe, precision or version than the Gaussians beside it";
    let told = wrong(&folder, &all);
    assert!(told.len() == 2 && told[0].starts_with(&format!("out/scene 0.kernel.npz: {of_others}")), "{told:?}");
    assert!(told[1].starts_with("scene 1: no kernel, though others have one"), "{told:?}");
    let report = run(&folder, &["report", "-m", "m.jsonl", "-r", "out", "-o", "page.html"]);
    let page = fs::read_to_string(folder.join("page.html")).expect("a page");
    assert_eq!((report.status.code(), page.matches(of_others).count()), (Some(3), 2), "in the list and below it");

    // In the other format too.
    let moved = [&gaussians[..], &["--profile", "paper", "--format", "safetensors", "--force"]].concat();
    assert_eq!(answer(&folder, &moved)["written"], 2);
    assert_eq!(results(&folder.join("out")).len(), 0);
    assert_eq!(wrong(&folder, &all), [""; 0]);
}

/// Gaussians of a photo that is gone from the manifest, and files of a process that may still write them.
#[test]
fn what_is_left_over_is_found_and_deleted() {
    let folder = folder("left");
    data_set(&folder, 4);
    answer(&folder, &[&RUN[..], &["1000000", "--out", "out"]].concat());
    fs::write(folder.join("out/.splatport-7-0.tmp"), "half").expect("a file");
    let listed = |further: &[&str]| answer(&folder, &[&["gc", "out"], further].concat())["files"].clone();
    let unfinished = serde_json::json!(["out/.splatport-7-0.tmp"]);
    assert_eq!(listed(&[]), serde_json::json!([]), "a young file may be one that is being written");
    assert_eq!(listed(&["--delete"]), serde_json::json!([]));
    assert_eq!(listed(&["--older", "0"]), unfinished);
    let lines = fs::read_to_string(folder.join("m.jsonl")).expect("a manifest");
    let fewer: Vec<&str> = lines.lines().filter(|line| !line.contains("Straße 7/3\"")).collect();
    assert_eq!(fewer.len(), 3);
    fs::write(folder.join("m.jsonl"), fewer.join("\n")).expect("a file");
    let foreign = serde_json::json!(["out/Straße 7/3.gaussians.npz", "out/Straße 7/3.kernel.npz"]);
    assert_eq!(listed(&["--manifest", "m.jsonl", "--delete"]), foreign);
    assert!(folder.join("out/.splatport-7-0.tmp").exists() && !folder.join("out/Straße 7/3.kernel.npz").exists());
    assert_eq!(wrong(&folder, &["out", "--manifest", "m.jsonl"]), [""; 0]);
}

/// Otherwise the file would look like one that a killed run left.
#[test]
fn a_report_is_written_as_the_run_goes_on() {
    let folder = folder("live");
    data_set(&folder, 12);
    let mut child = start(&folder, "out", &[]);
    let unfinished = |path: &Path| path.extension().is_some_and(|ending| ending == "tmp");
    let told = || {
        let files = fs::read_dir(folder.join("out")).into_iter().flatten().map(|entry| entry.expect("an entry").path());
        files.filter(|path| unfinished(path)).any(|path| fs::read(path).is_ok_and(|text| text.starts_with(b"{\"id\":")))
    };
    while !told() {
        assert!(child.try_wait().expect("a process").is_none(), "nothing was told until the end");
        sleep(Duration::from_millis(5));
    }
    child.kill().expect("a process");
    child.wait().expect("an end");
}

/// A folder with a link to where it lies, and one with a link to results that are not its own.
#[cfg(unix)]
#[test]
fn links_to_folders_are_not_followed() {
    use std::os::unix::fs::symlink;
    let folder = folder("links");
    data_set(&folder, 2);
    symlink("..", folder.join("photos/back")).expect("a link");
    symlink("scene 0.png", folder.join("photos/linked.png")).expect("a link");
    symlink("scene 0.csv", folder.join("photos/linked.csv")).expect("a link");
    let output = run(&folder, &["manifest", "photos", "-o", "m.jsonl", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &told["photos"]), (Some(3), &3.into()), "links to files are files");
    assert_eq!(told["failed"], serde_json::json!(["photos/back: a link to a folder is not followed"]));
    answer(&folder, &[&RUN[..], &["1000000", "--out", "out"]].concat());
    fs::create_dir(folder.join("other")).expect("a folder");
    symlink("../out", folder.join("other/link")).expect("a link");
    fs::write(folder.join("none.jsonl"), "").expect("a file");
    let deleted = answer(&folder, &["gc", "other", "--manifest", "none.jsonl", "--older", "0", "--delete"]);
    assert_eq!(deleted["files"], serde_json::json!([]));
    assert_eq!(results(&folder.join("out")).len(), 6);
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_no_text_leaves_out_one_photo() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = folder("names");
    data_set(&folder, 2);
    fs::copy(folder.join("photos/scene 0.png"), folder.join("photos").join(OsStr::from_bytes(b"a\xff.png")))
        .expect("a file");
    let output = run(&folder, &["manifest", "photos", "-o", "m.jsonl", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &told["photos"]), (Some(3), &2.into()), "{told}");
    assert_eq!(told["failed"], serde_json::json!(["photos/a\u{fffd}.png: the name is no Unicode text"]));
}
