//! etcd's gRPC API as the client crates use it: a keep-alive stream for each lease, a watch for each watcher, over a few
//! connections. With less around it than they have.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::{Count, Seen, TTL, User, WATCHED};
use crate::load::etcd::Etcd;
use crate::load::target::{Lane as _, Target as _, Watch as _, id};

/// One who speaks gRPC.
#[derive(Debug)]
pub struct GrpcEtcd {
    etcd: Etcd,
    requests: Count,
}

impl GrpcEtcd {
    /// Speaks to the etcd at an address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { etcd: Etcd { address }, requests: Count::default() }
    }
}

impl User for GrpcEtcd {
    async fn hold(&mut self, count: usize) -> Result<()> {
        // A lane has a keep-alive stream of its own, and shares its connection.
        for (number, mut lane) in self.etcd.lanes(count).await?.into_iter().enumerate() {
            let lease = lane.register("held", &id(number), Duration::from_secs(TTL)).await?;
            for _request in ["grant", "put"] {
                self.requests.add();
            }
            let requests = self.requests.clone();
            spawn_local(async move {
                loop {
                    sleep(Duration::from_secs(TTL) / 3).await;
                    requests.add();
                    lane.renew(&[lease]).await.expect("etcd answers");
                }
            });
        }
        Ok(())
    }

    async fn watch(&mut self, mut seen: Seen) -> Result<()> {
        self.requests.add();
        let mut watch = self.etcd.watch(WATCHED).await?;
        spawn_local(async move {
            while let Ok(piece) = watch.next().await {
                seen.note(piece);
            }
        });
        Ok(())
    }

    fn requests(&self) -> u64 {
        self.requests.get()
    }
}
