//! A registry server without its sockets: the native protocol around a real [`Registry`], frame by frame as the real
//! server writes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use periplus_core::catalog::WatchInfo;
use periplus_core::http::{Head, Method, Request};
use periplus_core::json::write_string;
use periplus_core::protocol::{
    AppliedMessage, DeregisterMessage, NotRenewed, RENEWALS_LIMIT, RegisterMessage, Span, UpdateMessage, WatchMessage,
    WatchedMessage,
};
use periplus_core::{
    Caller, Cursor, Delivered, Event, InstanceError, InstanceId, Instant, Key, Lease, LeaseError, Namespace, Notice,
    Operation, Outcome, Patch, Register, RegisterError, Registry, Revision, Selector, ServiceKey, ServiceName,
    UpdateError, WatchId, WatchStart,
};
use periplus_core::{Config, Epoch, WallTime};
use serde::Deserialize;
use smol_str::SmolStr;

use super::messages::RenewMessage;

/// How long a stream is quiet before the server says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long whoever meets a limit is asked to wait, in seconds.
const RETRY_LATER: u64 = 5;

/// Names a request that the server is answering.
pub type ExchangeId = u64;

pub struct Server {
    pub registry: Registry,
    epoch: Epoch,
    caller: Arc<Caller>,
    streams: BTreeMap<ExchangeId, Stream>,
    by_watch: Vec<Option<ExchangeId>>,
    silences: BTreeSet<(Instant, ExchangeId)>,
    out: VecDeque<(ExchangeId, Part)>,
    events: Vec<Event>,
}

struct Stream {
    watch: WatchId,
    /// When it is to say that it lives.
    due: Instant,
    begun: bool,
    /// Its reader does not read: nothing is taken for it.
    held: bool,
    /// Something waits to be taken.
    rung: bool,
}

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Chunk(Vec<u8>),
    End,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    Whole(Answer),
    /// The head of a stream whose parts follow.
    Stream(Head, Opened),
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub head: Head,
    pub body: Vec<u8>,
    /// What it did to the registry.
    pub did: Did,
}

/// What a watch was asked for and given.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// It named a cursor of this epoch.
    pub resumed: bool,
    /// It named a cursor of another epoch.
    pub foreign: bool,
    /// Its first delivery tells something from scratch.
    pub from_scratch: bool,
}

/// What a request did to the registry.
#[derive(Clone, Debug, Default)]
pub enum Did {
    #[default]
    Nothing,
    Registered {
        key: Key,
        operation: Operation,
        lease: Lease,
        outcome: Outcome,
        ttl: Duration,
    },
    Renewed {
        renewed: Vec<Lease>,
        failed: Vec<(Lease, LeaseError)>,
    },
    Updated(Lease),
    Deregistered {
        key: Key,
        incarnation: Option<u128>,
        sequence: Option<u64>,
        abandoned: bool,
    },
    Refused(&'static str),
}

/// A refusal as its sender is told.
struct Problem {
    status: u16,
    code: &'static str,
    message: String,
    field: Option<String>,
    limit: Option<usize>,
    retry_after: Option<u64>,
    dated: bool,
}

impl Problem {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None, limit: None, retry_after: None, dated: false }
    }

    fn invalid(code: &'static str, field: &str, message: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..Self::new(400, code, message) }
    }

    fn dated(self) -> Self {
        Self { dated: true, ..self }
    }

    fn limited(code: &'static str, limit: usize, message: String) -> Self {
        Self { limit: Some(limit), retry_after: Some(RETRY_LATER), ..Self::new(503, code, message) }
    }
}

impl From<periplus_core::NameError> for Problem {
    fn from(error: periplus_core::NameError) -> Self {
        let (code, field) = match error.field() {
            "namespace" => ("invalid_ns", "ns"),
            "service" => ("invalid_service", "service"),
            _ => ("invalid_id", "id"),
        };
        Self::invalid(code, field, error.to_string())
    }
}

impl From<InstanceError> for Problem {
    fn from(error: InstanceError) -> Self {
        Self::new(400, "invalid_instance", error.to_string())
    }
}

impl From<LeaseError> for Problem {
    fn from(error: LeaseError) -> Self {
        Self { field: Some("lease".into()), ..Self::new(410, error.code(), error.to_string()) }
    }
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        let message = error.to_string();
        match error {
            RegisterError::Blocked { remaining, .. } => {
                let seconds = remaining.as_secs() + u64::from(remaining.subsec_nanos() > 0);
                Self { retry_after: Some(seconds), ..Self::new(423, "blocked", message) }
            }
            RegisterError::Ended => Self::new(410, "ended", message),
            RegisterError::Generation { .. } => Self::invalid("invalid_reclaim", "reclaim", message),
            RegisterError::Since { .. } => Self::invalid("invalid_since", "since", message),
            RegisterError::Instance(error) => error.into(),
            RegisterError::Limit(reached) => Self::limited("limit_instances", reached.value, message),
            RegisterError::OperationReused { .. } => Self::new(409, "operation_reused", message),
            RegisterError::Outdated { .. } => Self::new(409, "outdated", message),
            RegisterError::Superseded => Self::new(409, "superseded", message),
            RegisterError::Taken => Self::new(409, "taken", message),
            RegisterError::Ttl { .. } => Self::invalid("invalid_ttl", "ttl", message),
            _ => Self::new(409, "refused", message),
        }
    }
}

impl From<UpdateError> for Problem {
    fn from(error: UpdateError) -> Self {
        let message = error.to_string();
        match error {
            UpdateError::Lease(error) => error.into(),
            UpdateError::Instance(error) => error.into(),
            UpdateError::Limit(reached) => Self::limited("limit_bytes", reached.value, message),
            UpdateError::Outdated { .. } => Self::new(409, "outdated", message),
            _ => Self::new(409, "refused", message),
        }
    }
}

type Result<T> = std::result::Result<T, Problem>;

impl Server {
    pub fn new(config: Config, seed: [u8; 32], epoch: Epoch, now: Instant) -> Self {
        Self::around(Registry::new(config, seed, epoch, now, WallTime(0)))
    }

    pub fn around(registry: Registry) -> Self {
        Self {
            epoch: registry.cursor().epoch,
            registry,
            caller: Arc::new(Caller::default()),
            streams: BTreeMap::new(),
            by_watch: Vec::new(),
            silences: BTreeSet::new(),
            out: VecDeque::new(),
            events: Vec::new(),
        }
    }

    /// Answers a request. The parts of a stream follow from [`poll_part`](Self::poll_part).
    pub fn handle_request(&mut self, id: ExchangeId, request: &Request, now: Instant) -> Reply {
        let reply = self.dispatch(id, request, now);
        self.drain(now);
        reply.unwrap_or_else(|problem| self.refusal(&problem))
    }

    /// Nobody reads a stream any more.
    pub fn handle_gone(&mut self, id: ExchangeId) {
        if let Some(stream) = self.streams.remove(&id) {
            self.registry.unwatch(stream.watch);
            self.silences.remove(&(stream.due, id));
            self.by_watch[stream.watch.index()] = None;
        }
    }

    /// The reader of a stream is slow, or reads on.
    pub fn set_held(&mut self, id: ExchangeId, held: bool, now: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.held = held;
        if !held && std::mem::take(&mut stream.rung) {
            self.take(id, now);
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.registry.poll_timeout().is_some_and(|at| at <= now) {
            self.registry.handle_timeout(now);
            self.drain(now);
        }
        while let Some(&(due, id)) = self.silences.first() {
            if due > now {
                break;
            }
            let Some(stream) = self.streams.get(&id) else {
                self.silences.remove(&(due, id));
                continue;
            };
            if !stream.held {
                let bookmark = self.bookmark(id);
                self.out.push_back((id, Part::Chunk(bookmark)));
            }
            self.said(id, now);
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let silence = self.silences.first().map(|(due, _)| *due);
        [self.registry.poll_timeout(), silence].into_iter().flatten().min()
    }

    pub fn poll_part(&mut self) -> Option<(ExchangeId, Part)> {
        self.out.pop_front()
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Does something to the registry without a request: what an operator does.
    pub fn operate<T>(&mut self, now: Instant, act: impl FnOnce(&mut Registry, &Arc<Caller>) -> T) -> T {
        let result = act(&mut self.registry, &self.caller);
        self.drain(now);
        result
    }

    /// The orderly end: every stream is told.
    pub fn say_bye(&mut self) {
        let ids: Vec<_> = self.streams.iter().map(|(id, stream)| (*id, stream.watch)).collect();
        for (id, watch) in ids {
            let spread = (watch.index() as u32).wrapping_mul(0x9e37_79b9) >> 20;
            let bye = format!("event: bye\nretry: {}\ndata: {{}}\n\n", 500 + spread);
            self.out.push_back((id, Part::Chunk(bye.into_bytes())));
            self.out.push_back((id, Part::End));
            self.handle_gone(id);
        }
    }

    fn drain(&mut self, now: Instant) {
        while let Some(event) = self.registry.poll_event() {
            self.events.push(event);
        }
        while let Some(watch) = self.registry.poll_ready() {
            let Some(id) = self.by_watch.get(watch.index()).copied().flatten() else { continue };
            let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.watch == watch) else { continue };
            if stream.held {
                stream.rung = true;
            } else {
                self.take(id, now);
            }
        }
    }

    fn said(&mut self, id: ExchangeId, now: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        self.silences.remove(&(stream.due, id));
        let spread = (stream.watch.index() as u32).wrapping_mul(0x9e37_79b9) >> 24;
        stream.due = now.saturating_add(KEEP_ALIVE.mul_f64(1.0 - f64::from(spread) / 1024.0));
        self.silences.insert((stream.due, id));
    }

    /// Sends what a stream has not told yet.
    fn take(&mut self, id: ExchangeId, now: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let begins = !std::mem::replace(&mut stream.begun, true);
        let Some(delivery) = self.registry.poll_watch(stream.watch) else {
            if begins {
                let mut first = self.opened(id);
                first.extend(self.bookmark(id));
                self.out.push_back((id, Part::Chunk(first)));
                self.said(id, now);
            }
            return;
        };
        let mut out = if begins { self.opened(id) } else { Vec::new() };
        for notice in &delivery.notices {
            write_notice(&mut out, notice);
        }
        let mut open = false;
        for snapshot in &delivery.snapshots {
            if std::mem::replace(&mut open, true) {
                out.push(b'\n');
            }
            write_snapshot(&mut out, &snapshot.selector, &snapshot.instances);
        }
        for change in &*delivery.changes {
            if std::mem::replace(&mut open, true) {
                out.push(b'\n');
            }
            write_change(&mut out, change);
        }
        let ends = delivery.notices.iter().any(|notice| matches!(notice, Notice::Behind { .. }));
        let settled = delivery.notices.iter().any(|notice| matches!(notice, Notice::Settled));
        if open || settled || (delivery.from.is_none() && !ends) {
            write_id(&mut out, &self.epoch, delivery.cursor.revision);
        }
        if !out.is_empty() {
            self.out.push_back((id, Part::Chunk(out)));
            self.said(id, now);
        }
        if ends {
            self.out.push_back((id, Part::End));
            self.handle_gone(id);
        }
    }

    /// What a watch is called: the request that opened it, and the registry's life.
    fn opened(&self, id: ExchangeId) -> Vec<u8> {
        format!("event: watch\ndata: {{\"watch\":\"{id}/{}\"}}\n\n", self.epoch).into_bytes()
    }

    /// What is known of the watch that a request opened.
    pub fn watch_info(&self, id: ExchangeId) -> Option<WatchInfo> {
        self.registry.catalog().watch_info(self.streams.get(&id)?.watch)
    }

    fn applied(&mut self, body: &[u8], now: Instant) -> Result<Reply> {
        let message: AppliedMessage = parse(body)?;
        let cursor = cursor(&message.applied, "applied")?;
        let (id, epoch) = message.watch.split_once('/').unwrap_or_default();
        let stream = id.parse().ok().and_then(|id: ExchangeId| self.streams.get(&id));
        let here = epoch == self.epoch.0 && cursor.epoch == self.epoch;
        let watch = stream.map(|stream| stream.watch).filter(|_| here);
        let taken = watch.is_some_and(|watch| self.registry.applied(watch, cursor.revision, now));
        let mut body = self.date();
        body.extend_from_slice(if taken { b",\"taken\":true}" } else { b",\"taken\":false}" });
        Ok(whole(200, body, Did::Nothing))
    }

    fn bookmark(&mut self, id: ExchangeId) -> Vec<u8> {
        let cursor = self.streams.get(&id).and_then(|stream| self.registry.poll_bookmark(stream.watch));
        match cursor {
            Some(cursor) => {
                let mut out = Vec::new();
                write_id(&mut out, &self.epoch, cursor.revision);
                out
            }
            None => b": waiting\n\n".to_vec(),
        }
    }

    fn dispatch(&mut self, id: ExchangeId, request: &Request, now: Instant) -> Result<Reply> {
        let target = request.url.split_once("://").map_or(&*request.url, |(_, rest)| rest);
        let target = target.find('/').map_or("", |at| &target[at..]);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = Query::parse(query)?;
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (request.method, &*segments) {
            (Method::Put, ["v1", "services", service, "instances", instance]) => {
                let key = query.key(service, instance)?;
                self.register(key, &request.body, now)
            }
            (Method::Patch, ["v1", "services", service, "instances", instance]) => {
                query.key(service, instance)?;
                self.update(&request.body, now)
            }
            (Method::Delete, ["v1", "services", service, "instances", instance]) => {
                let key = query.key(service, instance)?;
                self.deregister(key, &request.body, now)
            }
            (Method::Post, ["v1", "leases", "renew"]) => self.renew(&request.body, now),
            (Method::Get, ["v1", "watch"]) => {
                let since = match request.headers.iter().find(|(name, _)| name == "last-event-id") {
                    Some((_, id)) if !id.is_empty() => Some(cursor(id, "last-event-id")?),
                    _ => query.one("since").map(|since| cursor(since, "since")).transpose()?,
                };
                let namespace = query.namespace()?;
                let mut selectors = Vec::new();
                for service in query.all("service") {
                    let key = ServiceKey::new(namespace.clone(), ServiceName::new(service)?);
                    selectors.push((Selector::Service(key), since.clone()));
                }
                for prefix in query.all("prefix") {
                    let selector = Selector::Prefix { namespace: namespace.clone(), prefix: prefix.into() };
                    selectors.push((selector, since.clone()));
                }
                self.watch(id, WatchStart { selectors }, now)
            }
            (Method::Post, ["v1", "watch"]) => {
                let message: WatchMessage = parse(&request.body)?;
                let resumed = request.headers.iter().find(|(name, _)| name == "last-event-id");
                let resumed = resumed.filter(|(_, id)| !id.is_empty());
                let resumed = resumed.map(|(_, id)| cursor(id, "last-event-id")).transpose()?;
                let mut selectors = Vec::new();
                for watched in &message.watch {
                    let (selector, since) = selector(watched)?;
                    selectors.push((selector, resumed.clone().or(since)));
                }
                self.watch(id, WatchStart { selectors }, now)
            }
            (Method::Post, ["v1", "watches", "applied"]) => self.applied(&request.body, now),
            _ => Err(Problem::new(404, "not_found", "there is nothing here: see /openapi.json for what there is")),
        }
    }

    fn register(&mut self, key: Key, body: &[u8], now: Instant) -> Result<Reply> {
        let message: RegisterMessage = parse(body)?;
        if message.id.as_ref().is_some_and(|id| *id != key.id) {
            return Err(Problem::invalid("invalid_id", "id", "id differs from the one in the path: leave it out"));
        }
        if message.name.as_ref().is_some_and(|name| *name != key.service) {
            let problem = "name differs from the service in the path: leave it out";
            return Err(Problem::invalid("invalid_name", "name", problem));
        }
        let (operation, reclaim, since) = (message.operation(), message.reclaim, message.since);
        let ttl = message.ttl.map(|Span(ttl)| ttl);
        let instance = message.instance(key.service.clone(), key.id.clone());
        let limits = self.registry.config().limits.instance;
        let instance = periplus_core::Instance::new(&instance, &limits)?;
        let request = Register { namespace: key.namespace.clone(), instance, ttl, operation, reclaim, since };
        let registered = self.registry.register(request, &self.caller, now);
        let registered = registered.map_err(|error| Problem::from(error).dated())?;
        let outcome = match registered.outcome {
            Outcome::Registered => "registered",
            Outcome::Repeated => "repeated",
            Outcome::Replaced => "replaced",
            Outcome::Superseded => "superseded",
        };
        let mut body = self.date();
        body.extend_from_slice(b",\"outcome\":\"");
        body.extend_from_slice(outcome.as_bytes());
        body.extend_from_slice(b"\",\"lease\":\"");
        body.extend_from_slice(&registered.lease.to_text());
        let rest = format!("\",\"generation\":{},\"ttl\":\"{}\"}}", registered.generation, Span(registered.ttl));
        body.extend_from_slice(rest.as_bytes());
        let (lease, ttl) = (registered.lease, registered.ttl);
        let did = Did::Registered { key, operation, lease, outcome: registered.outcome, ttl };
        Ok(whole(200, body, did))
    }

    fn update(&mut self, body: &[u8], now: Instant) -> Result<Reply> {
        let message: UpdateMessage = parse(body)?;
        let lease = lease(&message.lease)?;
        let sequence = message.sequence;
        let patch: Patch = message.patch();
        let changed = self.registry.update(&lease, &patch, sequence, &self.caller, now);
        let changed = changed.map_err(|error| Problem::from(error).dated())?;
        let mut body = self.date();
        body.extend_from_slice(if changed { b",\"changed\":true}" } else { b",\"changed\":false}" });
        Ok(whole(200, body, Did::Updated(lease)))
    }

    fn deregister(&mut self, key: Key, body: &[u8], now: Instant) -> Result<Reply> {
        let message: DeregisterMessage = parse(body)?;
        let mut abandoned = false;
        if let Some(text) = &message.lease {
            let lease = lease(text)?;
            let ended = self.registry.deregister(&lease, message.sequence, &self.caller, now);
            ended.map_err(|error| Problem::from(error).dated())?;
        } else {
            let (Some(incarnation), Some(sequence)) = (message.incarnation, message.sequence) else {
                let problem = "say who deregisters: send the lease, or incarnation and sequence";
                return Err(Problem::invalid("invalid_lease", "lease", problem));
            };
            self.registry.abandon(&key, Operation { incarnation, sequence }, &self.caller, now);
            abandoned = true;
        }
        let mut body = self.date();
        body.push(b'}');
        let incarnation = message.incarnation.map(|incarnation| incarnation.0);
        Ok(whole(200, body, Did::Deregistered { key, incarnation, sequence: message.sequence, abandoned }))
    }

    fn renew(&mut self, body: &[u8], now: Instant) -> Result<Reply> {
        let message: RenewMessage<'_> = parse(body)?;
        if message.leases.len() > RENEWALS_LIMIT {
            return Err(Problem::new(413, "too_large", "a batch renews 10000 leases at most: send several"));
        }
        let never = || Lease::parse(&[b'_'; 32]).expect("32 letters of the alphabet");
        let leases: Vec<Lease> =
            message.leases.iter().map(|text| Lease::parse(text.as_bytes()).unwrap_or_else(|_| never())).collect();
        let mut failed = Vec::new();
        self.registry.renew_all(&leases, &self.caller, now, &mut failed);
        let mut body = self.date();
        body.extend_from_slice(format!(",\"renewed\":{},\"failed\":[", leases.len() - failed.len()).as_bytes());
        for (nth, (index, error)) in failed.iter().enumerate() {
            let failed = NotRenewed { index: *index, code: error.code().into() };
            let comma = if nth > 0 { "," } else { "" };
            let entry = format!("{comma}{{\"index\":{},\"code\":\"{}\"}}", failed.index, failed.code);
            body.extend_from_slice(entry.as_bytes());
        }
        body.push(b']');
        if let Some(number) = message.number {
            body.extend_from_slice(format!(",\"number\":{number}").as_bytes());
        }
        body.push(b'}');
        let failed: Vec<_> = failed.into_iter().map(|(index, error)| (leases[index], error)).collect();
        let renewed = leases.into_iter().filter(|lease| failed.iter().all(|(other, _)| other != lease)).collect();
        Ok(whole(200, body, Did::Renewed { renewed, failed }))
    }

    fn watch(&mut self, id: ExchangeId, start: WatchStart, now: Instant) -> Result<Reply> {
        if start.selectors.is_empty() {
            let problem = "say what to watch: ?service=NAME, or ?prefix= for everything";
            return Err(Problem::invalid("invalid_watch", "service", problem));
        }
        let cursors = || start.selectors.iter().filter_map(|(_, since)| since.as_ref());
        let here = self.registry.cursor();
        let mut opened = Opened {
            resumed: cursors().any(|since| since.epoch == here.epoch),
            foreign: cursors().any(|since| since.epoch != here.epoch),
            from_scratch: false,
        };
        let all = start.selectors.iter().all(|(_, since)| since.as_ref().is_some_and(|at| at.epoch == here.epoch));
        let watch = self.registry.watch(&start, &self.caller, now).map_err(|error| match error {
            periplus_core::WatchError::Watches { limit } => Problem::limited("limit_watches", limit, error.to_string()),
            _ => Problem::invalid("invalid_watch", "watch", error.to_string()),
        })?;
        if self.by_watch.len() <= watch.index() {
            self.by_watch.resize(watch.index() + 1, None);
        }
        self.by_watch[watch.index()] = Some(id);
        self.streams.insert(id, Stream { watch, due: now, begun: false, held: false, rung: false });
        let from = self.out.len();
        self.drain(now);
        if self.streams.get(&id).is_some_and(|stream| !stream.begun) {
            self.take(id, now);
        }
        let first = self.out.iter().skip(from).find(|(of, _)| *of == id);
        let snapshot = |bytes: &[u8]| bytes.windows(15).any(|window| window == b"event: snapshot");
        opened.from_scratch = all && matches!(first, Some((_, Part::Chunk(bytes))) if snapshot(bytes));
        let mut head = Head::new(200);
        head.headers.push(("content-type".into(), "text/event-stream".into()));
        head.headers.push(("cache-control".into(), "no-store".into()));
        Ok(Reply::Stream(head, opened))
    }

    fn date(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        out.push(b'{');
        self.write_date(&mut out);
        out
    }

    fn write_date(&self, out: &mut Vec<u8>) {
        let warming = self.registry.warming_until().is_some();
        let revision = self.registry.catalog().revision();
        let date = format!("\"epoch\":\"{}\",\"revision\":{revision},\"warming\":{warming}", self.epoch);
        out.extend_from_slice(date.as_bytes());
    }

    fn refusal(&self, problem: &Problem) -> Reply {
        let mut out = format!("{{\"code\":\"{}\",\"message\":", problem.code).into_bytes();
        write_string(&mut out, &problem.message);
        if let Some(field) = &problem.field {
            out.extend_from_slice(b",\"field\":");
            write_string(&mut out, field);
        }
        if let Some(limit) = problem.limit {
            out.extend_from_slice(format!(",\"limit\":{limit}").as_bytes());
        }
        if problem.dated {
            out.push(b',');
            self.write_date(&mut out);
        }
        out.push(b'}');
        let Reply::Whole(mut answer) = whole(problem.status, out, Did::Refused(problem.code)) else {
            unreachable!("it is whole");
        };
        if let Some(seconds) = problem.retry_after {
            answer.head.headers.push(("retry-after".into(), seconds.to_string().into()));
        }
        Reply::Whole(answer)
    }
}

fn whole(status: u16, body: Vec<u8>, did: Did) -> Reply {
    let mut head = Head::new(status);
    head.headers.push(("content-type".into(), "application/json".into()));
    head.headers.push(("cache-control".into(), "no-store".into()));
    Reply::Whole(Answer { head, body, did })
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Problem::new(400, "invalid_json", format!("the body: {error}")))
}

fn lease(text: &str) -> Result<Lease> {
    text.parse().map_err(|_| LeaseError::Unknown.into())
}

fn cursor(text: &str, field: &str) -> Result<Cursor> {
    text.parse()
        .map_err(|error: periplus_core::set::CursorError| Problem::invalid("invalid_cursor", field, error.to_string()))
}

fn selector(watched: &WatchedMessage) -> Result<(Selector, Option<Cursor>)> {
    let namespace = watched.ns.as_deref().map_or_else(|| Ok(Namespace::default()), Namespace::new)?;
    let since = watched.since.as_deref().map(|text| cursor(text, "since")).transpose()?;
    let selector = match (&watched.service, &watched.prefix) {
        (Some(service), None) => Selector::Service(ServiceKey::new(namespace, ServiceName::new(service.as_str())?)),
        (None, Some(prefix)) => Selector::Prefix { namespace, prefix: prefix.clone() },
        _ => {
            let problem = "name a service or a prefix, one of them";
            return Err(Problem::invalid("invalid_watch", "service", problem));
        }
    };
    Ok((selector, since))
}

/// The query of a request, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> Result<Self> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key, true)?, decode(value, true)?))
        });
        Ok(Self(pairs.collect::<Result<_>>()?))
    }

    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn one<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.all(key).next()
    }

    fn namespace(&self) -> Result<Namespace> {
        Ok(self.one("ns").map_or_else(|| Ok(Namespace::default()), Namespace::new)?)
    }

    fn key(&self, service: &str, id: &str) -> Result<Key> {
        let (service, id) = (decode(service, false)?, decode(id, false)?);
        Ok(Key::new(self.namespace()?, ServiceName::new(service)?, InstanceId::new(id)?))
    }
}

fn decode(text: &str, plus: bool) -> Result<String> {
    let broken = || Problem::invalid("invalid_encoding", "path", "it is not percent-encoded UTF-8");
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || (bytes.next()? as char).to_digit(16);
                let (high, low) = (digit().ok_or_else(broken)?, digit().ok_or_else(broken)?);
                out.push((high * 16 + low) as u8);
            }
            b'+' if plus => out.push(b' '),
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).map_err(|_| broken())
}

// Frames, as the real server writes them.

fn write_pair(out: &mut Vec<u8>, key: &str, text: &str) {
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    write_string(out, text);
}

fn write_change(out: &mut Vec<u8>, change: &Delivered) {
    let namespace = &change.service.namespace;
    match change.ttl_ms {
        Some(ttl_ms) => {
            out.extend_from_slice(b"event: put\ndata: ");
            let json = change.instance.json();
            out.extend_from_slice(&json[..json.len() - 1]);
            let ttl = Span(Duration::from_millis(ttl_ms.into()));
            out.extend_from_slice(format!(",\"ttl\":\"{ttl}\"").as_bytes());
        }
        None => {
            out.extend_from_slice(b"event: remove\ndata: {");
            write_pair(out, "name", change.instance.service());
            out.push(b',');
            write_pair(out, "id", change.instance.id());
            out.push(b',');
            write_pair(out, "cause", change.cause.map_or("", |cause| cause.as_str()));
        }
    }
    if &**namespace != "default" {
        out.push(b',');
        write_pair(out, "namespace", namespace);
    }
    out.extend_from_slice(b"}\n");
}

fn write_id(out: &mut Vec<u8>, epoch: &Epoch, revision: Revision) {
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(epoch.0.as_bytes());
    out.extend_from_slice(format!(".{revision}\n\n").as_bytes());
}

fn write_snapshot(out: &mut Vec<u8>, selector: &Selector, instances: &[Delivered]) {
    out.extend_from_slice(b"event: snapshot\ndata: {");
    match selector {
        Selector::Service(ServiceKey { service, .. }) => write_pair(out, "service", service),
        Selector::Prefix { prefix, .. } => write_pair(out, "prefix", prefix),
    }
    out.extend_from_slice(format!(",\"count\":{}", instances.len()).as_bytes());
    if &**selector.namespace() != "default" {
        out.push(b',');
        write_pair(out, "namespace", selector.namespace());
    }
    out.extend_from_slice(b"}\n");
    for it in instances {
        out.push(b'\n');
        write_change(out, it);
    }
}

fn write_notice(out: &mut Vec<u8>, notice: &Notice) {
    match notice {
        Notice::Warming => out.extend_from_slice(b"event: warming\ndata: {}"),
        Notice::Settled => out.extend_from_slice(b"event: settled\ndata: {}"),
        Notice::Alarm(alarm) => {
            out.extend_from_slice(b"event: alarm\ndata: {");
            write_pair(out, "namespace", &alarm.namespace);
            let counts = format!(",\"expired\":{},\"of\":{},\"window\":\"60s\"}}", alarm.expired, alarm.of);
            out.extend_from_slice(counts.as_bytes());
        }
        Notice::AlarmEnded(namespace) => {
            out.extend_from_slice(b"event: alarm_ended\ndata: {");
            write_pair(out, "namespace", namespace);
            out.push(b'}');
        }
        Notice::Behind { revision } => {
            out.extend_from_slice(format!("event: behind\ndata: {{\"revision\":{revision}}}").as_bytes());
        }
        _ => return,
    }
    out.extend_from_slice(b"\n\n");
}

/// A reason of an operator.
pub const REASON: SmolStr = SmolStr::new_static("because");
