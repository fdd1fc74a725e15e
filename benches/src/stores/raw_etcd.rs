//! etcd's JSON gateway by hand: a loop for each lease, a stream for each watcher.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::BodyExt as _;
use hyper::Method;
use periplus_core::http::base64;
use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::client::Http;
use super::{Seen, TTL, User, WATCHED};
use crate::load::target::{UNSENT, id, instance};

/// One who speaks to the gateway.
#[derive(Debug)]
pub struct RawEtcd {
    http: Http,
}

/// A service's keys, and the end of them.
pub(super) fn range(service: &str) -> (String, String) {
    (format!("/microservices/{service}/"), format!("/microservices/{service}0"))
}

pub(super) fn put(key: &str, value: &str, lease: Option<&str>) -> String {
    let mut put = json!({"key": base64::encode(key.as_bytes()), "value": base64::encode(value.as_bytes())});
    if let Some(lease) = lease {
        put["lease"] = lease.into();
    }
    put.to_string()
}

impl RawEtcd {
    /// Speaks to the etcd at an address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { http: Http::new(address) }
    }
}

impl User for RawEtcd {
    async fn hold(&mut self, count: usize) -> Result<()> {
        for number in 0..count {
            let grant = self.http.call(Method::POST, "/v3/lease/grant", json!({"TTL": TTL}).to_string()).await?;
            let grant: Value = serde_json::from_slice(&grant)?;
            let lease = grant["ID"].as_str().context("a lease has an id")?.to_owned();
            let id = id(number);
            let key = format!("/microservices/held/{id}");
            let put = put(&key, &instance("held", &id, UNSENT), Some(&lease));
            self.http.call(Method::POST, "/v3/kv/put", put).await?;
            let http = self.http.clone();
            spawn_local(async move {
                loop {
                    sleep(Duration::from_secs(TTL) / 3).await;
                    let body = json!({ "ID": lease }).to_string();
                    http.call(Method::POST, "/v3/lease/keepalive", body).await.expect("etcd answers");
                }
            });
        }
        Ok(())
    }

    async fn watch(&mut self, mut seen: Seen) -> Result<()> {
        let (from, to) = range(WATCHED);
        let create = json!({"create_request": {
            "key": base64::encode(from.as_bytes()), "range_end": base64::encode(to.as_bytes()),
        }});
        let answer = self.http.open(Method::POST, "/v3/watch", create.to_string()).await?;
        let mut body = answer.into_body();
        // The first line says that the watch is there.
        body.frame().await.context("a watch says that it is there")??;
        spawn_local(async move {
            let mut line = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                for &byte in frame.data_ref().into_iter().flatten() {
                    if byte != b'\n' {
                        line.push(byte);
                        continue;
                    }
                    let told: Value = serde_json::from_slice(&line).unwrap_or_default();
                    for event in told["result"]["events"].as_array().into_iter().flatten() {
                        let value = event["kv"]["value"].as_str().and_then(base64::decode);
                        seen.note(&value.unwrap_or_default());
                    }
                    line.clear();
                }
            }
        });
        Ok(())
    }

    fn requests(&self) -> u64 {
        self.http.requests.get()
    }
}
