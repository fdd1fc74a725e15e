//! One HTTP/2 connection, from its making to its end.

use std::error::Error;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme, Uri};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use periplus_hyper::Task;
use periplus_hyper::routing::{self, Connector, Event, Leave, Naming, Reports};
use periplus_tokio::core::dial::Connect;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::body::Attempt;
use crate::health::{Health, Watch};
use crate::leash::{Leash, Leashed};

/// Sends requests on a connection.
pub(crate) type Sender = http2::SendRequest<Attempt>;

/// How connections are made.
pub(crate) struct Settings {
    /// Whom to believe and who to be, with TLS.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<tokio_rustls::TlsConnector>,
    /// By which name instances are called.
    pub(crate) naming: Naming,
    pub(crate) health: bool,
    /// How often a quiet connection is pinged, and how long an answer may take.
    pub(crate) keep_alive: Option<(Duration, Duration)>,
    /// How long calls may go on after the connection was given up, if nobody says.
    pub(crate) linger: Duration,
}

/// A connection that is made.
pub(crate) struct Link {
    pub(crate) sender: Sender,
    /// Scheme and authority of requests.
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

impl routing::Link for Link {
    fn is_lost(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Connector for Settings {
    type Link = Link;

    fn run(self: Arc<Self>, connect: Connect, reports: Reports<Link>, leave: Leave) -> Task<()> {
        Box::pin(run(self, connect, reports, leave))
    }
}

/// Makes a connection and keeps it, until it is lost or given up by `leave`, which says how long its calls may go on.
async fn run(settings: Arc<Settings>, connect: Connect, reports: Reports<Link>, mut leave: Leave) {
    let id = connect.id;
    let (leash, leashed) = Leash::new();
    let opened = tokio::select! {
        opened = open(&settings, &connect, leashed) => opened,
        _ = &mut leave => return,
    };
    let (link, connection) = match opened {
        Ok(opened) => opened,
        Err(reason) => return drop(reports.send(Event::Lost(id, reason)).await),
    };
    let origin =
        Uri::builder().scheme(link.scheme.clone()).authority(link.authority.clone()).path_and_query("/").build();
    let mut health = match origin {
        Ok(origin) if settings.health => Watch::new(link.sender.clone(), origin),
        _ => Watch::nobody(),
    };
    if reports.send(Event::Connected(id, Arc::new(link))).await.is_err() {
        return;
    }
    let mut connection = Box::pin(connection);
    let mut ended = false;
    let linger = loop {
        tokio::select! {
            // First, so that a connection that is gone is not believed once more.
            biased;
            // It ends, too, when the server wants no new calls; those under way go on.
            reason = &mut connection => {
                let _ = reports.send(Event::Lost(id, reason)).await;
                ended = true;
                break settings.linger;
            }
            linger = &mut leave => break linger.unwrap_or(settings.linger),
            word = health.next() => {
                let event = match word {
                    Health::Serving(serving) => Event::Health(id, serving),
                    Health::Unknown => Event::Health(id, true),
                    Health::Ended(status) => {
                        let reason = format!("asked for its health, it says {:?}: {}", status.code(), status.message());
                        Event::Lost(id, reason)
                    }
                };
                let over = matches!(event, Event::Lost(..));
                if reports.send(event).await.is_err() || over {
                    break settings.linger;
                }
            }
            // What was read may have been a farewell, which only shows when one looks.
            () = leash.stirred() => {}
        }
    };
    // What is held of the connection would keep it open.
    drop((health, reports));
    let _ = tokio::time::timeout(linger, async {
        if !ended {
            connection.as_mut().await;
        }
        drop(connection);
        leash.ended().await;
    })
    .await;
}

/// Makes a connection; what keeps it going resolves to why it ended.
async fn open(
    settings: &Settings,
    connect: &Connect,
    leashed: Leashed,
) -> Result<(Link, impl Future<Output = String> + Send + use<>), String> {
    let authority = settings.naming.authority(connect);
    let stream = dial(connect).await.map_err(|error| error.to_string())?;
    let (io, scheme): (Box<dyn Io>, Scheme) = secure(settings, connect, stream).await?;
    let mut builder = http2::Builder::new(leashed);
    builder.timer(TokioTimer::new());
    if let Some((interval, timeout)) = settings.keep_alive {
        builder.keep_alive_interval(interval).keep_alive_timeout(timeout).keep_alive_while_idle(true);
    }
    let (sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(|error| innermost(&error))?;
    let end =
        async { connection.await.map_or_else(|error| innermost(&error), |()| "it takes no more calls".to_owned()) };
    Ok((Link { sender, scheme, authority }, end))
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

async fn dial(connect: &Connect) -> io::Result<TcpStream> {
    let address = &connect.address;
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    stream.set_nodelay(true)?;
    // A host that is gone is found out within half a minute, without a ping that gRPC servers would take offence at.
    let keep_alive = TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5));
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keep_alive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

#[cfg(feature = "tls")]
async fn secure(settings: &Settings, connect: &Connect, stream: TcpStream) -> Result<(Box<dyn Io>, Scheme), String> {
    use tokio_rustls::rustls::pki_types::ServerName;

    let Some(connector) = &settings.tls else { return Ok((Box::new(stream), Scheme::HTTP)) };
    let name = settings.naming.certified(connect);
    let name = ServerName::try_from(name.clone())
        .map_err(|_| format!("`{name}` cannot be the name in a certificate: give another with `server_name`"))?;
    let io = connector.connect(name, stream).await.map_err(|error| innermost(&error))?;
    if io.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err("it does not speak HTTP/2 in TLS".to_owned());
    }
    Ok((Box::new(io), Scheme::HTTPS))
}

#[cfg(not(feature = "tls"))]
async fn secure(_: &Settings, _: &Connect, stream: TcpStream) -> Result<(Box<dyn Io>, Scheme), String> {
    Ok((Box::new(stream), Scheme::HTTP))
}

/// What is at the bottom of an error.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
