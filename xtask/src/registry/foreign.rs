//! Registries of others, which keep what they know in a folder over a kill.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::Played;
use crate::failure::{Failure, Result};
use crate::service::Service;

/// An etcd or a Consul on ports of its own.
pub(crate) struct Foreign {
    name: &'static str,
    url: String,
    binary: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    service: Option<Service>,
}

impl Foreign {
    /// Starts an etcd, with further flags.
    pub(crate) fn etcd(binary: &OsStr, more: &[String]) -> Result<Self> {
        let (client, peer) = (free_port()?, free_port()?);
        let [client_url, peer_url] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
        Self::start("etcd", client, binary, |folder| {
            let flags = [
                format!("--data-dir={folder}"),
                format!("--listen-client-urls={client_url}"),
                format!("--advertise-client-urls={client_url}"),
                format!("--listen-peer-urls={peer_url}"),
                format!("--initial-advertise-peer-urls={peer_url}"),
                format!("--initial-cluster=default={peer_url}"),
                "--log-level=error".into(),
            ];
            flags.into_iter().chain(more.iter().cloned()).collect()
        })
    }

    /// Starts a Consul, with further flags.
    pub(crate) fn consul(binary: &OsStr, further: &[String]) -> Result<Self> {
        let (http, serf, server) = (free_port()?, free_port()?, free_port()?);
        let ports = format!(
            "ports {{ http = {http} serf_lan = {serf} server = {server} serf_wan = -1 dns = -1 grpc = -1 grpc_tls = -1 }}"
        );
        Self::start("consul", http, binary, |folder| {
            let more = "performance { raft_multiplier = 1 }";
            let flags = format!("agent -server -bootstrap -bind=127.0.0.1 -client=127.0.0.1 -data-dir={folder}");
            let flags = flags.split(' ').map(ToOwned::to_owned);
            let flags = flags.chain(["-log-level=error".into(), format!("-hcl={ports}"), format!("-hcl={more}")]);
            flags.chain(further.iter().cloned()).collect()
        })
    }

    fn start(
        name: &'static str,
        port: u16,
        binary: &OsStr,
        arguments: impl FnOnce(&str) -> Vec<String>,
    ) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("periplus-{name}-{}-{port}", std::process::id()));
        let arguments = arguments(&folder.display().to_string());
        // A registry whose memory seems lost is not believed for so long: the same as with ours.
        let url = format!("{name}://127.0.0.1:{port}?warm_up=3s");
        let mut foreign = Self { name, url, binary: binary.into(), arguments, folder, service: None };
        foreign.restart()?;
        Ok(foreign)
    }
}

impl Played for Foreign {
    fn url(&self) -> String {
        self.url.clone()
    }

    fn kill(&mut self) {
        self.service = None;
    }

    /// Does not wait until it answers: clients do.
    fn restart(&mut self) -> Result {
        let mut command = Command::new(&self.binary);
        command.args(&self.arguments).stdout(Stdio::null()).stderr(Stdio::null());
        self.service = Some(Service::start(self.name, command)?);
        Ok(())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.service = None;
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> Result<u16> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    Ok(port.map_err(|error| Failure::new(format!("there is no free port: {error}")))?.port())
}
