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

/// Runs it; what it says on standard output, or on standard error if it fails.
fn said(mut command: Command) -> Result<String, String> {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("run");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
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
    let again = said(quick(&losses, &killed)).expect("it goes on");
    // From the checkpoint of step 3, or of 6 where the kill came late; the next method has none.
    let from = again.lines().filter_map(|line| line.split_once(": goes on after step ")).collect::<Vec<_>>();
    assert!(matches!(from[..], [("dm-count 1", "3" | "6")]), "{again}");
    assert_eq!(table(killed.join("quick/nuclei/losses.csv")), rows);
    // A step took its time, whichever process made it.
    let text = fs::read_to_string(killed.join("quick/nuclei/losses.csv")).expect("table");
    let seconds =
        text.lines().skip(1).map(|line| line.rsplit(',').next().expect("field").parse::<f64>().expect("number"));
    assert!(seconds.into_iter().all(|seconds| seconds > 0.0), "{text}");

    // Fewer methods do not shorten the table, and what other options made is not taken for this.
    assert!(quick(&["losses", "--methods", "gst"], &killed).status().expect("run").success());
    assert_eq!(table(killed.join("quick/nuclei/losses.csv")), rows);
    let other = said(quick(&["losses", "--methods", "gst", "--batch", "2"], &killed)).expect_err("another batch");
    assert!(other.contains("gst-6-1 was made by") && other.contains("4 crops a step"), "{other}");
    fs::remove_dir_all(whole).and(fs::remove_dir_all(killed)).expect("clean");
}

/// The paper's settings, smaller.
#[test]
fn full_settings() {
    let out = folder("full");
    let arguments = ["losses", "--full", "--network", "small", "--crop", "64", "--batch", "1", "--methods", "gst"];
    let mut command = quick(&arguments, &out);
    assert!(command.args(["--tasks", "scratch"]).status().expect("run").success());
    let folder = out.join("quick/full/scratch");
    let rows = table(folder.join("losses.csv"));
    assert!(rows.len() == 2 && all_finite(&rows, 3), "{rows:?}");
    let made_by = fs::read_to_string(folder.join("gst-6-1.made-by.txt")).expect("file");
    for part in
        ["small network", "1 crops a step", "resize: [0.75, 1.25], crop: 64, flip: 0.5, grey: 0.12", "Recommended"]
    {
        assert!(made_by.contains(part), "{part}: {made_by}");
    }
    fs::remove_dir_all(out).expect("clean");
}

#[test]
fn arguments_without_a_meaning_are_refused() {
    for (arguments, part) in [
        (&["landmarks", "--network", "vgg16"][..], "--network: landmarks"),
        (&["landmarks", "--tasks", "trees"], "--tasks: landmarks"),
        (&["losses", "--steps", "7"], "--steps"),
        (&["losses", "--seeds", "2"], "--seeds"),
        (&["losses", "--crop", "100"], "--crop: must be a multiple of 8"),
        (&["losses", "--batch", "0"], "--batch: must be above 0"),
        (&["losses", "--weights", "x.pth"], "--weights: only VGG"),
        (&["losses", "--network", "vgg19", "--weights", "nowhere.pth", "--methods", "l2"], "nowhere.pth"),
    ] {
        let said = said(quick(arguments, &folder("refused"))).expect_err(part);
        assert!(said.contains(part), "{said}");
    }
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
    let said = said(quick(&["plans", "--methods", "gts"], &folder("unknown"))).expect_err("unknown");
    assert!(said.contains("no method gts") && said.contains("gst"), "{said}");
}
