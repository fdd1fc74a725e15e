//! One call: waits for somebody to call, picks, sends, and perhaps again.

use std::error::Error;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Uri, header};
use periplus_hyper::routing::{ATTEMPTS, Caller, Found, NotFound};
use periplus_tokio::core::balance::CallOutcome;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;

use crate::body::{Original, Response, code, outcome};
use crate::connection::{Link, innermost};
use crate::error::CallError;

/// How one attempt ended.
enum Attempted {
    Answered(http::Response<Body>),
    Failed(CallError),
    /// Nobody has begun to process it.
    Unsent(CallError),
}

pub(crate) async fn call(caller: Caller<Link>, request: Request<Body>) -> Result<http::Response<Body>, CallError> {
    let limit = timeout(request.headers());
    let latest = limit.and_then(|limit| Instant::now().checked_add(limit));
    let calling = attempts(&caller, request);
    match latest {
        None => calling.await,
        Some(latest) => tokio::time::timeout_at(latest, calling).await.unwrap_or_else(|_| {
            Err(CallError { status: Box::new(Status::deadline_exceeded("the call took too long")), picked: None })
        }),
    }
}

async fn attempts(caller: &Caller<Link>, request: Request<Body>) -> Result<http::Response<Body>, CallError> {
    let (mut head, body) = request.into_parts();
    let mut search = caller.search(&mut head.extensions);
    head.headers.entry(header::USER_AGENT).or_insert(AGENT);
    let original = Original::new(body);
    let mut last: Option<CallError> = None;
    for _ in 0..ATTEMPTS {
        let found = match search.next(last.is_some()).await {
            Ok(found) => found,
            Err(NotFound::Tried) => break,
            Err(NotFound::Nobody(reason)) => return Err(CallError::unavailable(reason)),
        };
        let Some(attempt) = original.attempt() else { break };
        let mut parts = head.clone();
        parts.uri = uri(&parts.uri, &found.link);
        parts.extensions.insert(found.picked.clone());
        match send(caller, found, Request::from_parts(parts, attempt), &original).await {
            Attempted::Answered(response) => return Ok(response),
            Attempted::Failed(error) => return Err(error),
            Attempted::Unsent(error) => last = Some(error),
        }
    }
    let too_long = || CallError::unavailable(format!("{}: the request is too long to be sent again", caller.target()));
    Err(last.unwrap_or_else(too_long))
}

async fn send(
    caller: &Caller<Link>,
    found: Found<Link>,
    request: Request<crate::body::Attempt>,
    original: &Original,
) -> Attempted {
    let Found { mut account, picked, link } = found;
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
            let (id, reason) = (&picked.instance().id, innermost(failed.error()));
            let status = Status::unavailable(format!("{}: {id}: {reason}", caller.target()));
            let error = CallError { status: Box::new(status), picked: Some(picked) };
            if unsent {
                return Attempted::Unsent(error);
            }
            account.end(CallOutcome::Failure);
            Attempted::Failed(error)
        }
    }
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
