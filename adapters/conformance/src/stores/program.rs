//! A program with a folder of its own.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::process::free_address;

/// How long a server may take to answer on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is asked.
const GLANCE: Duration = Duration::from_millis(30);

/// A program, or the place where one was. Dropping it kills the program and removes the folder.
#[derive(Debug)]
pub(super) struct Program {
    binary: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
}

impl Program {
    /// A program that does not run yet.
    pub(super) fn new(binary: PathBuf, name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("periplus-{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("there is a folder for temporary files");
        Self { binary, folder, child: None }
    }

    /// Where it keeps what it is to know after a restart.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Writes a file into its folder, and returns the file's path.
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("a folder of one's own can be written to");
        path
    }

    /// Starts it, and waits until it is ready. Nothing, if it runs.
    pub(super) fn start(&mut self, arguments: &[String], is_ready: impl FnMut() -> bool) {
        if self.child.is_none() {
            self.launch(arguments);
            self.wait(is_ready);
        }
    }

    /// Starts it, and does not wait. Nothing, if it runs.
    pub(super) fn launch(&mut self, arguments: &[String]) {
        if self.child.is_some() {
            return;
        }
        let log = File::options().append(true).create(true).open(self.folder.join("log"));
        let log = log.expect("a folder of one's own can be written to");
        let mut command = Command::new(&self.binary);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        command.current_dir(&self.folder);
        die_with_parent(&mut command);
        let child = command.spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{}: {error}", self.binary.display())));
    }

    /// Waits until it is ready.
    pub(super) fn wait(&mut self, mut is_ready: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_ready() {
            let ended = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            assert!(!ended && Instant::now() < deadline, "it has not become ready: {}", self.log());
            thread::sleep(GLANCE);
        }
    }

    /// Kills it, and waits until it is dead.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A process that is stopped dies of this too.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Kills it and drops what it knows.
    pub(super) fn wipe(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(self.data());
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().map(Child::id).expect("it runs");
        kill(Pid::from_raw(i32::try_from(id).expect("ids of processes are small")), signal).expect("it is ours");
    }

    /// The end of what it said.
    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("{} said: {}", self.binary.display(), self.log());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A port of loopback that is free, for a server that will keep it over restarts.
pub(super) fn free_port() -> u16 {
    free_address().expect("there are free ports").port()
}

/// A port that is free for TCP and UDP.
pub(super) fn free_port_of_both() -> u16 {
    loop {
        let address = free_address().expect("there are free ports");
        if std::net::UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return address.port();
        }
    }
}

/// Lets the kernel kill it when the tests end without a chance to do so.
///
/// The kernel means the thread that started it by the parent: a test's fixture lives and ends with the test's thread.
#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;

    let set = || nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from);
    // SAFETY: between fork and exec it makes one system call, and neither allocates nor locks.
    unsafe {
        command.pre_exec(set);
    }
}

#[cfg(not(target_os = "linux"))]
const fn die_with_parent(_: &mut Command) {}
