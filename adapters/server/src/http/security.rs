//! Which names and which web pages may speak to this server.
//!
//! Whoever reaches the port can speak to it, and so can every web page in a browser on this machine. `Host` is checked
//! so that no foreign name that resolves to this address is taken for it (DNS rebinding), `Origin` so that no foreign
//! page sends commands or reads answers.

use std::net::{IpAddr, SocketAddr};

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CONTENT_ENCODING, CONTENT_TYPE, HOST, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::answer;
use super::body::Body;
use super::problem::Problem;

/// Who is let in.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    bound: IpAddr,
    names: Vec<String>,
    origins: Vec<String>,
    /// How clients call this server nearly always.
    usual: Vec<String>,
}

/// What is known of a request that was let in.
#[derive(Debug)]
pub(super) struct Admitted {
    /// The page of another origin that may read the answer.
    pub(super) cors: Option<HeaderValue>,
    /// It comes from a web page.
    pub(super) from_page: bool,
}

impl Doorkeeper {
    pub(super) fn new(address: SocketAddr, names: &[String], origins: &[String]) -> Self {
        let port = address.port();
        let usual = if address.ip().is_loopback() || address.ip().is_unspecified() {
            vec![address.to_string(), format!("localhost:{port}"), format!("127.0.0.1:{port}")]
        } else {
            vec![address.to_string()]
        };
        Self {
            bound: address.ip(),
            names: names.iter().map(|name| name.to_ascii_lowercase()).collect(),
            origins: origins.to_vec(),
            usual,
        }
    }

    /// Checks by which name the server is called, and from which page.
    pub(super) fn admit(&self, head: &Parts) -> Result<Admitted, Problem> {
        let host = self.host(head)?;
        let Some(origin) = head.headers.get(ORIGIN) else {
            return Ok(Admitted { cors: None, from_page: false });
        };
        let text = origin.to_str().unwrap_or("");
        if head.headers.get_all(ORIGIN).iter().count() == 1 {
            let own = ["http://", "https://"]
                .iter()
                .any(|scheme| text.strip_prefix(scheme).is_some_and(|it| it.eq_ignore_ascii_case(host)));
            if own {
                return Ok(Admitted { cors: None, from_page: true });
            }
            if self.origins.iter().any(|it| it.eq_ignore_ascii_case(text)) {
                return Ok(Admitted { cors: Some(origin.clone()), from_page: true });
            }
        }
        let message = format!("pages of {text:?} may not speak to this registry: allow them with --cors-origin");
        Err(Problem::new(StatusCode::FORBIDDEN, "origin_refused", message))
    }

    /// By which name the server is called, if it may be.
    fn host<'a>(&self, head: &'a Parts) -> Result<&'a str, Problem> {
        let refused = |message: String| Problem::new(StatusCode::FORBIDDEN, "host_refused", message);
        let authority = head.uri.authority().map(|authority| authority.as_str());
        let mut headers = head.headers.get_all(HOST).iter();
        let header = headers.next().map(|host| host.to_str().unwrap_or(""));
        if headers.next().is_some() {
            return Err(refused("the request has several Host headers".into()));
        }
        for host in [authority, header].into_iter().flatten() {
            let known = self.usual.iter().any(|usual| usual == host) || self.knows(host);
            if !known {
                return Err(refused(format!(
                    "this registry is not known as {host:?}: allow the name with --allowed-hosts"
                )));
            }
        }
        authority
            .or(header)
            .ok_or_else(|| refused("the request does not say whom it is for: send a Host header".into()))
    }

    fn knows(&self, host: &str) -> bool {
        let name = without_port(host);
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        if let Ok(ip) = literal.unwrap_or(name).parse::<IpAddr>() {
            // An address is no name that somebody else could point here. It must still be one that is listened on.
            return self.bound.is_unspecified() || ip == self.bound || (ip.is_loopback() && self.bound.is_loopback());
        }
        let local = self.bound.is_loopback() || self.bound.is_unspecified();
        let name = name.strip_suffix('.').unwrap_or(name);
        (local && name.eq_ignore_ascii_case("localhost"))
            || self.names.iter().any(|it| it.eq_ignore_ascii_case(name))
            || self.names.iter().any(|it| it.eq_ignore_ascii_case(host))
    }
}

/// The port says nothing of who one is: it may be mapped on the way.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (name.ends_with(']') || !name.contains(':')) =>
        {
            name
        }
        _ => host,
    }
}

/// A body must be JSON. What a form of another page could send is refused where pages are concerned; from elsewhere
/// any type will do, because `curl -d` says that it sends a form.
pub(super) fn check_type(headers: &HeaderMap, from_page: bool) -> Result<(), Problem> {
    let unsupported =
        |message: &'static str| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_type", message);
    let encoding = headers.get(CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(unsupported("the body is compressed: send it as it is"));
    }
    if !from_page {
        return Ok(());
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let kind = kind.unwrap_or("").split(';').next().unwrap_or("").trim();
    if kind.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(unsupported("a page's request must say that it is JSON: send content-type application/json"))
    }
}

/// The answer to a browser that asks whether a page of another origin may do this.
pub(super) fn preflight() -> Response<Body> {
    let mut response = answer::no_content();
    let headers = response.headers_mut();
    headers.append(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"));
    headers
        .append(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type, last-event-id, periplus-caller"));
    headers.append(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Whether a request asks what a page of another origin may do.
pub(super) fn is_preflight(method: &Method, admitted: &Admitted) -> bool {
    *method == Method::OPTIONS && admitted.cors.is_some()
}

/// Lets a page of another origin read the answer.
pub(super) fn share(response: &mut Response<Body>, origin: HeaderValue) {
    let headers = response.headers_mut();
    headers.append(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    headers.append(VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(bound: &str, host: Option<&str>, origin: Option<&str>) -> Result<bool, &'static str> {
        let keeper = Doorkeeper::new(
            bound.parse().unwrap(),
            &["registry.example".into()],
            &["https://dashboard.example".into()],
        );
        let mut request = http::Request::get("/v1/services");
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        keeper.admit(&head).map(|admitted| admitted.cors.is_some()).map_err(|problem| problem.code)
    }

    #[test]
    fn the_server_is_called_by_its_address_or_a_name_it_is_known_by() {
        let local = "127.0.0.1:7171";
        for host in
            ["127.0.0.1:7171", "localhost:7171", "LOCALHOST", "[::1]:1", "registry.example", "registry.example.:80"]
        {
            assert_eq!(admit(local, Some(host), None), Ok(false), "{host}");
        }
        for host in [
            Some("evil.example:7171"),
            Some("127.0.0.1.evil.example"),
            Some("10.0.0.1:7171"),
            Some(""),
            Some("localhost.evil.example"),
            None,
        ] {
            assert_eq!(admit(local, host, None), Err("host_refused"), "{host:?}");
        }
        assert_eq!(admit("0.0.0.0:80", Some("10.0.0.1"), None), Ok(false));
        assert_eq!(admit("10.0.0.1:80", Some("10.0.0.1"), None), Ok(false));
        assert_eq!(admit("10.0.0.1:80", Some("localhost"), None), Err("host_refused"));
        assert_eq!(admit("[::]:80", Some("[2001:db8::1]:80"), None), Ok(false));
    }

    #[test]
    fn only_its_own_pages_and_named_ones_are_let_in() {
        let (local, host) = ("127.0.0.1:7171", Some("127.0.0.1:7171"));
        assert_eq!(admit(local, host, Some("http://127.0.0.1:7171")), Ok(false));
        assert_eq!(admit(local, host, Some("https://dashboard.example")), Ok(true));
        for origin in ["null", "http://127.0.0.1:7172", "http://evil.example", "", "http://localhost:7171"] {
            assert_eq!(admit(local, host, Some(origin)), Err("origin_refused"), "{origin}");
        }
    }
}
