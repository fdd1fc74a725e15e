//! Where a scenario plays: a runtime, and a harness that is commanded through it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream as _;
use periplus::core::client::{ClientConfig, RegistrationState};
use periplus::core::http::{Input, Method, Request};
use periplus::core::{Endpoint, ServiceInstance};
use periplus::{Client, ConnectOptions, Listing, Registration, Runtime, Watcher, connect_with};
use serde::Deserialize;
use serde_json::Value;

/// How long anything may take to come true, on a machine that does much else: the longest back-off, twice, and the warm-up
/// after it. Nothing waits for it that succeeds.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The ttl of what must lapse soon.
pub const SHORT: Duration = Duration::from_millis(1_000);

/// The ttl of what must not lapse, whatever happens meanwhile.
pub const LONG: Duration = Duration::from_secs(60);

/// How often a condition that nobody announces is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// A runtime and a harness.
#[derive(Clone, Debug)]
pub struct Stage<R> {
    /// The runtime.
    pub runtime: R,
    /// Where the harness listens.
    pub harness: String,
}

/// What came of a request: its status and its body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null, if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body, if it is a success.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, String::from_utf8_lossy(&self.body));
        self.json()
    }
}

impl<R: Runtime> Stage<R> {
    /// A stage on this runtime.
    pub const fn new(runtime: R, harness: String) -> Self {
        Self { runtime, harness }
    }

    /// Opens an arena; the flags are those of `periplus serve`, as a query.
    ///
    /// # Panics
    /// If the harness cannot.
    pub async fn arena(&self, flags: &str) -> Arena<R> {
        let query = if flags.is_empty() { String::new() } else { format!("?{flags}") };
        let opened = self.request(Method::Post, &format!("{}/arenas{query}", self.harness), Vec::new()).await.ok();
        let opened: Opened = serde_json::from_value(opened).expect("the harness says what it opened");
        Arena { stage: self.clone(), id: opened.id, server: opened.server, proxy: opened.proxy }
    }

    /// Sends a request through the runtime.
    ///
    /// # Panics
    /// If it fails.
    pub async fn request(&self, method: Method, url: &str, body: Vec<u8>) -> Answer {
        let mut answer = Answer { status: 0, body: Vec::new() };
        let headers = Vec::new();
        let mut exchange =
            self.runtime.request(Request { method, url: url.to_owned(), headers, body, streaming: false });
        loop {
            match poll_fn(|cx| Pin::new(&mut exchange).poll_next(cx)).await {
                Some(Input::Response(head)) => answer.status = head.status,
                Some(Input::Chunk(chunk)) => answer.body.extend_from_slice(&chunk),
                Some(Input::End) => return answer,
                Some(Input::Failure(failure)) => panic!("{url}: {failure}"),
                None => panic!("{url}: it ended without a word"),
            }
        }
    }

    /// Lets time pass.
    pub async fn sleep(&self, span: Duration) {
        self.runtime.sleep_until(self.runtime.now().saturating_add(span)).await;
    }

    /// What a future gives, or nothing if it takes longer than that.
    pub async fn within<T>(&self, span: Duration, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut sleep = self.runtime.sleep_until(self.runtime.now().saturating_add(span));
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Pin::new(&mut sleep).poll(cx).map(|()| None),
        })
        .await
    }

    /// What a future gives, which must not take for ever.
    ///
    /// # Panics
    /// If it takes too long.
    pub async fn soon<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        match self.within(PATIENCE, future).await {
            Some(value) => value,
            None => panic!("waited in vain for this: {what}"),
        }
    }

    /// Looks until something holds.
    ///
    /// # Panics
    /// If it takes too long.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let holding = async {
            while !holds().await {
                self.sleep(GLANCE).await;
            }
        };
        self.soon(what, holding).await;
    }

    /// Registers an instance.
    ///
    /// # Panics
    /// If it takes too long, or is refused.
    pub async fn register(&self, client: &Client, instance: ServiceInstance, ttl: Duration) -> Registration {
        self.soon("registering", client.register(instance).ttl(ttl)).await.expect("nobody else has the id")
    }

    /// Watches the service `web`, registers its only instance `a`, and waits until it is seen.
    ///
    /// # Panics
    /// If it takes too long.
    pub async fn watched(&self, client: &Client, ttl: Duration) -> (Registration, Watcher) {
        let mut watcher = client.watch("web").expect("it can be watched");
        let held = self.register(client, instance("web", "a"), ttl).await;
        self.list("it is seen", &mut watcher, |list| ids(list) == ["a"]).await;
        (held, watcher)
    }

    /// Waits until a registration is in such a state.
    ///
    /// # Panics
    /// If it takes too long.
    pub async fn state(&self, what: &str, held: &mut Registration, wanted: impl Fn(&RegistrationState) -> bool) {
        let waiting = async {
            while !wanted(&held.state()) {
                // A state that only time has overtaken is told when the machine notices.
                let _ = self.within(GLANCE, held.changed()).await;
            }
        };
        self.soon(what, waiting).await;
    }

    /// Waits until a registration is registered.
    ///
    /// # Panics
    /// If it takes too long.
    pub async fn registered(&self, held: &mut Registration) {
        self.state("it is registered", held, |state| *state == RegistrationState::Registered).await;
    }

    /// Reads lists until one is as it should be, and returns it.
    ///
    /// # Panics
    /// If it takes too long, or the client is closed.
    pub async fn list(&self, what: &str, watcher: &mut Watcher, wanted: impl Fn(&Listing) -> bool) -> Listing {
        let reading = async {
            loop {
                let list = watcher.next().await.expect("the client is open");
                if wanted(&list) {
                    return list;
                }
            }
        };
        self.soon(what, reading).await
    }

    /// How a client here is configured: times are scaled down.
    #[must_use]
    pub fn config() -> ClientConfig {
        ClientConfig {
            spread: Duration::from_millis(300),
            silence: Duration::from_millis(1_500),
            linger: Duration::from_millis(200),
            last_word: Duration::from_secs(2),
            call_timeout: Duration::from_secs(1),
            ..ClientConfig::default()
        }
    }

    /// A client of a registry at these origins.
    pub fn client(&self, origins: &[&str]) -> Client {
        self.client_with(origins, Self::config())
    }

    /// A client with a configuration of its own.
    ///
    /// # Panics
    /// If an origin is none.
    pub fn client_with(&self, origins: &[&str], config: ClientConfig) -> Client {
        let options = ConnectOptions { config, ..ConnectOptions::default() };
        connect_with(self.runtime.clone(), &address(origins), options).expect("the origins are addresses")
    }

    /// What a client of these origins has stored, if it was told to remember.
    #[must_use]
    pub fn remembered(&self, origins: &[&str]) -> Option<Vec<u8>> {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = address(origins).chars().map(plain).collect();
        self.runtime.load(&format!("periplus-cache-{name}"))
    }
}

/// The address of a registry at these origins.
fn address(origins: &[&str]) -> String {
    let hosts: Vec<&str> = origins.iter().map(|origin| origin.trim_start_matches("http://")).collect();
    format!("periplus://{}", hosts.join(","))
}

/// What the harness says of an arena that it has opened.
#[derive(Deserialize)]
struct Opened {
    id: u64,
    server: String,
    proxy: String,
}

/// A registry of a scenario's own, with a faulty proxy before it.
#[derive(Clone, Debug)]
pub struct Arena<R> {
    stage: Stage<R>,
    id: u64,
    /// The registry's origin.
    pub server: String,
    /// The proxy's origin.
    pub proxy: String,
}

impl<R: Runtime> Arena<R> {
    /// Commands the harness: `kill`, `start`, `stop`, `cont`, `proxy?mode=…`, `connects`, `close`.
    ///
    /// # Panics
    /// If the harness cannot.
    pub async fn command(&self, command: &str) -> Value {
        let url = format!("{}/arenas/{}/{command}", self.stage.harness, self.id);
        self.stage.request(Method::Post, &url, Vec::new()).await.ok()
    }

    /// Asks the registry itself, as an outsider.
    pub async fn act(&self, method: Method, path: &str, body: Value) -> Answer {
        let url = format!("{}/arenas/{}/act{path}", self.stage.harness, self.id);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.stage.request(method, &url, body).await
    }

    /// Registers something, as an outsider.
    ///
    /// # Panics
    /// If the registry refuses it.
    pub async fn put(&self, service: &str, id: &str, body: Value) -> Value {
        self.act(Method::Put, &format!("/v1/services/{service}/instances/{id}"), body).await.ok()
    }

    /// The instances of a service, as the registry lists them.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn listed(&self, service: &str) -> Vec<Value> {
        let list = self.act(Method::Get, &format!("/v1/services/{service}"), Value::Null).await.ok();
        list["instances"].as_array().cloned().unwrap_or_default()
    }

    /// Their ids.
    pub async fn ids(&self, service: &str) -> Vec<String> {
        let listed = self.listed(service).await;
        listed.iter().filter_map(|instance| Some(instance["id"].as_str()?.to_owned())).collect()
    }

    /// How often instances of a service were registered, as the registry remembers it.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn history(&self, service: &str) -> Vec<String> {
        let past = self.act(Method::Get, &format!("/v1/history?service={service}"), Value::Null).await.ok();
        let entries = past["entries"].as_array().cloned().unwrap_or_default();
        entries.iter().filter_map(|entry| Some(entry["cause"].as_str()?.to_owned())).collect()
    }

    /// Closes a client, and then the arena.
    ///
    /// # Panics
    /// If it takes too long.
    pub async fn end(self, client: Client) {
        self.stage.soon("closing", client.close()).await;
        self.close().await;
    }

    /// Ends the arena. One that a failed scenario leaves behind ends with the harness.
    pub async fn close(self) {
        self.command("close").await;
    }
}

/// An instance with an endpoint.
///
/// # Panics
/// If they are no names.
#[must_use]
pub fn instance(service: &str, id: &str) -> ServiceInstance {
    let names = (service.parse().expect("it is a name"), id.parse().expect("it is an id"));
    ServiceInstance::new(names.0, names.1)
        .with_endpoint(Endpoint::new("http://10.0.0.1:8000").expect("it is an endpoint"))
}

/// The ids of a list.
#[must_use]
pub fn ids(list: &Listing) -> Vec<&str> {
    list.iter().map(periplus::core::Instance::id).collect()
}
