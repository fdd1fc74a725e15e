//! Real registries that fail on command.
//!
//! A harness listens on loopback and serves *arenas*: each is one `periplus serve` on a port that it keeps over
//! restarts, and one faulty proxy in front of it. All routes answer pages of any origin.
//!
//! | request | what it does |
//! |---|---|
//! | `POST /arenas?warm-up=1s&…` | opens an arena; the keys are flags of `periplus serve`. Answers [`Opened`] |
//! | `POST /arenas/{n}/kill` | kills the registry, as `kill -9` does |
//! | `POST /arenas/{n}/start` | starts it again where it was, with its memory gone; answers when it listens |
//! | `POST /arenas/{n}/stop`, `…/cont` | freezes it, and lets it go on: SIGSTOP, SIGCONT |
//! | `POST /arenas/{n}/proxy?mode=…` | what the proxy does with new connections ([`Mode`]), and with `existing=` `close`, `freeze` or `keep` what it does with those there are |
//! | `POST /arenas/{n}/connects` | when connections reached the proxy, in milliseconds since the arena was opened |
//! | `POST /arenas/{n}/close` | ends the arena |
//! | any `/arenas/{n}/act/…` | passes the request on to the registry itself, as an outsider |
//!
//! Everything that was started is killed when the harness is dropped, and when the process ends without that.

mod arena;
mod control;
pub(crate) mod process;
mod proxy;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub use arena::Opened;
pub use proxy::Mode;

/// The variable that names the binary of the registry. Without it, cargo builds it.
pub const BINARY: &str = "PERIPLUS_BIN";

/// A harness, on a thread of its own.
#[derive(Debug)]
pub struct Harness {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Harness {
    /// Starts a harness on a free port.
    ///
    /// # Errors
    /// If there is no binary of the registry and none can be built, or there is no port.
    pub fn start() -> io::Result<Self> {
        let binary = binary()?;
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new().name("harness".into()).spawn(move || {
            let run = tokio::runtime::Builder::new_current_thread().enable_all().build().map(|runtime| {
                runtime.block_on(async {
                    match control::listen(binary).await {
                        Ok((address, serve)) => {
                            let _ = tell.send(Ok(address));
                            tokio::select! { () = serve => {}, _ = stopped => {} }
                        }
                        Err(error) => drop(tell.send(Err(error))),
                    }
                });
            });
            run.expect("a thread can have a runtime");
        })?;
        let address = told.recv().map_err(|_| io::Error::other("the harness has ended at once"))??;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens, for [`suite::Stage`](crate::suite::Stage).
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The binary of the registry, built if need be.
fn binary() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os(BINARY) {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    build.args(["build", "--quiet", "--package", "periplus-server", "--message-format", "json"]);
    // Who measures does not measure a registry that is not optimised.
    build.args((!cfg!(debug_assertions)).then_some("--release"));
    let output = build.output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("cargo cannot build the registry: name its binary in {BINARY}")));
    }
    let messages = output.stdout.split(|&byte| byte == b'\n');
    let mut paths = messages.filter_map(|line| {
        let message: serde_json::Value = serde_json::from_slice(line).ok()?;
        let named = message["target"]["name"] == "periplus";
        message["executable"].as_str().filter(|_| named).map(PathBuf::from)
    });
    paths.next_back().ok_or_else(|| io::Error::other(format!("cargo names no binary: name it in {BINARY}")))
}
