//! Real servers of others: etcd and Consul, as processes that are killed, frozen, emptied and started again.
//!
//! Each listens on ports of its own on loopback, keeps its files in a folder of its own, is ready when it is returned, and ends
//! with the value that holds it. Everything here blocks; it is for tests, and starting takes a second or two.
//!
//! The binaries are named by `ETCD_BIN`, `ETCD_CURRENT_BIN` and `CONSUL_BIN`; without those, they are looked for in `PATH`
//! and where `cargo xtask test` builds them. A test whose server is not there is skipped with a line that says so, unless
//! `PERIPLUS_REQUIRE_SERVERS` is set: then it fails.

pub mod consul;
pub mod etcd;
pub mod field;
pub mod http;
mod program;
pub mod scenarios;
pub mod tls;

use std::env;
use std::path::PathBuf;

use periplus::core::ServiceInstance;
use serde_json::Value;

pub use consul::Consul;
pub use etcd::Etcd;

/// The variable that says that no server may be missing.
const REQUIRE: &str = "PERIPLUS_REQUIRE_SERVERS";

/// A server that tests start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The etcd that distributions package, 3.4 at the time of writing: the oldest that matters.
    Etcd,
    /// A current etcd, 3.6 or later.
    EtcdCurrent,
    /// Consul.
    Consul,
}

impl Server {
    /// The binary; nothing, and a line that says so, if there is none.
    ///
    /// # Panics
    /// If there is none although all servers are required.
    #[must_use]
    pub fn binary(self) -> Option<PathBuf> {
        let (variable, found) = match self {
            Self::Etcd => ("ETCD_BIN", in_path("etcd")),
            Self::EtcdCurrent => ("ETCD_CURRENT_BIN", in_cache("etcd")),
            Self::Consul => ("CONSUL_BIN", in_path("consul").or_else(|| in_cache("consul"))),
        };
        let binary = env::var_os(variable).map(PathBuf::from).or(found);
        if binary.is_none() {
            let missing = format!("there is no {self:?}: name its binary in {variable}, or run `cargo xtask test`");
            let required = env::var_os(REQUIRE).is_some_and(|value| !value.is_empty() && value != "0");
            assert!(!required, "{missing}");
            println!("skipped: {missing}");
        }
        binary
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn in_cache(name: &str) -> Option<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME").filter(|base| !base.is_empty()).map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(base.join("periplus").join(name)).filter(|path| path.is_file())
}

/// A store that a scenario plays against, whatever it is.
pub trait Store: Send {
    /// Where it is, for a client that speaks its protocol, with times scaled down: there is a query, and more may follow.
    fn url(&self) -> String;

    /// Kills it, as `kill -9` does. Its files stay.
    fn kill(&mut self);

    /// Starts it where it was, with what its files say, and waits until it answers.
    fn start(&mut self);

    /// Kills it and drops its files: what is started next knows nothing.
    fn wipe(&mut self);

    /// Stops its process without ending it.
    fn freeze(&self);

    /// Lets it go on.
    fn thaw(&self);

    /// The port of loopback that it listens on, where it is reached without TLS.
    fn port(&self) -> u16;

    /// The ids of the instances of a service, as others see them, in order.
    fn ids(&self, service: &str) -> Vec<String>;

    /// What others read of an instance, without its id and what counts changes.
    ///
    /// # Panics
    /// If it is not there.
    fn as_others_see(&self, service: &str, id: &str) -> Value;

    /// Takes an instance out behind its holder's back: the lease is revoked, the registration is taken from the agent.
    fn forget(&self, service: &str, id: &str);

    /// Registers an instance as a Go program with Kratos 3 does, field for field what those were seen to write, and never
    /// renews it.
    fn put_as_kratos(&self, instance: &ServiceInstance);

    /// Writes something under a service's name that is no instance, if that can be done, and says how many.
    fn put_garbage(&self, service: &str) -> u64;
}
