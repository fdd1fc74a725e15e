//! Where a registry is: `periplus://HOST:PORT`.

use std::fmt;
use std::str::FromStr;

use periplus_core::client::url::{PERIPLUS, RegistryUrl};
use periplus_core::http::origin::{Origin, REGISTRY_PORT, Scheme};

/// The hosts of one registry, in the order given; there is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Vec<Origin>);

impl Address {
    /// The hosts.
    #[must_use]
    pub fn origins(&self) -> &[Origin] {
        &self.0
    }

    /// Whether one of them is on this machine, as far as the text says.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.0.iter().any(Origin::is_own)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, origin) in self.0.iter().enumerate() {
            let origin = origin.to_string();
            let place = origin.split_once("://").map_or(origin.as_str(), |(_, place)| place);
            write!(f, "{}{place}", if number == 0 { "periplus://" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const HINT: &str = "write it as periplus://HOST:PORT";
        let url: RegistryUrl = text.parse().map_err(|error| format!("{error}; {HINT}"))?;
        match url.scheme.as_str() {
            PERIPLUS | "http" => {}
            "https" => return Err("this command does not speak TLS: put a proxy between".into()),
            other => return Err(format!("{other}: is not a registry that this command speaks to: {HINT}")),
        }
        if !url.query.is_empty() {
            return Err(format!("what follows the question mark is said with flags here, as in --ns: {HINT}"));
        }
        Ok(Self(url.origins(Scheme::Http, REGISTRY_PORT).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_hosts_and_ports_that_may_be_left_out() {
        for (text, printed) in [
            ("periplus://127.0.0.1:9", "periplus://127.0.0.1:9"),
            ("periplus://registry.example", "periplus://registry.example:7171"),
            ("http://[::1]:80/", "periplus://[::1]:80"),
            ("localhost:7000", "periplus://localhost:7000"),
            ("periplus://a,b:80", "periplus://a:7171,b:80"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), printed);
            assert_eq!(printed.parse::<Address>().unwrap(), address);
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
            "periplus://h?ns=x",
            "https://h",
            "consul://h",
            "memory:",
            "a b",
            "periplus://u@h",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_registry_is_on_this_machine_if_one_of_its_hosts_is() {
        assert!("other,[::1]:1".parse::<Address>().unwrap().is_own());
        assert!(!"other".parse::<Address>().unwrap().is_own());
    }
}
