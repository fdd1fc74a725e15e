//! One call: waits for somebody to call, picks, sends, and perhaps again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::uri::{PathAndQuery, Uri};
use http::{Request, Response, StatusCode, Version, request};
use http_body::Body;
use http_body_util::{BodyExt as _, Empty};
use periplus_core::balance::CallOutcome;

use super::BoxError;
use super::body::{HttpBody, Lease};
use super::connection::{Connection, RequestBody};
use super::error::HttpError;
use super::pool::Pool;
use crate::client::innermost;
use crate::dial::within;
use crate::routing::{ATTEMPTS, Account, Caller, Found, NotFound};

const AGENT: HeaderValue = HeaderValue::from_static(concat!("periplus-hyper/", env!("CARGO_PKG_VERSION")));

type Answer = Result<Response<HttpBody>, HttpError>;

/// How one attempt ended.
enum Attempted {
    Ended(Answer),
    /// No server has begun with it.
    Unsent(Request<RequestBody>, HttpError),
}

/// Where a call is.
#[derive(Default)]
struct Progress {
    /// Who has it, and what is to be told.
    at: Option<(Account, crate::routing::Picked)>,
}

pub(super) async fn call<B>(caller: &Caller<Pool>, timeout: Option<Duration>, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
    let mut progress = Progress::default();
    let Some(limit) = timeout else { return attempts(caller, request, &mut progress).await };
    let answer = within(caller.net(), limit, attempts(caller, request, &mut progress)).await;
    answer.unwrap_or_else(|| {
        let picked = progress.at.map(|(mut account, picked)| {
            account.end(CallOutcome::Failure);
            picked
        });
        Err(HttpError::TimedOut { target: caller.target().to_owned(), limit, picked })
    })
}

async fn attempts(caller: &Caller<Pool>, request: Request<RequestBody>, progress: &mut Progress) -> Answer {
    let (mut head, body) = request.into_parts();
    let mut search = caller.search(&mut head.extensions);
    let authority = head.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);
    head.version = Version::HTTP_11;
    head.headers.entry(USER_AGENT).or_insert(AGENT);
    if let Some(authority) = authority {
        head.headers.entry(HOST).or_insert(authority);
    }
    let own_host = head.headers.contains_key(HOST);
    let (mut request, mut last) = (Request::from_parts(head, body), None);
    for _ in 0..ATTEMPTS {
        let Found { account, picked, link } = match search.next(last.is_some()).await {
            Ok(found) => found,
            Err(NotFound::Tried) => break,
            Err(NotFound::Nobody(reason)) => return Err(HttpError::Unavailable { reason, picked: None }),
        };
        if !own_host {
            request.headers_mut().insert(HOST, link.host.clone());
        }
        progress.at = Some((account, picked));
        match attempt(caller, &link, request, progress).await {
            Attempted::Ended(answer) => return answer,
            Attempted::Unsent(unsent, error) => (request, last) = (unsent, Some(error)),
        }
    }
    Err(last.unwrap_or_else(|| HttpError::Unavailable { reason: caller.target().to_owned(), picked: None }))
}

/// Sends a request to an instance: on a kept connection, or on a fresh one.
async fn attempt(
    caller: &Caller<Pool>,
    pool: &Arc<Pool>,
    mut request: Request<RequestBody>,
    progress: &mut Progress,
) -> Attempted {
    let mut may_use_kept = true;
    loop {
        let kept = if may_use_kept { pool.take().await } else { None };
        let fresh = kept.is_none();
        let mut connection = match kept {
            Some(connection) => connection,
            None => match pool.open().await {
                Ok(connection) => connection,
                Err(reason) => {
                    pool.fail(reason.clone());
                    return unsent(caller, request, reason, progress);
                }
            },
        };
        // What a server that closes an idle connection cannot have begun with, or may do twice.
        let spare =
            (!fresh && request.method().is_idempotent() && request.body().is_end_stream()).then(|| copy(&request));
        connection.traffic.begin();
        match connection.sender.try_send_request(request).await {
            Ok(response) => return Attempted::Ended(Ok(answered(caller, pool, response, connection, progress))),
            Err(mut failed) => {
                let reason = innermost(failed.error());
                match (failed.take_message(), spare) {
                    // It was closed before anything was written.
                    (Some(returned), _) if !fresh => request = returned,
                    (Some(returned), _) => {
                        pool.fail(reason.clone());
                        return unsent(caller, returned, reason, progress);
                    }
                    (None, Some(spare)) if !connection.traffic.heard() => {
                        (request, may_use_kept) = (spare, false);
                    }
                    (None, _) => return Attempted::Ended(lost(caller, reason, failed.error(), progress)),
                }
            }
        }
    }
}

/// The same request, which has no body.
fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let empty = Empty::new().map_err(|never: std::convert::Infallible| match never {}).boxed_unsync();
    let (mut head, body) = Request::new(empty).into_parts();
    let request::Parts { method, uri, headers, extensions, .. } = &mut head;
    method.clone_from(request.method());
    uri.clone_from(request.uri());
    headers.clone_from(request.headers());
    extensions.clone_from(request.extensions());
    Request::from_parts(head, body)
}

fn answered(
    caller: &Caller<Pool>,
    pool: &Arc<Pool>,
    response: Response<hyper::body::Incoming>,
    connection: Connection,
    progress: &mut Progress,
) -> Response<HttpBody> {
    let (account, picked) = progress.at.take().expect("an attempt has an account");
    let (mut head, body) = response.into_parts();
    head.extensions.insert(picked.clone());
    let outcome = match head.status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => CallOutcome::Failure,
        _ => CallOutcome::Success,
    };
    let (pool, target) = (Arc::clone(pool), caller.target().to_owned());
    let lease = Lease { account, outcome, connection, pool, target, picked };
    Response::from_parts(head, HttpBody::new(body, lease))
}

/// The account is dropped: what nobody has taken says nothing of how an instance answers.
fn unsent(caller: &Caller<Pool>, request: Request<RequestBody>, reason: String, progress: &mut Progress) -> Attempted {
    let picked = progress.at.take().map(|(_, picked)| picked);
    let id = picked.as_ref().map_or("", |picked| picked.instance().id.as_str());
    let reason = format!("{}: {id}: {reason}", caller.target());
    Attempted::Unsent(request, HttpError::Unavailable { reason, picked })
}

fn lost(caller: &Caller<Pool>, reason: String, error: &hyper::Error, progress: &mut Progress) -> Answer {
    let (mut account, picked) = progress.at.take().expect("an attempt has an account");
    // What the caller's own body or words break says nothing of the instance.
    if error.is_user() {
        return Err(HttpError::invalid(caller.target(), &reason));
    }
    account.end(CallOutcome::Failure);
    Err(HttpError::Lost { target: caller.target().to_owned(), reason, picked })
}
