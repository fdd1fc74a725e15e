//! A headless Chromium, driven over WebDriver: <https://www.w3.org/TR/webdriver2/>.

use std::cell::{Cell, RefCell};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use super::http::Http;
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

/// How long a script may run, in milliseconds.
const SCRIPT: u64 = 50_000;

/// A browser with tabs. Dropping it closes it.
pub(super) struct Browser {
    driver: RefCell<Http>,
    session: String,
    /// Whether the tab that the session began with is in use.
    begun: Cell<bool>,
    /// Last, so that it is still there when the session ends.
    _driver: Service,
}

/// A tab of a [`Browser`].
#[derive(Clone, Debug)]
pub(super) struct Tab(String);

impl Browser {
    /// Starts a browser with a profile of its own.
    pub(super) fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// The same, with further arguments for Chromium.
    pub(super) fn start_with(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped());
        let mut driver = Service::start("chromedriver", command)?;
        let mut lines = BufReader::new(driver.take_stdout().expect("it is piped")).lines();
        let port = lines.by_ref().map_while(std::result::Result::ok).find_map(|line| {
            let (_, port) = line.split_once(STARTED)?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let port = port.ok_or_else(|| Failure::new(format!("chromedriver has not printed `{STARTED}PORT`")))?;
        // It may go on printing.
        thread::spawn(move || lines.for_each(drop));

        let arguments = [&ARGUMENTS, arguments].concat();
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": SCRIPT },
        });
        let http = RefCell::new(Http::new(format!("127.0.0.1:{port}")));
        let session =
            call(&http, "POST", "/session", Some(&json!({ "capabilities": { "alwaysMatch": capabilities } })))?;
        let id = session["sessionId"].as_str().unwrap_or_default().to_owned();
        Ok(Self { driver: http, session: format!("/session/{id}"), begun: Cell::new(false), _driver: driver })
    }

    /// Opens a page in a tab of its own.
    pub(super) fn open(&self, url: &str) -> Result<Tab> {
        let tab = if self.begun.replace(true) {
            self.call("POST", "/window/new", Some(&json!({ "type": "tab" })))?["handle"].clone()
        } else {
            self.call("GET", "/window", None)?
        };
        let tab = Tab(tab.as_str().unwrap_or_default().to_owned());
        self.go(&tab, url)?;
        Ok(tab)
    }

    /// Loads another page in a tab.
    pub(super) fn go(&self, tab: &Tab, url: &str) -> Result {
        self.switch(tab)?;
        self.call("POST", "/url", Some(&json!({ "url": url }))).map(drop)
    }

    /// Loads the page of a tab anew.
    pub(super) fn reload(&self, tab: &Tab) -> Result {
        self.switch(tab)?;
        self.call("POST", "/refresh", Some(&json!({}))).map(drop)
    }

    /// Goes back to the page before.
    pub(super) fn back(&self, tab: &Tab) -> Result {
        self.switch(tab)?;
        self.call("POST", "/back", Some(&json!({}))).map(drop)
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

    /// Presses keys in a tab, one after another. Those that write nothing are named as WebDriver names them.
    pub(super) fn press(&self, tab: &Tab, keys: &[&str]) -> Result {
        let strokes = keys.iter().flat_map(|key| [("keyDown", *key), ("keyUp", *key)]);
        self.strike(tab, strokes)
    }

    /// Presses a key in a tab while another one is held.
    pub(super) fn press_with(&self, tab: &Tab, held: &str, key: &str) -> Result {
        self.strike(tab, [("keyDown", held), ("keyDown", key), ("keyUp", key), ("keyUp", held)])
    }

    fn strike<'a>(&self, tab: &Tab, strokes: impl IntoIterator<Item = (&'static str, &'a str)>) -> Result {
        self.switch(tab)?;
        let strokes = strokes.into_iter().map(|(kind, key)| json!({ "type": kind, "value": key }));
        let strokes: Vec<Value> = strokes.collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keys", "actions": strokes }] });
        self.call("POST", "/actions", Some(&actions)).map(drop)
    }

    /// A picture of what a tab shows, as PNG in Base64.
    pub(super) fn picture(&self, tab: &Tab) -> Result<String> {
        self.switch(tab)?;
        Ok(self.call("GET", "/screenshot", None)?.as_str().unwrap_or_default().to_owned())
    }

    /// Has Chromium itself do something: <https://chromedevtools.github.io/devtools-protocol/>.
    pub(super) fn devtools(&self, tab: &Tab, command: &str, parameters: &Value) -> Result<Value> {
        self.switch(tab)?;
        self.call("POST", "/goog/cdp/execute", Some(&json!({ "cmd": command, "params": parameters })))
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
    pub(super) fn console(&self) -> Vec<String> {
        let entries = self.call("POST", "/se/log", Some(&json!({ "type": "browser" }))).unwrap_or_default();
        let lines = entries.as_array().into_iter().flatten();
        lines.filter_map(|entry| Some(entry["message"].as_str()?.to_owned())).collect()
    }

    fn switch(&self, tab: &Tab) -> Result {
        self.call("POST", "/window", Some(&json!({ "handle": tab.0 }))).map(drop)
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        call(&self.driver, method, &format!("{}{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser. If it fails there is none any more.
        let _ = self.call("DELETE", "", None);
    }
}

/// One call of the driver. Returns the `value` of its answer.
fn call(driver: &RefCell<Http>, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let (_, answer) = driver
        .borrow_mut()
        .send(method, path, &[], &body)
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
