//! The signals that a sidecar gets.

use std::io;

#[cfg(unix)]
pub(super) use nix::sys::signal::Signal;

/// The one signal there is elsewhere.
#[cfg(not(unix))]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// Ctrl-C.
    SIGINT,
}

/// Signals as they come.
pub(super) struct Signals {
    #[cfg(unix)]
    listening: Vec<(Signal, tokio::signal::unix::Signal)>,
}

/// Whether a signal asks to stop; the others are the program's own affair.
pub(super) fn stops(signal: Signal) -> bool {
    #[cfg(unix)]
    return matches!(signal, Signal::SIGINT | Signal::SIGTERM);
    #[cfg(not(unix))]
    return signal == Signal::SIGINT;
}

#[cfg(unix)]
impl Signals {
    /// Starts to listen: from now on none of these ends the process by itself.
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];
        let listening = all.into_iter().map(|kind| Ok((kind, signal(SignalKind::from_raw(kind as i32))?)));
        Ok(Self { listening: listening.collect::<io::Result<_>>()? })
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (kind, signal) in &mut self.listening {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*kind);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

#[cfg(not(unix))]
impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    pub(super) async fn next(&mut self) -> Signal {
        let _ = tokio::signal::ctrl_c().await;
        Signal::SIGINT
    }
}

impl Signals {
    /// The next signal that asks to stop.
    pub(super) async fn next_stop(&mut self) {
        while !stops(self.next().await) {}
    }
}
