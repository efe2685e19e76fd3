//! A folder of its own for every test, photos to fit, and the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;
use splatport::{Annotations, Image};

/// A new, empty folder, named after the test.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// The program, in `folder`.
pub fn splatport(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_splatport"));
    // Mesa looks for a display there, and complains where there is no such folder.
    command.current_dir(folder).env("XDG_RUNTIME_DIR", folder).args(arguments);
    command
}

/// What the program did.
pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    splatport(folder, arguments).output().expect("the program")
}

/// What the program answers in JSON; it must succeed.
pub fn answer(folder: &Path, arguments: &[&str]) -> Value {
    let output = run(folder, &[&["--json"], arguments].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
    assert_eq!(told, "", "{arguments:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The exit code, and what was printed on standard error.
pub fn failure(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = run(folder, arguments);
    (output.status.code().expect("an exit code"), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What a terminal of this kind shows, which never answers a question, and the exit code.
#[cfg(target_os = "linux")]
pub fn on_terminal(folder: &Path, term: &str, arguments: &[&str]) -> (String, i32) {
    use std::io::Read;
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    let words: Vec<String> = arguments.iter().map(|word| format!("'{word}'")).collect();
    let line = format!("stty cols 80 rows 24; exec '{}' {}", env!("CARGO_BIN_EXE_splatport"), words.join(" "));
    let mut command = std::process::Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(folder);
    command.env("XDG_RUNTIME_DIR", folder).env("TERM", term).env("SHELL", "/bin/sh").env_remove("COLORTERM");
    // Open to the end: at the end of its input `script` would tell the program that there is nobody.
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script, of util-linux");
    let mut output = child.stdout.take().expect("an output");
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).map(|_| bytes)
    });
    let start = Instant::now();
    let code = loop {
        if let Some(status) = child.try_wait().expect("a process") {
            break status.code().expect("an exit code");
        }
        if start.elapsed() > Duration::from_secs(120) {
            child.kill().expect("a process");
            panic!("{arguments:?} waits for its terminal");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let bytes = reader.join().expect("a thread").expect("an output");
    (String::from_utf8_lossy(&bytes).into_owned(), code)
}

/// Bright discs on dark ground, the `seed` moving them: the photo and its points.
pub fn scene(width: u32, height: u32, count: u32, seed: u32) -> (Image, Annotations) {
    let place = |n: u32, step: f64, size: u32| ((f64::from(n + 7 * seed) + 0.5) * step).fract() * f64::from(size);
    let points: Vec<[f64; 2]> =
        (0..count).map(|n| [place(n, 0.754_877_67, width).round(), place(n, 0.569_840_29, height).round()]).collect();
    let value = |at: u32| {
        let (x, y) = (f64::from(at % width) + 0.5, f64::from(at / width) + 0.5);
        let bump = |p: &[f64; 2]| (-((x - p[0]).powi(2) + (y - p[1]).powi(2)) / 18.0).exp();
        (40.0 + 180.0 * points.iter().map(bump).sum::<f64>()).min(255.0) as u8
    };
    let pixels: Vec<u8> = (0..width * height).map(value).collect();
    (Image::from_u8(width, height, 1, pixels).expect("an image"), Annotations::new(points).expect("points"))
}

/// Writes a scene as `NAME.png` and `NAME.csv`.
pub fn write_scene(folder: &Path, name: &str, (image, points): &(Image, Annotations)) {
    image.save(folder.join(format!("{name}.png"))).expect("a photo");
    fs::write(folder.join(format!("{name}.csv")), csv(points)).expect("points");
}

/// Points as a CSV file has them.
pub fn csv(points: &Annotations) -> String {
    let row = |point: &[f64; 2]| format!("{},{}\n", point[0], point[1]);
    format!("x,y\n{}", points.points().iter().map(row).collect::<String>())
}
