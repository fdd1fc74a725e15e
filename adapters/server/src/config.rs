//! What `periplus serve` can be told: one schema for flags, environment, file and `--print-config`.
//!
//! Each leaf of [`Config`] has one key, for example `ttl.min`. The key names it in the file (`[ttl]`, `min = "3s"`), and by
//! rule also as the flag `--ttl-min` and the variable `PERIPLUS_TTL_MIN`. Flags win over the environment, the environment
//! over the file, the file over the defaults.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use periplus_core::client::url::RegistryUrl;
use periplus_core::config as registry;
use periplus_core::protocol::Span;
use serde::{Deserialize, Serialize};

mod file;
mod overrides;
pub mod units;

pub use overrides::Overrides;

/// Everything that `serve` can be told.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[group(skip)]
#[serde(default, deny_unknown_fields)]
#[command(next_help_heading = "Listening")]
pub struct Config {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(id = "listen", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Allow an address that other machines can reach, although everyone there can then change everything
    #[arg(
        id = "insecure",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL",
        hide_possible_values = true
    )]
    pub insecure: bool,
    /// Host names by which clients may call this server, beside its addresses and localhost
    #[arg(id = "allowed_hosts", value_name = "NAME", value_delimiter = ',')]
    pub allowed_hosts: Vec<String>,
    /// Origins of other web pages that may read and write here, each with scheme, host and port
    #[arg(id = "cors_origin", value_name = "ORIGIN", value_delimiter = ',')]
    pub cors_origin: Vec<String>,
    /// What to log, as tracing's filters write it: info, or periplus_server=debug,hyper=warn
    #[arg(id = "log", value_name = "FILTER")]
    pub log: String,
    /// Silence on a watch after which it gets a keep-alive
    #[arg(id = "keep_alive", value_name = "DURATION", value_parser = units::parse_duration)]
    #[serde(with = "units::duration")]
    pub keep_alive: Duration,
    /// How long requests may go on after the signal to stop
    #[arg(id = "shutdown_grace", value_name = "DURATION", value_parser = units::parse_duration)]
    #[serde(with = "units::duration")]
    pub shutdown_grace: Duration,
    /// Mirror this etcd or Consul and register into it, instead of holding a registry: etcd://HOST:2379,
    /// consul://HOST:8500, with options as in ?password_env=NAME
    #[arg(id = "upstream", value_name = "URL")]
    pub upstream: String,
    /// Events kept for those who ask what happened lately
    #[arg(id = "events_kept", value_name = "N")]
    pub events_kept: usize,

    /// How long the registry says after its start that what it does not list may still come back
    #[arg(id = "warm_up", value_name = "DURATION", value_parser = units::parse_duration, help_heading = "Leases")]
    #[serde(with = "units::duration")]
    pub warm_up: Duration,
    /// A server that was itself later than this (a suspended machine) gives all leases the time back
    #[arg(id = "stall_threshold", value_name = "DURATION", value_parser = units::parse_duration, help_heading = "Leases")]
    #[serde(with = "units::duration")]
    pub stall_threshold: Duration,
    /// Who gets an id that is held: the newcomer, or the holder as long as it renews
    #[arg(id = "collision", value_name = "POLICY", help_heading = "Leases")]
    pub collision: Collision,

    /// Bounds on the time to live of a lease.
    #[command(flatten, next_help_heading = "Leases")]
    pub ttl: Ttl,
    /// When a mass expiry raises the alarm.
    #[command(flatten, next_help_heading = "Alarm of a mass expiry")]
    pub alarm: Alarm,
    /// What the server holds and takes at most.
    #[command(flatten, next_help_heading = "Limits")]
    pub limits: Limits,
}

/// Who gets an id that somebody holds.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Collision {
    /// The newcomer; the other is told at its next call
    Supersede,
    /// The holder, as long as it renews
    Refuse,
}

/// Bounds on the time to live of a lease.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[group(skip)]
#[serde(default, deny_unknown_fields)]
pub struct Ttl {
    /// Shortest time to live that a registration may ask for
    #[arg(id = "ttl.min", value_name = "DURATION", value_parser = units::parse_duration)]
    #[serde(with = "units::duration")]
    pub min: Duration,
    /// Time to live of a registration that asks for none
    #[arg(id = "ttl.default", value_name = "DURATION", value_parser = units::parse_duration)]
    #[serde(with = "units::duration")]
    pub default: Duration,
    /// Longest time to live that a registration may ask for
    #[arg(id = "ttl.max", value_name = "DURATION", value_parser = units::parse_duration)]
    #[serde(with = "units::duration")]
    pub max: Duration,
}

/// When so many instances expire at once that it is hard to believe that they all died.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[group(skip)]
#[serde(default, deny_unknown_fields)]
pub struct Alarm {
    /// Share of a namespace that has to expire, in percent; 100 for no alarm
    #[arg(id = "alarm.share", value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub share: u32,
    /// Time within which it has to
    #[arg(id = "alarm.window", value_name = "DURATION", value_parser = units::parse_duration)]
    #[serde(with = "units::duration")]
    pub window: Duration,
    /// Fewer instances than this raise no alarm
    #[arg(id = "alarm.minimum", value_name = "N")]
    pub minimum: usize,
    /// How much longer the instances that raise the alarm are kept, once
    #[arg(id = "alarm.hold", value_name = "DURATION", value_parser = units::parse_duration)]
    #[serde(with = "units::duration")]
    pub hold: Duration,
}

/// What the server holds and takes at most.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[group(skip)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections
    #[arg(id = "limits.connections", value_name = "N")]
    pub connections: usize,
    /// Requests at once on one HTTP/2 connection
    #[arg(id = "limits.streams_per_connection", value_name = "N")]
    pub streams_per_connection: u32,
    /// Watches
    #[arg(id = "limits.watches", value_name = "N")]
    pub watches: usize,
    /// Instances in all
    #[arg(id = "limits.instances", value_name = "N")]
    pub instances: usize,
    /// Instances of one service
    #[arg(id = "limits.instances_per_service", value_name = "N")]
    pub instances_per_service: usize,
    /// Services that have instances
    #[arg(id = "limits.services", value_name = "N")]
    pub services: usize,
    /// Namespaces that have services
    #[arg(id = "limits.namespaces", value_name = "N")]
    pub namespaces: usize,
    /// Size of one instance as JSON
    #[arg(id = "limits.instance_bytes", value_name = "SIZE", value_parser = units::parse_size)]
    #[serde(with = "units::size")]
    pub instance_bytes: usize,
    /// Endpoints of one instance
    #[arg(id = "limits.endpoints", value_name = "N")]
    pub endpoints: usize,
    /// Metadata pairs of one instance
    #[arg(id = "limits.metadata_pairs", value_name = "N")]
    pub metadata_pairs: usize,
    /// Length of a metadata key in bytes
    #[arg(id = "limits.metadata_key", value_name = "N")]
    pub metadata_key: usize,
    /// Length of a metadata value in bytes
    #[arg(id = "limits.metadata_value", value_name = "N")]
    pub metadata_value: usize,
    /// Size of a request's head
    #[arg(id = "limits.head_bytes", value_name = "SIZE", value_parser = units::parse_size)]
    #[serde(with = "units::size")]
    pub head_bytes: usize,
    /// Size of a request's body
    #[arg(id = "limits.body_bytes", value_name = "SIZE", value_parser = units::parse_size)]
    #[serde(with = "units::size")]
    pub body_bytes: usize,
    /// Time in which a request's head has to arrive
    #[arg(id = "limits.head_timeout", value_name = "DURATION", value_parser = units::parse_duration)]
    #[serde(with = "units::duration")]
    pub head_timeout: Duration,
    /// Time in which a request's body has to arrive
    #[arg(id = "limits.body_timeout", value_name = "DURATION", value_parser = units::parse_duration)]
    #[serde(with = "units::duration")]
    pub body_timeout: Duration,
    /// Memory for instances and all that is kept about them
    #[arg(id = "limits.memory", value_name = "SIZE", value_parser = units::parse_size)]
    #[serde(with = "units::size")]
    pub memory: usize,
    /// Memory for the history of changes
    #[arg(id = "limits.history_bytes", value_name = "SIZE", value_parser = units::parse_size)]
    #[serde(with = "units::size")]
    pub history_bytes: usize,
    /// Changes in the history
    #[arg(id = "limits.history_entries", value_name = "N")]
    pub history_entries: usize,
}

impl Default for Config {
    fn default() -> Self {
        let core = registry::Config::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)),
            insecure: false,
            allowed_hosts: Vec::new(),
            cors_origin: Vec::new(),
            log: "info".into(),
            keep_alive: Duration::from_secs(15),
            shutdown_grace: Duration::from_secs(5),
            upstream: String::new(),
            events_kept: 10_000,
            warm_up: core.warm_up,
            stall_threshold: core.stall_threshold,
            collision: match core.collision {
                registry::Collision::Supersede => Collision::Supersede,
                registry::Collision::Refuse => Collision::Refuse,
            },
            ttl: Ttl::default(),
            alarm: Alarm::default(),
            limits: Limits::default(),
        }
    }
}

/// The port of a registry whose address names none.
pub const DEFAULT_PORT: u16 = 7171;

impl Default for Ttl {
    fn default() -> Self {
        let registry::TtlLimits { min, default, max } = registry::TtlLimits::default();
        Self { min, default, max }
    }
}

impl Default for Alarm {
    fn default() -> Self {
        let core = registry::AlarmConfig::default();
        Self { share: core.share, window: core.window, minimum: core.minimum, hold: core.hold }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let core = registry::Limits::default();
        Self {
            connections: 20_000,
            streams_per_connection: 100,
            watches: core.watches,
            instances: core.instances,
            instances_per_service: core.instances_per_service,
            services: core.services,
            namespaces: core.namespaces,
            instance_bytes: core.instance.total,
            endpoints: core.instance.endpoints,
            metadata_pairs: core.instance.metadata_pairs,
            metadata_key: core.instance.metadata_key,
            metadata_value: core.instance.metadata_value,
            head_bytes: 16 << 10,
            body_bytes: 256 << 10,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            memory: 512 << 20,
            history_bytes: core.log_bytes,
            history_entries: core.log_entries,
        }
    }
}

impl Config {
    /// Joins the defaults, the file if there is one, and what flags and environment say, and checks the result.
    ///
    /// # Errors
    /// Names the key, and for a file also the line, and says what is wrong there.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> anyhow::Result<Self> {
        let mut config = file.map(file::read).transpose()?.unwrap_or_default();
        overrides.apply(&mut config)?;
        config.check()?;
        Ok(config)
    }

    /// The configuration as a file that gives the same configuration, each key with a word on what it is.
    #[must_use]
    pub fn to_toml(&self) -> String {
        file::write(self)
    }

    /// What of it concerns the registry itself.
    #[must_use]
    pub fn registry(&self) -> registry::Config {
        let default = registry::Config::default();
        let limits = &self.limits;
        registry::Config {
            limits: registry::Limits {
                instances: limits.instances,
                instances_per_service: limits.instances_per_service,
                services: limits.services,
                namespaces: limits.namespaces,
                watches: limits.watches,
                // An instance is kept in its parts and as the text that watchers get.
                bytes: limits.memory / 2,
                log_bytes: limits.history_bytes,
                log_entries: limits.history_entries,
                instance: periplus_core::InstanceLimits {
                    metadata_pairs: limits.metadata_pairs,
                    metadata_key: limits.metadata_key,
                    metadata_value: limits.metadata_value,
                    endpoints: limits.endpoints,
                    total: limits.instance_bytes,
                    ..default.limits.instance
                },
                ..default.limits
            },
            ttl: registry::TtlLimits { min: self.ttl.min, default: self.ttl.default, max: self.ttl.max },
            collision: match self.collision {
                Collision::Supersede => registry::Collision::Supersede,
                Collision::Refuse => registry::Collision::Refuse,
            },
            warm_up: self.warm_up,
            stall_threshold: self.stall_threshold,
            alarm: registry::AlarmConfig {
                share: self.alarm.share,
                window: self.alarm.window,
                minimum: self.alarm.minimum,
                hold: self.alarm.hold,
            },
            ..default
        }
    }

    /// Checks what no single field can know.
    fn check(&self) -> anyhow::Result<()> {
        use anyhow::ensure;

        ensure!(
            self.insecure || self.listen.ip().is_loopback(),
            "listen: {} can be reached from other machines, and everyone there could change everything: \
             listen on 127.0.0.1, or add --insecure if that is what you want",
            self.listen
        );
        for host in &self.allowed_hosts {
            ensure!(
                !host.is_empty() && !host.contains(['/', ' ']),
                "allowed_hosts: \"{host}\" is not a host name: write it as in registry.example"
            );
        }
        for origin in &self.cors_origin {
            let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            ensure!(
                rest.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' '])),
                "cors_origin: \"{origin}\" is not an origin: write scheme, host and port, as in https://dashboard.example"
            );
        }
        ensure!(
            !self.ttl.min.is_zero() && self.ttl.min <= self.ttl.default && self.ttl.default <= self.ttl.max,
            "ttl: min ({}), default ({}) and max ({}) must rise in this order, from more than zero",
            Span(self.ttl.min),
            Span(self.ttl.default),
            Span(self.ttl.max),
        );
        ensure!((1..=100).contains(&self.alarm.share), "alarm.share: must be a percentage from 1 to 100");
        if !self.upstream.is_empty() {
            // What else it says is read when it is called.
            let url: Option<RegistryUrl> = self.upstream.parse().ok();
            let url = url.filter(|url| matches!(url.scheme.as_str(), "consul" | "etcd"));
            ensure!(
                url.is_some(),
                "upstream: name an etcd or a Consul: write it as in etcd://HOST:2379 or consul://HOST:8500"
            );
            // A configuration is printed, and flags are seen by everyone on the machine.
            ensure!(
                url.is_some_and(|url| url.value("token").is_none() && url.value("password").is_none()),
                "upstream: write no secret into the address: use token_env, token_file, password_env or password_file"
            );
        }
        let limits = &self.limits;
        for (key, limit) in [
            ("connections", limits.connections),
            ("streams_per_connection", limits.streams_per_connection as usize),
            ("watches", limits.watches),
            ("instances", limits.instances),
            ("instances_per_service", limits.instances_per_service),
            ("services", limits.services),
            ("namespaces", limits.namespaces),
            ("instance_bytes", limits.instance_bytes),
            ("head_bytes", limits.head_bytes),
            ("body_bytes", limits.body_bytes),
            ("memory", limits.memory),
        ] {
            ensure!(limit > 0, "limits.{key}: must be more than zero");
        }
        for (key, time) in [
            ("keep_alive", self.keep_alive),
            ("alarm.window", self.alarm.window),
            ("limits.head_timeout", limits.head_timeout),
            ("limits.body_timeout", limits.body_timeout),
        ] {
            ensure!(!time.is_zero(), "{key}: must be more than zero");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
