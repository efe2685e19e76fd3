//! What is kept of a piece of work: what came out of it, and what it was made by.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Serialize, de::DeserializeOwned};
use splatport::write_whole;

/// The files of a piece of work.
#[derive(Debug, Clone)]
pub struct Kept<'a> {
    pub folder: &'a Path,
    /// What the files of other work differ in.
    pub name: String,
    /// All that decides what comes out and is not in the name: the program itself, the device, options, files of
    /// weights.
    ///
    /// What was kept is used again by the same program only, to the last bit ([`digest`]): another build may compute
    /// something else, and a table of two builds compares them instead of what its rows say. So an interrupted run goes
    /// on where it was until the program is compiled anew from something else.
    pub made_by: &'a str,
}

impl Kept<'_> {
    pub fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.name))
    }

    /// By what the files were made, if there are any.
    fn maker(&self) -> anyhow::Result<Option<String>> {
        let path = self.file("made-by.txt");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let files = ["outcome.csv", "safetensors"].map(|ending| self.file(ending));
                Ok(files.iter().any(|file| file.exists()).then(|| "nobody knows what\n".to_owned()))
            }
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// The outcome that is kept, a row or several, if the same made it; else that of `make` if it is wanted, which is
    /// kept; else none.
    ///
    /// # Errors
    /// If it is wanted, for an outcome or a checkpoint that something else left; those of `make`.
    pub fn outcome_or<O: Serialize + DeserializeOwned>(
        &self,
        is_wanted: bool,
        make: impl FnOnce() -> anyhow::Result<Vec<O>>,
    ) -> anyhow::Result<Vec<O>> {
        let file = self.file("outcome.csv");
        match self.maker()? {
            Some(maker) if maker == self.made_by => {
                if let Some(outcome) = read(&file)? {
                    return Ok(outcome);
                }
            }
            Some(maker) if is_wanted => anyhow::bail!(
                "{} was made by\n{maker}and not by\n{}remove it, or give another folder with --out",
                self.folder.join(&self.name).display(),
                self.made_by
            ),
            None if is_wanted => write_text(&self.file("made-by.txt"), self.made_by)?,
            _ => {}
        }
        if !is_wanted {
            return Ok(Vec::new());
        }
        let outcome = make()?;
        write(&file, &outcome)?;
        Ok(outcome)
    }
}

/// Number of bytes and CRC-32 of a file.
pub fn digest(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(format!("{} bytes, CRC-32 {:08x}", bytes.len(), crc32fast::hash(&bytes)))
}

pub fn write_text(path: &Path, text: &str) -> splatport::Result<()> {
    write_whole(path, |file| Ok(file.write_all(text.as_bytes())?))
}

/// Writes rows with a header.
pub fn write(path: &Path, rows: &[impl Serialize]) -> splatport::Result<()> {
    write_whole(path, |file| {
        let mut table = csv::Writer::from_writer(file);
        rows.iter().try_for_each(|row| table.serialize(row))?;
        Ok(table.flush()?)
    })
}

/// The rows of a file, if there is one and it has any.
pub fn read<O: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<Vec<O>>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(|| path.display().to_string())?,
    };
    let rows = csv::Reader::from_reader(file).into_deserialize().collect::<Result<Vec<_>, _>>();
    let rows = rows.with_context(|| path.display().to_string())?;
    Ok(Some(rows).filter(|rows| !rows.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_the_content() {
        let path = std::env::temp_dir().join(format!("splatport-experiments-{}-digest", std::process::id()));
        fs::write(&path, "123456789").expect("write");
        // The check value of CRC-32.
        assert_eq!(digest(&path).expect("digest"), "9 bytes, CRC-32 cbf43926");
        fs::remove_file(&path).expect("clean");
        let said = format!("{:#}", digest(&path).unwrap_err());
        assert!(said.contains("splatport-experiments-"), "{said}");
    }
}
