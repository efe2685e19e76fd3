//! Experiments at their reduced size: killed on the way, one ends with what an undisturbed one ends with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

fn quick(arguments: &[&str], out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_splatport-experiments"));
    command.args(arguments).args(["--quick", "--out"]).arg(out).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("splatport-experiments-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    folder
}

/// A table without its last column, the time.
fn table(path: PathBuf) -> Vec<String> {
    let text = fs::read_to_string(path).expect("table");
    text.lines().filter_map(|line| line.rsplit_once(',')).map(|(rest, _)| rest.to_owned()).collect()
}

fn all_finite(rows: &[String], names: usize) -> bool {
    let fields = rows[1..].iter().flat_map(|row| row.split(',').skip(names));
    fields.map(|field| field.parse::<f64>().expect("number")).all(f64::is_finite)
}

#[test]
fn killed_and_resumed() {
    let losses = ["losses", "--methods", "heuristic,dm-count,gst"];
    let (whole, killed) = (folder("whole"), folder("killed"));
    assert!(quick(&losses, &whole).status().expect("run").success());
    let rows = table(whole.join("quick/nuclei/losses.csv"));
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(all_finite(&rows, 3));
    let of_run = ["gst-6-1.png", "gst-6-1.history.csv", "losses.svg"];
    assert!(of_run.iter().all(|name| whole.join("quick/nuclei").join(name).exists()));

    let mut run = quick(&losses, &killed).spawn().expect("run");
    while !killed.join("quick/nuclei/dm-count-6-1.safetensors").exists() {
        assert!(run.try_wait().expect("wait").is_none(), "it ended early");
        sleep(Duration::from_millis(20));
    }
    run.kill().expect("kill");
    run.wait().expect("wait");
    let has = |name: &str| killed.join("quick/nuclei").join(name).exists();
    assert!(has("heuristic-6-1.outcome.csv") && !has("losses.csv"));
    assert!(quick(&losses, &killed).status().expect("run").success());
    assert_eq!(table(killed.join("quick/nuclei/losses.csv")), rows);
    fs::remove_dir_all(whole).and(fs::remove_dir_all(killed)).expect("clean");
}

/// Experiments that share a method share its run; of another number of steps there is another.
#[test]
fn other_experiments() {
    let out = folder("others");
    let plans = ["plans", "--methods", "gst,true", "--tasks", "trees"];
    let parts = ["discrepancies", "--methods", "gst", "--tasks", "trees"];
    let cut_offs = ["cut-offs", "--methods", "gst", "--tasks", "trees"];
    for (arguments, count) in [(&plans[..], 3), (&parts, 2), (&cut_offs, 2)] {
        assert!(quick(arguments, &out).status().expect("run").success(), "{arguments:?}");
        let rows = table(out.join("quick/trees").join(arguments[0]).with_extension("csv"));
        assert_eq!(rows.len(), count, "{rows:?}");
        assert!(all_finite(&rows, 3));
    }
    fs::remove_dir_all(out).expect("clean");
}

#[test]
fn landmarks_of_every_method() {
    let out = folder("figures");
    assert!(quick(&["landmarks"], &out).status().expect("run").success());
    let rows = table(out.join("quick/figures/landmarks.csv"));
    assert_eq!(rows.len(), 5, "{rows:?}");
    assert!(all_finite(&rows, 1));
    fs::remove_dir_all(out).expect("clean");
}

#[test]
fn unknown_methods_are_named() {
    let mut command = quick(&["plans", "--methods", "gts"], &folder("unknown"));
    let output = command.stderr(Stdio::piped()).output().expect("run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("no method gts") && said.contains("gst"), "{said}");
}
