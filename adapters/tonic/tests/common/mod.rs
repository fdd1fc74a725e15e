//! A registry in the process, providers behind real sockets, and calls.

#[path = "../../examples/helloworld/mod.rs"]
pub(crate) mod helloworld;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use helloworld::{Greeter, GreeterClient, GreeterServer, HelloReply, HelloRequest};
use periplus_tokio::app::{AppInfo, Control, Server, Serving, Stage};
use periplus_tokio::core::balance::{BalanceConfig, Policy, SlowStart};
use periplus_tokio::core::{Endpoint, InstanceId, ServiceInstance, ServiceName};
use periplus_tokio::{Client, Registration};
use periplus_tonic::{Channel, GrpcServer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tonic::Status;

pub(crate) const SERVICE: &str = "provider";
pub(crate) const TARGET: &str = "discovery:///provider";

pub(crate) async fn registry() -> Client {
    periplus_tokio::connect("memory:").await.unwrap()
}

/// Answers its id, after a while.
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) takes: Duration,
}

impl Greeter for Named {
    async fn say_hello(&self, _: HelloRequest) -> Result<HelloReply, Status> {
        tokio::time::sleep(self.takes).await;
        Ok(HelloReply { message: self.id.clone() })
    }
}

/// A server that runs in this process, behind a door that counts who comes in.
pub(crate) struct Provider {
    pub(crate) id: String,
    pub(crate) at: SocketAddr,
    pub(crate) control: Control,
    pub(crate) task: JoinHandle<()>,
    door: JoinHandle<()>,
    shut: Arc<Notify>,
    connections: Arc<AtomicU32>,
}

pub(crate) fn instance(id: &str, endpoint: &str) -> ServiceInstance {
    ServiceInstance::new(ServiceName::new(SERVICE).unwrap(), InstanceId::new(id).unwrap())
        .with_endpoint(Endpoint::new(endpoint).unwrap())
}

impl Provider {
    pub(crate) async fn start(id: &str) -> Self {
        Self::at(id, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Duration::ZERO).await
    }

    pub(crate) async fn slow(id: &str, takes: Duration) -> Self {
        Self::at(id, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), takes).await
    }

    pub(crate) async fn at(id: &str, at: SocketAddr, takes: Duration) -> Self {
        let named = Named { id: id.to_owned(), takes };
        Self::serve(id, at, GrpcServer::new("127.0.0.1:0").add_service(GreeterServer::new(named))).await
    }

    pub(crate) async fn serve(id: &str, at: SocketAddr, server: GrpcServer) -> Self {
        let mut server = Box::new(server);
        let endpoint = server.bind().await.unwrap().remove(0);
        let port = endpoint.parts().unwrap().port;
        let (serving, control) = Serving::new(AppInfo::new(instance(id, endpoint.as_str())));
        let task = tokio::spawn(async move { server.serve(serving).await.unwrap() });
        control.accepting().await;
        let listener = TcpListener::bind(at).await.unwrap();
        let at = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&connections);
        let shut = Arc::new(Notify::new());
        let shutting = Arc::clone(&shut);
        let door = tokio::spawn(async move {
            let mut inside = tokio::task::JoinSet::new();
            loop {
                let mut client = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    () = shutting.notified() => break,
                };
                count.fetch_add(1, Ordering::SeqCst);
                inside.spawn(async move {
                    client.set_nodelay(true)?;
                    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
                    server.set_nodelay(true)?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
            drop(listener);
            while inside.join_next().await.is_some() {}
        });
        Self { id: id.to_owned(), at, control, task, door, shut, connections }
    }

    pub(crate) fn instance(&self) -> ServiceInstance {
        instance(&self.id, &format!("grpc://{}", self.at))
    }

    pub(crate) async fn register(&self, registry: &Client) -> Registration {
        registry.register(self.instance()).await.unwrap()
    }

    pub(crate) async fn register_with(&self, registry: &Client, key: &str, value: &str) -> Registration {
        registry.register(self.instance().with_metadata(key, value)).await.unwrap()
    }

    /// How many have connected so far.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }

    /// Everything is gone at once.
    pub(crate) async fn kill(self) -> SocketAddr {
        self.door.abort();
        self.task.abort();
        let _ = self.door.await;
        let _ = self.task.await;
        self.at
    }

    /// Takes no new calls, and waits for those that are under way.
    pub(crate) async fn stop(self) {
        self.control.stop(Stage::Stop);
        self.shut.notify_one();
        let stopping = async {
            self.task.await.unwrap();
            self.door.await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(10), stopping).await.expect("it stops");
    }
}

/// Smooth weighted round robin from its beginning, without slow start.
pub(crate) fn round_robin() -> BalanceConfig {
    let slow_start = SlowStart { window: Duration::ZERO, ..SlowStart::default() };
    BalanceConfig { slow_start, start: Some(0), ..BalanceConfig::new(Policy::WeightedRoundRobin) }
}

pub(crate) async fn call(channel: &Channel) -> Result<String, Status> {
    let mut client = GreeterClient::new(channel.clone());
    Ok(client.say_hello(HelloRequest { name: "x".into() }).await?.into_inner().message)
}

/// How many of these calls, one after the other, came to whom.
pub(crate) async fn tally(channel: &Channel, calls: usize) -> BTreeMap<String, usize> {
    let mut by = BTreeMap::new();
    for _ in 0..calls {
        *by.entry(call(channel).await.unwrap()).or_insert(0) += 1;
    }
    by
}

/// Waits until it is so, for ten seconds at most.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is: impl FnMut() -> F) {
    let waiting = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
