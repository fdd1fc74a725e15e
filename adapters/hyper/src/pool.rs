//! Connections that wait to be used again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;

use crate::origin::Origin;

/// The end of a connection that requests are handed to.
pub(crate) type Sender = SendRequest<Full<Bytes>>;

/// How long a connection waits to be used again.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How many connections to one origin wait.
const IDLE_PER_ORIGIN: usize = 4;

/// The connections that wait, latest last.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Idle>);

#[derive(Debug, Default)]
struct Idle {
    connections: BTreeMap<Origin, Vec<(Sender, Instant)>>,
    /// Whether somebody is going to call [`Pool::sweep`].
    swept: bool,
}

impl Pool {
    /// The connection to an origin that was used last. The server may have closed it meanwhile.
    pub(crate) fn take(&self, origin: &Origin) -> Option<Sender> {
        self.with(|idle| {
            let connections = idle.connections.get_mut(origin)?;
            prune(connections);
            connections.pop().map(|(sender, _)| sender)
        })
    }

    /// Keeps a connection. Answers whether somebody must see to it that [`sweep`](Self::sweep) is called now and then.
    pub(crate) fn put(&self, origin: Origin, sender: Sender) -> bool {
        self.with(|idle| {
            let connections = idle.connections.entry(origin).or_default();
            prune(connections);
            if connections.len() == IDLE_PER_ORIGIN {
                connections.remove(0);
            }
            connections.push((sender, Instant::now()));
            !std::mem::replace(&mut idle.swept, true)
        })
    }

    /// Closes what waits too long. Answers whether anything is left to be swept later.
    pub(crate) fn sweep(&self) -> bool {
        self.with(|idle| {
            idle.connections.retain(|_, connections| {
                prune(connections);
                !connections.is_empty()
            });
            idle.swept = !idle.connections.is_empty();
            idle.swept
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Idle) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn prune(connections: &mut Vec<(Sender, Instant)>) {
    connections.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE_TIMEOUT);
}
