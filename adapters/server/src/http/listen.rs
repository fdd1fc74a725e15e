//! The socket: taking connections in, keeping time, and stopping in good order.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use super::{Server, connection, status};

/// How often it is counted how much memory is spoken for.
const WEIGHED: Duration = Duration::from_millis(250);
/// How many connections wait to be taken in.
const BACKLOG: u32 = 4096;
/// How much the kernel holds for a connection whose other end does not read (Linux takes it twice). What is sent later
/// is newer, and a slow watcher is told less.
const SEND_BUFFER: u32 = 128 << 10;
/// How many connections beyond the limit are told so at once; others are just closed.
const TURNED_AWAY: usize = 64;
/// What a connection beyond the limit is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
    x-content-type-options: nosniff\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 101\r\n\r\n\
    {\"code\":\"limit_connections\",\"message\":\"the server has all the connections it takes: try again later\"}";

pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until a signal comes, then stops in good order. A second signal ends the process at once.
pub(super) async fn run(server: Arc<Server>, listener: TcpListener) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    announce(listener.local_addr()?)?;
    let time = tokio::spawn({
        let server = Arc::clone(&server);
        async move {
            // Another one may take its place.
            loop {
                server.hub().keep_time().await;
            }
        }
    });
    let weighing = tokio::spawn(weigh(Arc::clone(&server)));
    tokio::select! {
        () = accept(&server, listener) => {}
        () = signals.next() => {}
    }
    tracing::info!("stopping: no new connections, and those there are end after their request");
    server.stop();
    let grace = tokio::time::timeout(server.config.shutdown_grace, server.connections.all_closed());
    tokio::select! {
        closed = grace => if closed.is_err() {
            tracing::warn!(left = server.connections.count(), "some connections did not end in time");
        },
        () = signals.next() => std::process::exit(130),
    }
    time.abort();
    weighing.abort();
    Ok(())
}

/// The first line on standard output: whoever started the server waits for it.
fn announce(address: SocketAddr) -> io::Result<()> {
    tracing::info!(%address, "listening");
    let mut out = io::stdout().lock();
    writeln!(out, "listening on http://{address}")?;
    out.flush()
}

async fn accept(server: &Arc<Server>, listener: TcpListener) {
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // The other end may be gone already; or there are no more file descriptors, and some will be closed.
                tracing::warn!(%error, "cannot take in a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Without it the kernel holds small writes back for up to 40 ms.
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        if server.connections.admit(server.config.limits.connections) {
            tokio::spawn(connection::serve(Arc::clone(server), stream, peer));
        } else {
            server.metrics.refused_connections.inc();
            if let Ok(permit) = Arc::clone(&turned_away).try_acquire_owned() {
                tokio::spawn(async move {
                    turn_away(stream).await;
                    drop(permit);
                });
            }
        }
    }
}

/// Says that there is no room. What the other end sent is read first: an answer to an unread request gets lost.
async fn turn_away(mut stream: TcpStream) {
    let exchange = async {
        let mut head = [0; 4096];
        if stream.read(&mut head).await.is_ok() {
            let _ = stream.write_all(FULL).await;
            let _ = stream.shutdown().await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), exchange).await;
}

async fn weigh(server: Arc<Server>) {
    let mut interval = tokio::time::interval(WEIGHED);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        status::weigh(&server);
        server.hub().anchor();
    }
}

/// The signals that end the server.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_to_those_beyond_the_limit_is_whole() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())));
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
