//! A registry and the proxy in front of it.

use std::io;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::process::{self, Process};
use super::proxy::{Existing, Mode, Proxy};

/// What every registry here is told unless it is told otherwise: times are scaled down.
const DEFAULTS: [(&str, &str); 4] = [("ttl-min", "100ms"), ("keep-alive", "300ms"), ("warm-up", "0s"), ("log", "off")];

/// An arena that was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Its number.
    pub id: u64,
    /// The origin of the registry itself.
    pub server: String,
    /// The origin of the proxy in front of it.
    pub proxy: String,
    /// The registry's process.
    pub pid: u32,
}

#[derive(Debug)]
pub(super) struct Arena {
    pub(super) process: Process,
    proxy: Proxy,
}

impl Arena {
    /// Opens an arena whose registry has these flags, and lets pages of an origin in.
    pub(super) async fn open(binary: PathBuf, flags: &[(String, String)], origin: Option<&str>) -> io::Result<Self> {
        let mut arguments: Vec<String> = Vec::new();
        for (key, value) in DEFAULTS {
            if flags.iter().all(|(flag, _)| flag != key) {
                arguments.push(format!("--{key}={value}"));
            }
        }
        arguments.extend(flags.iter().map(|(key, value)| format!("--{key}={value}")));
        arguments.extend(origin.map(|origin| format!("--cors-origin={origin}")));
        let mut process = Process::new(binary, arguments)?;
        process.start().await?;
        let proxy = Proxy::new(process::free_address()?, process.address).await?;
        Ok(Self { process, proxy })
    }

    pub(super) fn opened(&self, id: u64) -> Opened {
        Opened {
            id,
            server: format!("http://{}", self.process.address),
            proxy: format!("http://{}", self.proxy.address),
            pid: self.process.pid().unwrap_or_default(),
        }
    }

    /// Does what a route says. `None`: there is no such command.
    pub(super) async fn command(&mut self, name: &str, query: &[(String, String)]) -> io::Result<Option<String>> {
        match name {
            "kill" => self.process.kill().await?,
            "start" => self.process.start().await?,
            "stop" => self.process.signal(Signal::SIGSTOP)?,
            "cont" => self.process.signal(Signal::SIGCONT)?,
            "connects" => return Ok(Some(serde_json::to_string(&self.proxy.connects())?)),
            "proxy" => {
                let value = |key: &str| query.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
                let n = value("n").and_then(|n| n.parse().ok()).unwrap_or_default();
                let mode = value("mode").and_then(|name| Mode::parse(name, n));
                let existing = value("existing").unwrap_or("close").parse::<Existing>();
                let (Some(mode), Ok(existing)) = (mode, existing) else { return Ok(None) };
                self.proxy.set(mode, existing).await?;
            }
            _ => return Ok(None),
        }
        Ok(Some("{}".into()))
    }
}
