//! One HTTP/2 connection, from its making to its end.

use std::error::Error;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme, Uri};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use periplus_tokio::core::dial::{Connect, ConnectionId};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

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
    /// The name of the server, instead of the service's.
    pub(crate) server_name: Option<Authority>,
    /// Whether whoever is there is known by its address and not by a service.
    pub(crate) direct: bool,
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

/// What becomes of a connection.
pub(crate) enum Event {
    Connected(ConnectionId, Link),
    Health(ConnectionId, bool),
    Lost(ConnectionId, String),
}

type Reports = mpsc::Sender<Event>;

/// Makes a connection and keeps it, until it is lost or given up by `leave`, which says how long its calls may go on.
pub(crate) async fn run(
    settings: Arc<Settings>,
    connect: Connect,
    reports: Reports,
    mut leave: oneshot::Receiver<Duration>,
) {
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
    if reports.send(Event::Connected(id, link)).await.is_err() {
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
    let authority = authority(settings, connect);
    let stream = dial(connect).await.map_err(|error| error.to_string())?;
    let (io, scheme): (Box<dyn Io>, Scheme) = secure(settings, connect, &authority, stream).await?;
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

/// Whom requests are for.
fn authority(settings: &Settings, connect: &Connect) -> Authority {
    let service = || connect.instance.service().parse().ok().filter(|_| !settings.direct);
    let address = || connect.address.to_string().parse().ok();
    let named = settings.server_name.clone().or_else(service).or_else(address);
    // The address has a zone.
    named.unwrap_or_else(|| Authority::from_static("localhost"))
}

#[cfg(feature = "tls")]
async fn secure(
    settings: &Settings,
    connect: &Connect,
    authority: &Authority,
    stream: TcpStream,
) -> Result<(Box<dyn Io>, Scheme), String> {
    use tokio_rustls::rustls::pki_types::ServerName;

    let Some(connector) = &settings.tls else { return Ok((Box::new(stream), Scheme::HTTP)) };
    let name = if settings.direct && settings.server_name.is_none() {
        connect.address.host.as_str()
    } else if settings.server_name.is_some() {
        authority.host().trim_matches(['[', ']'])
    } else {
        connect.instance.service()
    };
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| format!("`{name}` cannot be the name in a certificate: give another with `server_name`"))?;
    let io = connector.connect(name, stream).await.map_err(|error| innermost(&error))?;
    if io.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err("it does not speak HTTP/2 in TLS".to_owned());
    }
    Ok((Box::new(io), Scheme::HTTPS))
}

#[cfg(not(feature = "tls"))]
async fn secure(_: &Settings, _: &Connect, _: &Authority, stream: TcpStream) -> Result<(Box<dyn Io>, Scheme), String> {
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
