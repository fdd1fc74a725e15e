//! Where an instance listens, as Kratos writes it: `scheme://host:port`.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use smol_str::SmolStr;

/// One address of an instance: `grpc://10.0.0.5:9000`, `https://[2001:db8::1]:8443/base?x=1`.
///
/// The text is kept as it was given, path and query included; an instance may have several of one scheme.
/// An endpoint read from a registry may be malformed, because others write there too; [`Endpoint::parts`]
/// says so, and registering one is refused.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Endpoint(SmolStr);

/// What an [`Endpoint`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointParts<'a> {
    /// The scheme, as written: `grpc`, `grpcs`, `http`, `https`, or any other.
    pub scheme: &'a str,
    /// The host; an IPv6 address without its brackets.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// What follows the port: path, query and fragment, or nothing.
    pub rest: &'a str,
}

impl EndpointParts<'_> {
    /// Whether the scheme asks for TLS: it ends in `s`, as in `grpcs`, `https`, `wss`.
    ///
    /// `?isSecure=true` was Kratos's way before v2.3.1 and has meant nothing since v2.5.0; it means nothing here.
    #[must_use]
    pub fn secure(&self) -> bool {
        let scheme = self.scheme.as_bytes();
        matches!(scheme.last(), Some(b's' | b'S')) && scheme.len() > 1
    }

    /// Whether the host is an IPv6 address.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.host.contains(':')
    }
}

/// Why a text is not an endpoint. The text was not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// There is no `scheme://`.
    #[error("endpoint has no scheme: write it as scheme://host:port, for example http://10.0.0.5:8000")]
    Scheme,
    /// The scheme is not a letter followed by letters, digits, `+`, `-` or `.`.
    #[error("endpoint's scheme has a character that a scheme cannot have: use letters, digits, '+', '-' and '.'")]
    SchemeCharacter,
    /// There is a user name before the host.
    #[error("endpoint has user information before the host: remove it, everyone can read an endpoint")]
    UserInfo,
    /// The host is empty.
    #[error("endpoint has no host: name the address that others can reach")]
    Host,
    /// The host has a character that a host cannot have.
    #[error(
        "endpoint's host has a character that a host cannot have: use a name, an IPv4 address, or an IPv6 address in brackets"
    )]
    HostCharacter,
    /// An IPv6 address is not in brackets, or the brackets hold something else.
    #[error("endpoint's IPv6 host must be an address in brackets, as in grpc://[2001:db8::1]:9000")]
    Ipv6,
    /// The port is missing or not a number from 1 to 65535.
    #[error("endpoint's port must be a number from 1 to 65535")]
    Port,
    /// Path or query hold a space or a control character.
    #[error("endpoint has a space or a control character after its port: encode it")]
    Rest,
}

impl Endpoint {
    /// Checks the text and takes it as an endpoint. O(length).
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn new(text: impl AsRef<str> + Into<SmolStr>) -> Result<Self, EndpointError> {
        parse(text.as_ref())?;
        Ok(Self(text.into()))
    }

    /// Takes a text that somebody else wrote, right or wrong.
    #[must_use]
    pub fn foreign(text: impl Into<SmolStr>) -> Self {
        Self(text.into())
    }

    /// The endpoint as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the endpoint says. O(length).
    ///
    /// # Errors
    /// Says what is wrong with an endpoint that was written by others.
    pub fn parts(&self) -> Result<EndpointParts<'_>, EndpointError> {
        parse(&self.0)
    }
}

fn parse(text: &str) -> Result<EndpointParts<'_>, EndpointError> {
    let (scheme, after) = text.split_once("://").ok_or(EndpointError::Scheme)?;
    let Some((first, others)) = scheme.as_bytes().split_first() else {
        return Err(EndpointError::Scheme);
    };
    let tail_fits = others.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !first.is_ascii_alphabetic() || !tail_fits {
        return Err(EndpointError::SchemeCharacter);
    }
    let authority_end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (authority, rest) = after.split_at(authority_end);
    if authority.contains('@') {
        return Err(EndpointError::UserInfo);
    }
    if rest.chars().any(|c| c.is_control() || c == ' ') {
        return Err(EndpointError::Rest);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']').ok_or(EndpointError::Ipv6)?;
            check_ipv6(address)?;
            (address, port.strip_prefix(':').ok_or(EndpointError::Port)?)
        }
        None => {
            let (host, port) = authority.rsplit_once(':').ok_or(EndpointError::Port)?;
            if host.contains(':') {
                return Err(EndpointError::Ipv6);
            }
            if host.is_empty() {
                return Err(EndpointError::Host);
            }
            if !host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '~')) {
                return Err(EndpointError::HostCharacter);
            }
            (host, port)
        }
    };
    // Digits only: Rust's parser would take a leading plus sign, Go's URL parser does not.
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(EndpointError::Port);
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(EndpointParts { scheme, host, port, rest }),
        _ => Err(EndpointError::Port),
    }
}

/// An address, with a zone if it has one. In a URL the zone's percent sign is written `%25` (RFC 6874).
fn check_ipv6(text: &str) -> Result<(), EndpointError> {
    let address = match text.split_once('%') {
        None => text,
        Some((address, zone)) => {
            let zone = zone.strip_prefix("25").ok_or(EndpointError::Ipv6)?;
            let zone_fits = zone.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~'));
            if zone.is_empty() || !zone_fits {
                return Err(EndpointError::Ipv6);
            }
            address
        }
    };
    core::net::Ipv6Addr::from_str(address).map(drop).map_err(|_| EndpointError::Ipv6)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SmolStr::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn parts(text: &str) -> Result<(&str, &str, u16, &str), EndpointError> {
        parse(text).map(|p| (p.scheme, p.host, p.port, p.rest))
    }

    #[test]
    fn an_endpoint_keeps_scheme_host_port_path_and_query() {
        assert_eq!(parts("grpc://10.0.0.5:9000"), Ok(("grpc", "10.0.0.5", 9000, "")));
        assert_eq!(parts("https://h.example:443/a/b?c=d#e"), Ok(("https", "h.example", 443, "/a/b?c=d#e")));
        assert_eq!(parts("grpc://[::1]:9000"), Ok(("grpc", "::1", 9000, "")));
        assert_eq!(parts("grpc://[fe80::1%25eth0]:1"), Ok(("grpc", "fe80::1%25eth0", 1, "")));
        assert_eq!(parts("http://1.2.3.4:9000?a=1&b=2"), Ok(("http", "1.2.3.4", 9000, "?a=1&b=2")));
    }

    #[test]
    fn what_kratos_cannot_dial_is_refused() {
        for (text, error) in [
            ("", EndpointError::Scheme),
            ("127.0.0.1:8080", EndpointError::Scheme),
            ("://h:1", EndpointError::Scheme),
            ("1a://h:1", EndpointError::SchemeCharacter),
            ("grpc://user:p@h:1", EndpointError::UserInfo),
            ("grpc://:9000", EndpointError::Host),
            ("grpc://::1:9000", EndpointError::Ipv6),
            ("grpc://[::g]:9000", EndpointError::Ipv6),
            ("grpc://[fe80::1%eth0]:1", EndpointError::Ipv6),
            ("grpc://h", EndpointError::Port),
            ("grpc://h:abc", EndpointError::Port),
            ("grpc://h:+1", EndpointError::Port),
            ("grpc://h:0", EndpointError::Port),
            ("grpc://h:99999", EndpointError::Port),
            ("http://a b:1", EndpointError::HostCharacter),
            ("grpc://h%41:1", EndpointError::HostCharacter),
            ("http://h:1/a b", EndpointError::Rest),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn tls_is_in_the_scheme_and_nowhere_else() {
        assert!(parse("grpcs://h:1").unwrap().secure());
        assert!(parse("https://h:1").unwrap().secure());
        assert!(!parse("grpc://h:1?isSecure=true").unwrap().secure());
        assert!(!parse("s://h:1").unwrap().secure());
    }
}
