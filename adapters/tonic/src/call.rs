//! One call: waits for somebody to call, picks, sends, and perhaps again.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Uri, header};
use periplus_hyper::host;
use periplus_tokio::core::InstanceId;
use periplus_tokio::core::balance::{CallOutcome, Filter, Pick, PickError, PickRequest};
use periplus_tokio::core::dial::Readiness;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;

use crate::body::{Account, Original, Response, code, outcome};
use crate::connection::{Link, innermost};
use crate::driver::Table;
use crate::error::{CallError, HashKey, Picked};

/// How often a call is sent at most that nobody has begun to process.
const ATTEMPTS: usize = 5;

/// What the calls of a channel share.
pub(crate) struct Shared {
    pub(crate) target: String,
    wait: Duration,
    attention: Arc<Notify>,
    views: mpsc::Sender<Filter>,
    random: AtomicU64,
}

impl Shared {
    pub(crate) fn new(target: String, wait: Duration, attention: Arc<Notify>, views: mpsc::Sender<Filter>) -> Self {
        let mut seed = [0; 8];
        host::entropy(&mut seed);
        Self { target, wait, attention, views, random: AtomicU64::new(u64::from_le_bytes(seed)) }
    }

    /// Sixty-four bits to balance by (SplitMix64).
    fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let z = self.random.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// Who calls.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tables: watch::Receiver<Arc<Table>>,
    pub(crate) filter: Option<Filter>,
}

/// How one attempt ended.
enum Attempted {
    Answered(http::Response<Body>),
    Failed(CallError),
    /// Nobody has begun to process it.
    Unsent(CallError),
}

impl Caller {
    pub(crate) async fn call(mut self, request: Request<Body>) -> Result<http::Response<Body>, CallError> {
        let limit = timeout(request.headers());
        let started = Instant::now();
        let latest = limit.and_then(|limit| started.checked_add(limit));
        let calling = self.attempts(request, started);
        match latest {
            None => calling.await,
            Some(latest) => tokio::time::timeout_at(latest, calling).await.unwrap_or_else(|_| {
                Err(CallError { status: Box::new(Status::deadline_exceeded("the call took too long")), picked: None })
            }),
        }
    }

    async fn attempts(&mut self, request: Request<Body>, started: Instant) -> Result<http::Response<Body>, CallError> {
        let (mut head, body) = request.into_parts();
        let own = head.extensions.remove::<Filter>();
        let filter = match (own, self.filter.take()) {
            (Some(own), Some(general)) => Some(general.and(own)),
            (own, general) => own.or(general),
        };
        let key = head.extensions.get::<HashKey>().map(|HashKey(key)| *key);
        head.headers.entry(header::USER_AGENT).or_insert(AGENT);
        let original = Original::new(body);
        let deadline = started.checked_add(self.shared.wait);
        let (mut tried, mut last): (Vec<InstanceId>, Option<CallError>) = (Vec::new(), None);
        for _ in 0..ATTEMPTS {
            let (pick, link) = self.pick(filter.as_ref(), key, &mut tried, last.take(), deadline).await?;
            let Some(attempt) = original.attempt() else { break };
            let picked = Picked(Arc::clone(pick.node()));
            let mut parts = head.clone();
            parts.uri = uri(&parts.uri, &link);
            parts.extensions.insert(picked.clone());
            tried.push(picked.instance().id.clone());
            match self.send(pick, &link, picked, Request::from_parts(parts, attempt), &original).await {
                Attempted::Answered(response) => return Ok(response),
                Attempted::Failed(error) => return Err(error),
                Attempted::Unsent(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.unavailable("the request is too long to be sent again")))
    }

    async fn send(
        &self,
        pick: Pick,
        link: &Link,
        picked: Picked,
        request: Request<crate::body::Attempt>,
        original: &Original,
    ) -> Attempted {
        let mut account = Account::new(pick, Arc::clone(&self.shared.attention));
        match link.sender.clone().try_send_request(request).await {
            Ok(response) => {
                original.let_go();
                let (mut parts, body) = response.into_parts();
                parts.extensions.insert(picked);
                match code(&parts.headers) {
                    Some(code) => account.end(outcome(code)),
                    None if !parts.status.is_success() => account.end(CallOutcome::Failure),
                    None => {}
                }
                Attempted::Answered(http::Response::from_parts(parts, Body::new(Response::new(body, account))))
            }
            Err(mut failed) => {
                let unsent = failed.take_message().is_some() || is_unprocessed(failed.error());
                let Self { shared, .. } = self;
                let status =
                    Status::unavailable(format!("{}: {}: {}", shared.target, picked.0.id(), innermost(failed.error())));
                let error = CallError { status: Box::new(status), picked: Some(picked) };
                if unsent {
                    return Attempted::Unsent(error);
                }
                account.end(CallOutcome::Failure);
                Attempted::Failed(error)
            }
        }
    }

    /// Waits for somebody to call, and picks.
    async fn pick(
        &mut self,
        filter: Option<&Filter>,
        key: Option<u64>,
        tried: &mut Vec<InstanceId>,
        last: Option<CallError>,
        deadline: Option<Instant>,
    ) -> Result<(Pick, Arc<Link>), CallError> {
        loop {
            let table = Arc::clone(&self.tables.borrow_and_update());
            let routes = &table.routes;
            let reason = match &routes.readiness {
                Readiness::Failing(reason) => return Err(self.unavailable(reason)),
                Readiness::Waiting(reason) => reason.to_string(),
                Readiness::Ready => {
                    let picker = match filter {
                        None => Some(&routes.picker),
                        Some(filter) => routes.picker.view(filter),
                    };
                    let random = self.shared.random();
                    let request = PickRequest { random, key, exclude: tried.as_slice() };
                    match picker.map(|picker| picker.pick(&request, host::now())) {
                        Some(Ok(pick)) => {
                            let link = routes.connections.get(pick.node().id()).and_then(|id| table.links.get(id));
                            match link {
                                Some(link) => return Ok((pick, Arc::clone(link))),
                                None => "its connection has just gone".to_owned(),
                            }
                        }
                        Some(Err(PickError::Excluded)) => {
                            if tried.iter().all(|id| routes.connections.contains_key(id))
                                && let Some(last) = &last
                                && !lost(&table, tried)
                            {
                                return Err(last.clone());
                            }
                            tried.clear();
                            "every connection has just gone".to_owned()
                        }
                        Some(Err(error)) => return Err(self.unavailable(error)),
                        None => {
                            // There is no view for it yet.
                            if let Some(filter) = filter {
                                let _ = self.shared.views.send(filter.clone()).await;
                            }
                            "the filter is being applied".to_owned()
                        }
                    }
                }
            };
            let waited = async {
                match deadline {
                    Some(deadline) => tokio::time::timeout_at(deadline, self.tables.changed()).await,
                    None => Ok(self.tables.changed().await),
                }
            };
            match waited.await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(self.unavailable("the channel's driver has ended with its runtime")),
                Err(_) => {
                    let waited = self.shared.wait;
                    return Err(self.unavailable(format!("{reason}, after {waited:?}")));
                }
            }
        }
    }

    fn unavailable(&self, reason: impl std::fmt::Display) -> CallError {
        CallError::unavailable(format!("{}: {reason}", self.shared.target))
    }
}

/// Whether one of these has lost its connection, which the table does not say yet.
fn lost(table: &Table, tried: &[InstanceId]) -> bool {
    let link = |id| table.routes.connections.get(id).and_then(|id| table.links.get(id));
    tried.iter().filter_map(link).any(|link| link.sender.is_closed())
}

const AGENT: HeaderValue = HeaderValue::from_static(concat!("periplus-tonic/", env!("CARGO_PKG_VERSION")));

/// The path of a request at whom it goes to; an authority of its own stays.
fn uri(own: &Uri, link: &Link) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(link.scheme.clone());
    parts.authority = Some(own.authority().unwrap_or(&link.authority).clone());
    parts.path_and_query = Some(own.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).expect("scheme, authority and path make a URI")
}

/// Whether the server has said that it has not begun with the request: by refusing it, or by a farewell that came
/// before it.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let Some(error) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else { return false };
    error.is_remote()
        && match error.reason() {
            Some(h2::Reason::REFUSED_STREAM) => error.is_reset(),
            Some(h2::Reason::NO_ERROR) => error.is_go_away(),
            _ => false,
        }
}

/// The `grpc-timeout` of a request.
fn timeout(headers: &http::HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_as_grpc_writes_it() {
        let read = |text: &str| {
            timeout(&[(http::HeaderName::from_static("grpc-timeout"), text.parse().unwrap())].into_iter().collect())
        };
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("1500m"), Some(Duration::from_millis(1_500)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for text in ["", "S", "1", "1x", "123456789S", "-1S"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
