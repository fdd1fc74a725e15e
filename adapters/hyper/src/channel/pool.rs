//! The connections to one instance, from the first to the last.

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use hyper::client::conn::http1;
use periplus_core::dial::Connect;
use tokio::sync::{Notify, watch};

use super::connection::{Connection, Noticed, Traffic};
use crate::client::{BUFFER, REST, innermost};
use crate::dial::{dial, within};
use crate::io::HyperIo;
use crate::net::{Io, Net, Task};
use crate::routing::{Connector, Event, Leave, Link, Naming, Reports};
#[cfg(feature = "tls")]
use crate::tls::TlsConnector;

/// How long a connection waits for its next request: less than what most servers do.
pub(super) const IDLE: Duration = Duration::from_secs(25);

/// How many connections to one instance wait.
const IDLE_CONNECTIONS: usize = 64;

/// How long after one that was of no use another connection is made only to have one.
const PAUSE: Duration = Duration::from_secs(1);

/// How connections are made.
pub(super) struct Pools {
    pub(super) net: Arc<dyn Net>,
    pub(super) naming: Naming,
    pub(super) idle: Duration,
    pub(super) connect_timeout: Duration,
    /// How long calls may go on after the instance was given up, if nobody says.
    pub(super) linger: Duration,
    /// Whom to believe and who to be, with TLS.
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsConnector>,
}

/// The connections to one instance.
pub(super) struct Pool {
    pools: Arc<Pools>,
    connect: Connect,
    /// Whom requests are for.
    pub(super) host: HeaderValue,
    state: Mutex<State>,
    lost: AtomicBool,
    /// The state is to be looked at.
    news: Notify,
    /// Ends every connection.
    cut: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// Those that wait, latest last, and since when.
    idle: Vec<(Connection, Instant)>,
    /// How many there are, waiting or in use.
    open: usize,
    /// Whether the last that ended was closed by the server right away.
    hasty: bool,
    /// Whether the instance was given up: what is under way is the last.
    closed: bool,
    /// Why no connection could be made.
    failure: Option<String>,
}

impl Connector for Pools {
    type Link = Pool;

    fn run(self: Arc<Self>, connect: Connect, reports: Reports<Pool>, leave: Leave) -> Task<()> {
        Box::pin(run(self, connect, reports, leave))
    }
}

impl Link for Pool {
    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }
}

/// Keeps a connection to an instance, until none can be made or it is given up.
async fn run(pools: Arc<Pools>, connect: Connect, reports: Reports<Pool>, mut leave: Leave) {
    let id = connect.id;
    let authority = pools.naming.authority(&connect);
    let Ok(host) = HeaderValue::from_str(authority.as_str()) else {
        return drop(reports.send(Event::Lost(id, format!("`{authority}` cannot stand in a request"))).await);
    };
    let (cut, _) = watch::channel(false);
    let pool = Arc::new(Pool {
        pools: Arc::clone(&pools),
        connect,
        host,
        state: Mutex::default(),
        lost: AtomicBool::new(false),
        news: Notify::new(),
        cut,
    });
    let first = tokio::select! {
        made = pool.open() => made,
        _ = &mut leave => return,
    };
    match first {
        Ok(connection) => pool.put(connection),
        Err(reason) => return drop(reports.send(Event::Lost(id, reason)).await),
    }
    if reports.send(Event::Connected(id, Arc::clone(&pool))).await.is_err() {
        return pool.close();
    }
    let linger = tokio::select! {
        reason = pool.keep() => {
            pool.lost.store(true, Ordering::SeqCst);
            pool.close();
            // Only new connections fail: what is under way goes on.
            return drop(reports.send(Event::Lost(id, reason)).await);
        }
        linger = &mut leave => linger.unwrap_or(pools.linger),
    };
    // What is held of the channel would keep it open.
    drop(reports);
    pool.close();
    let _ = within(&*pools.net, linger, pool.ended()).await;
    pool.cut.send_replace(true);
}

impl Pool {
    /// The kept connection that was used last and can take a request.
    pub(super) async fn take(&self) -> Option<Connection> {
        loop {
            let mut connection = {
                let mut state = self.lock();
                state.idle.retain(|(connection, _)| !connection.sender.is_closed());
                let ready = state.idle.iter().rposition(|(connection, _)| connection.sender.is_ready());
                let at = ready.or_else(|| state.idle.len().checked_sub(1))?;
                state.idle.remove(at).0
            };
            let sender = &mut connection.sender;
            if sender.is_ready()
                || within(&*self.pools.net, REST, sender.ready()).await.is_some_and(|rest| rest.is_ok())
            {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request, unless the instance was given up.
    pub(super) fn put(&self, connection: Connection) {
        let mut dropped = None;
        let mut state = self.lock();
        if state.closed || connection.sender.is_closed() {
            dropped = Some(connection);
        } else {
            if state.idle.len() == IDLE_CONNECTIONS {
                dropped = Some(state.idle.remove(0).0);
            }
            state.idle.push((connection, Instant::now()));
        }
        drop(state);
        drop(dropped);
    }

    /// A new connection.
    ///
    /// # Errors
    /// Why not, for people.
    pub(super) async fn open(self: &Arc<Self>) -> Result<Connection, String> {
        let Pools { net, connect_timeout, .. } = &*self.pools;
        let Some(io) = within(&**net, *connect_timeout, self.secured()).await else {
            return Err(format!("no connection within {connect_timeout:?}"));
        };
        let traffic = Arc::new(Traffic::new());
        let io = Noticed { io: io.map_err(|error| innermost(&error))?, traffic: Arc::clone(&traffic) };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER);
        let (sender, connection) = builder.handshake(HyperIo(Box::new(io))).await.map_err(|error| innermost(&error))?;
        self.lock().open += 1;
        let (pool, mut cut) = (Arc::clone(self), self.cut.subscribe());
        let kept = Arc::clone(&traffic);
        net.spawn(Box::pin(async move {
            tokio::select! {
                // What goes wrong is told to whoever has sent a request.
                _ = connection => {}
                _ = cut.wait_for(|cut| *cut) => {}
            }
            let mut state = pool.lock();
            state.open -= 1;
            state.hasty = !kept.used.load(Ordering::SeqCst) && kept.made.elapsed() < PAUSE;
            drop(state);
            pool.news.notify_one();
        }));
        Ok(Connection { sender, traffic })
    }

    /// No connection could be made: the instance is tried again later.
    pub(super) fn fail(&self, reason: String) {
        self.lost.store(true, Ordering::SeqCst);
        self.lock().failure.get_or_insert(reason);
        self.news.notify_one();
    }

    /// Sees to it that there is a connection, until none can be made; says why not.
    async fn keep(self: &Arc<Self>) -> String {
        let Pools { net, idle, .. } = &*self.pools;
        loop {
            let (open, hasty) = {
                let mut state = self.lock();
                if let Some(reason) = state.failure.take() {
                    return reason;
                }
                (state.open, state.hasty)
            };
            let refill = async {
                if open > 0 {
                    return pending().await;
                }
                if hasty {
                    net.sleep(PAUSE).await;
                }
                self.open().await
            };
            tokio::select! {
                biased;
                () = self.news.notified() => {}
                made = refill => match made {
                    Ok(connection) => self.put(connection),
                    Err(reason) => return reason,
                },
                () = net.sleep(*idle / 2) => self.sweep(),
            }
        }
    }

    /// Closes what waits too long.
    fn sweep(&self) {
        let limit = self.pools.idle;
        let mut state = self.lock();
        let (stay, go) = std::mem::take(&mut state.idle).into_iter().partition(|(_, since)| since.elapsed() < limit);
        state.idle = stay;
        drop(state);
        drop::<Vec<_>>(go);
    }

    /// Closes what waits, and keeps nothing any more.
    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop(idle);
    }

    /// Waits until no connection is left.
    async fn ended(&self) {
        while self.lock().open > 0 {
            self.news.notified().await;
        }
    }

    #[cfg(feature = "tls")]
    async fn secured(&self) -> io::Result<Box<dyn Io>> {
        let Some(tls) = &self.pools.tls else { return self.dialled().await };
        let name = self.pools.naming.certified(&self.connect);
        let known = TlsConnector::name(&name).map_err(|_| {
            let advice = format!("`{name}` cannot be the name in a certificate: give another with `server_name`");
            io::Error::new(io::ErrorKind::InvalidInput, advice)
        })?;
        tls.secure(known, self.dialled().await?).await
    }

    #[cfg(not(feature = "tls"))]
    async fn secured(&self) -> io::Result<Box<dyn Io>> {
        self.dialled().await
    }

    async fn dialled(&self) -> io::Result<Box<dyn Io>> {
        let address = &self.connect.address;
        dial(&*self.pools.net, &address.host, address.port).await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
