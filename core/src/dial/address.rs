//! Where a connection goes.

use core::fmt;

use smol_str::{SmolStr, StrExt as _};

use crate::endpoint::{Endpoint, EndpointParts};

/// A host and a port. Prints as `host:port`, an IPv6 address in brackets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The host: a name or an address in lower case, an IPv6 address without brackets, its zone after a plain `%`.
    pub host: SmolStr,
    /// The port, from 1.
    pub port: u16,
}

impl Address {
    /// The address of the first endpoint of a scheme, as Kratos chooses it. O(length of all).
    ///
    /// Unlike with Kratos, a malformed endpoint is passed over and costs its instance nothing but itself. Schemes are
    /// compared without regard to case; there is no falling back from one to another.
    #[must_use]
    pub fn choose(endpoints: &[Endpoint], scheme: &str) -> Option<Self> {
        let mut parts = endpoints.iter().filter_map(|endpoint| endpoint.parts().ok());
        parts.find(|parts| parts.scheme.eq_ignore_ascii_case(scheme)).map(|parts| Self::of(&parts))
    }

    pub(super) fn of(parts: &EndpointParts<'_>) -> Self {
        let host = parts.host.to_lowercase_smolstr();
        Self { host: if parts.is_ipv6() { host.replacen_smolstr("%25", "%", 1) } else { host }, port: parts.port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;
    use alloc::vec::Vec;

    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn choose(texts: &[&str], scheme: &str) -> Option<alloc::string::String> {
        let endpoints: Vec<Endpoint> = texts.iter().copied().map(Endpoint::foreign).collect();
        Address::choose(&endpoints, scheme).map(|address| address.to_string())
    }

    #[test]
    fn the_first_endpoint_of_the_scheme_is_dialled() {
        let all = ["http://a:1", "grpc://b:2", "grpc://c:3", "grpcs://d:4"];
        assert_eq!(choose(&all, "grpc").as_deref(), Some("b:2"));
        assert_eq!(choose(&all, "grpcs").as_deref(), Some("d:4"));
        assert_eq!(choose(&all, "https"), None);
        assert_eq!(choose(&["GRPC://Host.Example:1/x?isSecure=true"], "grpc").as_deref(), Some("host.example:1"));
        assert_eq!(choose(&["grpc://[::1]:9000"], "grpc").as_deref(), Some("[::1]:9000"));
        assert_eq!(choose(&["grpc://[fe80::1%25eth0]:1"], "grpc").as_deref(), Some("[fe80::1%eth0]:1"));
    }

    #[test]
    fn a_malformed_endpoint_does_not_poison_those_beside_it() {
        let all = ["127.0.0.1:8080", "grpc://h:abc", "", "grpc://::1:9000", "grpc://b:2"];
        assert_eq!(choose(&all, "grpc").as_deref(), Some("b:2"));
    }
}
