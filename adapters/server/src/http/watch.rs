//! Watches as event streams, pulled by whoever reads them: a slow reader is not polled and costs nothing but its socket.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use periplus_core::protocol::{WatchMessage, WatchedMessage};
use periplus_core::{Cursor, Delivery, Notice, Selector, ServiceKey, WatchId, WatchStart};
use smol_str::SmolStr;
use tokio::time::{Instant, Sleep};

use super::answer::{self, Answer};
use super::body::Body;
use super::call::Call;
use super::hub::{Bell, Hub, Opened, Taken};
use super::problem::Problem;
use super::{Server, encode, query};

/// What is longer is not copied into a delivery, but sent as it is.
const COPIED: usize = 8 << 10;

/// `GET /v1/watch`.
pub(super) fn watch(call: &Call<'_>) -> Answer {
    let namespace = call.query.namespace()?;
    let since = match call.last_event_id()? {
        Some(id) => Some(cursor(id, "last-event-id")?),
        None => match call.query.one("since")? {
            Some(since) => Some(cursor(&since, "since")?),
            None => None,
        },
    };
    let mut selectors = Vec::new();
    for service in call.query.all("service") {
        let service = query::service_name(&service?)?;
        let key = ServiceKey::new(namespace.clone(), service);
        selectors.push((Selector::Service(key), since.clone()));
    }
    for prefix in call.query.all("prefix") {
        selectors.push((self::prefix(namespace.clone(), &prefix?), since.clone()));
    }
    if selectors.is_empty() {
        let message = "say what to watch: ?service=NAME, or ?prefix= for everything";
        return Err(Problem::invalid("invalid_watch", "service", message));
    }
    open(call, &WatchStart { selectors })
}

/// `POST /v1/watch`.
pub(super) fn watch_many(call: &Call<'_>) -> Answer {
    let message: WatchMessage = call.message()?;
    let resumed = call.last_event_id()?.map(|id| cursor(id, "last-event-id"));
    let resumed = resumed.transpose()?;
    let selectors = message.watch.iter().enumerate().map(|(at, watched)| {
        let (selector, since) = selector(watched).map_err(|problem| {
            let field = problem.field.clone().unwrap_or_default();
            problem.with_field(format!("watch[{at}].{field}"))
        })?;
        Ok((selector, resumed.clone().or(since)))
    });
    let selectors = selectors.collect::<Result<Vec<_>, Problem>>()?;
    open(call, &WatchStart { selectors })
}

fn selector(watched: &WatchedMessage) -> Result<(Selector, Option<Cursor>), Problem> {
    let namespace = query::namespace(watched.ns.as_deref())?;
    let since = watched.since.as_deref().map(|text| cursor(text, "since"));
    let selector = match (&watched.service, &watched.prefix) {
        (Some(service), None) => Selector::Service(ServiceKey::new(namespace, query::service_name(service)?)),
        (None, Some(prefix)) => self::prefix(namespace, prefix),
        _ => {
            let message = "name a service or a prefix, one of them";
            return Err(Problem::invalid("invalid_watch", "service", message));
        }
    };
    Ok((selector, since.transpose()?))
}

fn prefix(namespace: periplus_core::Namespace, prefix: &str) -> Selector {
    Selector::Prefix { namespace, prefix: SmolStr::new(prefix) }
}

pub(super) fn cursor(text: &str, field: &'static str) -> Result<Cursor, Problem> {
    text.parse()
        .map_err(|error: periplus_core::set::CursorError| Problem::invalid("invalid_cursor", field, error.to_string()))
}

fn open(call: &Call<'_>, start: &WatchStart) -> Answer {
    let opened = call.hub.watch(start, &call.caller())?;
    let body = WatchBody::new(Arc::clone(call.server), Arc::clone(&call.hub), opened);
    Ok(answer::stream(Body::watch(body)))
}

/// The stream of one watch.
pub(super) struct WatchBody {
    server: Arc<Server>,
    hub: Arc<Hub>,
    id: WatchId,
    bell: Arc<Bell>,
    phase: Phase,
    /// The first event, until it was sent.
    name: Option<Bytes>,
    /// What is left of a delivery whose first part was sent.
    rest: std::vec::IntoIter<Bytes>,
    /// When something was last sent.
    sent: Instant,
    silence: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was sent.
    Begun,
    Live,
    Over,
}

impl WatchBody {
    fn new(server: Arc<Server>, hub: Arc<Hub>, opened: Opened) -> Self {
        let Opened { id, bell, name } = opened;
        let silence = Box::pin(tokio::time::sleep(jittered(server.config.keep_alive, id)));
        let name = Some(encode::opened(name));
        let (phase, rest) = (Phase::Begun, Vec::new().into_iter());
        Self { server, hub, id, bell, phase, name, rest, sent: Instant::now(), silence }
    }

    /// The next piece of the stream, if there is one.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(name) = self.name.take() {
            return Poll::Ready(Some(name));
        }
        if let Some(part) = self.rest.next() {
            return Poll::Ready(Some(part));
        }
        if self.phase == Phase::Over {
            return Poll::Ready(None);
        }
        let begins = self.phase == Phase::Begun;
        if self.bell.heard(cx.waker()) || begins {
            let data = self.take(begins);
            self.phase = match self.phase {
                Phase::Begun => Phase::Live,
                phase => phase,
            };
            if let Some(data) = data {
                self.sent = Instant::now();
                return Poll::Ready(Some(data));
            }
            // What rang has been taken: wait for the next ring.
            if self.bell.heard(cx.waker()) {
                cx.waker().wake_by_ref();
            }
        }
        if self.server.is_stopping() || self.hub.is_retired() {
            self.phase = Phase::Over;
            let mut out = Vec::new();
            bye(&mut out, self.id.index() as u64);
            return Poll::Ready(Some(out.into()));
        }
        ready!(self.poll_silence(cx));
        let bookmark = self.bookmark();
        Poll::Ready(Some(bookmark))
    }

    /// What the watcher has not seen; at the beginning, a bookmark if it has seen everything.
    fn take(&mut self, begins: bool) -> Option<Bytes> {
        let Some(taken) = self.hub.take(self.id) else {
            return begins.then(|| self.bookmark());
        };
        let delivery = &taken.delivery;
        let metrics = &self.server.metrics;
        metrics.deliveries.inc();
        metrics.changes.inc_by(delivery.changes.len() as u64);
        if let [change] = &*delivery.changes
            && delivery.snapshots.is_empty()
            && delivery.notices.is_empty()
            && delivery.cursor.revision == change.revision
        {
            return Some(self.hub.shared.change(change).whole);
        }
        let ends = |notice: &Notice| matches!(notice, Notice::Behind { .. });
        if delivery.notices.iter().any(ends) {
            self.phase = Phase::Over;
        }
        let mut parts = written(&self.server, &self.hub, &taken).into_iter();
        let first = parts.next();
        self.rest = parts;
        first
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The timer is not moved with each delivery, but when it rings: most watches are quiet.
        loop {
            ready!(self.silence.as_mut().poll(cx));
            let due = self.sent + jittered(self.server.config.keep_alive, self.id);
            let now = Instant::now();
            if due <= now {
                self.sent = now;
                let next = now + jittered(self.server.config.keep_alive, self.id);
                self.silence.as_mut().reset(next);
                // Polled again, so that it is known who waits for it.
                let _ = self.silence.as_mut().poll(cx);
                return Poll::Ready(());
            }
            self.silence.as_mut().reset(due);
        }
    }

    /// A cursor and nothing else, or a comment if the watch has no place yet: it waits for the server to catch up.
    fn bookmark(&self) -> Bytes {
        match self.hub.bookmark(self.id) {
            Some(revision) => {
                let mut out = Vec::with_capacity(64);
                encode::id(&mut out, self.hub.epoch(), revision);
                out.into()
            }
            None => Bytes::from_static(b": waiting\n\n"),
        }
    }
}

impl Drop for WatchBody {
    fn drop(&mut self) {
        self.hub.unwatch(self.id);
    }
}

impl std::fmt::Debug for WatchBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WatchBody({:?}, {:?})", self.id, self.phase)
    }
}

/// Between three quarters of the time and all of it, so that watches which began together do not stay together.
fn jittered(time: Duration, id: WatchId) -> Duration {
    let spread = (id.index() as u32).wrapping_mul(0x9e37_79b9) >> 24;
    time.mul_f64(1.0 - f64::from(spread) / 1024.0)
}

/// Appends the last event before an orderly end. Those who come back do so one after the other.
pub(super) fn bye(out: &mut Vec<u8>, number: u64) {
    let spread = (number as u32).wrapping_mul(0x9e37_79b9) >> 20;
    out.extend_from_slice(b"event: bye\nretry: ");
    encode::number(out, 500 + u64::from(spread));
    out.extend_from_slice(b"\ndata: {}\n\n");
}

/// A delivery as bytes. Small parts are copied together, large ones are shared.
fn written(server: &Server, hub: &Hub, taken: &Taken) -> Vec<Bytes> {
    let Delivery { cursor, from, snapshots, changes, notices } = &taken.delivery;
    let mut parts = Parts::default();
    let window = server.config.alarm.window;
    for notice in notices {
        encode::notice(&mut parts.last, notice, window);
    }
    let mut open = false;
    for (snapshot, changed) in snapshots.iter().zip(&taken.changed) {
        parts.separate(&mut open);
        let written = changed.as_ref().and_then(|(service, revision)| hub.shared.snapshots.get(service, *revision));
        let written = written.unwrap_or_else(|| {
            let bytes = encode::snapshot(&snapshot.selector, &snapshot.instances);
            if let Some((service, revision)) = changed {
                let service = Arc::clone(service);
                hub.shared.snapshots.put(service, *revision, bytes.clone());
            }
            bytes
        });
        parts.push(written);
    }
    for change in changes.iter() {
        parts.separate(&mut open);
        let frame = hub.shared.change(change);
        parts.last.extend_from_slice(&frame.whole[..frame.block]);
    }
    let placeless = notices.iter().any(|notice| matches!(notice, Notice::Behind { .. }));
    // The first delivery says where the watch is, even if it tells nothing else. So does one that says that the registry
    // has settled: it holds from that place on.
    let settled = notices.iter().any(|notice| matches!(notice, Notice::Settled));
    if open || settled || (from.is_none() && !placeless) {
        encode::id(&mut parts.last, hub.epoch(), cursor.revision);
    }
    parts.finish()
}

#[derive(Default)]
struct Parts {
    done: Vec<Bytes>,
    last: Vec<u8>,
}

impl Parts {
    /// Ends the event before, if there is one.
    fn separate(&mut self, open: &mut bool) {
        if std::mem::replace(open, true) {
            self.last.push(b'\n');
        }
    }

    fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= COPIED {
            self.last.extend_from_slice(&bytes);
            return;
        }
        self.flush();
        self.done.push(bytes);
    }

    fn flush(&mut self) {
        if !self.last.is_empty() {
            self.done.push(std::mem::take(&mut self.last).into());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.flush();
        self.done
    }
}
