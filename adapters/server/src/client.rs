//! A small HTTP client of the registry's protocol, for the commands that ask once.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use periplus_core::http::origin::Origin;
use periplus_core::http::target::Target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub mod address;
pub mod error;
pub mod follow;
pub mod messages;
pub mod registration;
pub mod stream;

use address::Address;
use error::{CallError, Refusal};
use stream::EventStream;

/// How long a call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const ANSWER_LIMIT: usize = 256 << 20;
/// How many entries are asked for at a time.
const PAGE: usize = 1000;

/// A registry as this process calls it: the first of its hosts that can be reached. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    address: Address,
    namespace: String,
    caller: Option<HeaderValue>,
}

/// The header in which a caller gives its name.
const CALLER: &str = "periplus-caller";

impl Client {
    /// A client of the registry at this address, for one namespace. Connects when it is first used.
    #[must_use]
    pub fn new(address: Address, namespace: String) -> Self {
        Self { http: connections(), address, namespace, caller: None }
    }

    /// Calls under this name, for history and events; a name that no header can hold is left out.
    #[must_use]
    pub fn with_caller(self, caller: &str) -> Self {
        Self { caller: HeaderValue::from_bytes(caller.as_bytes()).ok(), ..self }
    }

    /// The same with connections of its own.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { http: connections(), ..self.clone() }
    }

    /// Where the registry is.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// The namespace of all calls.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A path in the client's namespace.
    #[must_use]
    pub fn target(&self, path: &str) -> Target {
        Target::new(path).query("ns", &self.namespace)
    }

    /// The path of an instance, or of what follows it, such as `overlay`.
    #[must_use]
    pub fn instance(&self, service: &str, id: &str, rest: &str) -> Target {
        let mut target = Target::new("/v1/services").segment(service).segment("instances").segment(id);
        if !rest.is_empty() {
            target = target.segment(rest);
        }
        target.query("ns", &self.namespace)
    }

    /// Reads something.
    ///
    /// # Errors
    /// The registry could not be reached, or refused.
    pub async fn get<T: DeserializeOwned>(&self, target: Target) -> Result<T, CallError> {
        self.decode(self.send(Method::GET, target, None, CALL_TIMEOUT).await?)
    }

    /// Asks for a change, in `timeout` at most.
    ///
    /// # Errors
    /// The registry could not be reached, which says nothing of whether the change was made unless the error is
    /// [`CallError::is_not_sent`]; or it refused.
    pub async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        target: Target,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(body).expect("a message is plain JSON");
        self.decode(self.send(method, target, Some(body), timeout).await?)
    }

    /// Reads a list that comes in pages, to its end: the entries under `key`, and the last answer's other fields.
    ///
    /// # Errors
    /// The registry could not be reached, or refused.
    pub async fn get_all<T: DeserializeOwned>(&self, target: &Target, key: &str) -> Result<(Vec<T>, Value), CallError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut page = target.clone().query("limit", PAGE.to_string());
            if let Some(after) = &after {
                page = page.query("after", after);
            }
            let mut answer: Value = self.get(page).await?;
            let entries = answer.get_mut(key).map(Value::take).unwrap_or_default();
            let entries: Vec<T> = serde_json::from_value(entries).map_err(|error| self.garbled(&error.to_string()))?;
            all.extend(entries);
            match answer.get("next").and_then(Value::as_str) {
                Some(next) if after.as_deref() != Some(next) => after = Some(next.to_owned()),
                _ => return Ok((all, answer)),
            }
        }
    }

    /// Opens a stream of server-sent events.
    ///
    /// # Errors
    /// The registry could not be reached, or refused.
    pub async fn stream(&self, target: Target, last_event_id: Option<&str>) -> Result<EventStream, CallError> {
        self.reach(|origin| self.stream_from(origin, &target, last_event_id)).await
    }

    /// Asks the hosts in turn, up to the first that is reached.
    async fn reach<'a, T, F>(&'a self, ask: impl Fn(&'a Origin) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let mut origins = self.address.origins().iter();
        loop {
            let origin = origins.next().expect("an address has a host");
            match ask(origin).await {
                Err(error) if error.is_not_sent() && origins.len() > 0 => {}
                result => return result,
            }
        }
    }

    async fn stream_from(
        &self,
        origin: &Origin,
        target: &Target,
        last_event_id: Option<&str>,
    ) -> Result<EventStream, CallError> {
        let mut request = Request::get(target.url(&origin.to_string())).header(header::ACCEPT, "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let request = self.finish(request, Bytes::new())?;
        let response = tokio::time::timeout(CALL_TIMEOUT, self.http.request(request)).await;
        let response = self.check(response.map_err(|_| self.silent())?.map_err(|e| self.unreachable(&e))?).await?;
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        if !kind.starts_with("text/event-stream") {
            return Err(self.garbled(&format!("a stream of events was expected, not {kind:?}")));
        }
        Ok(EventStream::new(response.into_body(), self.address.clone()))
    }

    async fn send(
        &self,
        method: Method,
        target: Target,
        body: Option<Vec<u8>>,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let body = body.map(Bytes::from);
        self.reach(|origin| self.send_to(origin, method.clone(), &target, body.clone(), timeout)).await
    }

    async fn send_to(
        &self,
        origin: &Origin,
        method: Method,
        target: &Target,
        body: Option<Bytes>,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let mut request = Request::builder().method(method).uri(target.url(&origin.to_string()));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = self.finish(request, body.unwrap_or_default())?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| self.unreachable(&error))?;
            self.read(self.check(response).await?.into_body()).await
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| Err(self.silent()))
    }

    fn finish(&self, mut request: http::request::Builder, body: Bytes) -> Result<Request<Full<Bytes>>, CallError> {
        if let Some(caller) = &self.caller {
            request = request.header(CALLER, caller);
        }
        request
            .header(header::USER_AGENT, concat!("periplus/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| self.garbled(&format!("the request cannot be written: {error}")))
    }

    /// Lets a good answer pass and turns another into what it says.
    async fn check(&self, response: Response<Incoming>) -> Result<Response<Incoming>, CallError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| value.parse().ok()).map(Duration::from_secs);
        let body = self.read(response.into_body()).await.unwrap_or_default();
        Err(Refusal::new(status, &body, retry_after).into())
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, CallError> {
        let collected = Limited::new(body, ANSWER_LIMIT).collect().await;
        collected.map(http_body_util::Collected::to_bytes).map_err(|error| CallError::Unreachable {
            address: self.address.to_string(),
            reason: format!("its answer broke off: {error}"),
            not_sent: false,
        })
    }

    fn decode<T: DeserializeOwned>(&self, body: Bytes) -> Result<T, CallError> {
        serde_json::from_slice(&body).map_err(|error| self.garbled(&error.to_string()))
    }

    fn unreachable(&self, error: &legacy::Error) -> CallError {
        let reason = error::innermost(error);
        CallError::Unreachable { address: self.address.to_string(), reason, not_sent: error.is_connect() }
    }

    fn silent(&self) -> CallError {
        let reason = "no answer in time".into();
        CallError::Unreachable { address: self.address.to_string(), reason, not_sent: false }
    }

    fn garbled(&self, problem: &str) -> CallError {
        CallError::Garbled { address: self.address.to_string(), problem: problem.into() }
    }
}

/// Whether an HTTP server at this URL answers with a status of success, in `timeout` at most.
///
/// # Errors
/// Says what it did instead.
pub async fn probe(url: &http::Uri, timeout: Duration) -> anyhow::Result<()> {
    let request = Request::get(url).header(header::USER_AGENT, "periplus-check").body(Full::<Bytes>::default())?;
    let connections = connections();
    let response = tokio::time::timeout(timeout, connections.request(request));
    let response = response.await.context("no answer in time")?.map_err(|e| anyhow::anyhow!(error::innermost(&e)))?;
    anyhow::ensure!(response.status().is_success(), "answered {}", response.status());
    Ok(())
}

fn connections() -> legacy::Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    // Without it the kernel holds small writes back for up to 40 ms.
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    legacy::Client::builder(TokioExecutor::new()).build(connector)
}
