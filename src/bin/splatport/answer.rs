//! What a command tells, as text and as JSON.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

/// Exit code of an error.
pub const ERROR: u8 = 1;
/// Exit code when some images or files failed and the others did not.
pub const SOME_FAILED: u8 = 3;

/// What a command that ended tells.
pub struct Answer {
    text: String,
    json: Value,
    code: u8,
}

impl Answer {
    /// A summary that is shown either way.
    pub fn of(summary: &(impl Display + Serialize)) -> Result<Self> {
        Ok(Self { text: summary.to_string(), json: serde_json::to_value(summary)?, code: 0 })
    }

    /// Nothing to tell: the command printed what it had.
    pub fn nothing() -> Self {
        Self { text: String::new(), json: Value::Null, code: 0 }
    }

    /// With the exit code that says that some failed, if some did.
    pub fn failed(mut self, some: bool) -> Self {
        self.code = if some { SOME_FAILED } else { self.code };
        self
    }

    /// Prints it, and gives the exit code.
    pub fn print(self, json: bool) -> Result<ExitCode> {
        let text = match (json, &self.json) {
            (_, Value::Null) => String::new(),
            (true, value) => format!("{value:#}\n"),
            (false, _) => format!("{}\n", self.text.trim_end()),
        };
        match std::io::stdout().write_all(text.as_bytes()) {
            // Whoever reads, `head` for example, has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            result => result?,
        }
        Ok(ExitCode::from(self.code))
    }
}
