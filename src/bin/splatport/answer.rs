//! What a command tells, as text and as JSON.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use splatport::Image;

use crate::terminal;

/// Exit code of an error.
pub const ERROR: u8 = 1;
/// Exit code when some images or files failed and the others did not.
pub const SOME_FAILED: u8 = 3;
/// Exit code of a run that a signal ended before it was through.
pub const STOPPED: u8 = 4;

/// A run that a signal ended.
#[derive(Debug, thiserror::Error)]
#[error("stopped by a signal after {told} of {photos} photos: the same command goes on with the rest")]
pub struct Stopped {
    /// Photos that are done.
    pub told: usize,
    /// Photos that there are.
    pub photos: usize,
}

/// What a command that ended tells.
pub struct Answer {
    text: String,
    /// None where there is nothing but text.
    json: Option<Value>,
    /// What a terminal shows below the text.
    picture: Option<Image>,
    code: u8,
}

impl Answer {
    /// A summary that is shown either way.
    pub fn of(summary: &(impl Display + Serialize)) -> Result<Self> {
        Ok(Self { json: Some(serde_json::to_value(summary)?), ..Self::text(summary.to_string()) })
    }

    /// A text that another program reads.
    pub fn text(text: String) -> Self {
        Self { text, json: None, picture: None, code: 0 }
    }

    /// With a picture for who sees one.
    pub fn with_picture(self, picture: Option<Image>) -> Self {
        Self { picture, ..self }
    }

    /// With the exit code that says that some failed, if some did.
    pub fn failed(mut self, some: bool) -> Self {
        self.code = if some { SOME_FAILED } else { self.code };
        self
    }

    /// Prints it, and gives the exit code.
    pub fn print(self, json: bool) -> Result<ExitCode> {
        let text = match &self.json {
            Some(value) if json => format!("{value:#}\n"),
            _ => format!("{}\n", self.text.trim_end()),
        };
        let mut output = std::io::stdout();
        match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
            // Whoever reads, `head` for example, has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            result => result?,
        }
        if let Some(picture) = self.picture.filter(|_| !json && output.is_terminal()) {
            terminal::show(&picture);
        }
        Ok(ExitCode::from(self.code))
    }
}
