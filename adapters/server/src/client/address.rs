//! Where a registry is: `periplus://HOST:PORT`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::config::DEFAULT_PORT;

/// A registry's host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As it stands in a URL: an IPv6 address in its brackets.
    host: String,
    port: u16,
}

impl Address {
    /// The URL that its paths follow.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// Whether it is on this machine, as far as the text says.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.host.trim_start_matches('[').trim_end_matches(']'))
    }
}

/// Whether a host is this machine for whoever calls it.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "periplus://{}:{}", self.host, self.port)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const HINT: &str = "write it as periplus://HOST:PORT";
        let (scheme, rest) = text.split_once("://").unwrap_or(("periplus", text));
        match scheme {
            "periplus" | "http" => {}
            "https" => return Err("this command does not speak TLS: put a proxy between".into()),
            other => {
                return Err(format!("{other}:// is not a registry that this command speaks to: {HINT}"));
            }
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let uri: http::Uri = format!("http://{rest}").parse().map_err(|_| HINT)?;
        let authority = uri.authority().ok_or(HINT)?;
        if authority.as_str() != rest || rest.contains('@') || authority.host().is_empty() {
            return Err(HINT.into());
        }
        let port = match rest[authority.host().len()..].strip_prefix(':') {
            None => DEFAULT_PORT,
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(HINT)?,
        };
        Ok(Self { host: authority.host().to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_a_host_and_a_port_that_may_be_left_out() {
        for (text, printed) in [
            ("periplus://127.0.0.1:9", "periplus://127.0.0.1:9"),
            ("periplus://registry.example", "periplus://registry.example:7171"),
            ("http://[::1]:80/", "periplus://[::1]:80"),
            ("localhost:7000", "periplus://localhost:7000"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "periplus://",
            "periplus://h:0",
            "periplus://h:70000",
            "periplus://h:x",
            "periplus://h/path",
            "https://h",
            "consul://h",
            "a b",
            "periplus://u@h",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_by_number() {
        for host in ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["10.0.0.1", "localhost.example", "::2"] {
            assert!(!is_loopback(host), "{host}");
        }
        assert!("[::1]:1".parse::<Address>().unwrap().is_loopback());
    }
}
