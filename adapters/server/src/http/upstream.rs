//! A server without a registry of its own: it mirrors a Consul or an etcd, and registers into it.
//!
//! It keeps nothing that another one would need. So there may be many over one store, and each of them may go at any
//! time.

mod desk;
mod mirror;
mod write;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http::StatusCode;
use periplus_core::Namespace;
use periplus_core::backend::consul::{self, ConsulOptions};
use periplus_core::backend::etcd::EtcdOptions;
use periplus_core::backend::etcd::desk as etcd;
use periplus_core::client::url::RegistryUrl;
use periplus_core::protocol::Span;
use periplus_tokio::{Client, ConnectError, ConnectOptions, Tokio, connect_with, locate};
use serde::Serialize;
use tokio::sync::Notify;

use super::Server;
use super::answer::Answer;
use super::call::{self, Call};
use super::problem::Problem;
use super::route::Operation;
use desk::Desk;
use write::Writer;

/// How long a server that starts waits for the first word of its upstream before it listens.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a server mirrors.
pub(super) struct Upstream {
    /// Where it is, without secrets.
    url: String,
    /// The same with them.
    address: String,
    client: Client,
    namespace: Namespace,
    writer: Writer,
    state: Mutex<State>,
    /// Rings when it was heard for the first time.
    heard: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unheard,
    Live,
    Unconfirmed,
    Stale(Instant),
}

/// How it stands with an upstream.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Standing {
    url: String,
    /// `unheard`, `live`, `unconfirmed`, or `stale`.
    state: &'static str,
    /// For how long it cannot be heard, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stale_ms: Option<u64>,
}

impl Standing {
    pub(super) fn is_live(&self) -> bool {
        self.state == "live"
    }
}

impl Upstream {
    /// The upstream at an address; nothing, if the address is empty.
    pub(super) fn of(address: &str) -> anyhow::Result<Option<Self>> {
        if address.is_empty() {
            return Ok(None);
        }
        let url: RegistryUrl = address.parse().context("upstream")?;
        let client = connect(address).context("upstream")?;
        let namespace = url.value("ns").map(Namespace::new).transpose().context("upstream")?.unwrap_or_default();
        let ttl = url.parsed::<Span>("ttl", "a duration such as 15s").context("upstream")?.map(|Span(ttl)| ttl);
        let store = locate(Tokio::new(), address).context("upstream")?;
        let desk = match store.url.scheme.as_str() {
            "consul" => {
                let options = ConsulOptions::from_url(&store.url).context("upstream")?;
                Desk::Consul(consul::desk::Desk::new(options, store.origins, namespace.clone()))
            }
            _ => {
                let mut options = EtcdOptions::from_url(&store.url).context("upstream")?;
                if let Some(password) = store.url.value("password") {
                    options = options.with_password(password);
                }
                Desk::Etcd(etcd::Desk::new(options, store.origins))
            }
        };
        let writer = Writer::new(store.runtime, desk, ttl);
        let (state, heard) = (Mutex::new(State::Unheard), Notify::new());
        let address = address.to_owned();
        Ok(Some(Self { url: url.to_string(), address, client, namespace, writer, state, heard }))
    }

    /// A further client of it.
    fn connect(&self) -> Result<Client, ConnectError> {
        connect(&self.address)
    }

    pub(super) fn standing(&self) -> Standing {
        let (state, stale) = match *self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Unheard => ("unheard", None),
            State::Live => ("live", None),
            State::Unconfirmed => ("unconfirmed", None),
            State::Stale(since) => ("stale", Some(since.elapsed())),
        };
        let stale_ms = stale.map(|stale| u64::try_from(stale.as_millis()).unwrap_or(u64::MAX));
        Standing { url: self.url.clone(), state, stale_ms }
    }
}

fn connect(address: &str) -> Result<Client, ConnectError> {
    connect_with(Tokio::new(), address, ConnectOptions::default())
}

/// Begins to mirror the upstream, if there is one, and waits a moment for its first word.
pub(super) async fn begin(server: &Arc<Server>) {
    if let Some(upstream) = &server.upstream {
        tokio::spawn(mirror::run(Arc::clone(server)));
        if tokio::time::timeout(PATIENCE, upstream.heard.notified()).await.is_err() {
            tracing::warn!(upstream = upstream.url, "the upstream is not heard yet: nothing is listed until it is");
        }
    }
}

/// Answers a request: from the mirror what it knows, by the upstream what changes something.
pub(super) async fn dispatch(upstream: &Upstream, operation: Operation, call: &Call<'_>) -> Answer {
    use Operation as Is;
    let names_one = matches!(
        operation,
        Is::Register
            | Is::Update
            | Is::Deregister
            | Is::List
            | Is::Watch
            | Is::Instance
            | Is::Services
            | Is::Instances
            | Is::Targets
    );
    if names_one && call.query.namespace()? != upstream.namespace {
        let message = format!("this server mirrors the namespace {} and no other", upstream.namespace);
        return Err(Problem::invalid("invalid_ns", "ns", message));
    }
    let writer = &upstream.writer;
    match operation {
        Is::Renew => writer.renew(call).await,
        Is::Register => writer.register(call).await,
        Is::Update => writer.update(call).await,
        Is::Deregister => writer.deregister(call).await,
        Is::Evict => writer.evict(call).await,
        Is::Overlay | Is::ClearOverlay | Is::Settle => Err(elsewhere(upstream)),
        _ => call::dispatch(operation, call),
    }
}

/// What no upstream has a place for.
fn elsewhere(upstream: &Upstream) -> Problem {
    let message = format!("this server mirrors {}, which has no place for it", upstream.url);
    Problem::new(StatusCode::NOT_IMPLEMENTED, "not_over_upstream", message)
}
