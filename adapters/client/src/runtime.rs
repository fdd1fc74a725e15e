//! What a runtime supplies: time, transport, tasks, randomness. It decides nothing.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use periplus_core::Instant;
use periplus_core::http::{Input, Request};

use crate::driver::Driver;

/// An async runtime, as the [driver](crate::driver) needs it.
///
/// Each method is one thing that a runtime has anyway. The types are concrete, so that a runtime whose tasks must be
/// `Send` can spawn the driver, and one that has a single thread need not be. The runtime itself is little more than a
/// name for it and can be shared, because the handles read its clock from wherever they are.
pub trait Runtime: Clone + Send + Sync + Unpin + 'static {
    /// A timer.
    type Sleep: Future<Output = ()> + Unpin;
    /// A request under way: yields what came of it, [`Input::End`] or [`Input::Failure`] last. Dropping it ends the
    /// request, and its connection if that is busy with it.
    type Exchange: Stream<Item = Input> + Unpin;

    /// The time, on a clock that never goes back and that counts the time a machine sleeps where the platform can.
    fn now(&self) -> Instant;

    /// A timer that rings at an instant of [`now`](Self::now)'s clock, or soon after.
    fn sleep_until(&self, at: Instant) -> Self::Sleep;

    /// Sends a request.
    fn request(&self, request: Request) -> Self::Exchange;

    /// Runs a driver until it ends.
    fn spawn(&self, driver: Driver<Self>);

    /// Fills a buffer with randomness from the system, fit for secrets.
    fn entropy(&self, bytes: &mut [u8]);

    /// The same runtime, with the TLS that an address asks for in place of its own.
    ///
    /// # Errors
    /// Says which file is of no use and why, or that the runtime has no way to choose.
    fn with_tls_files(&self, files: &TlsFiles) -> Result<Self, TlsFilesError> {
        let _ = files;
        Err(TlsFilesError(
            "this runtime takes no certificates from files: leave ca_file, cert_file and key_file out".into(),
        ))
    }

    /// The signals of the system that the process gets from now on, of those that are wanted. A runtime that has none
    /// gives a stream that stays silent.
    ///
    /// # Errors
    /// If they cannot be listened to.
    fn signals(&self, wanted: &[Signal]) -> io::Result<Signals> {
        let _ = wanted;
        Ok(Box::pin(Silent))
    }

    /// What was stored under this name, if anything was and the runtime stores things.
    fn load(&self, name: &str) -> Option<Vec<u8>> {
        let _ = name;
        None
    }

    /// Stores bytes under a name, as well as the runtime can. Must not block for long.
    fn store(&self, name: &str, bytes: Vec<u8>) {
        let _ = (name, bytes);
    }
}

/// Something that a system tells a process to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// SIGTERM: a supervisor wants it to end.
    Terminate,
    /// SIGINT: somebody has pressed Ctrl-C. The one that all systems have.
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Hangup,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
}

/// Signals as they come.
pub type Signals = Pin<Box<dyn Stream<Item = Signal> + Send>>;

/// No signals.
struct Silent;

impl Stream for Silent {
    type Item = Signal;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Signal>> {
        Poll::Pending
    }
}

/// Files that an address names for TLS, all of them PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities to believe, in place of the public ones.
    pub roots: Option<PathBuf>,
    /// The certificate to show a server that asks, with those that lead to its root after it, and the key of it.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why files for TLS are of no use, in words that say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsFilesError(pub String);
