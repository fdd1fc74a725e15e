//! Where others reach a server of this machine.

use std::io;
use std::net::{IpAddr, SocketAddr};

use if_addrs::IfOperStatus;
use periplus_core::app::{Interface, NoAddress, advertised_host};
use periplus_core::{Endpoint, EndpointError};

/// Why there is no endpoint for a server that listens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdvertisedError {
    /// The system does not say which interfaces there are.
    #[error("cannot list the network interfaces: {0}")]
    Interfaces(#[from] io::Error),
    /// None of them is of use.
    #[error(transparent)]
    NoAddress(#[from] NoAddress),
    /// The host that is configured is none.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// The endpoint of a server that was told to listen at `configured` and is bound to `bound`: the host of the former, or
/// an address of this machine if that means all of them ([`advertised_host`]), with the port of the latter.
///
/// # Errors
/// If the machine has no address that others could reach it at.
pub fn advertised(scheme: &str, configured: &str, bound: SocketAddr) -> Result<Endpoint, AdvertisedError> {
    // The interfaces are looked at only if they are wanted.
    let host = match advertised_host(configured, &[]) {
        Ok(host) => host,
        Err(NoAddress) => advertised_host(configured, &interfaces()?)?,
    };
    let port = bound.port();
    Ok(match host.contains(':') {
        true => Endpoint::new(format!("{scheme}://[{host}]:{port}"))?,
        false => Endpoint::new(format!("{scheme}://{host}:{port}"))?,
    })
}

fn interfaces() -> io::Result<Vec<Interface>> {
    let mut all: Vec<(String, Interface)> = Vec::new();
    for found in if_addrs::get_if_addrs()? {
        let address: IpAddr = found.ip();
        if let Some((_, known)) = all.iter_mut().find(|(name, _)| *name == found.name) {
            known.addresses.push(address);
            continue;
        }
        let down = [IfOperStatus::Down, IfOperStatus::NotPresent, IfOperStatus::LowerLayerDown];
        let up = !down.contains(&found.oper_status);
        all.push((found.name, Interface { index: found.index.unwrap_or(u32::MAX), up, addresses: vec![address] }));
    }
    Ok(all.into_iter().map(|(_, interface)| interface).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_has_an_endpoint_with_a_host_or_none_at_all() {
        let bound: SocketAddr = "0.0.0.0:4711".parse().unwrap();
        match advertised("http", "0.0.0.0:0", bound) {
            Ok(endpoint) => {
                let parts = endpoint.parts().unwrap();
                assert_eq!((parts.scheme, parts.port), ("http", 4711));
                assert!(!parts.host.is_empty() && !parts.host.starts_with("127."), "{}", parts.host);
            }
            Err(error) => assert!(matches!(error, AdvertisedError::NoAddress(_)), "{error}"),
        }
        let named = advertised("grpcs", "[2001:db8::1]:0", bound).unwrap();
        assert_eq!(named.as_str(), "grpcs://[2001:db8::1]:4711");
        assert!(matches!(advertised("http", "a b:0", bound), Err(AdvertisedError::Endpoint(_))));
    }
}
