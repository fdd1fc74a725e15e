//! How a client of Consul behaves, beyond what every client has.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use smol_str::SmolStr;

use crate::client::url::{RegistryUrl, UrlError};
use crate::protocol::Span;

/// What a client of Consul does and asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsulOptions {
    /// Which checks an instance is registered with.
    pub checks: Checks,
    /// How often the agent tries to connect to each endpoint, or, without a TTL check, how often the client looks whether
    /// its registration is still there.
    pub interval: Duration,
    /// How long an instance lives without a renewal, unless its registration says: the TTL check's ttl. Kratos has twice
    /// its interval.
    pub ttl: Duration,
    /// After how long in a critical state the agent takes an instance out. Consul takes less than a minute for a minute,
    /// and looks every half.
    pub deregister_after: Duration,
    /// Tags of every instance, after the one that says its version. Those that say a version are left out.
    pub tags: Vec<SmolStr>,
    /// The datacenters to read from, in order of preference; none: that of the agent.
    pub datacenters: Vec<SmolStr>,
    /// The Enterprise admin partition, if it is not the agent's.
    pub partition: Option<SmolStr>,
    /// The token of every request.
    pub token: Option<Token>,
    /// What the agent may answer from.
    pub reads: Reads,
    /// How long a query waits for a change. Consul takes up to ten minutes, and adds up to a sixteenth.
    pub wait: Duration,
    /// The most queries that wait at once. In a browser, which has six connections to an origin, four, if the address does
    /// not say. Beyond, they take turns. Beside them go those that are answered at once, a quarter as many, but one at
    /// least and eight at most.
    pub long_polls: usize,
    /// For how long what Consul does not list proves nothing, after it has lost its memory.
    pub warm_up: Duration,
    /// Whether an instance that says it is `draining` or `down` is put into maintenance, because readers other than
    /// Periplus's do not look at what it says. It is listed nowhere then.
    pub maintenance: bool,
}

/// Which checks an instance is registered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// One for each endpoint: the agent connects to it.
    pub tcp: bool,
    /// One that the client renews.
    pub ttl: bool,
}

/// What an agent may answer reads from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// What the leader knows.
    #[default]
    Leader,
    /// What any server knows, which may lag.
    Stale,
    /// What the agent has in its cache.
    Cached,
}

/// A secret that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(SmolStr);

impl Token {
    /// Takes a text that can be the value of a header.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Default for ConsulOptions {
    fn default() -> Self {
        Self {
            checks: Checks { tcp: true, ttl: true },
            interval: Duration::from_secs(10),
            ttl: Duration::from_secs(20),
            deregister_after: Duration::from_secs(600),
            tags: Vec::new(),
            datacenters: Vec::new(),
            partition: None,
            token: None,
            reads: Reads::default(),
            wait: Duration::from_secs(55),
            long_polls: 64,
            warm_up: Duration::from_secs(90),
            maintenance: true,
        }
    }
}

impl ConsulOptions {
    /// How many queries may wait at once.
    pub(super) fn places(&self) -> usize {
        self.long_polls.max(1)
    }

    /// How many more may be under way that do not wait, so that none of these has to wait for those that do.
    pub(super) fn beside(&self) -> usize {
        (self.long_polls / 4).clamp(1, 8)
    }

    /// The keys that [`from_url`](Self::from_url) reads.
    pub const KEYS: &'static [&'static str] = &[
        "checks",
        "interval",
        "deregister_after",
        "tags",
        "dc",
        "partition",
        "token",
        "reads",
        "wait",
        "long_polls",
        "warm_up",
        "maintenance",
    ];

    /// The options that an address names, and the usual ones for the rest:
    /// `consul://127.0.0.1:8500?dc=a,b&checks=tcp,ttl&interval=10s&deregister_after=600s&tags=x,y&partition=p&token=…&`
    /// `reads=leader|stale|cached&wait=55s&long_polls=64&warm_up=90s&maintenance=true`. `checks=none` is none. The TTL
    /// check has twice the interval.
    ///
    /// # Errors
    /// Names the key whose value is not one. Keys that are not known are not looked at: the caller may have more.
    pub fn from_url(url: &RegistryUrl) -> Result<Self, UrlError> {
        let mut options = Self::default();
        let invalid = |key: &'static str, expected| UrlError::Value { key: SmolStr::new_static(key), expected };
        if let Some(text) = url.value("checks") {
            options.checks = read_checks(text).ok_or_else(|| invalid("checks", "tcp, ttl, tcp,ttl or none"))?;
        }
        if let Some(interval) = span(url, "interval", Duration::from_secs(1))? {
            options.interval = interval;
            options.ttl = interval.saturating_mul(2);
        }
        if let Some(after) = span(url, "deregister_after", Duration::from_secs(1))? {
            options.deregister_after = after;
        }
        if let Some(wait) = span(url, "wait", Duration::from_secs(1))? {
            options.wait = wait.min(Duration::from_secs(600));
        }
        if let Some(warm_up) = span(url, "warm_up", Duration::ZERO)? {
            options.warm_up = warm_up;
        }
        options.tags = list(url, "tags");
        if options.tags.iter().any(|tag| is_version(tag)) {
            return Err(invalid("tags", "texts that do not begin with version=, which is the instance's"));
        }
        options.datacenters = list(url, "dc");
        options.partition = url.value("partition").filter(|text| !text.is_empty()).map(SmolStr::new);
        if let Some(token) = url.value("token") {
            options.token = Some(Token::new(token).ok_or_else(|| invalid("token", "visible ASCII characters"))?);
        }
        options.reads = match url.value("reads") {
            None | Some("leader") => Reads::Leader,
            Some("stale") => Reads::Stale,
            Some("cached") => Reads::Cached,
            Some(_) => return Err(invalid("reads", "leader, stale or cached")),
        };
        if let Some(polls) = url.parsed::<u32>("long_polls", "a number from 1")? {
            if polls == 0 {
                return Err(invalid("long_polls", "a number from 1"));
            }
            options.long_polls = polls as usize;
        }
        if url.value("maintenance").is_some() {
            options.maintenance = url.flag("maintenance")?;
        }
        Ok(options)
    }
}

/// Whether readers take a tag for the one that says the version.
pub(super) fn is_version(tag: &str) -> bool {
    tag.split_once('=').is_some_and(|(key, _)| key == "version")
}

fn read_checks(text: &str) -> Option<Checks> {
    let mut checks = Checks { tcp: false, ttl: false };
    if text == "none" {
        return Some(checks);
    }
    for word in text.split(',') {
        match word {
            "tcp" => checks.tcp = true,
            "ttl" => checks.ttl = true,
            _ => return None,
        }
    }
    Some(checks)
}

fn span(url: &RegistryUrl, key: &'static str, least: Duration) -> Result<Option<Duration>, UrlError> {
    const EXPECTED: &str = "a duration of a second or more, such as 10s";
    let span = url.parsed::<Span>(key, EXPECTED)?.map(|Span(span)| span);
    if span.is_some_and(|span| span < least) {
        return Err(UrlError::Value { key: SmolStr::new_static(key), expected: EXPECTED });
    }
    Ok(span)
}

fn list(url: &RegistryUrl, key: &str) -> Vec<SmolStr> {
    let mut list: Vec<SmolStr> = Vec::new();
    for item in url.value(key).unwrap_or("").split(',').filter(|item| !item.is_empty()) {
        if !list.iter().any(|it| it == item) {
            list.push(item.into());
        }
    }
    list
}

/// A duration as Go reads it.
pub(super) fn go_duration(span: Duration) -> String {
    if span.subsec_millis() == 0 && span.subsec_nanos() == 0 {
        alloc::format!("{}s", span.as_secs())
    } else {
        alloc::format!("{}ms", span.as_millis().max(1))
    }
}
