//! Disks that are full or read-only.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dataset::results;
use crate::scene::{answer, failure, folder, run, scene, write_scene};

/// A small file system in memory, gone at the end.
struct Disk(PathBuf);

impl Disk {
    /// None, and the reason printed, where a test may not mount; the test below needs no mount.
    fn of(path: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(path).expect("a folder");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(path).output();
        match output {
            Ok(output) if output.status.success() => Some(Self(path.to_owned())),
            Ok(output) => {
                println!("not run: cannot mount: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("not run: cannot mount: {error}");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(status.expect("mount").success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// The same by a limit that needs no right to mount: files end at 32 KiB, so some photos' kernels do not fit.
#[test]
fn a_write_that_fails_ends_a_run_that_goes_on_later() {
    let folder = folder("limit");
    fs::create_dir(folder.join("photos")).expect("a folder");
    for n in 0..6 {
        // Dearest first: three photos of more points and few pixels, then three of many pixels.
        let (width, count) = if n < 3 { (24, 5) } else { (96, 2) };
        write_scene(&folder, &format!("photos/{n}"), &scene(width, 48, count, n));
    }
    answer(&folder, &["manifest", "photos", "-o", "m.jsonl"]);
    // A process that is sent the signal of a file too long would end.
    let line = r#"trap "" XFSZ; ulimit -f 64; exec "$0" "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_splatport")]).args(RUN).args(["--batch", "1"]);
    let output = command.current_dir(&folder).env("XDG_RUNTIME_DIR", &folder).output().expect("a shell");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.starts_with("error: nothing more can be written; the same command goes on once it can: "), "{told}");
    assert!(told.contains("File too large"), "{told}");
    let left = results(&folder.join("disk"));
    let kept = left.keys().filter(|name| name.contains(".gaussians.")).count();
    // The third may still be on its way when the fourth fails.
    assert!((2..=3).contains(&kept), "{:?}", left.keys());
    assert_eq!(run(&folder, &["verify", "disk"]).status.code(), Some(0), "half a file under a final name");
    assert_eq!(answer(&folder, &["gc", "disk", "--older", "0"])["files"], serde_json::json!([]));
    let told = answer(&folder, &RUN);
    assert_eq!((&told["kept"], &told["written"]), (&kept.into(), &(6 - kept).into()));
    answer(&folder, &["verify", "disk", "--manifest", "m.jsonl"]);
}

/// By the rights of a user: as root, to whom no folder is closed, the program runs as another.
#[test]
fn a_folder_that_is_closed_ends_a_run_before_it_begins() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder("closed");
    fs::create_dir(folder.join("photos")).expect("a folder");
    write_scene(&folder, "photos/0", &scene(24, 16, 2, 0));
    answer(&folder, &["manifest", "photos", "-o", "m.jsonl"]);
    fs::create_dir(folder.join("disk")).expect("a folder");
    fs::set_permissions(folder.join("disk"), fs::Permissions::from_mode(0o555)).expect("an own folder");
    let program = env!("CARGO_BIN_EXE_splatport");
    let as_other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let user: &[&str] = if fs::write(folder.join("disk/probe"), "").is_ok() { &as_other } else { &["env"] };
    fs::remove_file(folder.join("disk/probe")).unwrap_or_default();
    let command = |words: &[&str]| {
        let mut command = Command::new(user[0]);
        command.args(&user[1..]).args(words).current_dir(&folder).env("XDG_RUNTIME_DIR", &folder);
        command.output()
    };
    if !command(&[program, "--version"]).is_ok_and(|output| output.status.success()) {
        println!("not run: {user:?} cannot start the program");
        return;
    }
    let output = command(&[&[program], &RUN[..]].concat()).expect("the program");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.ends_with("error: cannot write disk/report.jsonl: Permission denied (os error 13)\n"), "{told}");
    assert_eq!(fs::read_dir(folder.join("disk")).expect("a folder").count(), 0);
}

const RUN: [&str; 9] = ["run", "--manifest", "m.jsonl", "--out", "disk", "--steps", "2", "--stride", "1"];

#[test]
fn a_full_disk_ends_a_run_that_goes_on_later() {
    let folder = folder("full");
    fs::create_dir(folder.join("photos")).expect("a folder");
    for n in 0..6 {
        write_scene(&folder, &format!("photos/{n}"), &scene(64, 48, 3, n));
    }
    answer(&folder, &["manifest", "photos", "-o", "m.jsonl"]);
    // Three of the six: a kernel of one cell a pixel takes some 45 KiB.
    let Some(disk) = Disk::of(&folder.join("disk"), "size=160k") else { return };
    let (code, told) = failure(&folder, &RUN);
    assert_eq!(code, 1, "{told}");
    assert!(told.starts_with("error: nothing more can be written; the same command goes on once it can: "), "{told}");
    assert!(told.contains("No space left on device"), "{told}");
    let left = results(&disk.0);
    assert!((1..12).contains(&left.len()), "{} files fit", left.len());
    assert_eq!(run(&folder, &["verify", "disk"]).status.code(), Some(0), "half a file under a final name");
    assert_eq!(answer(&folder, &["gc", "disk", "--older", "0"])["files"], serde_json::json!([]));

    disk.remount("size=4m");
    let told = answer(&folder, &RUN);
    let kept = left.keys().filter(|name| name.contains(".gaussians.")).count();
    assert_eq!((&told["kept"], &told["written"]), (&kept.into(), &(6 - kept).into()));
    answer(&folder, &["verify", "disk", "--manifest", "m.jsonl"]);
    assert!(left.iter().all(|(name, bytes)| results(&disk.0)[name] == *bytes));

    disk.remount("ro");
    let (code, told) = failure(&folder, &[&RUN[..], &["--force", "--tau", "0.01"]].concat());
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("Read-only file system"), "{told}");
    answer(&folder, &["verify", "disk", "--manifest", "m.jsonl"]);
}
