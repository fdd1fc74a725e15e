//! The system's signals, by tokio.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use periplus::{Signal, Signals};

/// The signals of these that come from now on. Where the system has none of them, none come.
#[cfg(unix)]
pub(crate) fn listen(wanted: &[Signal]) -> io::Result<Signals> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut listening = Vec::new();
    for wanted in wanted {
        let kind = match wanted {
            Signal::Terminate => SignalKind::terminate(),
            Signal::Interrupt => SignalKind::interrupt(),
            Signal::Quit => SignalKind::quit(),
            Signal::Hangup => SignalKind::hangup(),
            Signal::User1 => SignalKind::user_defined1(),
            Signal::User2 => SignalKind::user_defined2(),
            _ => continue,
        };
        listening.push((*wanted, signal(kind)?));
    }
    Ok(Box::pin(Listening(listening)))
}

/// The signals of these that come from now on: Ctrl-C, if it is among them.
#[cfg(windows)]
pub(crate) fn listen(wanted: &[Signal]) -> io::Result<Signals> {
    let mut listening = Vec::new();
    if wanted.contains(&Signal::Interrupt) {
        listening.push((Signal::Interrupt, tokio::signal::windows::ctrl_c()?));
    }
    Ok(Box::pin(Listening(listening)))
}

#[cfg(unix)]
type Source = tokio::signal::unix::Signal;
#[cfg(windows)]
type Source = tokio::signal::windows::CtrlC;

struct Listening(Vec<(Signal, Source)>);

impl Stream for Listening {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        for (signal, source) in &mut self.0 {
            if source.poll_recv(cx).is_ready() {
                return Poll::Ready(Some(*signal));
            }
        }
        Poll::Pending
    }
}
