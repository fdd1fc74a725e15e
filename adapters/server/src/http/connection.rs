//! One connection: who is at its other end, what it is doing, and when it has to go.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use periplus_core::Caller;
use smol_str::SmolStr;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::socket::{Outlet, Socket};
use super::{Server, call};

/// Who says so goes by this name in events and history. It proves nothing.
const CALLER: &str = "periplus-caller";
/// The longest name or client that is kept.
const CALLER_LIMIT: usize = 128;
/// How many head times a connection may be idle between two requests.
const IDLE_TURNS: u32 = 12;
/// How many head times the other end may take nothing of what is there for it.
const STALLED_TURNS: u32 = 6;
/// How often the other end of an HTTP/2 connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);
/// How much of a head or of answers that are not read is held for a connection.
const BUFFER: usize = 16 << 10;

/// A connection as its requests see it.
#[derive(Debug)]
pub(super) struct Connection {
    server: Arc<Server>,
    peer: SocketAddr,
    caller: Mutex<Option<(Option<HeaderValue>, Arc<Caller>)>>,
    /// Requests under way.
    requests: AtomicU32,
    /// Something arrived that is no request yet.
    pub(super) heard: AtomicBool,
    /// A request began since the watchdog last looked.
    used: AtomicBool,
    /// The connection's task.
    task: AtomicWaker,
}

/// A request under way, until it is dropped: with the body of its answer.
#[derive(Debug)]
pub(super) struct Busy(Arc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
        // The last that was heard was its body.
        self.0.heard.store(false, Ordering::Relaxed);
    }
}

impl Connection {
    fn new(server: Arc<Server>, peer: SocketAddr) -> Self {
        Self {
            server,
            peer,
            caller: Mutex::new(None),
            requests: AtomicU32::new(0),
            heard: AtomicBool::new(false),
            used: AtomicBool::new(false),
            task: AtomicWaker::new(),
        }
    }

    pub(super) const fn server(&self) -> &Arc<Server> {
        &self.server
    }

    pub(super) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// A request begins.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.heard.store(false, Ordering::Relaxed);
        self.used.store(true, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Who calls: made once, unless the name changes from request to request.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Arc<Caller> {
        let name = headers.get(CALLER);
        let mut known = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, caller)) = &*known
            && of.as_ref() == name
        {
            return Arc::clone(caller);
        }
        let caller = Arc::new(Caller {
            who: name.map(shown).unwrap_or_default(),
            from: SmolStr::new(self.peer.to_string()),
            client: headers.get(USER_AGENT).map(shown).unwrap_or_default(),
        });
        *known = Some((name.cloned(), Arc::clone(&caller)));
        caller
    }
}

/// A header as people may read it, cut to a decent length.
fn shown(value: &HeaderValue) -> SmolStr {
    let text = String::from_utf8_lossy(value.as_bytes());
    let visible = text.chars().filter(|c| !c.is_control());
    let mut end = 0;
    visible
        .take_while(|c| {
            end += c.len_utf8();
            end <= CALLER_LIMIT
        })
        .collect()
}

/// The connections there are.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<BTreeMap<usize, Arc<Connection>>>,
    next: AtomicUsize,
    count: AtomicUsize,
    closed: tokio::sync::Notify,
}

impl Connections {
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn open(&self, connection: &Arc<Connection>) -> usize {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(at, Arc::clone(connection));
        at
    }

    fn close(&self, at: usize) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&at);
        drop(open);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.closed.notify_waiters();
    }

    /// Takes a place, if there is one.
    pub(super) fn admit(&self, limit: usize) -> bool {
        let admitted =
            self.count.try_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < limit).then_some(count + 1));
        admitted.is_ok()
    }

    /// Wakes every connection's task, so that it sees that the server stops.
    pub(super) fn wake_all(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().for_each(|connection| connection.task.wake());
    }

    /// Waits until none is left.
    pub(super) async fn all_closed(&self) {
        loop {
            let closed = self.closed.notified();
            if self.count() == 0 {
                return;
            }
            closed.await;
        }
    }
}

/// Gives a place back, however the task ends.
struct Place {
    server: Arc<Server>,
    at: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.server.connections.close(self.at);
    }
}

/// Serves a connection that [`Connections::admit`] has admitted, to its end.
pub(super) async fn serve(server: Arc<Server>, stream: TcpStream, peer: SocketAddr) {
    let connection = Arc::new(Connection::new(Arc::clone(&server), peer));
    let at = server.connections.open(&connection);
    let _place = Place { server, at };
    let limits = &connection.server.config.limits;
    let version = tokio::select! {
        version = tokio::time::timeout(limits.head_timeout, version(&stream)) => version,
        () = connection.server.stopped() => return,
    };
    let Ok(Ok(version)) = version else {
        return;
    };
    let socket = Socket::new(stream, Arc::clone(&connection));
    let outlet = socket.outlet();
    let io = TokioIo::new(socket);
    let service = {
        let connection = Arc::clone(&connection);
        service_fn(move |request| call::answer(Arc::clone(&connection), request))
    };
    let result = match version {
        Version::One => {
            let connected = http1::Builder::new()
                .max_header_size(limits.head_bytes)
                .max_buf_size(limits.head_bytes.max(BUFFER))
                .header_read_timeout(None)
                .serve_connection(io, service);
            let stop = http1::Connection::graceful_shutdown;
            drive(&connection, &outlet, pin!(connected), stop).await
        }
        Version::Two => {
            let connected = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
                .max_concurrent_streams(limits.streams_per_connection)
                .max_pending_accept_reset_streams(20)
                .max_local_error_reset_streams(100)
                .max_send_buf_size(BUFFER)
                .initial_stream_window_size(64 << 10)
                .initial_connection_window_size(256 << 10)
                .keep_alive_interval(PING)
                .keep_alive_timeout(PING)
                .serve_connection(io, service);
            let stop = http2::Connection::graceful_shutdown;
            drive(&connection, &outlet, pin!(connected), stop).await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

/// Polls a connection until it is over, the server stops, or its other end takes too long to say what it wants.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: &Connection,
    outlet: &Outlet,
    mut connected: Pin<&mut C>,
    stop: impl Fn(Pin<&mut C>),
) -> hyper::Result<()> {
    let turn = connection.server.config.limits.head_timeout;
    let mut watchdog = pin!(Watchdog::new(turn));
    let mut stopping = false;
    poll_fn(|cx| {
        if let Poll::Ready(result) = connected.as_mut().poll(cx) {
            // What hyper thinks of something that is no HTTP is still to be said.
            let _ = outlet.poll_send(cx);
            return Poll::Ready(result);
        }
        if let Poll::Ready(Err(_)) = outlet.poll_send(cx) {
            // Nobody is there to be told.
            return Poll::Ready(Ok(()));
        }
        if !stopping {
            connection.task.register(cx.waker());
            if connection.server.is_stopping() {
                stopping = true;
                stop(connected.as_mut());
                cx.waker().wake_by_ref();
            }
        }
        watchdog.as_mut().poll_bark(cx, connection, outlet).map(Ok)
    })
    .await
}

/// Ends connections that do not say what they want, or do not want what they asked for: a head that does not come to
/// its end in one to two turns, silence for many turns, or answers that nobody reads for some turns. A watcher that was
/// cut off so comes back with its cursor, if there still is one.
struct Watchdog {
    turn: Duration,
    sleep: Pin<Box<Sleep>>,
    /// The last turn found the connection in the middle of a head.
    suspected: bool,
    idle: u32,
    stalled: u32,
}

impl Watchdog {
    fn new(turn: Duration) -> Self {
        Self { turn, sleep: Box::pin(tokio::time::sleep(turn)), suspected: false, idle: 0, stalled: 0 }
    }

    fn poll_bark(self: Pin<&mut Self>, cx: &mut Context<'_>, connection: &Connection, outlet: &Outlet) -> Poll<()> {
        let this = self.get_mut();
        while this.sleep.as_mut().poll(cx).is_ready() {
            let busy = connection.requests.load(Ordering::Relaxed) > 0;
            let used = connection.used.swap(false, Ordering::Relaxed) || busy;
            let partial = connection.heard.load(Ordering::Relaxed) && !used;
            this.idle = if used { 0 } else { this.idle + 1 };
            this.stalled = if outlet.is_blocked() { this.stalled + 1 } else { 0 };
            let stuck = partial && this.suspected;
            if stuck || this.idle > IDLE_TURNS || this.stalled > STALLED_TURNS {
                return Poll::Ready(());
            }
            this.suspected = partial;
            this.sleep.as_mut().reset(Instant::now() + this.turn);
        }
        Poll::Pending
    }
}

enum Version {
    One,
    Two,
}

/// Looks at the first bytes: HTTP/2 begins with `PRI`.
async fn version(stream: &TcpStream) -> io::Result<Version> {
    const PREFACE: &[u8] = b"PRI";
    let mut first = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut first).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !PREFACE.starts_with(&first[..count]) {
            return Ok(Version::One);
        }
        if count == PREFACE.len() {
            return Ok(Version::Two);
        }
        // What was peeked at stays readable, so that nothing would wake us when the rest comes.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
