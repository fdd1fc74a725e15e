//! A registry that is started, killed and started again.

mod foreign;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::thread;

use crate::failure::{Failure, Result};
use crate::service::Service;
use crate::shell;

pub(crate) use foreign::Foreign;

/// A registry that is killed and comes back.
pub(crate) trait Played {
    /// The address, as clients write it.
    fn url(&self) -> String;

    /// Kills it, and gives it no time for anything.
    fn kill(&mut self);

    /// Starts it again where it was.
    fn restart(&mut self) -> Result;
}

/// What the registry prints, followed by its address, once it accepts connections.
const LISTENING: &str = "listening on http://";

/// A registry on a port of its own, which it keeps.
pub(crate) struct Registry {
    address: String,
    arguments: Vec<String>,
    service: Option<Service>,
}

impl Registry {
    /// Starts a registry with further arguments for `periplus serve`.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut registry = Self { address: "127.0.0.1:0".to_owned(), arguments, service: None };
        registry.restart()?;
        Ok(registry)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The address, as clients write it.
    pub(crate) fn url(&self) -> String {
        format!("periplus://{}", self.address)
    }

    /// How many watches it has open.
    pub(crate) fn watches(&self) -> Result<String> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", &format!("http://{}/metrics", self.address)]);
        let metrics = shell::output(curl)?;
        let line = metrics.lines().find_map(|line| line.strip_prefix("periplus_watches "));
        line.map(str::to_owned).ok_or_else(|| Failure::new("the registry does not say how many watches there are"))
    }

    /// Kills it, and gives it no time for anything.
    pub(crate) fn kill(&mut self) {
        self.service = None;
    }

    /// Starts it again where it was. It remembers nothing.
    pub(crate) fn restart(&mut self) -> Result {
        let mut command = Command::new(shell::built_binary("periplus")?);
        command.args(["serve", "--listen", &self.address]).args(&self.arguments).stdout(Stdio::piped());
        let mut service = Service::start("registry", command)?;
        let mut stdout = BufReader::new(service.take_stdout().expect("it is piped"));
        let mut lines = stdout.by_ref().lines().map_while(std::result::Result::ok);
        let address = lines.find_map(|line| Some(line.strip_prefix(LISTENING)?.trim().to_owned()));
        self.address = address.ok_or_else(|| Failure::new("the registry has not said where it listens"))?;
        // Whatever else it says.
        thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        self.service = Some(service);
        Ok(())
    }

    /// Starts it again where it was, with other arguments.
    pub(crate) fn restart_with(&mut self, arguments: &[&str]) -> Result {
        self.kill();
        self.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self.restart()
    }

    /// Stops it in its tracks, as a machine that is suspended does, or lets it go on.
    pub(crate) fn freeze(&self, freeze: bool) {
        if let Some(service) = &self.service {
            service.freeze(freeze);
        }
    }

    /// Starts `periplus COMMAND …`, as somebody would on another machine.
    pub(crate) fn start_client(&self, name: &'static str, arguments: &[&str]) -> Result<Service> {
        Service::start(name, client(&self.url(), arguments)?)
    }

    /// What `periplus COMMAND …` prints.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<String> {
        let mut command = client(&self.url(), arguments)?;
        command.stderr(Stdio::null());
        shell::output(command)
    }
}

/// `periplus COMMAND …` for the registry at an address.
pub(crate) fn client(url: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(shell::built_binary("periplus")?);
    command.args(arguments).env("PERIPLUS_REGISTRY", url);
    Ok(command)
}

impl Played for Registry {
    fn url(&self) -> String {
        Self::url(self)
    }

    fn kill(&mut self) {
        Self::kill(self);
    }

    fn restart(&mut self) -> Result {
        Self::restart(self)
    }
}
