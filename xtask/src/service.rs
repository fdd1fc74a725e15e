//! A program that runs beside xtask until it is told to stop.

use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};

/// How long a program may take to stop before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a program is looked at while it is waited for.
const GLANCE: Duration = Duration::from_millis(50);

/// A running program. Dropping it kills it; [`stop`](Self::stop) is the way that lets it clean up.
#[derive(Debug)]
pub(crate) struct Service {
    name: &'static str,
    child: Child,
}

impl Service {
    /// Starts the program, out of reach of the terminal's Ctrl-C.
    ///
    /// Ctrl-C signals every process in the terminal's foreground group at once. Here it reaches xtask alone, which
    /// decides in which order its services stop.
    pub(crate) fn start(name: &'static str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null());
        leave_process_group(&mut command);
        let child = command.spawn().map_err(|error| Failure::new(format!("could not start the {name}: {error}")))?;
        Ok(Self { name, child })
    }

    /// What the program is called in messages.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The reading end of the program's standard output: there once, and only if the command had it piped.
    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// How the program ended; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child that nobody else waits for can be waited for")
    }

    /// Asks the program to stop, and does not wait for it.
    pub(crate) fn interrupt(&mut self) {
        interrupt(&mut self.child);
    }

    /// Stops the program in its tracks, as a machine that is suspended does, or lets it go on.
    pub(crate) fn freeze(&self, freeze: bool) {
        suspend(&self.child, freeze);
    }

    /// Asks the program to stop, and waits until it has. Kills it when it takes too long, or when `hurry` says so.
    pub(crate) fn stop(mut self, mut hurry: impl FnMut() -> bool) {
        if self.ended().is_some() {
            return;
        }
        println!("stopping the {}", self.name);
        interrupt(&mut self.child);
        let deadline = Instant::now() + PATIENCE;
        while self.ended().is_none() {
            if hurry() || Instant::now() >= deadline {
                println!("the {} has not stopped: killing it", self.name);
                return;
            }
            thread::sleep(GLANCE);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // Both fail only if the program ended in between.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(unix)]
fn leave_process_group(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;

    command.process_group(0);
}

#[cfg(unix)]
fn interrupt(child: &mut Child) {
    signal(child, nix::sys::signal::Signal::SIGINT);
}

#[cfg(unix)]
fn suspend(child: &Child, suspend: bool) {
    use nix::sys::signal::Signal;

    signal(child, if suspend { Signal::SIGSTOP } else { Signal::SIGCONT });
}

#[cfg(unix)]
fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let id = i32::try_from(child.id()).expect("process ids fit the type the system has for them");
    // Fails only if the program ended in between.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal);
}

#[cfg(not(unix))]
fn leave_process_group(_command: &mut Command) {}

/// There is no polite way elsewhere, unless it was Ctrl-C, of which the program then knows already.
#[cfg(not(unix))]
fn interrupt(_child: &mut Child) {}

/// Nothing of the kind can be asked for elsewhere.
#[cfg(not(unix))]
fn suspend(_child: &Child, _suspend: bool) {}
