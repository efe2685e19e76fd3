//! Memory over many photos.

#![cfg(target_os = "linux")]

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::scene::{answer, folder, scene, write_scene};

/// Side of a photo, px.
const SIDE: u32 = 64;

/// Bytes that a process holds.
fn resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// From a fifth of the run to its end memory may grow by less than a byte a pixel: keeping as little as the grey photos would be
/// more. `SPLATPORT_PHOTOS` sets their number, 10 000 if not given.
#[test]
#[ignore = "takes as long as 10 000 fits"]
fn memory_is_flat_over_many_photos() {
    let photos: u32 = std::env::var("SPLATPORT_PHOTOS").map_or(10_000, |text| text.parse().expect("a number"));
    let folder = folder("memory");
    fs::create_dir(folder.join("photos")).expect("a folder");
    for n in 0..photos {
        write_scene(&folder, &format!("photos/{n}"), &scene(SIDE, SIDE, 1 + n % 5, n));
    }
    answer(&folder, &["manifest", "photos", "-o", "m.jsonl"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_splatport"));
    command.current_dir(&folder).env("XDG_RUNTIME_DIR", &folder).stdout(Stdio::piped());
    command.args(["run", "-m", "m.jsonl", "-o", "out", "--stride", "8", "--json"]);
    let (start, mut child) = (Instant::now(), command.spawn().expect("the program"));
    let mut samples = Vec::new();
    while child.try_wait().expect("a process").is_none() {
        samples.extend(resident(child.id()));
        sleep(Duration::from_millis(200));
    }
    let output = child.wait_with_output().expect("an end");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&told["written"], &told["failed"]), (&photos.into(), &0.into()));
    fs::remove_dir_all(&folder).expect("a folder");

    // Of twenty parts of the run the largest of each.
    let part = samples.len().div_ceil(20).max(1);
    let largest: Vec<u64> = samples.chunks(part).filter_map(|part| part.iter().max().copied()).collect();
    let times = &told["times"];
    println!("{photos} photos of {SIDE} x {SIDE} px in {:.0} s: {times}", start.elapsed().as_secs_f64());
    println!(
        "largest memory of every twentieth, MB: {:?}",
        largest.iter().map(|bytes| bytes / 1_000_000).collect::<Vec<_>>()
    );
    let (early, end) = (largest[largest.len() / 5], largest[largest.len() - 1]);
    let allowed = u64::from(photos * SIDE * SIDE) * 4 / 5;
    assert!(end < early + allowed, "{early} bytes after a fifth, {end} at the end, {allowed} more allowed");
}
