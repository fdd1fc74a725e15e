//! Arguments that several commands share.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use periplus_core::client::ClientConfig;
use periplus_core::http::origin::is_own;
use periplus_core::instance::{STATUS, WEIGHT, ZONE};
use periplus_core::{Endpoint, InstanceId, Namespace, ServiceInstance, ServiceName, Status};
use periplus_tokio::{ConnectOptions, Tokio, connect_with};

use super::exit::Usage;
use super::place::Place;
use crate::client::Client;
use crate::client::registration::Registration;
use crate::config::units;
use crate::random;

/// Which registry to call.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Connection {
    /// Registry to call; where several hosts are named, as in periplus://a:7171,b:7171, one that can be reached. Also
    /// consul://HOST:8500 and etcd://HOST:2379, with options as in ?token_env=NAME
    #[arg(
        long,
        env = "PERIPLUS_REGISTRY",
        default_value = "periplus://127.0.0.1:7171",
        value_name = "URL",
        hide_env_values = true,
        help_heading = "Registry"
    )]
    pub registry: Place,
    /// Namespace of the services
    #[arg(
        long,
        env = "PERIPLUS_NS",
        default_value = "default",
        value_name = "NAME",
        hide_env_values = true,
        help_heading = "Registry"
    )]
    pub ns: Namespace,
    /// Who calls, as history and events will say [default: the user's and the host's name]
    #[arg(long, env = "PERIPLUS_CALLER", value_name = "NAME", hide_env_values = true, help_heading = "Registry")]
    pub caller: Option<String>,
}

impl Connection {
    /// A client of that registry that keeps up what it is told to: registrations and watches.
    ///
    /// # Errors
    /// If the address makes no sense to it.
    pub fn connect(&self, config: ClientConfig) -> Result<periplus_tokio::Client, Usage> {
        let visible = |caller: &String| !caller.is_empty() && caller.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        let options = ConnectOptions {
            namespace: self.ns.clone(),
            caller: self.caller().filter(visible),
            config,
            ..ConnectOptions::default()
        };
        connect_with(Tokio::new(), &self.registry.address()?, options)
            .map_err(|error| Usage(format!("--registry {}: {error}", self.registry)))
    }

    fn caller(&self) -> Option<String> {
        self.caller.clone().or_else(|| {
            let user = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
            Some(format!("{}@{}", user?, host_name()?))
        })
    }

    /// A client that asks once, for what only a Periplus server can be asked.
    ///
    /// # Errors
    /// If the registry is none.
    pub fn client(&self) -> Result<Client, Usage> {
        let client = Client::new(self.registry.own()?.clone(), self.ns.to_string());
        Ok(match self.caller() {
            Some(caller) => client.with_caller(&caller),
            None => client,
        })
    }
}

/// How to print results.
#[derive(Args, Clone, Copy, Debug)]
#[group(skip)]
pub struct Format {
    /// Print JSON, made for programs
    #[arg(long)]
    pub json: bool,
}

/// What an instance says of itself.
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Instance")]
pub struct InstanceArgs {
    /// Name of the service
    #[arg(long, value_name = "NAME")]
    pub service: ServiceName,
    /// Id of the instance within the service [default: the host's name with the port of the first endpoint]
    #[arg(long)]
    pub id: Option<InstanceId>,
    /// Where it listens, as others reach it, such as http://10.0.0.5:8000; may be repeated
    #[arg(long = "endpoint", value_name = "URL", value_parser = parse_endpoint)]
    pub endpoints: Vec<Endpoint>,
    /// What else there is to know; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub metadata: Vec<(String, String)>,
    /// Version of the program
    #[arg(long, value_name = "VERSION", default_value = "", hide_default_value = true)]
    pub version: String,
    /// Its share of the calls, beside the others' weights
    #[arg(long, value_name = "N")]
    pub weight: Option<u32>,
    /// Where it runs
    #[arg(long)]
    pub zone: Option<String>,
    /// Whether it is ready: starting, up, draining or down
    #[arg(long, default_value = "up", hide_default_value = true)]
    pub status: Status,
    /// How long the registration lives without a renewal [default: what the registry gives]
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration)]
    pub ttl: Option<Duration>,
}

impl InstanceArgs {
    /// The registration that they describe, for a registry at this address.
    ///
    /// # Errors
    /// An endpoint cannot be reached by those who will read it.
    pub fn registration(&self, registry: &Place) -> Result<Registration, Usage> {
        for endpoint in &self.endpoints {
            check_reachable(endpoint, registry)?;
        }
        let mut metadata: BTreeMap<String, String> = self.metadata.iter().cloned().collect();
        let typed = [
            (WEIGHT, self.weight.map(|weight| weight.to_string())),
            (ZONE, self.zone.clone()),
            (STATUS, self.status.to_metadata()),
        ];
        for (key, value) in typed {
            metadata.extend(value.map(|value| (key.to_owned(), value)));
        }
        let instance = ServiceInstance {
            id: self.id.clone().unwrap_or_else(|| self.usual_id()),
            name: self.service.clone(),
            version: self.version.as_str().into(),
            metadata,
            endpoints: self.endpoints.clone(),
        };
        Ok(Registration { instance, ttl: self.ttl })
    }

    /// The same after a restart, so that the instance takes its old place at once.
    fn usual_id(&self) -> InstanceId {
        let first = self.endpoints.first().and_then(|endpoint| endpoint.parts().ok());
        let usual = host_name().zip(first).map(|(host, first)| format!("{host}-{}", first.port));
        let usual = usual.and_then(|usual| InstanceId::new(usual).ok());
        usual.unwrap_or_else(|| {
            let random = random::incarnation().to_string();
            InstanceId::new(random).expect("hex digits are a name")
        })
    }
}

#[cfg(unix)]
fn host_name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok().filter(|name| !name.is_empty())
}

#[cfg(not(unix))]
fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().filter(|name| !name.is_empty())
}

/// Refuses what nobody else could connect to.
fn check_reachable(endpoint: &Endpoint, registry: &Place) -> Result<(), Usage> {
    let parts = endpoint.parts().map_err(|error| Usage(error.to_string()))?;
    let nowhere = matches!(parts.host, "0.0.0.0" | "::");
    let only_here = is_own(parts.host) && !registry.is_own();
    if nowhere || only_here {
        let what = if nowhere { "no address that anybody can connect to" } else { "this machine only" };
        return Err(Usage(format!(
            "endpoint {}: {} is {what}, but whoever finds it at {registry} has to: name the address that others reach, \
             such as {}://10.0.0.5:{}",
            endpoint.as_str(),
            parts.host,
            parts.scheme,
            parts.port
        )));
    }
    Ok(())
}

/// Reads `key=value`.
///
/// # Errors
/// Says how to write it.
pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("write it as key=value".into()),
    }
}

fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(registry: &str, arguments: &[&str]) -> Result<Registration, Usage> {
        let command = InstanceArgs::augment_args(clap::Command::new("test"));
        let matches = command.get_matches_from([&["test", "--service=web"], arguments].concat());
        <InstanceArgs as clap::FromArgMatches>::from_arg_matches(&matches)
            .unwrap()
            .registration(&registry.parse().unwrap())
    }

    #[test]
    fn weight_zone_and_status_are_metadata() {
        let arguments = ["--id=a", "--metadata=k=v=w", "--weight=5", "--zone=b", "--status=draining", "--ttl=3s"];
        let registration = registration("periplus://localhost", &arguments).unwrap();
        let metadata: Vec<_> = registration.instance.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(metadata, [("k", "v=w"), ("status", "draining"), ("weight", "5"), ("zone", "b")]);
        assert_eq!(registration.ttl, Some(Duration::from_secs(3)));
    }

    #[test]
    fn an_instance_that_says_nothing_is_up_and_has_no_metadata() {
        let registration = registration("periplus://localhost", &["--id=a"]).unwrap();
        assert!(registration.instance.metadata.is_empty() && registration.ttl.is_none());
    }

    #[test]
    fn the_usual_id_is_the_same_after_a_restart_if_there_is_a_port() {
        let id = || registration("periplus://localhost", &["--endpoint=http://127.0.0.1:8000"]).unwrap().instance.id;
        assert_eq!(id(), id());
        assert!(id().ends_with("-8000"));
    }

    #[test]
    fn an_endpoint_that_others_cannot_reach_is_refused_with_a_hint() {
        for endpoint in ["http://127.0.0.1:80", "http://localhost:80", "http://[::1]:80", "http://0.0.0.0:80"] {
            let error = registration("periplus://registry.example", &["--endpoint", endpoint]).unwrap_err();
            assert!(error.to_string().contains("10.0.0.5:80"), "{error}");
        }
        assert!(registration("periplus://127.0.0.1", &["--endpoint=http://127.0.0.1:80"]).is_ok());
        assert!(registration("periplus://127.0.0.1", &["--endpoint=http://0.0.0.0:80"]).is_err());
        assert!(registration("periplus://registry.example", &["--endpoint=http://10.0.0.5:80"]).is_ok());
    }

    #[test]
    fn a_pair_needs_a_key() {
        assert_eq!(parse_pair("a="), Ok(("a".into(), String::new())));
        assert!(parse_pair("=a").is_err() && parse_pair("a").is_err());
    }
}
