//! How a command ends when it does not succeed.

use std::fmt;
use std::process::{ExitCode, ExitStatus};

/// What most functions here return: nothing, or the reason to stop.
pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

/// Why a command stopped: a message that says what to do, and the exit code to end with.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Makes a failure with exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// Makes a failure with exit code 2: the command was called wrongly.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// Makes a failure that hands on the exit code of a program that ended with `status`.
    ///
    /// A program that a signal ended has no exit code of its own and counts as 1.
    pub(crate) fn of_program(program: &str, status: ExitStatus) -> Self {
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Self { code: code.filter(|code| *code != 0).unwrap_or(1), message: format!("{program} ended with {status}") }
    }

    /// Adds a line that says what to do.
    pub(crate) fn with_hint(mut self, hint: &str) -> Self {
        self.message = format!("{}\n  {hint}", self.message);
        self
    }

    /// The exit code to end with; never success.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
