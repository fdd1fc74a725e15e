//! A network between a page and a server, which can be cut.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::failure::{Failure, Result};

/// Hands everything on between those who connect to it and a server.
#[derive(Debug)]
pub(super) struct Relay {
    address: SocketAddr,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    cut: bool,
    open: Vec<TcpStream>,
}

impl Relay {
    /// One to this server, until this program ends.
    pub(super) fn to(server: &str) -> Result<Self> {
        let bound =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|error| Failure::new(format!("could not listen: {error}")))?;
        let relay = Self { address, lines: Arc::default() };
        let (lines, server) = (Arc::clone(&relay.lines), server.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever is not connected tries again.
                let _ = connect(stream, &server, &lines);
            }
        });
        Ok(relay)
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections, and lets none come about until they are mended.
    pub(super) fn cut(&self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.cut = true;
        for stream in lines.open.drain(..) {
            // Fails only if it is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections come about again.
    pub(super) fn mend(&self) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).cut = false;
    }
}

fn connect(page: TcpStream, server: &str, lines: &Mutex<Lines>) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    if lines.cut {
        return Ok(());
    }
    for (from, to) in [(&page, &server), (&server, &page)] {
        to.set_nodelay(true)?;
        lines.open.push(from.try_clone()?);
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}
