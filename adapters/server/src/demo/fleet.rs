//! The machines of the demo and their operator, in the registry.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use periplus_core::protocol::Span;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::cast::{self, HOSTS, HostId};
use super::host::{Command, Host, Remark};
use super::script::Act;
use crate::client::error::CallError;
use crate::client::{CALL_TIMEOUT, Client};

/// All machines, running.
pub(super) struct Fleet {
    client: Client,
    hosts: Vec<mpsc::UnboundedSender<Command>>,
    running: Vec<JoinHandle<usize>>,
    remarks: mpsc::UnboundedReceiver<Remark>,
    /// How many machines cannot reach the registry.
    away: usize,
    /// What the operator has laid over instances: service, id and key.
    overlays: BTreeSet<(String, String, &'static str)>,
}

impl Fleet {
    /// Starts all machines, with nothing on them.
    pub(super) fn start(client: &Client) -> Self {
        let (remark, remarks) = mpsc::unbounded_channel();
        let (mut hosts, mut running) = (Vec::new(), Vec::new());
        for id in 0..HOSTS {
            let (host, commands) = mpsc::unbounded_channel();
            hosts.push(host);
            let client = client.apart().with_caller(&format!("host {}", cast::host_name(id)));
            running.push(tokio::spawn(Host::new(client, commands, remark.clone()).run()));
        }
        let client = client.apart().with_caller("operator");
        Self { client, hosts, running, remarks, away: 0, overlays: BTreeSet::new() }
    }

    /// Makes something happen, in a story that goes so fast.
    pub(super) async fn play(&mut self, act: Act, speed: f64) {
        match act {
            Act::Register { host, registration } => self.tell(host, Command::Start(registration)),
            Act::Change { host, id, metadata } => self.tell(host, Command::Change(id, metadata)),
            Act::Deregister { host, id } => self.tell(host, Command::Stop(id)),
            Act::Crash { host, id } => self.tell(host, Command::Crash(id)),
            Act::Pause { host, id } => self.tell(host, Command::Pause(id)),
            Act::Overlay { service, id, key, value, reason } => {
                let value = if key == "weight" { json!(value.parse::<u32>().unwrap_or(1)) } else { json!(value) };
                let _ =
                    self.operate(Method::PATCH, &service, &id, "overlay", &json!({key: value, "reason": reason})).await;
                self.overlays.insert((service, id, key));
            }
            Act::ClearOverlay { service, id, key } => {
                let _ = self.clear(&service, &id, key).await;
                self.overlays.remove(&(service, id, key));
            }
            Act::Evict { service, id, reason, block_for } => {
                let block_for = Duration::from_secs_f64((block_for.as_secs_f64() / speed).ceil());
                let body = json!({"reason": reason, "block_for": Span(block_for)});
                let _ = self.operate(Method::POST, &service, &id, "evict", &body).await;
            }
        }
    }

    /// What there is to say of the registry, when there is something.
    pub(super) async fn remark(&mut self) -> Option<String> {
        loop {
            match self.remarks.recv().await? {
                Remark::Away(error) => {
                    self.away += 1;
                    if self.away == 1 {
                        return Some(format!("is away, the fleet runs on: {error}"));
                    }
                }
                Remark::Back => {
                    self.away -= 1;
                    if self.away == 0 {
                        return Some("is back, everybody has registered again".into());
                    }
                }
                Remark::Refused(what) => return Some(what),
            }
        }
    }

    /// Deregisters everything and takes the operator's overlays off. Gives how many instances are left behind.
    pub(super) async fn stop(self) -> usize {
        for (service, id, key) in &self.overlays {
            if matches!(self.clear(service, id, key).await, Err(CallError::Unreachable { .. })) {
                break;
            }
        }
        drop(self.hosts);
        let mut left = 0;
        for host in self.running {
            left += host.await.unwrap_or(0);
        }
        left
    }

    fn tell(&self, host: HostId, command: Command) {
        // It listens as long as the fleet runs.
        let _ = self.hosts[host].send(command);
    }

    async fn clear(&self, service: &str, id: &str, key: &str) -> Result<(), CallError> {
        self.operate(Method::DELETE, service, id, "overlay", &json!({"keys": [key], "reason": "over"})).await
    }

    async fn operate(
        &self,
        method: Method,
        service: &str,
        id: &str,
        rest: &str,
        body: &Value,
    ) -> Result<(), CallError> {
        let target = self.client.instance(service, id, rest);
        self.client.change::<Value>(method, target, body, CALL_TIMEOUT).await.map(drop)
    }
}
