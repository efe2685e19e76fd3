//! Writes a file beside its destination and moves it there when it is complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result, Source};

/// Writes a file whole or not at all: `fill` writes to a new file beside `path`, which is flushed to the disk, then
/// renamed.
///
/// ```
/// use std::io::Write;
///
/// let path = std::env::temp_dir().join("splatport-doc-whole.txt");
/// splatport::write_whole(&path, |file| Ok(writeln!(file, "whole")?))?;
/// assert_eq!(std::fs::read_to_string(&path).expect("a file"), "whole\n");
/// # Ok::<(), splatport::Error>(())
/// ```
///
/// # Errors
/// [`Error::Write`] around what failed; a file that was at `path` before is then unchanged.
pub fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> std::result::Result<(), Source>) -> Result<()> {
    replace(path, fill).map_err(|source| Error::write(path, source))
}

fn replace(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> std::result::Result<(), Source>,
) -> std::result::Result<(), Source> {
    let target = target(path)?;
    let (mut temporary, file) = Temporary::beside(&target)?;
    let mut file = BufWriter::new(file);
    fill(&mut file)?;
    file.flush()?;
    // Without this, a crash of the machine could leave the new name on an incomplete file.
    file.get_ref().sync_all()?;
    // Windows does not move open files.
    drop(file);
    fs::rename(&temporary.path, &target)?;
    temporary.moved = true;
    Ok(())
}

/// The file to replace: links are followed, and only regular files are replaced (renaming onto a device such as
/// `/dev/null` would remove the device).
fn target(path: &Path) -> io::Result<PathBuf> {
    match fs::metadata(path) {
        Ok(existing) if existing.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(existing) if !existing.is_file() => Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file")),
        Ok(_) => fs::canonicalize(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(path.into()),
        Err(error) => Err(error),
    }
}

/// A file that is removed on drop unless it was moved to its destination.
struct Temporary {
    path: PathBuf,
    moved: bool,
}

impl Temporary {
    /// A new file in the folder of `target`: a rename is atomic only within one file system.
    fn beside(target: &Path) -> io::Result<(Self, File)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".splatport-{}-{number}.tmp", std::process::id());
            let path = target.with_file_name(name);
            match File::create_new(&path) {
                Ok(file) => return Ok((Self { path, moved: false }, file)),
                // Left by a killed process with the same number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.moved {
            // The error that matters is already on its way to the caller.
            let _ = fs::remove_file(&self.path);
        }
    }
}
