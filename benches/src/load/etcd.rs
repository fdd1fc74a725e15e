//! etcd: gRPC with as little client as possible, lanes spread over [`CONNECTIONS`] connections.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use memchr::memmem;
use prost::Message;
use tokio::net::TcpStream;

use super::clock::Clock;
use super::target::{Lane, SENT, Target, UNSENT, Watch, instance};

/// Connections that lanes share.
pub const CONNECTIONS: usize = 8;

/// What of etcd's messages is needed, by their numbers in its `rpc.proto`.
mod messages {
    /// Asks for a lease.
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct LeaseGrant {
        #[prost(int64, tag = "1")]
        pub(super) ttl: i64,
    }

    /// A lease, as granted and as kept alive.
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Granted {
        #[prost(int64, tag = "2")]
        pub(super) id: i64,
        #[prost(int64, tag = "3")]
        pub(super) ttl: i64,
    }

    /// Keeps a lease.
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct LeaseKeepAlive {
        #[prost(int64, tag = "1")]
        pub(super) id: i64,
    }

    /// Writes a key.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Put {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(string, tag = "2")]
        pub(super) value: String,
        #[prost(int64, tag = "3")]
        pub(super) lease: i64,
    }

    /// Which keys to read or to watch.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Range {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(string, tag = "2")]
        pub(super) range_end: String,
    }

    /// Starts a watch.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Watch {
        #[prost(message, tag = "1")]
        pub(super) create: Option<Range>,
    }
}

use messages::{Granted, LeaseGrant, LeaseKeepAlive, Put, Range};

/// An etcd server.
#[derive(Clone, Copy, Debug)]
pub struct Etcd {
    /// Where it listens for clients.
    pub address: SocketAddr,
}

/// All keys of a service.
fn prefix(service: &str) -> String {
    format!("/microservices/{service}/")
}

fn range(service: &str) -> Range {
    let key = prefix(service);
    // One past the slash: the end of the prefix.
    let range_end = format!("{}0", &key[..key.len() - 1]);
    Range { key, range_end }
}

#[derive(Clone, Debug)]
struct Connection {
    requests: SendRequest<Bytes>,
    authority: String,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(16 << 20).initial_connection_window_size(64 << 20);
        let (requests, connection) = builder.handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self { requests, authority: address.to_string() })
    }

    /// Starts a call.
    async fn start(&self, method: &str) -> Result<(ResponseFuture, SendStream<Bytes>)> {
        let request = http::Request::post(format!("http://{}/etcdserverpb.{method}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut requests = self.requests.clone().ready().await?;
        Ok(requests.send_request(request, false)?)
    }

    /// A call with one message each way. Gives the answer's message.
    async fn call(&self, method: &str, message: &impl Message) -> Result<Bytes> {
        let (response, mut sender) = self.start(method).await?;
        sender.send_data(frame(message), true)?;
        let mut body = response.await?.into_body();
        let mut answer = BytesMut::new();
        while let Some(piece) = body.data().await {
            let piece = piece?;
            body.flow_control().release_capacity(piece.len())?;
            answer.extend_from_slice(&piece);
        }
        let trailers = body.trailers().await?;
        let status = trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
        ensure!(status.is_some_and(|status| status == "0") && answer.len() >= 5, "{method} failed: {trailers:?}");
        Ok(answer.split_off(5).freeze())
    }
}

/// A message as gRPC sends it.
fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(5 + length);
    frame.put_u8(0);
    frame.put_u32(length as u32);
    message.encode(&mut frame).expect("there is room");
    frame.freeze()
}

/// Messages that a stream of a call brings.
#[derive(Debug)]
struct Incoming {
    body: RecvStream,
    buffer: BytesMut,
}

impl Incoming {
    fn new(body: RecvStream) -> Self {
        Self { body, buffer: BytesMut::new() }
    }

    async fn piece(&mut self) -> Result<Bytes> {
        let piece = self.body.data().await.context("the stream has ended")??;
        self.body.flow_control().release_capacity(piece.len())?;
        Ok(piece)
    }

    async fn message(&mut self) -> Result<Bytes> {
        loop {
            if let Some(head) = self.buffer.first_chunk::<5>() {
                let length = 5 + u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if self.buffer.len() >= length {
                    return Ok(self.buffer.split_to(length).split_off(5).freeze());
                }
            }
            let piece = self.piece().await?;
            self.buffer.extend_from_slice(&piece);
        }
    }
}

impl Target for Etcd {
    type Lane = Client;
    type Watch = Events;

    async fn lanes(&self, count: usize) -> Result<Vec<Client>> {
        let mut connections = Vec::new();
        for _ in 0..count.min(CONNECTIONS) {
            connections.push(Connection::open(self.address).await?);
        }
        let connection = |lane: usize| connections[lane % connections.len()].clone();
        Ok((0..count).map(|lane| Client { connection: connection(lane), keep_alive: None }).collect())
    }

    async fn watch(&self, service: &str) -> Result<Events> {
        let connection = Connection::open(self.address).await?;
        let (response, mut sender) = connection.start("Watch/Watch").await?;
        sender.send_data(frame(&messages::Watch { create: Some(range(service)) }), false)?;
        let mut incoming = Incoming::new(response.await?.into_body());
        // The first message says that the watch is there.
        incoming.message().await?;
        Ok(Events { incoming, piece: Bytes::new(), _sender: sender })
    }

    fn removal(&self, service: &str) -> Vec<u8> {
        prefix(service).into_bytes()
    }
}

/// A client of etcd.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    keep_alive: Option<(SendStream<Bytes>, Incoming)>,
}

impl Lane for Client {
    type Lease = i64;

    async fn register(&mut self, service: &str, id: &str, ttl: Duration) -> Result<i64> {
        let ttl = i64::try_from(ttl.as_secs())?;
        let answer = self.connection.call("Lease/LeaseGrant", &LeaseGrant { ttl }).await?;
        let lease = Granted::decode(answer)?.id;
        let (key, value) = (prefix(service) + id, instance(service, id, UNSENT));
        self.connection.call("KV/Put", &Put { key, value, lease }).await?;
        Ok(lease)
    }

    async fn change(&mut self, service: &str, id: &str, lease: &i64, clock: &Clock) -> Result<()> {
        let (key, value) = (prefix(service) + id, instance(service, id, &clock.stamp()));
        self.connection.call("KV/Put", &Put { key, value, lease: *lease }).await?;
        Ok(())
    }

    async fn renew(&mut self, leases: &[i64]) -> Result<()> {
        let mut frames = leases.iter().map(|&id| frame(&LeaseKeepAlive { id }));
        if self.keep_alive.is_none() {
            let (response, mut sender) = self.connection.start("Lease/LeaseKeepAlive").await?;
            // etcd answers the call with its first message.
            sender.send_data(frames.next().context("nothing to renew")?, false)?;
            self.keep_alive = Some((sender, Incoming::new(response.await?.into_body())));
        }
        let (sender, incoming) = self.keep_alive.as_mut().expect("just made");
        for frame in frames {
            sender.send_data(frame, false)?;
        }
        for _ in leases {
            ensure!(Granted::decode(incoming.message().await?)?.ttl > 0, "the lease is gone");
        }
        Ok(())
    }

    async fn list(&mut self, service: &str) -> Result<usize> {
        let answer = self.connection.call("KV/Range", &range(service)).await?;
        Ok(memmem::find_iter(&answer, SENT).count())
    }
}

/// The events of a prefix.
#[derive(Debug)]
pub struct Events {
    incoming: Incoming,
    piece: Bytes,
    /// The call ends when it is dropped.
    _sender: SendStream<Bytes>,
}

impl Watch for Events {
    async fn next(&mut self) -> Result<&[u8]> {
        self.piece = self.incoming.piece().await?;
        Ok(&self.piece)
    }
}
