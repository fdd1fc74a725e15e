//! A headless Chromium, driven over WebDriver: <https://www.w3.org/TR/webdriver2/>.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::wait;
use crate::failure::{Failure, Result};
use crate::service::Service;

/// How Chromium is started. It runs as root in containers, where it must not build its own sandbox.
const ARGUMENTS: [&str; 8] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// What the driver prints before its port.
const STARTED: &str = "started successfully on port ";

/// How long a call of the driver may take.
const CALL: Duration = Duration::from_secs(60);

/// A browser with tabs. Dropping it closes it.
pub(super) struct Browser {
    port: u16,
    session: String,
    /// Whether the tab that the session began with is in use.
    begun: bool,
    /// Last, so that it is still there when the session ends.
    _driver: Service,
}

/// A tab of a [`Browser`].
#[derive(Clone, Debug)]
pub(super) struct Tab(String);

impl Browser {
    /// Starts a browser with a profile of its own.
    pub(super) fn start() -> Result<Self> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped());
        let mut driver = Service::start("chromedriver", command)?;
        let mut lines = BufReader::new(driver.take_stdout().expect("it is piped")).lines();
        let port = lines.by_ref().map_while(std::result::Result::ok).find_map(|line| {
            let (_, port) = line.split_once(STARTED)?;
            port.trim_end_matches('.').parse().ok()
        });
        let port = port.ok_or_else(|| Failure::new(format!("chromedriver has not printed `{STARTED}PORT`")))?;
        // It may go on printing.
        thread::spawn(move || lines.for_each(drop));

        let capabilities = json!({
            "goog:chromeOptions": { "args": ARGUMENTS },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let session =
            call(port, "POST", "/session", Some(&json!({ "capabilities": { "alwaysMatch": capabilities } })))?;
        let id = session["sessionId"].as_str().unwrap_or_default().to_owned();
        Ok(Self { port, session: format!("/session/{id}"), begun: false, _driver: driver })
    }

    /// Opens a page in a tab of its own.
    pub(super) fn open(&mut self, url: &str) -> Result<Tab> {
        let tab = if self.begun {
            self.call("POST", "/window/new", Some(&json!({ "type": "tab" })))?["handle"].clone()
        } else {
            self.begun = true;
            self.call("GET", "/window", None)?
        };
        let tab = Tab(tab.as_str().unwrap_or_default().to_owned());
        self.switch(&tab)?;
        self.call("POST", "/url", Some(&json!({ "url": url })))?;
        Ok(tab)
    }

    /// Closes a tab, as somebody does who has seen enough.
    pub(super) fn close(&self, tab: &Tab) -> Result {
        self.switch(tab)?;
        let left = self.call("DELETE", "/window", None)?;
        // The driver does nothing from a tab that is gone, not even open another.
        left[0].as_str().map_or(Ok(()), |left| self.switch(&Tab(left.to_owned())))
    }

    /// Runs a script in a tab and returns what it returns, or what the promise that it returns resolves to.
    pub(super) fn run(&self, tab: &Tab, script: &str) -> Result<Value> {
        self.switch(tab)?;
        self.call("POST", "/execute/sync", Some(&json!({ "script": script, "args": [] })))
    }

    /// Waits until what a tab shows is as wanted.
    ///
    /// # Errors
    /// If it does not become so in time: with what it shows, and what it wrote to its console.
    pub(super) fn wait(&self, tab: &Tab, what: &str, mut wanted: impl FnMut(&str) -> bool) -> Result {
        let mut text = String::new();
        let waited = wait(what, || {
            text = self.run(tab, "return document.body?.innerText ?? ''")?.as_str().unwrap_or_default().to_owned();
            Ok(wanted(&text).then_some(()))
        });
        waited.map_err(|failure| {
            let failure = failure.with_hint(&format!("the page shows: {text:?}"));
            self.console().iter().fold(failure, |failure, line| failure.with_hint(&format!("its console: {line}")))
        })
    }

    /// What the pages wrote to the console since this was last asked.
    fn console(&self) -> Vec<String> {
        let entries = self.call("POST", "/se/log", Some(&json!({ "type": "browser" }))).unwrap_or_default();
        let lines = entries.as_array().into_iter().flatten();
        lines.filter_map(|entry| Some(entry["message"].as_str()?.to_owned())).collect()
    }

    fn switch(&self, tab: &Tab) -> Result {
        self.call("POST", "/window", Some(&json!({ "handle": tab.0 }))).map(drop)
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        call(self.port, method, &format!("{}{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser. If it fails there is none any more.
        let _ = self.call("DELETE", "", None);
    }
}

/// One call of the driver. Returns the `value` of its answer.
fn call(port: u16, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
    let answer = exchange(port, method, path, &body.map(Value::to_string).unwrap_or_default())
        .map_err(|error| Failure::new(format!("chromedriver does not answer {method} {path}: {error}")))?;
    let mut answer: Value = serde_json::from_slice(&answer)
        .map_err(|error| Failure::new(format!("chromedriver does not answer in JSON: {error}")))?;
    let value = answer["value"].take();
    match value["error"].as_str() {
        None => Ok(value),
        Some(error) => {
            let message = value["message"].as_str().unwrap_or_default();
            Err(Failure::new(format!("chromedriver cannot {method} {path}: {error}: {message}")))
        }
    }
}

/// Sends a request, and returns the body of the answer.
fn exchange(port: u16, method: &str, path: &str, body: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(CALL))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
