//! Which registry a command speaks to, and what it speaks.

use std::fmt;
use std::str::FromStr;

use periplus_core::client::url::RegistryUrl;
use periplus_core::http::origin::is_own;

use super::exit::Usage;
use crate::client::address::Address;

/// The schemes of registries of others.
const FOREIGN: [&str; 2] = ["consul", "etcd"];

/// Where a registry is. Printed, it shows no option, because that may be secret.
#[derive(Clone)]
pub enum Place {
    /// A Periplus server.
    Own(Address),
    /// Somebody else's, which the client speaks to in its own protocol.
    Foreign {
        /// Where.
        url: RegistryUrl,
        /// The whole address, secrets and all.
        text: String,
    },
    /// No registry; why not. It is said by the command and not when arguments are read, because there the address would be
    /// repeated whole.
    Wrong(String),
}

impl Place {
    /// The address for a client that speaks any protocol.
    ///
    /// # Errors
    /// If there is none.
    pub fn address(&self) -> Result<String, Usage> {
        match self {
            Self::Own(address) => Ok(address.to_string()),
            Self::Foreign { text, .. } => Ok(text.clone()),
            Self::Wrong(problem) => Err(Usage(format!("--registry: {problem}"))),
        }
    }

    /// The Periplus server, for what only that can be asked.
    ///
    /// # Errors
    /// If it is none.
    pub fn own(&self) -> Result<&Address, Usage> {
        match self {
            Self::Own(address) => Ok(address),
            Self::Foreign { url, .. } => Err(Usage(format!(
                "this asks for what a Periplus server does, and {url} is none: name one with --registry \
                 periplus://HOST:PORT; list, get, watch, register and run work with any registry"
            ))),
            Self::Wrong(_) => Err(self.address().expect_err("it is wrong")),
        }
    }

    /// Whether it speaks a protocol of others.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign { .. })
    }

    /// Whether it is on this machine, as far as the text says.
    #[must_use]
    pub fn is_own(&self) -> bool {
        match self {
            Self::Own(address) => address.is_own(),
            Self::Foreign { url, .. } => url.hosts.iter().any(|place| is_own(place.host.as_ref())),
            Self::Wrong(_) => false,
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = match text.parse::<RegistryUrl>() {
            Ok(url) if FOREIGN.contains(&url.scheme.as_str()) => Ok(Self::Foreign { url, text: text.to_owned() }),
            _ => text.parse().map(Self::Own),
        };
        match read {
            Err(problem) if text.contains('?') => Ok(Self::Wrong(problem)),
            read => read,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(address) => address.fmt(f),
            Self::Foreign { url, .. } => url.fmt(f),
            Self::Wrong(_) => f.write_str("no registry"),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_registry_of_others_keeps_its_options_to_itself() {
        let place = place("consul://127.0.0.1?token=secret&dc=x");
        assert!(place.is_foreign() && place.is_own());
        assert_eq!(place.to_string(), "consul://127.0.0.1");
        assert!(!format!("{place:?}").contains("secret"));
        assert_eq!(place.address().unwrap(), "consul://127.0.0.1?token=secret&dc=x");
        let error = place.own().unwrap_err().to_string();
        assert!(error.contains("consul://127.0.0.1 is none") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn an_address_that_is_wrong_is_not_repeated_if_it_may_be_secret() {
        assert!("zookeeper://a".parse::<Place>().is_err());
        assert!(!place("periplus://a").is_foreign());
        for text in ["zookeeper://a?token=secret", "periplus://a?token=secret", "etcd://a?password=%ff"] {
            let error = place(text).address().unwrap_err().to_string();
            assert!(error.starts_with("--registry: ") && !error.contains("secret"), "{error}");
        }
    }
}
