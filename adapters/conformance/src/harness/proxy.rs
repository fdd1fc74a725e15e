//! A proxy that fails in all ways that a network does.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the proxy does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `pass`: passes everything on, both ways.
    Pass,
    /// `refuse`: nobody listens.
    Refuse,
    /// `hole`: takes what is sent and never answers.
    Hole,
    /// `slow`: what the registry says comes in pieces of a few bytes, with `n` milliseconds before each.
    Slow(u64),
    /// `noise`: answers with bytes that are no HTTP.
    Noise,
    /// `json`: answers 200 with JSON that breaks off.
    Json,
    /// `html`: answers 502 with a page.
    Html,
    /// `spoil`: passes everything on, but makes a number of the id `odd` in whatever the registry says.
    Spoil,
    /// `cut`: cuts the connection after `n` bytes of the registry's.
    Cut(u64),
}

impl Mode {
    /// The mode of this name.
    #[must_use]
    pub fn parse(name: &str, n: u64) -> Option<Self> {
        Some(match name {
            "pass" => Self::Pass,
            "refuse" => Self::Refuse,
            "hole" => Self::Hole,
            "slow" => Self::Slow(n),
            "noise" => Self::Noise,
            "json" => Self::Json,
            "html" => Self::Html,
            "spoil" => Self::Spoil,
            "cut" => Self::Cut(n),
            _ => return None,
        })
    }
}

/// What happens to the connections that there are when the mode changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// They are closed.
    Close,
    /// They stay open, and nothing passes any more.
    Freeze,
    /// They go on as they are.
    Keep,
}

impl FromStr for Existing {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "close" => Self::Close,
            "freeze" => Self::Freeze,
            "keep" => Self::Keep,
            _ => return Err(()),
        })
    }
}

/// Which connections go on: those that were accepted in this generation or later.
#[derive(Clone, Copy, Debug, Default)]
struct Alive {
    open_from: u64,
    flowing_from: u64,
}

#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    server: SocketAddr,
    began: Instant,
    connects: Arc<Mutex<Vec<u64>>>,
    generation: u64,
    alive: watch::Sender<Alive>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy that passes everything on.
    pub(super) async fn new(address: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        let (alive, _) = watch::channel(Alive::default());
        let connects = Arc::default();
        let mut proxy =
            Self { address, server, began: Instant::now(), connects, generation: 0, alive, accepting: None };
        proxy.set(Mode::Pass, Existing::Keep).await?;
        Ok(proxy)
    }

    /// Changes what it does from now on.
    pub(super) async fn set(&mut self, mode: Mode, existing: Existing) -> io::Result<()> {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
        self.generation += 1;
        let generation = self.generation;
        self.alive.send_modify(|alive| match existing {
            Existing::Close => alive.open_from = generation,
            Existing::Freeze => alive.flowing_from = generation,
            Existing::Keep => {}
        });
        if mode == Mode::Refuse {
            return Ok(());
        }
        let listener = listen(self.address).await?;
        let (server, began, connects) = (self.server, self.began, Arc::clone(&self.connects));
        let alive = self.alive.clone();
        self.accepting = Some(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let at = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                connects.lock().unwrap_or_else(PoisonError::into_inner).push(at);
                let connection = Connection { generation, alive: alive.subscribe(), server };
                tokio::spawn(connection.run(mode, client));
            }
        }));
        Ok(())
    }

    /// When connections came, in milliseconds since the beginning.
    pub(super) fn connects(&self) -> Vec<u64> {
        self.connects.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
        self.alive.send_modify(|alive| alive.open_from = u64::MAX);
    }
}

/// Listens at an address again. Others that look for a free port may have it for a moment.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < patience => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => return result,
        }
    }
}

struct Connection {
    generation: u64,
    alive: watch::Receiver<Alive>,
    server: SocketAddr,
}

impl Connection {
    async fn run(self, mode: Mode, mut client: TcpStream) {
        let Self { generation, mut alive, server } = self;
        let (mut frozen, mut thawed) = (alive.clone(), alive.clone());
        let closed = async move { drop(alive.wait_for(|alive| generation < alive.open_from).await) };
        let freezes = async move { drop(frozen.wait_for(|alive| generation < alive.flowing_from).await) };
        let work = async {
            match mode {
                Mode::Pass => relay(&mut client, server, None, u64::MAX, false).await,
                Mode::Spoil => relay(&mut client, server, None, u64::MAX, true).await,
                Mode::Slow(delay) => relay(&mut client, server, Some(delay), u64::MAX, false).await,
                Mode::Cut(bytes) => relay(&mut client, server, None, bytes, false).await,
                Mode::Hole | Mode::Refuse => swallow(&mut client).await,
                Mode::Noise => answer(&mut client, &noise()).await,
                Mode::Json => answer(&mut client, TRUNCATED.as_bytes()).await,
                Mode::Html => answer(&mut client, PAGE.as_bytes()).await,
            }
        };
        tokio::select! {
            _ = work => {}
            () = closed => {}
            () = freezes => {
                // The client's end stays open: the socket is held and not read.
                drop(thawed.wait_for(|alive| generation < alive.open_from).await);
            }
        }
    }
}

const TRUNCATED: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\naccess-control-allow-origin: *\r\n\
    access-control-allow-headers: *\r\naccess-control-allow-methods: *\r\nconnection: close\r\n\r\n\
    {\"epoch\":\"x\",\"revision\":7,\"inst";

const PAGE: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\naccess-control-allow-origin: *\r\n\
    connection: close\r\n\r\n<html><body><h1>502 Bad Gateway</h1></body></html>";

/// Bytes of all values, without any order.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..512).map(step).collect()
}

/// Answers to whatever was asked.
async fn answer(client: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut buffer = [0; 4096];
    if client.read(&mut buffer).await? == 0 {
        return Ok(());
    }
    client.write_all(bytes).await?;
    client.shutdown().await
}

async fn swallow(client: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while client.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Makes numbers of certain ids, in place, so that no length changes.
fn spoil_ids(bytes: &mut [u8]) {
    const WHOLE: &[u8] = br#""id":"odd""#;
    const SPOILT: &[u8] = br#""id":12345"#;
    for at in 0..bytes.len().saturating_sub(WHOLE.len() - 1) {
        if bytes[at..].starts_with(WHOLE) {
            bytes[at..at + SPOILT.len()].copy_from_slice(SPOILT);
        }
    }
}

/// Passes on what either says, the registry's words with a delay, until so many bytes of them.
async fn relay(
    client: &mut TcpStream,
    server: SocketAddr,
    delay: Option<u64>,
    bytes: u64,
    spoil: bool,
) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        let copied = tokio::io::copy(&mut from_client, &mut to_server).await;
        to_server.shutdown().await?;
        copied
    };
    let down = async {
        let mut left = bytes;
        // Few bytes at a time where time is to pass.
        let mut buffer = vec![0; if delay.is_some() { 64 } else { 16 << 10 }];
        loop {
            let count = from_server.read(&mut buffer).await?;
            if count == 0 {
                return to_client.shutdown().await;
            }
            if spoil {
                spoil_ids(&mut buffer[..count]);
            }
            if let Some(delay) = delay {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(count);
            to_client.write_all(&buffer[..part]).await?;
            left -= part as u64;
            if left == 0 {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
    };
    tokio::pin!(up);
    tokio::select! {
        result = down => result,
        // What the client still waits for is passed on; a client that is gone is noticed at the next write.
        Err(error) = &mut up => Err(error),
    }
}
