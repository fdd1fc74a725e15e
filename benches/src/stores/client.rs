//! HTTP as one would use it by hand: a pooled client, one request at a time for each who asks.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::Count;

/// A client of a store's HTTP API.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    pub(super) requests: Count,
}

impl Http {
    pub(super) fn new(address: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, address, requests: Count::default() }
    }

    /// Sends a request, and has the head of a good answer.
    pub(super) async fn open(&self, method: Method, path: &str, body: String) -> Result<Response<Incoming>> {
        self.requests.add();
        let uri = format!("http://{}{path}", self.address);
        let request = Request::builder().method(method).uri(uri).body(Full::from(body))?;
        let response = self.client.request(request).await?;
        ensure!(response.status().is_success(), "{path} is answered with {}", response.status());
        Ok(response)
    }

    /// Sends a request, and has the whole of a good answer.
    pub(super) async fn call(&self, method: Method, path: &str, body: String) -> Result<Bytes> {
        Ok(self.open(method, path, body).await?.into_body().collect().await?.to_bytes())
    }
}
