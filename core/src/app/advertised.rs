//! The host at which others reach a server.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

/// One network interface of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index; the system counts them in the order in which they were added.
    pub index: u32,
    /// Whether it is up.
    pub up: bool,
    /// Its addresses, in the order of the system.
    pub addresses: Vec<IpAddr>,
}

/// No interface has an address that others could reach this machine at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this machine has no address that others could reach it at: bring a network up, listen on one address instead of \
     all, or name the endpoint"
)]
pub struct NoAddress;

/// The host to advertise for a server that listens at `configured`, an address such as `:8000`, `0.0.0.0:8000`,
/// `[::]:8000` or `web.example:8000`. O(addresses).
///
/// A host that is named is advertised as it is. One that means all addresses stands for the first usable IPv4 address
/// of the interface with the lowest index that has a usable address; if it has only IPv6, for the last of those. Usable
/// is what is neither loopback, link-local, multicast, unspecified nor the broadcast address.
///
/// # Errors
/// If there is none.
pub fn advertised_host(configured: &str, interfaces: &[Interface]) -> Result<String, NoAddress> {
    let host = host_of(configured);
    if !matches!(host, "" | "0.0.0.0" | "::") {
        return Ok(host.to_string());
    }
    let mut up: Vec<&Interface> = interfaces.iter().filter(|interface| interface.up).collect();
    up.sort_by_key(|interface| interface.index);
    for interface in up {
        let mut usable = interface.addresses.iter().filter(|address| is_usable(**address));
        let v4 = usable.clone().find(|address| address.to_canonical().is_ipv4());
        if let Some(address) = v4.or_else(|| usable.next_back()) {
            return Ok(address.to_canonical().to_string());
        }
    }
    Err(NoAddress)
}

/// The host of an address, without brackets; nothing if it has no port.
fn host_of(configured: &str) -> &str {
    let Some((host, _)) = configured.rsplit_once(':') else { return "" };
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(bare) => bare,
        None if host.contains(':') => "",
        None => host,
    }
}

fn is_usable(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(local || address.is_loopback() || address.is_multicast() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn interface(index: u32, addresses: &[&str]) -> Interface {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Interface { index, up: true, addresses }
    }

    #[test]
    fn usable_is_what_others_may_reach() {
        let usable = |text: &str| is_usable(text.parse().unwrap());
        let fine = ["10.0.0.1", "100.64.0.1", "8.8.8.8", "fd00::1", "2001:db8::1", "::ffff:10.0.0.1"];
        assert!(fine.into_iter().all(usable));
        let useless =
            ["127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "::1", "fe80::1", "ff01::1"];
        assert!(!useless.into_iter().any(usable));
    }

    #[test]
    fn one_who_listens_everywhere_advertises_the_first_address_of_the_lowest_interface() {
        let all = [interface(1, &["127.0.0.1", "::1"]), interface(4, &["192.0.2.2", "fd00::2", "fe80::2"])];
        for configured in [":0", "0.0.0.0:0", "[::]:0", "127.0.0.1", "::1"] {
            assert_eq!(advertised_host(configured, &all).as_deref(), Ok("192.0.2.2"), "{configured}");
        }
        let lower = [interface(4, &["192.0.2.2"]), interface(2, &["fe80::1", "fd00::1", "fd00::2"])];
        assert_eq!(advertised_host(":0", &lower).as_deref(), Ok("fd00::2"));
        let down = Interface { up: false, ..interface(2, &["192.0.2.9"]) };
        assert_eq!(advertised_host(":0", &[down, interface(3, &["192.0.2.3"])]).as_deref(), Ok("192.0.2.3"));
    }

    #[test]
    fn a_host_that_is_named_is_advertised_as_it_is() {
        for (configured, host) in
            [("localhost:0", "localhost"), ("10.0.0.5:8000", "10.0.0.5"), ("[2001:db8::1]:1", "2001:db8::1")]
        {
            assert_eq!(advertised_host(configured, &[]).as_deref(), Ok(host));
        }
    }

    #[test]
    fn without_an_address_there_is_an_error_and_no_empty_host() {
        assert_eq!(advertised_host(":0", &[interface(1, &["127.0.0.1", "fe80::1"])]), Err(NoAddress));
        assert_eq!(advertised_host(":0", &[]), Err(NoAddress));
    }
}
