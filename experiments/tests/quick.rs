//! Experiments at their reduced size: killed on the way, one ends with what an undisturbed one ends with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_splatport-experiments");

fn quick(arguments: &[&str], out: &Path) -> Command {
    quick_by(PROGRAM.as_ref(), arguments, out)
}

fn quick_by(program: &Path, arguments: &[&str], out: &Path) -> Command {
    let mut command = Command::new(program);
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
    // Nor what another program made, be it that nothing but a byte at its end is different.
    #[cfg(target_os = "linux")]
    {
        use std::io::Write as _;

        let program = whole.join("program");
        fs::copy(PROGRAM, &program).expect("copy");
        fs::OpenOptions::new().append(true).open(&program).and_then(|mut file| file.write_all(b"x")).expect("append");
        let other = said(quick_by(&program, &["losses", "--methods", "gst"], &killed)).expect_err("another program");
        let bytes = format!("program of {} bytes", fs::metadata(PROGRAM).expect("program").len());
        assert!(other.contains("gst-6-1 was made by") && other.contains(&bytes), "{other}");
    }
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
    for part in [
        "CRC-32",
        "small network from random numbers, 1 crops a step",
        "resize: [0.75, 1.25], crop: 64, flip: 0.5, grey: 0.12",
        "Recommended",
    ] {
        assert!(made_by.contains(part), "{part}: {made_by}");
    }
    fs::remove_dir_all(out).expect("clean");
}

#[test]
fn arguments_without_a_meaning_are_refused() {
    for (arguments, part) in [
        (&["landmarks", "--network", "vgg16"][..], "--network: landmarks"),
        (&["landmarks", "--tasks", "trees"], "--tasks: landmarks"),
        (&["ownership", "--batch", "2"], "--batch: ownership"),
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

/// Every method of every experiment that counts. Experiments that share a method share its run.
#[test]
fn every_method() {
    let out = folder("every");
    let mut gst = Vec::new();
    for (experiment, count) in [("losses", 16), ("plans", 7), ("discrepancies", 12), ("cut-offs", 14)] {
        let arguments = [experiment, "--tasks", "scratch", "--crop", "64", "--batch", "1"];
        said(quick(&arguments, &out)).unwrap_or_else(|error| panic!("{experiment}: {error}"));
        let text = fs::read_to_string(out.join(format!("quick/scratch/{experiment}.csv"))).expect("table");
        let rows: Vec<_> = text.lines().map(str::to_owned).collect();
        assert_eq!(rows.len(), 1 + count, "{text}");
        assert!(all_finite(&rows, 3), "{text}");
        gst.extend(rows.into_iter().filter(|row| row.starts_with("scratch,gst,")));
    }
    // To the time that it took.
    assert!(gst.len() == 4 && gst.iter().all(|row| *row == gst[0]), "{gst:?}");
    fs::remove_dir_all(out).expect("clean");
}

#[test]
fn other_photos_and_another_network() {
    let out = folder("others");
    let small = ["--crop", "64", "--batch", "1"];
    let photos = ["plans", "--methods", "true", "--tasks", "trees,crowds"];
    let transformer = ["losses", "--methods", "l2", "--tasks", "scratch", "--network", "transformer"];
    for (arguments, tables) in [
        (&photos[..], &["trees/plans.csv", "crowds/plans.csv"][..]),
        (&transformer, &["transformer/scratch/losses.csv"]),
    ] {
        said(quick(&[arguments, &small].concat(), &out)).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        for name in tables {
            let rows = table(out.join("quick").join(name));
            assert!(rows.len() == 2 && all_finite(&rows, 3), "{name}: {rows:?}");
        }
    }
    fs::remove_dir_all(out).expect("clean");
}

/// Masks of eight and of sixteen bits, boxes, and what was drawn.
#[test]
fn ownership_of_every_plan() {
    let out = folder("ownership");
    let arguments = ["ownership", "--tasks", "nuclei,scratch,trees,crowds"];
    said(quick(&arguments, &out)).expect("ownership");
    let read =
        |kind: &str, name: &str| fs::read_to_string(out.join("quick/ownership").join(kind).join(name)).expect("file");
    let photos = [
        ("nuclei", "nuclei", "nuclei_dsb2018"),
        ("scratch", "scratch", "scratch_t00"),
        ("trees", "trees-osbs", "trees_osbs_029"),
        ("crowds", "crowds", "crowd_1"),
    ];
    for (kind, set, photo) in photos {
        let (rows, means) = (read(kind, "ownership.csv"), read(kind, "means.csv"));
        // Seven cut-offs of all plans but one.
        assert_eq!((rows.lines().count(), means.lines().count()), (1 + 9 * 7 + 1, 1 + 9 * 7 + 1), "{rows}");
        let iou = |row: &str| row.rsplit(',').next().expect("field").parse::<f64>().expect("number");
        let best = rows.lines().skip(1).max_by(|a, b| iou(a).total_cmp(&iou(b))).expect("rows");
        // An ellipse ends at two of its standard deviations.
        assert!(best.starts_with(&format!("{set},{photo},true,2.0,")), "{rows}");
        assert!(read(kind, &format!("{set}.svg")).contains("</svg>"));
        let folder = out.join("quick/ownership").join(kind);
        assert!(folder.join(photo).with_extension("png").exists(), "{photo}");
    }

    // Only what is missing is made again.
    let tables = || photos.map(|(kind, ..)| (read(kind, "ownership.csv"), read(kind, "means.csv")));
    let before = tables();
    fs::remove_file(out.join("quick/ownership/crowds/crowd_1-sigma-4.outcome.csv")).expect("remove");
    let again = said(quick(&arguments, &out)).expect("ownership");
    let made: Vec<_> = again.lines().filter(|line| line.contains('[')).collect();
    assert!(matches!(made[..], [line] if line.starts_with("crowd_1 ") && line.contains(" sigma-4 ")), "{again}");
    assert_eq!(tables(), before);
    fs::remove_dir_all(out).expect("clean");
}

#[test]
fn landmarks_of_every_method() {
    let out = folder("figures");
    assert!(quick(&["landmarks"], &out).status().expect("run").success());
    let rows = table(out.join("quick/figures/landmarks.csv"));
    assert_eq!(rows.len(), 5, "{rows:?}");
    assert!(all_finite(&rows, 1));
    let made_by = fs::read_to_string(out.join("quick/figures/hdm-style-6-1.made-by.txt")).expect("file");
    for part in ["CRC-32", "4 figures to learn from, 4 a step", "size: [128, 160]", "Transport(HeatmapTransport"] {
        assert!(made_by.contains(part), "{part}: {made_by}");
    }
    fs::remove_dir_all(out).expect("clean");
}

#[test]
fn unknown_methods_are_named() {
    let said = said(quick(&["plans", "--methods", "gts"], &folder("unknown"))).expect_err("unknown");
    assert!(said.contains("no method gts") && said.contains("gst"), "{said}");
}
