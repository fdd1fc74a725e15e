//! Answers: JSON with the headers that keep browsers from making more of it than it is.

use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use periplus_core::Epoch;
use periplus_core::json::write_string;

use super::body::Body;
use super::encode;
use super::hub::Date;
use super::problem::Problem;

/// An answer, or why there is none.
pub(super) type Answer = Result<Response<Body>, Problem>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Nothing that a browser shows of an answer may load, run or be framed.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// An answer of any kind.
pub(super) fn of_type(kind: HeaderValue, body: impl Into<Body>) -> Response<Body> {
    let mut headers = HeaderMap::with_capacity(6);
    headers.append(CONTENT_TYPE, kind);
    headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.append(CONTENT_SECURITY_POLICY, POLICY);
    let mut response = Response::new(body.into());
    *response.headers_mut() = headers;
    response
}

/// An answer in JSON.
pub(super) fn json(body: impl Into<Body>) -> Response<Body> {
    of_type(JSON, body)
}

/// A stream of events. Proxies are asked not to hold it back.
pub(super) fn stream(body: Body) -> Response<Body> {
    let mut response = of_type(EVENT_STREAM, body);
    let buffering = HeaderName::from_static("x-accel-buffering");
    response.headers_mut().append(buffering, HeaderValue::from_static("no"));
    response
}

/// An object that begins with its date; what follows is appended with [`field`], and closed by [`dated_end`].
pub(super) fn dated(epoch: &Epoch, date: Date, room: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(room + 96);
    out.push(b'{');
    encode::date(&mut out, epoch, date);
    out
}

/// Appends `,"key":`.
pub(super) fn field(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends `,"key":[{…},{…}]`, with what is written of each.
pub(super) fn list<T>(
    out: &mut Vec<u8>,
    key: &str,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    field(out, key);
    out.push(b'[');
    for (at, item) in items.into_iter().enumerate() {
        out.extend_from_slice(if at > 0 { b",{" } else { b"{" });
        write(out, item);
        out.push(b'}');
    }
    out.push(b']');
}

/// Closes an object that [`dated`] began.
pub(super) fn dated_end(mut out: Vec<u8>) -> Response<Body> {
    out.push(b'}');
    json(out)
}

/// A refusal.
pub(super) fn refusal(epoch: &Epoch, problem: &Problem) -> Response<Body> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"code\":\"");
    out.extend_from_slice(problem.code.as_bytes());
    out.extend_from_slice(b"\",\"message\":");
    write_string(&mut out, &problem.message);
    if let Some(name) = &problem.field {
        field(&mut out, "field");
        write_string(&mut out, name);
    }
    if let Some(limit) = problem.limit {
        field(&mut out, "limit");
        encode::number(&mut out, limit);
    }
    if let Some(date) = problem.date {
        out.push(b',');
        encode::date(&mut out, epoch, date);
    }
    out.push(b'}');
    let mut response = json(out);
    *response.status_mut() = problem.status;
    let headers = response.headers_mut();
    if let Some(seconds) = problem.retry_after {
        headers.append(RETRY_AFTER, seconds.into());
    }
    let allow = problem.allow.as_ref().and_then(|allow| allow.try_into().ok());
    if let Some(allow) = allow {
        headers.append(ALLOW, allow);
    }
    if problem.close {
        headers.append(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Nothing to say but that it is done.
pub(super) fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
