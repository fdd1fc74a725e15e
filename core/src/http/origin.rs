//! Where requests go: scheme, host and port.

use alloc::string::ToString as _;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use core::str::FromStr;

use smol_str::{SmolStr, StrExt as _};

/// The port of a registry that names none.
pub const REGISTRY_PORT: u16 = 7171;

/// How requests are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// As they are.
    Http,
    /// In TLS.
    Https,
}

impl Scheme {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A host, and a port if it says one.
///
/// The host is in lower case; an IPv6 address is without its brackets and in its one shortest form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// The host.
    pub host: SmolStr,
    /// The port, from 1.
    pub port: Option<u16>,
}

/// Scheme, host and port: `http://10.0.0.5:7171`. It is printed as the text that paths follow, always with the port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// How requests are carried.
    pub scheme: Scheme,
    /// The host, as [`HostPort`] has it.
    pub host: SmolStr,
    /// The port, from 1.
    pub port: u16,
}

/// Why a text does not say where requests go. It quotes nothing, because a password may stand in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// The scheme is none that HTTP is spoken over.
    #[error("the scheme is unknown here: write periplus://HOST:PORT, http://HOST:PORT, https://HOST:PORT or HOST:PORT")]
    Scheme,
    /// There is a user name before the host.
    #[error("there is user information before the host: remove it")]
    UserInfo,
    /// The host is empty.
    #[error("the host is missing: write HOST or HOST:PORT")]
    Host,
    /// The host has a character that a host cannot have.
    #[error(
        "the host has a character that a host cannot have: use a name (in its xn-- form if it is not ASCII), an IPv4 address, or an IPv6 address in brackets"
    )]
    HostCharacter,
    /// An IPv6 address is not in brackets, or the brackets hold something else.
    #[error("an IPv6 host must be an address in brackets without a zone, as in [2001:db8::1]:7171")]
    Ipv6,
    /// The port is not a number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// Something follows the port.
    #[error("there is a path, a query or a fragment: end it after the port")]
    Path,
}

impl FromStr for HostPort {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text.contains('@') {
            return Err(OriginError::UserInfo);
        }
        if text.contains(['/', '?', '#', '\\']) {
            return Err(OriginError::Path);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(bracketed) => {
                let (address, port) = bracketed.split_once(']').ok_or(OriginError::Ipv6)?;
                let address: Ipv6Addr = address.parse().map_err(|_| OriginError::Ipv6)?;
                (SmolStr::from(address.to_string()), port)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                if port.bytes().filter(|byte| *byte == b':').count() > 1 {
                    return Err(OriginError::Ipv6);
                }
                if host.is_empty() {
                    return Err(OriginError::Host);
                }
                if !host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~')) {
                    return Err(OriginError::HostCharacter);
                }
                (host.to_ascii_lowercase_smolstr(), port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            // Digits only: Rust's parser would take a leading plus sign.
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().ok().filter(|port| *port > 0).ok_or(OriginError::Port)?)
            }
            _ => return Err(OriginError::Port),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host(&self.host, f)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// With brackets around an IPv6 address.
fn write_host(host: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if host.contains(':') { write!(f, "[{host}]") } else { f.write_str(host) }
}

impl Origin {
    /// Whether it is on this machine, as far as the text says: see [`is_own`].
    #[must_use]
    pub fn is_own(&self) -> bool {
        is_own(&self.host)
    }
}

/// Whether a host names the machine of whoever looks at it: `localhost`, a loopback or an unspecified address. An IPv6
/// address may be in brackets and have a zone.
#[must_use]
pub fn is_own(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let bare = bare.split_once('%').map_or(bare, |(address, _)| address);
    match IpAddr::from_str(bare).map(|address| address.to_canonical()) {
        Ok(address) => address.is_loopback() || address.is_unspecified(),
        Err(_) => {
            let name = bare.strip_suffix('.').unwrap_or(bare);
            let last = name.rsplit_once('.').map_or(name, |(_, last)| last);
            last.eq_ignore_ascii_case("localhost")
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme.as_str())?;
        write_host(&self.host, f)?;
        write!(f, ":{}", self.port)
    }
}

/// Reads `periplus://HOST[:PORT]`, the same without the scheme, `http://HOST[:PORT]` or `https://HOST[:PORT]`. A slash
/// may follow.
impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("periplus", text));
        let (scheme, default_port) = match scheme {
            _ if scheme.eq_ignore_ascii_case("periplus") => (Scheme::Http, REGISTRY_PORT),
            _ if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, 80),
            _ if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, 443),
            _ => return Err(OriginError::Scheme),
        };
        let HostPort { host, port } = rest.strip_suffix('/').unwrap_or(rest).parse()?;
        Ok(Self { scheme, host, port: port.unwrap_or(default_port) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn an_origin_has_a_scheme_a_host_and_a_port_that_may_be_left_out() {
        for (text, printed) in [
            ("periplus://127.0.0.1:9", "http://127.0.0.1:9"),
            ("periplus://registry.example", "http://registry.example:7171"),
            ("PERIPLUS://Registry.Example:1/", "http://registry.example:1"),
            ("http://[::1]:80/", "http://[::1]:80"),
            ("https://h", "https://h:443"),
            ("http://h", "http://h:80"),
            ("localhost:7000", "http://localhost:7000"),
            ("[2001:DB8:0::1]", "http://[2001:db8::1]:7171"),
        ] {
            let origin = text.parse::<Origin>().unwrap();
            assert_eq!(origin.to_string(), printed);
            assert_eq!(printed.parse(), Ok(origin), "what is printed is read the same");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_and_the_error_names_the_part() {
        for (text, error) in [
            ("", OriginError::Host),
            ("periplus://", OriginError::Host),
            ("periplus://:7171", OriginError::Host),
            ("periplus://h:0", OriginError::Port),
            ("periplus://h:", OriginError::Port),
            ("periplus://h:70000", OriginError::Port),
            ("periplus://h:+1", OriginError::Port),
            ("periplus://h:x", OriginError::Port),
            ("periplus://[::1]x", OriginError::Port),
            ("periplus://[::1]ä", OriginError::Port),
            ("periplus://h/path", OriginError::Path),
            ("periplus://h//", OriginError::Path),
            ("periplus://h?a=b", OriginError::Path),
            ("periplus://h#a", OriginError::Path),
            ("periplus://::1", OriginError::Ipv6),
            ("periplus://::1:7171", OriginError::Ipv6),
            ("periplus://[::1", OriginError::Ipv6),
            ("periplus://[h]:1", OriginError::Ipv6),
            ("periplus://[fe80::1%25eth0]:1", OriginError::Ipv6),
            ("consul://h", OriginError::Scheme),
            ("://h", OriginError::Scheme),
            ("a b", OriginError::HostCharacter),
            ("bücher.example", OriginError::HostCharacter),
            ("h%41", OriginError::HostCharacter),
            ("h\r\nx: y", OriginError::HostCharacter),
            ("periplus://u@h", OriginError::UserInfo),
            ("https://u:p@h:1", OriginError::UserInfo),
        ] {
            assert_eq!(text.parse::<Origin>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_host_is_ones_own_if_it_is_localhost_loopback_or_unspecified() {
        for own in [
            "localhost",
            "LOCALHOST.",
            "api.localhost",
            "127.0.0.1",
            "127.8.9.10",
            "::1",
            "[::1]",
            "0.0.0.0",
            "::",
            "[::]",
            "::ffff:127.0.0.1",
            "::ffff:0.0.0.0",
            "::1%25lo",
        ] {
            assert!(is_own(own), "{own}");
        }
        for other in ["10.0.0.5", "128.0.0.1", "fe80::1%25eth0", "2001:db8::1", "localhost.example", "mylocalhost", ""]
        {
            assert!(!is_own(other), "{other}");
        }
        assert!("[::1]:1".parse::<Origin>().unwrap().is_own());
    }
}
