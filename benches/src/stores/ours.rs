//! The client of Periplus: all instances in one client, all watchers in one stream.

use std::time::Duration;

use anyhow::{Context as _, Result};
use periplus_tokio::core::{Endpoint, InstanceId, ServiceInstance, ServiceName};
use periplus_tokio::{Client, Registration};
use tokio::task::spawn_local;

use super::{Seen, TTL, User, WATCHED};
use crate::load::target::{SENT, UNSENT, id};

/// Our client of a store.
#[expect(missing_debug_implementations, reason = "it is driven and not shown")]
pub struct Ours {
    client: Client,
    held: Vec<Registration>,
}

impl Ours {
    /// A client of the store at an address.
    ///
    /// # Errors
    /// If the address makes no sense.
    pub async fn new(url: &str) -> Result<Self> {
        Ok(Self { client: periplus_tokio::connect(url).await?, held: Vec::new() })
    }
}

impl User for Ours {
    async fn hold(&mut self, count: usize) -> Result<()> {
        for number in 0..count {
            let mut instance = ServiceInstance::new(ServiceName::new("held")?, InstanceId::new(id(number))?)
                .with_version("1.14.2")
                .with_endpoint(Endpoint::new("grpc://10.12.25.114:9000")?);
            instance.metadata.insert(SENT.trim_matches(['"', ':']).to_owned(), UNSENT.to_owned());
            let registration = self.client.register(instance).ttl(Duration::from_secs(TTL)).in_background()?;
            self.held.push(registration);
        }
        for registration in &self.held {
            registration.acknowledged().await?;
        }
        Ok(())
    }

    async fn watch(&mut self, mut seen: Seen) -> Result<()> {
        let mut watcher = self.client.watch(WATCHED)?;
        watcher.next().await.context("the client is closed")?;
        spawn_local(async move {
            while let Some(changed) = watcher.next_changes().await {
                for instance in changed.changes.iter().filter_map(|change| change.after()) {
                    seen.note(instance.json());
                }
            }
        });
        Ok(())
    }

    fn requests(&self) -> u64 {
        self.client.counters().requests
    }
}
