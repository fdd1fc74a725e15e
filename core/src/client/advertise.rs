//! Which endpoints are worth advertising: not those that lead every reader back to itself.

use alloc::string::{String, ToString};

use crate::endpoint::Endpoint;
use crate::http::origin::is_own;

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
