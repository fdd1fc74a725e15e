//! Consul's HTTP API by hand, as Kratos's registry uses it: a heartbeat for each instance every ten seconds, a blocking
//! query for each watcher.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::client::Http;
use super::{Seen, User, WATCHED};
use crate::load::target::{SENT, UNSENT, id};

/// The time between heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// One who speaks to an agent.
#[derive(Debug)]
pub struct RawConsul {
    http: Http,
}

/// The body that registers an instance, as Kratos writes it, with its heartbeat if it has one.
pub(super) fn registration(service: &str, id: &str, sent: &str, heartbeat: bool) -> Value {
    let mut body = json!({
        "ID": id,
        "Name": service,
        "Tags": ["version=1.14.2"],
        "Meta": {SENT.trim_matches(['"', ':']): sent},
        "Address": "10.12.25.114",
        "Port": 9000,
        "TaggedAddresses": {"grpc": {"Address": "grpc://10.12.25.114:9000", "Port": 9000}},
    });
    if heartbeat {
        body["Checks"] =
            json!([{"CheckID": format!("service:{id}"), "TTL": "20s", "DeregisterCriticalServiceAfter": "600s"}]);
    }
    body
}

impl RawConsul {
    /// Speaks to the agent at an address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { http: Http::new(address) }
    }

    async fn list(http: &Http, index: u64) -> Result<(u64, Bytes)> {
        let path = format!("/v1/health/service/{WATCHED}?passing=1&index={index}&wait=55s");
        let answer = http.open(Method::GET, &path, String::new()).await?;
        let index = answer.headers().get("x-consul-index").and_then(|index| index.to_str().ok()?.parse().ok());
        Ok((index.context("an answer has an index")?, answer.into_body().collect().await?.to_bytes()))
    }
}

impl User for RawConsul {
    async fn hold(&mut self, count: usize) -> Result<()> {
        for number in 0..count {
            let id = id(number);
            let body = registration("held", &id, UNSENT, true).to_string();
            self.http.call(Method::PUT, "/v1/agent/service/register", body).await?;
            let path = format!("/v1/agent/check/pass/service:{id}");
            self.http.call(Method::PUT, &path, String::new()).await?;
            let http = self.http.clone();
            spawn_local(async move {
                loop {
                    sleep(HEARTBEAT).await;
                    http.call(Method::PUT, &path, String::new()).await.expect("the agent answers");
                }
            });
        }
        Ok(())
    }

    async fn watch(&mut self, mut seen: Seen) -> Result<()> {
        let http = self.http.clone();
        let (mut index, body) = Self::list(&http, 0).await?;
        seen.note(&body);
        spawn_local(async move {
            loop {
                let (next, body) = Self::list(&http, index).await.expect("the agent answers");
                index = next;
                seen.note(&body);
            }
        });
        Ok(())
    }

    fn requests(&self) -> u64 {
        self.http.requests.get()
    }
}
