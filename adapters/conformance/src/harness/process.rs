//! A registry as a process.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// What the registry prints once it accepts connections.
const LISTENING: &str = "listening on http://";

/// Ports that no outgoing connection is given, so that a registry finds its own free when it comes back.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A registry, or the place where one was.
#[derive(Debug)]
pub(super) struct Process {
    binary: PathBuf,
    pub(super) address: SocketAddr,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Process {
    pub(super) fn new(binary: PathBuf, arguments: Vec<String>) -> io::Result<Self> {
        Ok(Self { binary, address: free_address()?, arguments, child: None })
    }

    /// Starts it, and waits until it listens. Nothing, if it runs.
    pub(super) async fn start(&mut self) -> io::Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let mut command = Command::new(&self.binary);
        command.args(["serve", "--listen", &self.address.to_string()]).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        die_with_parent(&mut command);
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        let mut lines = BufReader::new(stdout).lines();
        loop {
            match lines.next_line().await? {
                Some(line) if line.starts_with(LISTENING) => break,
                Some(_) => {}
                None => return Err(io::Error::other(format!("the registry has not started on {}", self.address))),
            }
        }
        tokio::spawn(async move {
            let mut rest = lines.into_inner();
            let mut buffer = [0; 4096];
            while rest.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
        });
        self.child = Some(child);
        Ok(())
    }

    /// Kills it, and waits until it is dead.
    pub(super) async fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = self.pid().ok_or_else(|| io::Error::other("the registry does not run: start it"))?;
        let id = i32::try_from(id).map_err(io::Error::other)?;
        Ok(kill(Pid::from_raw(id), signal)?)
    }

    /// Its process, if it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }
}

/// Lets the kernel kill it when the harness ends without a chance to do so.
#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    let set = || Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?);
    // SAFETY: between fork and exec it makes one system call, and neither allocates nor locks.
    unsafe {
        command.pre_exec(set);
    }
}

#[cfg(not(target_os = "linux"))]
const fn die_with_parent(_: &mut Command) {}

/// A port that nobody listens on. Two processes that look at once begin at different places.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    let start = u16::try_from(std::process::id() % u32::from(count)).unwrap_or_default();
    for _ in 0..count {
        let step = NEXT.fetch_add(7, Ordering::Relaxed);
        let port = PORTS.start + (start.wrapping_mul(31).wrapping_add(step)) % count;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::Error::other("there is no free port"))
}
