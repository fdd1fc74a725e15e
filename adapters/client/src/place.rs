//! A registry on a network: where it is, what it speaks, and what a client has to show it.

use std::path::PathBuf;

use periplus_core::Instant;
#[cfg(feature = "consul")]
use periplus_core::backend::consul::{Consul, ConsulOptions};
#[cfg(feature = "etcd")]
use periplus_core::backend::etcd::{Etcd, EtcdOptions};
use periplus_core::backend::native::Native;
use periplus_core::client::subscription::CacheError;
use periplus_core::client::url::{PERIPLUS, RegistryUrl, UrlError};
use periplus_core::client::{Backend, BoxedBackend, ClientConfig};
use periplus_core::http::origin::{REGISTRY_PORT, Scheme};

use crate::connect::{ConnectError, ConnectOptions};
use crate::report::report_unused_cache;
use crate::runtime::{Runtime, TlsFiles, TlsFilesError};
use crate::secrets;

/// The header that says who calls.
const CALLER: &str = "periplus-caller";

/// The scheme of a Consul agent, and the port that it listens on unless it is told otherwise.
#[cfg(feature = "consul")]
const CONSUL: (&str, u16) = ("consul", 8500);

/// The scheme of an etcd, and the port that it serves clients on unless it is told otherwise.
#[cfg(feature = "etcd")]
const ETCD: (&str, u16) = ("etcd", 2379);

/// Options that are for the façade, whatever the registry speaks, and not for its backend.
const COMMON: [&str; 6] = ["ns", "ttl", "tls", "ca_file", "cert_file", "key_file"];

/// What an address says of a registry on a network.
pub(crate) struct Place {
    /// What is left of the address for the backend to read, secrets and all.
    url: RegistryUrl,
    config: ClientConfig,
    /// The name under which the last known sets are stored.
    pub(crate) cache: String,
}

impl Place {
    /// Reads an address, and returns the runtime with the TLS that it asks for.
    pub(crate) fn read<R: Runtime>(
        mut runtime: R,
        mut url: RegistryUrl,
        options: ConnectOptions,
    ) -> Result<(R, Self), ConnectError> {
        let (secure, port) = match url.scheme.as_str() {
            PERIPLUS => (url.flag("tls")?, REGISTRY_PORT),
            "http" => (url.flag("tls")?, 80),
            "https" => (true, 443),
            #[cfg(feature = "consul")]
            scheme if scheme == CONSUL.0 => (url.flag("tls")?, CONSUL.1),
            #[cfg(feature = "etcd")]
            scheme if scheme == ETCD.0 => (url.flag("tls")?, ETCD.1),
            scheme => return Err(ConnectError::Scheme { scheme: scheme.to_owned() }),
        };
        let files = tls_files(&url)?;
        if files != TlsFiles::default() {
            if !secure {
                return Err(TlsFilesError("a file with certificates is named: say tls=true as well".into()).into());
            }
            runtime = runtime.with_tls_files(&files)?;
        }
        let cache = cache_name(&url);
        secrets::resolve(&mut url)?;
        let mut config = options.config;
        let scheme = if secure { Scheme::Https } else { Scheme::Http };
        config.origins = url.origins(scheme, port).map(|origin| origin.to_string()).collect();
        url.query.retain(|(key, _)| !COMMON.contains(&key.as_str()));
        if is_own(&url)
            && let Some(caller) = url.value("caller").map(ToOwned::to_owned).or(options.caller)
        {
            if caller.is_empty() || !caller.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
                return Err(ConnectError::Caller);
            }
            config.headers.push((CALLER.into(), caller.as_str().into()));
        }
        Ok((runtime, Self { url, config, cache }))
    }

    /// A client of it.
    pub(crate) fn machine<R: Runtime>(self, runtime: &R) -> Result<BoxedBackend, ConnectError> {
        let Self { url, config, cache } = self;
        let cache = if config.remember { runtime.load(&cache) } else { None };
        let mut seed = [0; 32];
        runtime.entropy(&mut seed);
        let now = runtime.now();
        #[cfg(feature = "consul")]
        if url.scheme == CONSUL.0 {
            check_keys(&url, ConsulOptions::KEYS)?;
            let mut options = ConsulOptions::from_url(&url)?;
            if let Some(most) = runtime.connections().filter(|_| url.value("long_polls").is_none()) {
                // One is left for what does not wait, and one for calls.
                options.long_polls = options.long_polls.min(most.saturating_sub(2)).max(1);
            }
            return Ok(primed(Consul::new(config, options, seed, now), Consul::restore, cache, now));
        }
        #[cfg(feature = "etcd")]
        if url.scheme == ETCD.0 {
            check_keys(&url, &[EtcdOptions::KEYS, &["password"]].concat())?;
            let mut options = EtcdOptions::from_url(&url)?;
            if let Some(password) = url.value("password") {
                options = options.with_password(password);
            }
            return Ok(primed(Etcd::new(config, options, seed, now), Etcd::restore, cache, now));
        }
        check_keys(&url, &["caller"])?;
        Ok(primed(Native::new(config, seed, now), Native::restore, cache, now))
    }
}

/// What an address says of a store, for those that call it themselves.
#[derive(Debug)]
pub struct StorePlace<R> {
    /// The runtime, with the TLS that the address asks for.
    pub runtime: R,
    /// Where it is: `http://HOST:PORT` or `https://HOST:PORT`, to be tried in turn.
    pub origins: Vec<String>,
    /// What is left of the address for its backend's options, secrets and all.
    pub url: RegistryUrl,
}

/// Reads the address of a registry on a network as [`connect_with`](crate::connect_with) does, and opens no client.
///
/// # Errors
/// If the address makes no sense.
pub fn locate<R: Runtime>(runtime: R, url: &str) -> Result<StorePlace<R>, ConnectError> {
    let (runtime, Place { url, config, .. }) = Place::read(runtime, url.parse()?, ConnectOptions::default())?;
    Ok(StorePlace { runtime, origins: config.origins, url })
}

/// Whether a registry speaks the native protocol, in which who calls is told.
fn is_own(url: &RegistryUrl) -> bool {
    matches!(url.scheme.as_str(), PERIPLUS | "http" | "https")
}

/// Sees to it that there are no options but the backend's. The error names those that are for the façade too.
fn check_keys(url: &RegistryUrl, own: &[&str]) -> Result<(), UrlError> {
    let mut known: Vec<&str> = own.iter().filter(|key| !COMMON.contains(key)).chain(&COMMON).copied().collect();
    for (secret, variable, file) in secrets::SECRETS {
        if own.contains(&secret) {
            known.extend([variable, file]);
        }
    }
    url.check_keys(&known)
}

/// A machine that knows what was known before.
fn primed<M: Backend + 'static>(
    mut machine: M,
    restore: impl FnOnce(&mut M, &[u8], Instant) -> Result<usize, CacheError>,
    cache: Option<Vec<u8>>,
    now: Instant,
) -> BoxedBackend {
    if let Some(bytes) = cache
        && let Err(error) = restore(&mut machine, &bytes, now)
    {
        report_unused_cache(&error);
    }
    Box::new(machine)
}

fn tls_files(url: &RegistryUrl) -> Result<TlsFiles, TlsFilesError> {
    let path = |key| url.value(key).map(PathBuf::from);
    let identity = match (path("cert_file"), path("key_file")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err(TlsFilesError("`cert_file` needs `key_file`: name the key of it".into())),
        (None, Some(_)) => {
            return Err(TlsFilesError("`key_file` needs `cert_file`: name what it is the key of".into()));
        }
    };
    Ok(TlsFiles { roots: path("ca_file"), identity })
}

/// The name under which the last known sets of a registry are stored: letters, digits and dashes. What in an address says
/// whose instances are meant is in it, and nothing that may be secret.
fn cache_name(url: &RegistryUrl) -> String {
    const TELLING: [&str; 3] = ["dc", "namespace", "partition"];
    let mut name = url.to_string();
    for key in TELLING {
        if let Some(value) = url.value(key) {
            name += &format!("-{key}-{value}");
        }
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("periplus-cache-{}", name.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_cache_says_whose_instances_are_meant_and_no_secret() {
        let name = |text: &str| cache_name(&text.parse().unwrap());
        assert_eq!(name("periplus://a:1?ns=x&caller=b"), "periplus-cache-periplus---a-1");
        assert_eq!(name("consul://a?token=secret&dc=dc2&wait=5s"), "periplus-cache-consul---a-dc-dc2");
        assert_eq!(name("etcd://a,b?user=u&password=secret&namespace=/ms"), "periplus-cache-etcd---a-b-namespace--ms");
    }

    #[test]
    fn a_certificate_goes_with_its_key() {
        let files = |query: &str| tls_files(&format!("etcd://a?{query}").parse().unwrap());
        assert!(files("cert_file=a").unwrap_err().to_string().contains("`key_file`"));
        assert!(files("key_file=a").unwrap_err().to_string().contains("`cert_file`"));
        let all = files("ca_file=a&cert_file=b&key_file=c").unwrap();
        assert_eq!(all, TlsFiles { roots: Some("a".into()), identity: Some(("b".into(), "c".into())) });
    }
}
