//! The program that a sidecar runs.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal};
use std::process::{ExitStatus, Stdio};

use tokio::process::Command;

/// A running program, alone in its process group: signals reach its own children too, and Ctrl-C at the terminal
/// reaches only the sidecar, which passes it on when it is time.
pub(super) struct Child {
    process: tokio::process::Child,
    /// Its process id, which is also that of the group.
    id: Option<u32>,
}

/// Why a program was not started.
#[derive(Debug)]
pub(super) struct StartFailure {
    /// What to exit with.
    pub(super) code: u8,
    program: OsString,
    error: io::Error,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot run {}: {}", self.program.display(), self.error)
    }
}

impl Child {
    pub(super) fn start(command: &[OsString]) -> Result<Self, StartFailure> {
        let (program, arguments) = command.split_first().expect("the arguments require a program");
        let mut prepared = Command::new(program);
        prepared.args(arguments);
        #[cfg(unix)]
        prepared.process_group(0);
        if io::stdin().is_terminal() {
            // A group in the background that reads from the terminal is stopped.
            prepared.stdin(Stdio::null());
        }
        match prepared.spawn() {
            Ok(process) => Ok(Self { id: process.id(), process }),
            Err(error) => {
                let code = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
                Err(StartFailure { code, program: program.clone(), error })
            }
        }
    }

    /// Waits for the program to end and gives the code to exit with.
    pub(super) async fn wait(&mut self) -> io::Result<u8> {
        Ok(code_of(self.process.wait().await?))
    }

    /// Sends a signal to the program and to what it has started.
    #[cfg(unix)]
    pub(super) fn pass_on(&self, signal: nix::sys::signal::Signal) {
        use nix::sys::signal::killpg;
        use nix::unistd::Pid;

        if let Some(id) = self.id.and_then(|id| i32::try_from(id).ok()) {
            // It may have ended by itself meanwhile.
            let _ = killpg(Pid::from_raw(id), signal);
        }
    }

    /// Ends the program and what it has started, now.
    #[cfg(unix)]
    pub(super) fn kill(&self) {
        self.pass_on(nix::sys::signal::Signal::SIGKILL);
    }

    /// Ends the program.
    #[cfg(not(unix))]
    pub(super) fn pass_on(&mut self, _signal: super::signals::Signal) {
        self.kill();
    }

    /// Ends the program.
    #[cfg(not(unix))]
    pub(super) fn kill(&mut self) {
        let _ = self.process.start_kill();
    }
}

fn code_of(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return 128_u8.saturating_add(u8::try_from(signal).unwrap_or(u8::MAX));
    }
    // Where codes are wider, zero alone must stay zero.
    let code = status.code().unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
