//! A small client of the protocol, blocking and without mercy: it checks what it reads.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};

use crate::common::{self, PATIENCE, Running};

/// A registry under test.
pub struct Server {
    pub process: Running,
    pub address: String,
}

impl Server {
    /// Starts one that is settled and takes short times to live.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more flags.
    pub fn start_with(flags: &[&str]) -> Self {
        let fixed = ["serve", "--listen=127.0.0.1:0", "--warm-up=0s", "--ttl-min=100ms"];
        Self::start_as(&[&fixed, flags].concat())
    }

    /// Runs these arguments and waits until the server says where it listens.
    pub fn start_as(arguments: &[&str]) -> Self {
        let mut process = common::start(arguments);
        let line = process.line();
        let address = line.strip_prefix("listening on http://").expect("the first line says where it listens");
        Self { address: address.into(), process }
    }

    pub fn call(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        Connection::open(&self.address).call(method, path, body)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Body::None)
    }

    /// Registers an instance of the default namespace.
    pub fn register(&self, service: &str, id: &str, body: Value) -> Value {
        let path = format!("/v1/services/{service}/instances/{id}");
        self.call("PUT", &path, body).ok()
    }

    /// Opens a watch.
    pub fn watch(&self, query: &str) -> Watch {
        Watch::open(&self.address, &format!("/v1/watch?{query}"), None)
    }

    /// The ids of a service's instances.
    pub fn ids(&self, service: &str) -> Vec<String> {
        let answer = self.get(&format!("/v1/services/{service}")).ok();
        ids(&answer["instances"])
    }
}

/// The ids of a list of instances.
pub fn ids(instances: &Value) -> Vec<String> {
    let instances = instances.as_array().expect("a list of instances").iter();
    instances.map(|it| it["id"].as_str().expect("an id").to_owned()).collect()
}

/// The body of a request.
pub enum Body {
    None,
    Text(String),
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self::Text(value.to_string())
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        assert_eq!(self.headers.get("content-type").map(String::as_str), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What it says, if it is good.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// Status, code and field of a refusal.
    pub fn refused(&self) -> (u16, String, String) {
        let problem = self.json();
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        assert!(!text("message").is_empty(), "{self:?}");
        assert_eq!(self.headers.get("x-content-type-options").map(String::as_str), Some("nosniff"));
        (self.status, text("code"), text("field"))
    }
}

/// One connection, for several requests.
pub struct Connection {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server takes connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time can be set");
        stream.set_nodelay(true).expect("it can be set");
        Self { address: address.into(), stream: BufReader::new(stream) }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the server reads");
    }

    pub fn call(&mut self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        self.call_with(method, path, &[], body)
    }

    /// Sends a request with more headers; a `host` among them replaces the usual one.
    pub fn call_with(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            head += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        match body.into() {
            Body::None => head += "\r\n",
            Body::Text(text) => head += &format!("content-length: {}\r\n\r\n{text}", text.len()),
        }
        self.send(head.as_bytes());
        self.answer()
    }

    pub fn answer(&mut self) -> Answer {
        let (status, headers) = self.head();
        let mut body = Vec::new();
        match headers.get("content-length") {
            Some(length) => {
                body.resize(length.parse().expect("a length"), 0);
                self.stream.read_exact(&mut body).expect("a whole body");
            }
            None if status == 204 => {}
            None => drop(self.stream.read_to_end(&mut body).expect("a body to the end")),
        }
        Answer { status, headers, body: String::from_utf8(body).expect("text") }
    }

    /// Reads the head of an answer that has no body, and gives its headers.
    pub fn call_head(&mut self) -> HashMap<String, String> {
        self.head().1
    }

    /// The status of an answer, if there is one before the connection is closed.
    pub fn head_status(&mut self) -> Option<u16> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line);
        read.ok().and_then(|_| line.split(' ').nth(1)?.parse().ok())
    }

    fn head(&mut self) -> (u16, HashMap<String, String>) {
        let line = self.line();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {line:?}"));
        let mut headers = HashMap::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        (status, headers)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Whether the other end closes, without a word.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = self.stream.read_to_end(&mut rest);
        // It cuts the connection if it has not read everything.
        rest.is_empty() && read.map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |_| true)
    }
}

/// An event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub event: String,
    pub data: String,
    pub id: String,
    pub retry: Option<u64>,
}

impl Event {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn revision(&self) -> u64 {
        let (_, revision) = self.id.rsplit_once('.').expect("an id is a cursor");
        revision.parse().expect("a cursor ends in a revision")
    }
}

/// A stream of events.
pub struct Watch {
    connection: Connection,
    pub headers: HashMap<String, String>,
    /// What the registry calls the watch, once anything was read.
    pub name: String,
    /// What of the last chunk was not read.
    left: usize,
}

impl Watch {
    pub fn open(address: &str, path: &str, last_event_id: Option<&str>) -> Self {
        let last: Vec<_> = last_event_id.map(|id| ("last-event-id", id)).into_iter().collect();
        Self::request(address, "GET", path, &last, "")
    }

    /// Opens a stream with a request of any kind.
    pub fn request(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut connection = Connection::open(address);
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        connection.send(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
        let (status, headers) = connection.head();
        assert_eq!(status, 200, "the watch was refused");
        assert_eq!(headers["content-type"], "text/event-stream");
        Self { connection, headers, name: String::new(), left: 0 }
    }

    /// A line of the stream, out of its chunks; nothing at its end.
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            if self.left == 0 {
                let size = self.connection.line();
                let size = if size.is_empty() { self.connection.line() } else { size };
                self.left = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("no chunk: {size:?}"));
                if self.left == 0 {
                    assert!(line.is_empty(), "the stream ends in the middle of a line");
                    return None;
                }
            }
            let mut byte = [0];
            self.connection.stream.read_exact(&mut byte).expect("a whole chunk");
            self.left -= 1;
            match byte {
                [b'\n'] => return Some(String::from_utf8(line).expect("text")),
                [byte] => line.push(byte),
            }
        }
    }

    /// The next event, bookmarks included, but for the one that names the watch; nothing at the end of the stream.
    pub fn next(&mut self) -> Option<Event> {
        let event = self.any()?;
        if event.event != "watch" {
            return Some(event);
        }
        assert!(self.name.is_empty() && event.id.is_empty(), "a watch is named once, at first: {event:?}");
        self.name = event.json()["watch"].as_str().expect("a name").into();
        self.any()
    }

    fn any(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("event", name)) => event.event = name.into(),
                Some(("data", data)) => event.data = data.into(),
                Some(("id", id)) => event.id = id.into(),
                Some(("retry", time)) => event.retry = time.parse().ok(),
                _ if line.is_empty() && event != Event::default() => return Some(event),
                _ => assert!(line.is_empty() || line.starts_with(':'), "no field: {line:?}"),
            }
        }
    }

    /// The next event that is called so; those before it are skipped.
    pub fn next_called(&mut self, name: &str) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.next().unwrap_or_else(|| panic!("the stream ended before {name}"));
            if event.event == name {
                return event;
            }
            assert!(Instant::now() < deadline, "in vain waited for {name}");
        }
    }

    /// The events up to the next id.
    pub fn delivery(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.next().expect("the stream goes on");
            let last = !event.id.is_empty();
            events.push(event);
            if last {
                return events;
            }
        }
    }
}

/// What a watcher holds, and whether what it is told makes sense.
#[derive(Debug, Default)]
pub struct Mirror {
    pub instances: BTreeMap<(String, String), Value>,
    pub cursor: String,
    revision: u64,
}

impl Mirror {
    /// Applies one delivery, and checks it.
    pub fn apply(&mut self, delivery: &[Event]) {
        let Some(last) = delivery.last() else { return };
        let mut announced = 0;
        let mut told = std::collections::BTreeSet::new();
        for event in delivery {
            match event.event.as_str() {
                "snapshot" => {
                    assert_eq!(announced, 0, "a snapshot is shorter than announced: {delivery:?}");
                    let head = event.json();
                    announced = head["count"].as_u64().expect("a count");
                    let covered = |name: &str| match head["service"].as_str() {
                        Some(service) => name == service,
                        None => name.starts_with(head["prefix"].as_str().expect("a service or a prefix")),
                    };
                    self.instances.retain(|(name, _), _| !covered(name));
                }
                "put" => {
                    let instance = event.json();
                    let key = key(&instance);
                    assert!(told.insert(key.clone()), "told twice in one delivery: {key:?}");
                    if announced > 0 {
                        announced -= 1;
                    } else {
                        let before = self.instances.get(&key);
                        assert_ne!(before, Some(&instance), "told what was known: {key:?}");
                    }
                    self.instances.insert(key, instance);
                }
                "remove" => {
                    let key = key(&event.json());
                    assert!(told.insert(key.clone()), "told twice in one delivery: {key:?}");
                    assert!(self.instances.remove(&key).is_some(), "removed what was not there: {key:?}");
                }
                _ => {}
            }
        }
        assert_eq!(announced, 0, "a snapshot is shorter than announced: {delivery:?}");
        assert!(last.revision() >= self.revision, "revisions rise: {last:?} after {}", self.revision);
        self.revision = last.revision();
        self.cursor.clone_from(&last.id);
    }

    /// Follows a watch until it has come to a revision.
    pub fn follow(&mut self, watch: &mut Watch, to: u64) {
        while self.revision < to {
            self.apply(&watch.delivery());
        }
    }

    /// What it holds of a service, as a listing would show it.
    pub fn list(&self, service: &str) -> Value {
        let held = self.instances.iter().filter(|((name, _), _)| name == service);
        json!(held.map(|(_, instance)| instance).collect::<Vec<_>>())
    }
}

fn key(instance: &Value) -> (String, String) {
    let text = |key: &str| instance[key].as_str().expect("a name").to_owned();
    (text("name"), text("id"))
}
