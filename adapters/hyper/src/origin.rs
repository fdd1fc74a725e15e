//! What a connection is told apart by, and a request in hyper's words.

use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme, Uri};
use http_body_util::Full;
use periplus_core::http::{Method, Request};

/// Whom a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) tls: bool,
    /// Without the brackets of an address.
    pub(crate) host: String,
    pub(crate) port: u16,
}

pub(crate) type Message = http::Request<Full<Bytes>>;

/// A request, and whom it goes to.
///
/// # Errors
/// If it cannot be said in HTTP.
pub(crate) fn translate(request: Request) -> Result<(Origin, Message), String> {
    let uri: Uri = request.url.parse().map_err(|error| format!("url {:?}: {error}", request.url))?;
    let tls = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        _ => return Err(format!("url {:?}: begin it with http:// or https://", request.url)),
    };
    let host = uri.host().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| format!("url {:?}: it names no host", request.url))?;
    let port = uri.port_u16();
    let authority = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let origin = Origin {
        tls,
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: port.unwrap_or(if tls { 443 } else { 80 }),
    };

    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut message = http::Request::new(Full::new(Bytes::from(request.body)));
    *message.method_mut() = method(request.method);
    *message.uri_mut() = Uri::from(path);
    let headers = message.headers_mut();
    headers.insert(HOST, value("host", &authority)?);
    for (name, text) in &request.headers {
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|error| format!("header {name:?}: {error}"))?;
        headers.append(key, value(name, text)?);
    }
    Ok((origin, message))
}

fn value(name: &str, text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|error| format!("header {name:?}: {error}"))
}

const fn method(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::GET,
        Method::Put => http::Method::PUT,
        Method::Post => http::Method::POST,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> Request {
        Request { method: Method::Get, url: url.into(), headers: Vec::new(), body: Vec::new(), streaming: false }
    }

    #[test]
    fn a_url_is_taken_apart() {
        for (url, tls, host, port, path, header) in [
            ("http://a", false, "a", 80, "/", "a"),
            ("https://a.b/c?d=e", true, "a.b", 443, "/c?d=e", "a.b"),
            ("http://127.0.0.1:7171/", false, "127.0.0.1", 7171, "/", "127.0.0.1:7171"),
            ("https://[::1]:8443/x%20y", true, "::1", 8443, "/x%20y", "[::1]:8443"),
            ("http://user:word@a:1?q", false, "a", 1, "/?q", "a:1"),
        ] {
            let (origin, message) = translate(request(url)).unwrap();
            assert_eq!(origin, Origin { tls, host: host.into(), port }, "{url}");
            assert_eq!(message.uri().to_string(), path, "{url}");
            assert_eq!(message.headers()[HOST], header, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_said_in_http_is_refused_with_the_reason() {
        for (url, reason) in [
            ("ftp://a/", "begin it with http:// or https://"),
            ("/a", "begin it with http:// or https://"),
            ("http://:80/", "url"),
            ("http://a/ b", "invalid uri character"),
            ("", "empty string"),
        ] {
            let error = translate(request(url)).unwrap_err();
            assert!(error.contains(reason), "{url:?}: {error}");
        }
        let header =
            |name: &str, value: &str| Request { headers: vec![(name.into(), value.into())], ..request("http://a/") };
        assert!(translate(header("a b", "c")).unwrap_err().contains("header \"a b\""));
        assert!(translate(header("a", "b\nc")).unwrap_err().contains("header \"a\""));
    }
}
