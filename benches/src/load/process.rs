//! Servers under test as processes: started, measured, ended.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// A server process.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    /// One that we started, and end.
    child: Option<Child>,
    folder: Option<PathBuf>,
}

impl Process {
    /// A process that somebody else started.
    #[must_use]
    pub fn of(pid: i32) -> Self {
        Self { pid: Pid::from_raw(pid), child: None, folder: None }
    }

    /// Starts `command` in a new folder and waits until something listens at `address`. What it writes goes into a
    /// file there.
    ///
    /// # Errors
    /// If it ends, or does not listen within half a minute; then with what it wrote.
    pub fn start(command: impl FnOnce(&Path) -> Command, address: SocketAddr) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("periplus-load-{}-{}", std::process::id(), address.port()));
        std::fs::create_dir_all(&folder)?;
        let log = folder.join("log");
        let file = std::fs::File::create(&log)?;
        let mut command = command(&folder);
        command.current_dir(&folder).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        let mut process = Self { pid, child: Some(child), folder: Some(folder) };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = process.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || start.elapsed() > Duration::from_secs(30) {
                bail!("{} does not listen:\n{}", command.get_program().display(), std::fs::read_to_string(&log)?);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// Starts an etcd of its own that serves clients at `address`. It listens before it has elected itself.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn etcd(binary: &Path, address: SocketAddr) -> Result<Self> {
        let (clients, peers) = (format!("http://{address}"), format!("http://{}", free_address()?));
        let command = |folder: &Path| {
            let mut command = Command::new(binary);
            command.arg("--data-dir").arg(folder.join("data"));
            command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
            command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
            command.args(["--initial-cluster", &format!("default={peers}")]);
            command
        };
        Self::start(command, address)
    }

    /// The processor time it has used.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn cpu(&self) -> Result<Duration> {
        let clock = clock_getcpuclockid(self.pid).context("the server is gone")?;
        Ok(clock_gettime(clock)?.into())
    }

    /// The memory it holds, in bytes.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).context("the server is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It has nothing to keep.
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// The processor time that this process has used.
#[must_use]
pub fn own_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// An address on loopback where nobody listens.
///
/// # Errors
/// If there is none.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Allows as many open files as the system lets us have: each watcher is one.
pub fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
