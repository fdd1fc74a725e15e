//! Which registry, and where: `periplus://a:7171,b:7171?ns=prod&tls=true`, `memory:`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use smol_str::{SmolStr, StrExt as _};

use crate::http::origin::{HostPort, Origin, OriginError, Scheme};
use crate::http::target;

/// The scheme of a registry in the process itself, which has a name and no hosts.
pub const MEMORY: &str = "memory";

/// The scheme of a text that has none.
pub const PERIPLUS: &str = "periplus";

/// What a user writes to say which registry is meant.
///
/// - `SCHEME://HOST[:PORT][,HOST[:PORT]…][/][?KEY=VALUE[&KEY=VALUE…]]`
/// - `HOST[:PORT]…` and so on: the same with the scheme `periplus`
/// - `memory:[NAME][?KEY=VALUE…]`
///
/// Values are percent-decoded; a plus sign is a plus sign. Which schemes, keys and values there are is for the backend
/// to say. Values may be secret, so neither errors nor `Debug` show them.
///
/// ```
/// use periplus_core::client::url::RegistryUrl;
/// use periplus_core::http::origin::Scheme;
///
/// # fn main() -> Result<(), periplus_core::client::url::UrlError> {
/// let url: RegistryUrl = "periplus://a,b:80?ns=prod&tls=true".parse()?;
/// url.check_keys(&["ns", "tls"])?;
/// assert_eq!(url.value("ns"), Some("prod"));
/// let scheme = if url.flag("tls")? { Scheme::Https } else { Scheme::Http };
/// let origins: Vec<String> = url.origins(scheme, 7171).map(|origin| origin.to_string()).collect();
/// assert_eq!(origins, ["https://a:7171", "https://b:80"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryUrl {
    /// What the registry speaks, in lower case: `periplus`, `consul`, `etcd`, `memory` …
    pub scheme: SmolStr,
    /// Which of several registries in the process; empty for one that has hosts.
    pub name: SmolStr,
    /// Where it is, in the order given; none only for a registry in the process.
    pub hosts: Vec<HostPort>,
    /// What else is to be known, in the order given. No key is empty or there twice.
    pub query: Vec<(SmolStr, String)>,
}

/// Why a text does not say which registry is meant. It never quotes a value, because that may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The text is empty.
    #[error("the address of the registry is empty: write periplus://HOST:PORT, or memory: for one in this process")]
    Empty,
    /// The scheme is not a letter followed by letters, digits, `+`, `-` or `.`.
    #[error("the scheme of the registry's address must be letters and digits, as in periplus://HOST:PORT")]
    Scheme,
    /// A registry in the process is written with two slashes.
    #[error("memory: is followed by a name or nothing, without slashes: write memory:NAME")]
    Memory,
    /// One of the hosts is wrong.
    #[error("host {number} of the registry's address: {error}")]
    Host {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        error: OriginError,
    },
    /// The host is there twice.
    #[error("host {number} of the registry's address is there before: name each once")]
    HostTwice {
        /// Which, from 1.
        number: usize,
    },
    /// Something follows a number sign.
    #[error(
        "the registry's address has a fragment: remove '#' and what follows, or write %23 if it belongs to a value"
    )]
    Fragment,
    /// A pair of the query has no key.
    #[error("pair {number} of the query has no key: write KEY=VALUE&KEY=VALUE")]
    KeyMissing {
        /// Which, from 1.
        number: usize,
    },
    /// The name, a key or a value is not encoded as it should be.
    #[error("{part} is not percent-encoded UTF-8 text: write %25 for a percent sign, and no control characters")]
    Encoding {
        /// Which part: the name, or the pair of the query.
        part: Part,
    },
    /// A key is there twice.
    #[error("`{key}` is there twice: give it one value")]
    KeyTwice {
        /// Which.
        key: SmolStr,
    },
    /// The registry knows no such key.
    #[error("`{key}` is no option of a {scheme} registry: use {known}")]
    KeyUnknown {
        /// Which.
        key: SmolStr,
        /// What the registry speaks.
        scheme: SmolStr,
        /// What it knows, for people.
        known: String,
    },
    /// A value is none that its key takes.
    #[error("`{key}` must be {expected}")]
    Value {
        /// Of which key.
        key: SmolStr,
        /// What it takes, for people.
        expected: &'static str,
    },
}

/// A part of a [`RegistryUrl`] that is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The name of a registry in the process.
    Name,
    /// A key of the query, by its number from 1.
    Key(usize),
    /// The value of a key.
    Value(SmolStr),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("the registry's name"),
            Self::Key(number) => write!(f, "key {number} of the query"),
            Self::Value(key) => write!(f, "the value of `{key}`"),
        }
    }
}

impl RegistryUrl {
    /// The value of a key, if it is there.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whether a key says yes: it is there with `true`, `1` or nothing. It says no with `false`, with `0`, or by not
    /// being there.
    ///
    /// # Errors
    /// If it says something else.
    pub fn flag(&self, key: &str) -> Result<bool, UrlError> {
        match self.value(key) {
            Some("true" | "1" | "") => Ok(true),
            Some("false" | "0") | None => Ok(false),
            Some(_) => Err(UrlError::Value { key: key.into(), expected: "true or false" }),
        }
    }

    /// A value that is read as something else. `expected` names what it must be, for people.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn parsed<T: FromStr>(&self, key: &str, expected: &'static str) -> Result<Option<T>, UrlError> {
        self.value(key)
            .map(|value| value.parse().map_err(|_| UrlError::Value { key: key.into(), expected }))
            .transpose()
    }

    /// Sees to it that there are no keys but these.
    ///
    /// # Errors
    /// Names the first that is none of them.
    pub fn check_keys(&self, known: &[&str]) -> Result<(), UrlError> {
        match self.query.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) => Err(UrlError::KeyUnknown {
                key: key.clone(),
                scheme: self.scheme.clone(),
                known: if known.is_empty() { "none".into() } else { known.join(", ") },
            }),
        }
    }

    /// Where requests go: each host, with this port if it names none.
    pub fn origins(&self, scheme: Scheme, default_port: u16) -> impl Iterator<Item = Origin> {
        self.hosts.iter().map(move |HostPort { host, port }| Origin {
            scheme,
            host: host.clone(),
            port: port.unwrap_or(default_port),
        })
    }
}

impl FromStr for RegistryUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.is_empty() {
            return Err(UrlError::Empty);
        }
        if text.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let mut url = Self {
            scheme: SmolStr::new_static(PERIPLUS),
            name: SmolStr::default(),
            hosts: Vec::new(),
            query: read_query(query)?,
        };
        match place.split_once(':') {
            Some((scheme, name)) if scheme.eq_ignore_ascii_case(MEMORY) => {
                if name.starts_with('/') {
                    return Err(UrlError::Memory);
                }
                url.scheme = SmolStr::new_static(MEMORY);
                url.name = decode(name).ok_or(UrlError::Encoding { part: Part::Name })?.into();
                return Ok(url);
            }
            _ => {}
        }
        let hosts = match place.split_once("://") {
            Some((scheme, hosts)) => {
                url.scheme = read_scheme(scheme)?;
                hosts
            }
            None => place,
        };
        url.hosts = read_hosts(hosts.strip_suffix('/').unwrap_or(hosts))?;
        Ok(url)
    }
}

fn read_scheme(text: &str) -> Result<SmolStr, UrlError> {
    let mut bytes = text.bytes();
    let fits = bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if fits { Ok(text.to_ascii_lowercase_smolstr()) } else { Err(UrlError::Scheme) }
}

fn read_hosts(text: &str) -> Result<Vec<HostPort>, UrlError> {
    let mut hosts = Vec::new();
    for (number, text) in (1..).zip(text.split(',')) {
        let host: HostPort = text.parse().map_err(|error| UrlError::Host { number, error })?;
        if hosts.contains(&host) {
            return Err(UrlError::HostTwice { number });
        }
        hosts.push(host);
    }
    Ok(hosts)
}

fn read_query(text: &str) -> Result<Vec<(SmolStr, String)>, UrlError> {
    let mut query: Vec<(SmolStr, String)> = Vec::new();
    if text.is_empty() {
        return Ok(query);
    }
    for (number, pair) in (1..).zip(text.split('&')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key.is_empty() {
            return Err(UrlError::KeyMissing { number });
        }
        let key: SmolStr = decode(key).ok_or(UrlError::Encoding { part: Part::Key(number) })?.into();
        let Some(value) = decode(value) else {
            return Err(UrlError::Encoding { part: Part::Value(key) });
        };
        if query.iter().any(|(name, _)| *name == key) {
            return Err(UrlError::KeyTwice { key });
        }
        query.push((key, value));
    }
    Ok(query)
}

/// What may become the value of a header, and so must not have a line end in it.
fn decode(text: &str) -> Option<String> {
    target::decode(text).filter(|text| !text.contains(char::is_control))
}

/// Without the query, which may have secrets.
impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = String::new();
        target::encode(&self.name, &mut name);
        write!(f, "{}:{name}", self.scheme)?;
        for (number, host) in self.hosts.iter().enumerate() {
            write!(f, "{}{host}", if number == 0 { "//" } else { "," })?;
        }
        Ok(())
    }
}

/// Without the values of the query, which may be secret.
impl fmt::Debug for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        for (number, (key, _)) in self.query.iter().enumerate() {
            write!(f, "{}{key}=…", if number == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString as _;

    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn url(text: &str) -> RegistryUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn error(text: &str) -> UrlError {
        text.parse::<RegistryUrl>().expect_err(text)
    }

    #[test]
    fn a_registry_has_a_scheme_hosts_and_a_query() {
        for (text, printed, query) in [
            ("periplus://a:1,b:2?ns=prod&tls=true", "periplus://a:1,b:2", &[("ns", "prod"), ("tls", "true")][..]),
            ("127.0.0.1:7171", "periplus://127.0.0.1:7171", &[]),
            ("a,b?ns=x", "periplus://a,b", &[("ns", "x")]),
            (
                "Consul://127.0.0.1:8500/?dc=a&token=b%3D%26+c=",
                "consul://127.0.0.1:8500",
                &[("dc", "a"), ("token", "b=&+c=")],
            ),
            ("etcd://a:2379,[::1]?namespace=/microservices", "etcd://a:2379,[::1]", &[("namespace", "/microservices")]),
            ("a?x&y=&z=%C3%A4", "periplus://a", &[("x", ""), ("y", ""), ("z", "ä")]),
            ("a?", "periplus://a", &[]),
            ("memory:", "memory:", &[]),
            ("memory:one%20two?ns=a", "memory:one%20two", &[("ns", "a")]),
            ("memory", "periplus://memory", &[]),
        ] {
            let url = url(text);
            assert_eq!(url.to_string(), printed);
            let pairs: Vec<_> = url.query.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(pairs, query, "{text}");
            let place = RegistryUrl { query: Vec::new(), ..url };
            assert_eq!(printed.parse(), Ok(place), "what is printed is read the same");
        }
        assert_eq!(url("memory:one").name, "one");
        assert_eq!(url("periplus://a").name, "");
    }

    #[test]
    fn what_says_no_registry_is_refused_and_the_error_names_the_part() {
        for (text, expected) in [
            ("", UrlError::Empty),
            ("://a", UrlError::Scheme),
            ("1a://b", UrlError::Scheme),
            ("a b://c", UrlError::Scheme),
            ("memory://name", UrlError::Memory),
            ("memory:a%0", UrlError::Encoding { part: Part::Name }),
            ("periplus://", UrlError::Host { number: 1, error: OriginError::Host }),
            ("periplus://a,", UrlError::Host { number: 2, error: OriginError::Host }),
            ("periplus://a:1,b:x", UrlError::Host { number: 2, error: OriginError::Port }),
            ("periplus://u:p@a", UrlError::Host { number: 1, error: OriginError::UserInfo }),
            ("etcd://a/b", UrlError::Host { number: 1, error: OriginError::Path }),
            ("etcd:///", UrlError::Host { number: 1, error: OriginError::Host }),
            ("a, b", UrlError::Host { number: 2, error: OriginError::HostCharacter }),
            ("?a=b", UrlError::Host { number: 1, error: OriginError::Host }),
            ("a:1,b,A:1", UrlError::HostTwice { number: 3 }),
            ("a#b", UrlError::Fragment),
            ("a?b=c#d", UrlError::Fragment),
            ("a?b=c&", UrlError::KeyMissing { number: 2 }),
            ("a?=c", UrlError::KeyMissing { number: 1 }),
            ("a?b=1&%=c", UrlError::Encoding { part: Part::Key(2) }),
            ("a?b=%ff", UrlError::Encoding { part: Part::Value("b".into()) }),
            ("a?b=c%0d%0ad:e", UrlError::Encoding { part: Part::Value("b".into()) }),
            ("a?b=1&c&%62=2", UrlError::KeyTwice { key: "b".into() }),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
    }

    #[test]
    fn an_error_is_a_sentence_that_says_what_to_do() {
        assert_eq!(
            error("periplus://a:1,b:99999").to_string(),
            "host 2 of the registry's address: the port must be a number from 1 to 65535"
        );
        assert_eq!(
            error("a?token=s%ecret").to_string(),
            "the value of `token` is not percent-encoded UTF-8 text: write %25 for a percent sign, and no control characters"
        );
        assert_eq!(
            url("consul://a?ns=b").check_keys(&["dc", "token"]).unwrap_err().to_string(),
            "`ns` is no option of a consul registry: use dc, token"
        );
    }

    #[test]
    fn unknown_keys_are_told() {
        assert_eq!(url("a?ns=b").check_keys(&["tls", "ns"]), Ok(()));
        assert_eq!(url("a").check_keys(&[]), Ok(()));
        let known = "none".into();
        let error = UrlError::KeyUnknown { key: "nS".into(), scheme: "periplus".into(), known };
        assert_eq!(url("a?nS=b").check_keys(&[]), Err(error));
    }

    #[test]
    fn values_are_read_as_flags_and_numbers() {
        let url = url("a?yes=true&one=1&on&no=false&zero=0&many=7&odd=maybe");
        assert_eq!(
            ["yes", "one", "on", "no", "zero", "absent"].map(|key| url.flag(key).unwrap()),
            [true, true, true, false, false, false]
        );
        assert_eq!(url.flag("odd"), Err(UrlError::Value { key: "odd".into(), expected: "true or false" }));
        assert_eq!(url.parsed::<u8>("many", "a number"), Ok(Some(7)));
        assert_eq!(url.parsed::<u8>("absent", "a number"), Ok(None));
        assert_eq!(url.parsed::<u8>("odd", "a number").unwrap_err().to_string(), "`odd` must be a number");
    }

    #[test]
    fn no_value_is_shown() {
        let url = url("consul://a:1,b?dc=x&token=secret");
        assert_eq!(format!("{url} {url:?}"), "consul://a:1,b consul://a:1,b?dc=…&token=…");
        assert!(!format!("{:?}", url.flag("token")).contains("secret"));
    }
}
