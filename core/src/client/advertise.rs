//! Which endpoints are worth advertising: not those that lead every reader back to itself.

use core::net::IpAddr;
use core::str::FromStr;

use alloc::string::{String, ToString};

use crate::endpoint::Endpoint;

/// An endpoint would lead whoever reads it to itself. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "endpoints[{at}] is {endpoint}: nobody on another machine reaches {host} there; \
     advertise the address that others reach this machine at, or allow it with `advertise_loopback`"
)]
pub struct AdvertiseError {
    /// Its place in the list, from 0.
    pub at: usize,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Its host.
    pub host: String,
}

/// Checks that no endpoint names a loopback or unspecified address, unless a host of the registry is a loopback address
/// itself, or it has none because it is in this process. Endpoints that are malformed are let through: registering says
/// what is wrong with them. O(endpoints).
///
/// # Errors
/// Names the first endpoint that would lead others to themselves.
pub fn check_advertised<'a>(
    endpoints: &[Endpoint],
    registry_hosts: impl IntoIterator<Item = &'a str>,
) -> Result<(), AdvertiseError> {
    let mut hosts = registry_hosts.into_iter().peekable();
    if hosts.peek().is_none() || hosts.any(is_own) {
        return Ok(());
    }
    for (at, endpoint) in endpoints.iter().enumerate() {
        if let Ok(parts) = endpoint.parts()
            && is_own(parts.host)
        {
            return Err(AdvertiseError { at, endpoint: endpoint.clone(), host: parts.host.to_string() });
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn endpoints(texts: &[&str]) -> Vec<Endpoint> {
        texts.iter().map(|text| Endpoint::new(*text).unwrap()).collect()
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
    }

    #[test]
    fn a_loopback_endpoint_is_refused_by_a_remote_registry_with_the_fix() {
        let error = check_advertised(&endpoints(&["http://10.0.0.5:80", "grpc://127.0.0.1:9000"]), ["registry"]);
        let error = error.unwrap_err();
        assert_eq!((error.at, error.host.as_str()), (1, "127.0.0.1"));
        let text = error.to_string();
        assert!(text.contains("grpc://127.0.0.1:9000") && text.contains("advertise the address"), "{text}");
        assert!(check_advertised(&endpoints(&["http://[::]:80"]), ["10.0.0.1", "10.0.0.2"]).is_err());
    }

    #[test]
    fn a_loopback_endpoint_is_fine_where_the_registry_is_on_this_machine_or_in_this_process() {
        let own = endpoints(&["http://127.0.0.1:80", "http://localhost:81", "http://0.0.0.0:82"]);
        assert_eq!(check_advertised(&own, ["10.0.0.1", "localhost"]), Ok(()));
        assert_eq!(check_advertised(&own, ["[::1]"]), Ok(()));
        assert_eq!(check_advertised(&own, []), Ok(()));
    }

    #[test]
    fn others_and_malformed_ones_pass() {
        let mut fine = endpoints(&["http://10.0.0.5:80", "http://web.example:80"]);
        fine.push(Endpoint::foreign("127.0.0.1:80"));
        assert_eq!(check_advertised(&fine, ["registry"]), Ok(()));
    }
}
