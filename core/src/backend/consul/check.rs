//! What Consul, or those who read from it, would choke on.

use alloc::format;
use alloc::string::String;
use core::net::IpAddr;
use core::str::FromStr as _;

use crate::client::CommandError;
use crate::instance::ServiceInstance;

/// Metadata pairs, and bytes of a key and of a value.
const PAIRS: usize = 64;
const KEY: usize = 128;
const VALUE: usize = 512;

/// Whether an instance can be registered.
pub(super) fn instance(instance: &ServiceInstance) -> Result<(), CommandError> {
    path("id", &instance.id)?;
    path("service", &instance.name)?;
    if instance.metadata.len() > PAIRS {
        return Err(unfit("metadata", format!("Consul takes {PAIRS} pairs, not {}", instance.metadata.len())));
    }
    for (key, value) in &instance.metadata {
        let problem = if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            "Consul takes letters, digits, '-' and '_' only: write _ for the others"
        } else if key.len() > KEY {
            "Consul takes 128 bytes: shorten it"
        } else if key.starts_with("consul-") {
            "Consul keeps what begins with consul- for itself: rename it"
        } else if value.len() > VALUE {
            "Consul takes a value of 512 bytes: shorten it"
        } else {
            continue;
        };
        let shown: String = key.chars().take(40).collect();
        return Err(unfit(&format!("metadata key `{shown}`"), problem));
    }
    for endpoint in &instance.endpoints {
        let host = endpoint.parts().map_or("", |parts| parts.host);
        if IpAddr::from_str(host).is_ok_and(|address| address.to_canonical().is_unspecified()) {
            let problem = "Consul refuses an unspecified address: name one that others reach";
            return Err(unfit(&format!("endpoint `{endpoint}`"), problem));
        }
    }
    Ok(())
}

/// Whether a name comes through a path as it is. Consul cleans paths (`//`, `.` and `..` are answered with a redirect,
/// however they are encoded), and some versions decode what follows the last known segment twice.
pub(super) fn path(field: &str, name: &str) -> Result<(), CommandError> {
    if name.contains('%') {
        return Err(unfit(field, "Consul takes no percent sign there: leave it out"));
    }
    if name.contains('/') && name.split('/').any(|segment| matches!(segment, "" | "." | ".."))
        || matches!(name, "." | "..")
    {
        return Err(unfit(
            field,
            "Consul cleans it as a path: leave out '//', '.' and '..', and do not begin or end with '/'",
        ));
    }
    Ok(())
}

fn unfit(field: &str, problem: impl Into<String>) -> CommandError {
    CommandError::Unfit { field: field.into(), problem: problem.into() }
}
