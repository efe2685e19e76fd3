//! A folder of its own for every test, and errors as text.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::{self, ThreadId};

use splatport::Error;

/// A new, empty folder, named after the test. Two tests with one name would empty each other's folder, now and then.
pub fn folder(name: &str) -> PathBuf {
    static OWNERS: Mutex<BTreeMap<String, ThreadId>> = Mutex::new(BTreeMap::new());
    let this = thread::current().id();
    let owner = *OWNERS.lock().expect("a lock").entry(name.to_owned()).or_insert(this);
    assert_eq!(owner, this, "two tests use the folder {name}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// A file `name` in a folder of its own.
pub fn file(test: &str, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder(test).join(name);
    fs::write(&path, content).expect("a file");
    path
}

/// The message, with the file's name in place of its path.
pub fn message(error: &Error, path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    let text = error.to_string().replace(&path.display().to_string(), name);
    assert!(!text.contains('\n'), "more than one line: {text}");
    if let Some(source) = error.source() {
        assert!(!text.contains(&source.to_string()), "the source is repeated: {text}");
    }
    text
}

/// The message and that of the source.
pub fn chain(error: &Error, path: &Path) -> String {
    let source = error.source().map(|source| format!(" <- {source}"));
    message(error, path) + &source.unwrap_or_default()
}

/// Asserts every pair is equal, and shows all that are not.
pub fn all_equal(pairs: &[(String, &str)]) {
    let wrong: Vec<String> = pairs
        .iter()
        .filter(|(got, expected)| got != expected)
        .map(|(got, expected)| format!("expected: {expected}\n     got: {got}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
