//! The experiment at its reduced size: killed on the way, it ends with what an undisturbed one ends with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

fn quick(out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_splatport-experiments"));
    command.args(["--quick", "--out"]).arg(out).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("splatport-experiments-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    folder
}

/// The table without its last column, the time.
fn table(out: &Path) -> Vec<String> {
    let text = fs::read_to_string(out.join("quick/table.csv")).expect("table");
    text.lines().filter_map(|line| line.rsplit_once(',')).map(|(rest, _)| rest.to_owned()).collect()
}

#[test]
fn killed_and_resumed() {
    let (whole, killed) = (folder("whole"), folder("killed"));
    assert!(quick(&whole).status().expect("run").success());
    let rows = table(&whole);
    assert_eq!(rows.len(), 6, "{rows:?}");
    let fields = rows[1..].iter().flat_map(|row| row.split(',').skip(3));
    assert!(fields.map(|field| field.parse::<f64>().expect("number")).all(f64::is_finite));

    let mut run = quick(&killed).spawn().expect("run");
    while !killed.join("quick/heuristic-1.safetensors").exists() {
        assert!(run.try_wait().expect("wait").is_none(), "it ended early");
        sleep(Duration::from_millis(20));
    }
    run.kill().expect("kill");
    run.wait().expect("wait");
    assert!(killed.join("quick/gst-1.outcome.csv").exists() && !killed.join("quick/table.csv").exists());
    assert!(quick(&killed).status().expect("run").success());
    assert_eq!(table(&killed), rows);
    fs::remove_dir_all(whole).and(fs::remove_dir_all(killed)).expect("clean");
}
