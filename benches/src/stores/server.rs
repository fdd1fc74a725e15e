//! The stores as processes.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use hyper::Method;
use serde_json::json;
use tokio::time::sleep;

use super::WATCHED;
use super::client::Http;
use super::raw_consul::registration;
use super::raw_etcd::put;
use crate::load::process::{Process, free_address};
use crate::load::target::{id, instance};

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// etcd.
    Etcd,
    /// Consul: an agent that is its own server.
    Consul,
}

/// A store that was started for this.
#[derive(Debug)]
pub struct Store {
    /// Which.
    pub kind: Kind,
    /// Where its HTTP API is.
    pub address: SocketAddr,
    /// What it costs.
    pub process: Process,
    http: Http,
}

impl Store {
    /// Starts a store, and waits until it takes writes.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn start(kind: Kind, binary: &Path) -> Result<Self> {
        let address = free_address()?;
        let process = match kind {
            Kind::Etcd => Process::etcd(binary, address)?,
            Kind::Consul => consul(binary, address)?,
        };
        let store = Self { kind, address, process, http: Http::new(address) };
        for _ in 0..300 {
            if store.change(0, crate::load::target::UNSENT).await.is_ok() {
                return Ok(store);
            }
            sleep(Duration::from_millis(100)).await;
        }
        bail!("{} takes no writes", binary.display())
    }

    /// How our client names it.
    #[must_use]
    pub fn url(&self) -> String {
        match self.kind {
            Kind::Etcd => format!("etcd://{}", self.address),
            Kind::Consul => format!("consul://{}?checks=ttl", self.address),
        }
    }

    /// Writes an instance of [`WATCHED`] anew, with this time of sending.
    ///
    /// # Errors
    /// If the store refuses it.
    pub async fn change(&self, number: usize, sent: &str) -> Result<()> {
        let id = id(number);
        match self.kind {
            Kind::Etcd => {
                let key = format!("/microservices/{WATCHED}/{id}");
                self.http.call(Method::POST, "/v3/kv/put", put(&key, &instance(WATCHED, &id, sent), None)).await?;
            }
            Kind::Consul => {
                let body = registration(WATCHED, &id, sent, false).to_string();
                self.http.call(Method::PUT, "/v1/agent/service/register", body).await?;
            }
        }
        Ok(())
    }
}

fn consul(binary: &Path, address: SocketAddr) -> Result<Process> {
    let ports = [free_address()?, free_address()?, free_address()?].map(|address| address.port());
    let command = |folder: &Path| {
        let config = json!({
            "server": true, "bootstrap": true, "node_name": "node", "bind_addr": "127.0.0.1", "log_level": "warn",
            "data_dir": folder.join("data"), "disable_update_check": true, "connect": {"enabled": false},
            "performance": {"raft_multiplier": 1},
            "limits": {"http_max_conns_per_client": 2_000},
            "ports": {
                "http": address.port(), "dns": -1, "grpc": -1, "grpc_tls": -1,
                "serf_lan": ports[0], "serf_wan": ports[1], "server": ports[2],
            },
        });
        let file = folder.join("config.json");
        fs::write(&file, config.to_string()).expect("the folder was just made");
        let mut command = Command::new(binary);
        command.arg("agent").arg(format!("-config-file={}", file.display()));
        command
    };
    Process::start(command, address)
}
