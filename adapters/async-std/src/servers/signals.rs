//! The system's signals, by async-signal.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use periplus::{Signal, Signals};

/// What a signal is called there, if the system has it.
fn kind(signal: Signal) -> Option<async_signal::Signal> {
    Some(match signal {
        Signal::Interrupt => async_signal::Signal::Int,
        #[cfg(unix)]
        Signal::Terminate => async_signal::Signal::Term,
        #[cfg(unix)]
        Signal::Quit => async_signal::Signal::Quit,
        #[cfg(unix)]
        Signal::Hangup => async_signal::Signal::Hup,
        #[cfg(unix)]
        Signal::User1 => async_signal::Signal::Usr1,
        #[cfg(unix)]
        Signal::User2 => async_signal::Signal::Usr2,
        _ => return None,
    })
}

/// The signals of these that come from now on. Where the system has none of them, none come.
pub(crate) fn listen(wanted: &[Signal]) -> io::Result<Signals> {
    let known: Vec<_> = wanted.iter().filter_map(|signal| Some((kind(*signal)?, *signal))).collect();
    let source = async_signal::Signals::new(known.iter().map(|(kind, _)| *kind))?;
    Ok(Box::pin(Listening { source, known }))
}

struct Listening {
    source: async_signal::Signals,
    known: Vec<(async_signal::Signal, Signal)>,
}

impl Stream for Listening {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        loop {
            let Some(Ok(kind)) = ready!(Pin::new(&mut self.source).poll_next(cx)) else { return Poll::Ready(None) };
            if let Some((_, signal)) = self.known.iter().find(|(known, _)| *known == kind) {
                return Poll::Ready(Some(*signal));
            }
        }
    }
}
