//! What a program dials: `discovery:///name`, `direct:///a:1,b:2`.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::dial::Address;
use crate::endpoint::{Endpoint, EndpointError};
use crate::http::target::decode;
use crate::instance::ServiceInstance;
use crate::name::{InstanceId, NameError, ServiceName};
use crate::packed::Instance;

/// What a program dials, as Kratos writes it.
///
/// - `discovery:///name`: the instances of a service. An authority, as in `discovery://default/name`, means nothing. The
///   name is the path without one leading slash, percent-decoded; further segments belong to it.
/// - `direct:///a:1,b:2`: these addresses, percent-decoded too.
///
/// ```
/// use periplus_core::dial::Target;
///
/// # fn main() -> Result<(), periplus_core::dial::TargetError> {
/// let target: Target = "discovery://default/billing%2Finvoices".parse()?;
/// assert!(matches!(&target, Target::Discovery { name, .. } if &**name == "billing/invoices"));
/// assert!(matches!("direct:///10.0.0.5:9000,[::1]:9000".parse()?, Target::Direct { addresses } if addresses.len() == 2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The instances of a service, whoever they are at the moment.
    Discovery {
        /// What stands between the slashes. It means nothing.
        authority: String,
        /// The name of the service.
        name: ServiceName,
    },
    /// Fixed addresses.
    Direct {
        /// The addresses, in the order given, each once, not empty.
        addresses: Vec<Address>,
    },
}

/// Why a text is nothing to dial. The text was not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The scheme is missing or another one.
    #[error("target must begin with discovery:/// and a service's name, or with direct:/// and addresses")]
    Scheme,
    /// There is a query or a fragment.
    #[error("target has a query or a fragment: leave it out, or write %3F and %23 for what belongs to the name")]
    Query,
    /// A percent sign is not followed by two hexadecimal digits, or what is encoded is not UTF-8.
    #[error("target is not percent-encoded UTF-8 text: write %25 for a percent sign")]
    Encoding,
    /// The service's name is none.
    #[error("target's {0}")]
    Name(#[from] NameError),
    /// One of the addresses is none.
    #[error("target's address {number}: {error}")]
    Address {
        /// Which, from 1.
        number: usize,
        /// What is wrong, if it were an endpoint.
        error: EndpointError,
    },
}

impl Target {
    /// Addresses as instances that stand in no registry, each with one endpoint of this scheme, and its address as id
    /// and name. Empty for a service. O(addresses).
    #[must_use]
    pub fn instances(&self, scheme: &str) -> Vec<Instance> {
        let Self::Direct { addresses } = self else { return Vec::new() };
        let instance = |address: &Address| {
            let text = address.to_string();
            let (name, id) = (ServiceName::new(text.as_str()).ok()?, InstanceId::new(text).ok()?);
            // A zone is written otherwise in an endpoint.
            let endpoint = format!("{scheme}://{}", id.replace('%', "%25"));
            Some(Instance::pack(&ServiceInstance::new(name, id).with_endpoint(Endpoint::foreign(endpoint))))
        };
        addresses.iter().filter_map(instance).collect()
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = text.split_once(':').ok_or(TargetError::Scheme)?;
        let direct = match scheme {
            _ if scheme.eq_ignore_ascii_case("discovery") => false,
            _ if scheme.eq_ignore_ascii_case("direct") => true,
            _ => return Err(TargetError::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(TargetError::Query);
        }
        // Without the two slashes there is no path: what follows is opaque to Kratos, and the name empty.
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", if rest.starts_with('/') { rest } else { "" }),
        };
        let path = decode(path.strip_prefix('/').unwrap_or(path)).ok_or(TargetError::Encoding)?;
        if direct {
            return Ok(Self::Direct { addresses: addresses(&path)? });
        }
        Ok(Self::Discovery { authority: authority.into(), name: ServiceName::new(path)? })
    }
}

fn addresses(path: &str) -> Result<Vec<Address>, TargetError> {
    let mut addresses = Vec::new();
    for (at, text) in path.split(',').enumerate() {
        let refuse = |error| TargetError::Address { number: at + 1, error };
        let endpoint = Endpoint::foreign(format!("direct://{}", text.replace('%', "%25")));
        let parts = endpoint.parts().map_err(refuse)?;
        if !parts.rest.is_empty() {
            return Err(refuse(EndpointError::Port));
        }
        let address = Address::of(&parts);
        // As an instance it has a name, which has its limit.
        InstanceId::new(address.to_string()).map_err(|_| refuse(EndpointError::HostCharacter))?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovery { authority, name } => {
                write!(f, "discovery://{authority}{}", crate::http::target::Target::new("").segment(name))
            }
            Self::Direct { addresses } => {
                f.write_str("direct:///")?;
                for (at, address) in addresses.iter().enumerate() {
                    let text = address.to_string().replace('%', "%25");
                    write!(f, "{}{text}", if at > 0 { "," } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn name(text: &str) -> String {
        match text.parse() {
            Ok(Target::Discovery { name, .. }) => name.to_string(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_service_is_named_as_kratos_names_it() {
        assert_eq!(name("discovery:///hello"), "hello");
        assert_eq!(name("DISCOVERY:///hello"), "hello");
        assert_eq!(name("discovery://default/provider"), "provider");
        assert_eq!(name("discovery:///a%2Fb"), "a/b");
        assert_eq!(name("discovery://auth/hello/x"), "hello/x");
        assert_eq!(name("discovery:////hello"), "/hello");
        assert_eq!(name("discovery:///DEFAULT_GROUP@@hello.grpc"), "DEFAULT_GROUP@@hello.grpc");
        assert_eq!(name("discovery:///a+b"), "a+b");
    }

    #[test]
    fn addresses_are_dialled_each_once() {
        let target: Target = "direct://x/a:1,B:2,a:1,[::1]:3,[fe80::1%25eth0]:4".parse().unwrap();
        let Target::Direct { addresses } = &target else { panic!("{target:?}") };
        let texts: Vec<String> = addresses.iter().map(Address::to_string).collect();
        assert_eq!(texts, ["a:1", "b:2", "[::1]:3", "[fe80::1%eth0]:4"]);
        let instances = target.instances("grpc");
        for (instance, text) in instances.iter().zip(&texts) {
            assert_eq!(instance.id(), text);
            let chosen = Address::choose(&instance.decode().endpoints, "grpc").unwrap();
            assert_eq!(chosen.to_string(), *text);
        }
        assert_eq!(instances.len(), 4);
    }

    #[test]
    fn what_cannot_be_dialled_is_refused_with_the_reason() {
        let empty = TargetError::Name(NameError::Empty { field: "service" });
        let address = |number, error| TargetError::Address { number, error };
        for (text, error) in [
            ("", TargetError::Scheme),
            ("hello", TargetError::Scheme),
            ("h:1", TargetError::Scheme),
            ("dns:///hello", TargetError::Scheme),
            ("discovery:hello", empty.clone()),
            ("discovery:///", empty.clone()),
            ("discovery://hello", empty),
            ("discovery:///a?b=c", TargetError::Query),
            ("discovery:///a#b", TargetError::Query),
            ("discovery:///a%2", TargetError::Encoding),
            ("discovery:///%FF", TargetError::Encoding),
            ("discovery:///a%0A", TargetError::Name(NameError::Control { field: "service", at: 1 })),
            ("direct:///", address(1, EndpointError::Port)),
            ("direct:///a:1,", address(2, EndpointError::Port)),
            ("direct:///a", address(1, EndpointError::Port)),
            ("direct:///a:1/x", address(1, EndpointError::Port)),
            ("direct:///::1:3", address(1, EndpointError::Ipv6)),
        ] {
            assert_eq!(text.parse::<Target>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_target_is_its_text() {
        for text in ["discovery:///a%2Fb%20c", "discovery://default/x", "direct:///a:1,[::1]:2,[fe80::1%25e]:3"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }
}
