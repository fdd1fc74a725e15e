//! The services of the demo.

/// A made-up service.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: &'static str,
    pub(super) owner: &'static str,
    /// Its part of the fleet, beside the others' parts.
    pub(super) share: usize,
    pub(super) speaks: &'static [(&'static str, u16)],
    pub(super) version: [u32; 3],
}

const WEB: &[(&str, u16)] = &[("http", 8000)];
const RPC: &[(&str, u16)] = &[("grpc", 9000)];
const BOTH: &[(&str, u16)] = &[("http", 8000), ("grpc", 9000)];

const fn role(
    name: &'static str,
    owner: &'static str,
    share: usize,
    speaks: &'static [(&'static str, u16)],
    version: [u32; 3],
) -> Role {
    Role { name, owner, share, speaks, version }
}

/// All of them.
pub(super) const CAST: [Role; 12] = [
    role("gateway", "edge", 10, WEB, [5, 2, 1]),
    role("users", "identity", 18, BOTH, [2, 14, 0]),
    role("sessions", "identity", 12, RPC, [1, 8, 3]),
    role("catalog", "shop", 24, BOTH, [7, 0, 4]),
    role("cart", "shop", 16, BOTH, [3, 3, 0]),
    role("orders", "checkout", 22, BOTH, [4, 9, 2]),
    role("payments", "checkout", 14, RPC, [6, 1, 0]),
    role("fraud", "risk", 10, RPC, [0, 31, 0]),
    role("search", "discovery", 30, BOTH, [11, 5, 0]),
    role("recommendations", "discovery", 20, RPC, [2, 0, 9]),
    role("inventory", "logistics", 14, BOTH, [3, 7, 1]),
    role("notifications", "growth", 10, WEB, [1, 19, 5]),
];

/// A machine of the demo: a zone and a number in it.
pub(super) type HostId = usize;

/// How many machines there are in a zone.
const PER_ZONE: usize = 4;
const ZONES: [&str; 3] = ["a", "b", "c"];
/// How many machines there are.
pub(super) const HOSTS: usize = ZONES.len() * PER_ZONE;

/// The zone of a machine. Neighbours in number are in different zones.
pub(super) const fn zone(host: HostId) -> &'static str {
    ZONES[host % ZONES.len()]
}

/// The name of a machine.
pub(super) fn host_name(host: HostId) -> String {
    format!("{}-{}", zone(host), host / ZONES.len() + 1)
}

/// The address of the nth instance on a machine.
pub(super) fn address(host: HostId, n: usize) -> String {
    format!("10.{}.{}.{}", 10 * (host % ZONES.len() + 1), host / ZONES.len() + 1, n % 250 + 2)
}

/// How many instances each service gets of a fleet; at least two.
pub(super) fn sizes(instances: usize) -> [usize; CAST.len()] {
    let shares: usize = CAST.iter().map(|role| role.share).sum();
    CAST.each_ref().map(|role| ((instances * role.share + shares / 2) / shares).max(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_shared_out_among_all_services() {
        assert_eq!(sizes(200).iter().sum::<usize>(), 200);
        assert!(sizes(24).iter().all(|size| *size >= 2));
        let total: usize = sizes(5000).iter().sum();
        assert!(total.abs_diff(5000) < CAST.len());
    }

    #[test]
    fn machines_are_spread_over_zones() {
        assert_eq!((zone(0), zone(1), zone(2), zone(3)), ("a", "b", "c", "a"));
        assert_eq!((host_name(0).as_str(), host_name(11).as_str()), ("a-1", "c-4"));
        assert_eq!(address(11, 0), "10.30.4.2");
    }
}
