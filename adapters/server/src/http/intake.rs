//! Taking in the bodies of requests: so many bytes, in so much time, and JSON.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body as _;
use hyper::body::Incoming;
use serde::Deserialize;

use super::problem::{Problem, invalid_code};

/// Reads a body whole.
pub(super) async fn read(body: Incoming, limit: usize, time: Duration) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Problem::too_large("the body", limit).closing());
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    tokio::time::timeout(time, collect(body, limit)).await.unwrap_or_else(|_| {
        let message = format!("the body did not arrive within {time:?}");
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message).closing())
    })
}

async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, Problem> {
    let mut whole = Bytes::new();
    let mut more: Option<BytesMut> = None;
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| {
            let message = "the body broke off";
            Problem::new(StatusCode::BAD_REQUEST, "invalid_body", message).closing()
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let sum = more.as_ref().map_or(whole.len(), |more| more.len()) + data.len();
        if sum > limit {
            return Err(Problem::too_large("the body", limit).closing());
        }
        // Nearly every body comes in one piece, and is taken as it is.
        if whole.is_empty() && more.is_none() {
            whole = data;
        } else {
            more.get_or_insert_with(|| BytesMut::from(&*whole)).extend_from_slice(&data);
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok(more.map_or(whole, BytesMut::freeze))
}

/// Reads a message. Where the JSON is fine but not the message, the refusal names the field.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    // A message is an object; serde would also take an array of its fields.
    if body.trim_ascii_start().first() == Some(&b'[') {
        let message = "the body is an array: send an object";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_json", message));
    }
    serde_json::from_slice(body).map_err(|_| explain::<T>(body))
}

/// Reads a message again, slowly, to find out what is wrong with it.
#[cold]
fn explain<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Problem {
    let mut json = serde_json::Deserializer::from_slice(body);
    let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut json) else {
        let message = "there is something behind the JSON";
        return Problem::new(StatusCode::BAD_REQUEST, "invalid_json", message);
    };
    let path = error.path().to_string();
    let inner = error.into_inner();
    let message = inner.to_string();
    if !inner.is_data() {
        let message = format!("the body is not JSON: {message}");
        return Problem::new(StatusCode::BAD_REQUEST, "invalid_json", message);
    }
    let missing =
        message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')).map(|(name, _)| name.to_owned());
    match missing.or_else(|| (path != "." && path != "?").then_some(path)) {
        Some(field) => {
            let code = invalid_code(&field);
            let message = format!("{field}: {message}");
            Problem::invalid(code, field, message)
        }
        None => Problem::new(StatusCode::BAD_REQUEST, "invalid_json", message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use periplus_core::protocol::{RegisterMessage, UpdateMessage};

    fn problem<'a, T: Deserialize<'a> + std::fmt::Debug>(body: &'a str) -> (&'static str, String) {
        let problem = parse::<T>(body.as_bytes()).unwrap_err();
        let field = problem.field.as_deref().unwrap_or_default();
        (problem.code, field.to_owned())
    }

    #[test]
    fn a_refusal_names_the_field() {
        for (body, code, field) in [
            ("", "invalid_json", ""),
            ("{", "invalid_json", ""),
            ("[]", "invalid_json", ""),
            ("{} x", "invalid_json", ""),
            (r#"{"ttl":15}"#, "invalid_ttl", "ttl"),
            (r#"{"ttl":"15"}"#, "invalid_ttl", "ttl"),
            (r#"{"metadata":{"a":1}}"#, "invalid_metadata", "metadata.a"),
            (r#"{"endpoints":["http://a:1",2]}"#, "invalid_endpoints", "endpoints[1]"),
            (r#"{"incarnation":"x"}"#, "invalid_incarnation", "incarnation"),
            (r#"{"id":""}"#, "invalid_id", "id"),
        ] {
            assert_eq!(problem::<RegisterMessage>(body), (code, field.into()), "{body}");
        }
        assert_eq!(problem::<UpdateMessage>("{}"), ("invalid_lease", "lease".into()));
    }
}
