//! Several real etcds that are one.

use std::fmt::Write as _;

use serde_json::json;

use super::{Etcd, encode};
use crate::stores::{Server, Store as _};

/// Three members on loopback. Each is killed and started again by its place.
#[derive(Debug)]
pub struct Cluster([Etcd; 3]);

/// How a key was written last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The lease that it is under.
    pub lease: String,
    /// The revision at which it was written.
    pub revision: String,
}

impl Cluster {
    /// Starts three members, and waits until each is led; nothing, if there is none to start.
    #[must_use]
    pub fn new(server: Server) -> Option<Self> {
        let mut members = [Etcd::place(server)?, Etcd::place(server)?, Etcd::place(server)?];
        let mut all = String::new();
        for (at, member) in members.iter_mut().enumerate() {
            member.name = format!("member-{at}");
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(all, "{comma}{}=http://127.0.0.1:{}", member.name, member.peer);
        }
        for member in &mut members {
            member.members.clone_from(&all);
            // Each waits for the others.
            let arguments = member.arguments();
            member.program.launch(&arguments);
        }
        for member in &mut members {
            let port = member.port;
            member.program.wait(|| super::is_led(port));
        }
        Some(Self(members))
    }

    /// Where all members are, for a client.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.0.iter().map(|member| format!("127.0.0.1:{}", member.port)).collect();
        format!("etcd://{}?warm_up=10s", hosts.join(","))
    }

    /// A member.
    #[must_use]
    pub const fn member(&self, at: usize) -> &Etcd {
        &self.0[at]
    }

    /// Kills a member, as `kill -9` does. Its files stay.
    pub fn kill(&mut self, at: usize) {
        self.0[at].kill();
    }

    /// Starts a member where it was, and does not wait for it.
    pub fn launch(&mut self, at: usize) {
        let arguments = self.0[at].arguments();
        self.0[at].program.launch(&arguments);
    }

    /// How a key was written last, as a member that is led says.
    ///
    /// # Panics
    /// If there is no such key.
    #[must_use]
    pub fn written(&self, at: usize, key: &str) -> Written {
        let answer = self.0[at].call("kv/range", &json!({"key": encode(key)}));
        let pair = &answer["kvs"][0];
        let text = |name: &str| pair[name].as_str().unwrap_or_else(|| panic!("no key {key}")).to_owned();
        Written { lease: text("lease"), revision: text("mod_revision") }
    }
}
