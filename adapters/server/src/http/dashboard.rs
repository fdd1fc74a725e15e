//! The dashboard: a page and what it loads, as they were built into this program.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderName, IF_NONE_MATCH,
    REFERRER_POLICY, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::answer::{self, Answer};
use super::body::Body;
use super::call::Call;
use super::problem::Problem;

/// A file of the dashboard.
struct File {
    name: &'static str,
    kind: &'static str,
    tag: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// The page runs its own code and talks to its own server, and nothing that the registry holds can make it do more.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

/// What is shown by a server that was built without it.
const MISSING: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Periplus</title>
<h1>The registry runs</h1>
<p>This server was built without its dashboard. In a checkout of its sources,
<code>cargo xtask web</code> makes the dashboard, and the next build of the server has it;
<code>cargo xtask run</code> does both.
<p>Meanwhile <code>periplus list</code> shows the services, and <a href=\"/openapi.json\">/openapi.json</a> says what can be asked.
";

/// `GET /`.
pub(super) fn page(call: &Call<'_>) -> Answer {
    let Some(file) = FILES.iter().find(|file| file.name == "index.html") else {
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        return Ok(answer::of_type(kind, Bytes::from_static(MISSING.as_bytes())));
    };
    Ok(serve(file, &call.head.headers))
}

/// `GET /dashboard/{file}`.
pub(super) fn asset(call: &Call<'_>) -> Answer {
    let found = FILES.iter().find(|file| file.name == call.names[0]);
    let file = found.ok_or_else(|| Problem::not_found("the dashboard has no such file"))?;
    Ok(serve(file, &call.head.headers))
}

fn serve(file: &File, asked: &HeaderMap) -> Response<Body> {
    let says = |name, word: &str| asked.get(name).and_then(|it| it.to_str().ok()).is_some_and(|it| it.contains(word));
    let packed = says(ACCEPT_ENCODING, "gzip");
    let known = says(IF_NONE_MATCH, file.tag);
    let bytes = if known {
        &[]
    } else if packed {
        file.gzip
    } else {
        file.plain
    };
    let mut response = answer::of_type(HeaderValue::from_static(file.kind), Bytes::from_static(bytes));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    // Asked for each time, sent if it is another one.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(ETAG, HeaderValue::from_static(file.tag));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    if packed && !known {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}
