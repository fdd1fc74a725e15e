//! One connection, from its handshake to its end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use hyper::server::conn::http1;
use tokio::sync::watch;

use super::handler::Handler;
use super::tether::Tethered;
use super::timer::Timer;
use super::{Either, Listen, Security, either};
#[cfg(feature = "tls")]
use crate::dial::{CONNECT_TIMEOUT, within};
use crate::io::HyperIo;
use crate::net::Io;

/// Serves a connection until its peer or the server has had enough. What the order says is whether it is to finish; when
/// its sender is gone, the connection is dropped as it is.
pub(super) async fn serve_connection(
    io: Box<dyn Io>,
    security: Security,
    handler: Handler,
    net: Arc<dyn Listen>,
    mut order: watch::Receiver<bool>,
) {
    let Some(io) = secure(io, security, &net, &mut order).await else { return };
    let mut http = http1::Builder::new();
    http.timer(Timer(net));
    let io = HyperIo(Box::new(Tethered::new(io, order.clone())));
    let mut connection = http.serve_connection(io, handler).with_upgrades();
    {
        let finish = Box::pin(order.wait_for(|finish| *finish));
        let served = poll_fn(|cx| Pin::new(&mut connection).poll(cx));
        match either(finish, served).await {
            Either::Left(Ok(_)) => {}
            Either::Left(Err(_)) => return,
            Either::Right(result) => return ended(result),
        }
    }
    Pin::new(&mut connection).graceful_shutdown();
    let dropped = Box::pin(async { while order.changed().await.is_ok() {} });
    if let Either::Right(result) = either(dropped, connection).await {
        ended(result);
    }
}

fn ended(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(target: "periplus", %error, "a connection has ended");
    }
}

#[cfg(feature = "tls")]
async fn secure(
    io: Box<dyn Io>,
    security: Security,
    net: &Arc<dyn Listen>,
    order: &mut watch::Receiver<bool>,
) -> Option<Box<dyn Io>> {
    let Some(acceptor) = security else { return Some(io) };
    let stopped = Box::pin(order.wait_for(|finish| *finish));
    match either(stopped, within(&**net, CONNECT_TIMEOUT, acceptor.accept(io))).await {
        Either::Right(Some(Ok(io))) => Some(io),
        Either::Right(Some(Err(error))) => {
            tracing::debug!(target: "periplus", %error, "no TLS with a client");
            None
        }
        Either::Right(None) | Either::Left(_) => None,
    }
}

#[cfg(not(feature = "tls"))]
async fn secure(
    io: Box<dyn Io>,
    _: Security,
    _: &Arc<dyn Listen>,
    _: &mut watch::Receiver<bool>,
) -> Option<Box<dyn Io>> {
    Some(io)
}
