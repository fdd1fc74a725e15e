//! Operations on an etcd one by one, for a server that holds nothing itself: what a client of such a server asks for is
//! done in etcd, and what the client holds is etcd's own lease.
//!
//! - The id of a lease is derived from who registers what, so that every server comes to the same one: a registration
//!   that is sent again, even to another server, is the same one. A holder that does not say who it is gets one at random.
//! - The lease that a holder is given has three numbers: the id in etcd, a hash of the key, and the revision at which the
//!   key was taken, or zero if there is none, because the instance is to get no calls.
//! - Whatever is written is written as the [client](super::Etcd) does it: by a transaction that names the state of the key
//!   that it expects, so that a registration takes what was there when it began and not what came since.
//!
//! What a registry that holds the leases itself can do beyond that: it knows the number of a holder's latest command, and
//! refuses one that arrives after a later one. Here a registration that was held up in the network is a registration.
//!
//! An [`Operation`] is a machine: the driver takes its next request from the [`Desk`], sends it, and gives back what came of
//! it, until there is an outcome.

mod registration;
mod renewal;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde_json::json;
use smol_str::SmolStr;

use super::EtcdOptions;
use super::gateway::{self, Answer, Paths};
use super::message::{FAILED_PRECONDITION, Header, LeaseId, Refusal, Token};
use crate::backend::desk::{Change, Denied, Done, Result, Wanted, hash};
use crate::http::body::parse;
use crate::http::{Head, Method, Request, base64};
use crate::lease::{Lease, LeaseError};
use crate::name::Key;
use crate::registry::Incarnation;
use registration::{Registering, Updating};
use renewal::Renewing;

/// How often an operation may begin anew or find its key changed.
const ROUNDS: u32 = 8;

/// Operations on an etcd: where it is, and who asks. Cheap: it keeps no more than a token.
pub struct Desk {
    options: EtcdOptions,
    origins: Vec<String>,
    /// Who is asked.
    at: usize,
    paths: Paths,
    token: Option<SmolStr>,
    /// Whether etcd asks nobody who they are.
    open: bool,
}

/// One operation, and how far it is.
#[derive(Debug)]
pub struct Operation {
    task: Task,
    /// Whether the request that is out is a login.
    login: bool,
    /// How often a request of it failed.
    failed: usize,
}

#[derive(Debug)]
enum Task {
    Register(Registering),
    Update(Updating),
    Renew(Renewing),
    /// A lease is ended.
    Revoke(LeaseId),
    /// A key goes, whoever's it is.
    Remove(String),
}

/// What follows from an answer.
enum Next {
    /// The next request.
    Go,
    /// There is an outcome.
    Over(Result),
}

impl Next {
    fn done(done: Done) -> Self {
        Self::Over(Ok(done))
    }

    fn denied(denied: impl Into<Denied>) -> Self {
        Self::Over(Err(denied.into()))
    }
}

impl Desk {
    /// Operations on the etcd at these origins: `http://HOST:PORT` or `https://HOST:PORT`, tried in turn.
    #[must_use]
    pub fn new(options: EtcdOptions, origins: Vec<String>) -> Self {
        let paths = Paths::new(origins.len());
        Self { options, origins, at: 0, paths, token: None, open: false }
    }

    // Beginning.

    /// An instance is registered. `drawn` is random: from it comes the lease of a holder that does not say who it is.
    ///
    /// # Errors
    /// If readers would choke on it.
    pub fn register(&self, wanted: Wanted, drawn: u64) -> Result<Operation> {
        super::check_endpoints(&wanted.instance)?;
        let key = self.key(&wanted.key);
        let lease = wanted.incarnation.map_or_else(|| LeaseId::drawn(drawn), |of| derived(of, &key));
        let seconds = self.options.seconds(wanted.ttl);
        Ok(Operation::new(Task::Register(Registering::new(wanted, key, lease, seconds))))
    }

    /// An instance is changed by its holder.
    #[must_use]
    pub fn update(&self, key: &Key, lease: Lease, change: Change) -> Operation {
        Operation::new(Task::Update(Updating::new(self.key(key), lease, change)))
    }

    /// Leases are renewed, each with its key as far as that is known; the more often it is, the fewer requests it takes.
    #[must_use]
    pub fn renew(&self, leases: Vec<(Lease, Option<Key>)>) -> Operation {
        let leases = leases.into_iter().map(|(lease, key)| {
            let key = key.map(|key| self.key(&key)).filter(|key| lease.words()[1] == hash(key.as_bytes()));
            (lease, key)
        });
        Operation::new(Task::Renew(Renewing::new(leases.collect())))
    }

    /// A registration is ended by its holder.
    ///
    /// # Errors
    /// If the lease is of another key.
    pub fn deregister(&self, key: &Key, lease: &Lease) -> Result<Operation> {
        let [id, of, _] = lease.words();
        if of != hash(self.key(key).as_bytes()) {
            return Err(LeaseError::Unknown.into());
        }
        Ok(Operation::new(Task::Revoke(LeaseId(id.cast_signed()))))
    }

    /// The registration of a holder that never heard which lease it got is ended.
    #[must_use]
    pub fn abandon(&self, key: &Key, incarnation: Incarnation) -> Operation {
        Operation::new(Task::Revoke(derived(incarnation, &self.key(key))))
    }

    /// Whatever is there is taken out.
    #[must_use]
    pub fn evict(&self, key: &Key) -> Operation {
        Operation::new(Task::Remove(self.key(key)))
    }

    /// What a lease says of its key, to find it again: a hash.
    #[must_use]
    pub fn mark(&self, key: &Key) -> u64 {
        hash(self.key(key).as_bytes())
    }

    /// The [mark](Self::mark) of the key that a lease is of; nothing, if it has none, because there is nothing at it.
    #[must_use]
    pub const fn mark_of(lease: &Lease) -> Option<u64> {
        let [_, mark, taken] = lease.words();
        if taken > 0 { Some(mark) } else { None }
    }

    fn key(&self, key: &Key) -> String {
        super::keys::instance(&self.options.prefix, key)
    }

    // Driving.

    /// The request that an operation wants to be sent now.
    #[must_use]
    pub fn request(&self, operation: &mut Operation) -> Request {
        let credentials = self.options.credentials().filter(|_| self.token.is_none() && !self.open);
        operation.login = credentials.is_some();
        let (path, body) = match (credentials, &operation.task) {
            (Some((name, password)), _) => {
                ("/auth/authenticate", gateway::body(&json!({ "name": name, "password": password })))
            }
            (None, Task::Register(it)) => it.ask(),
            (None, Task::Update(it)) => it.ask(),
            (None, Task::Renew(it)) => it.ask(),
            (None, Task::Revoke(lease)) => ("/lease/revoke", gateway::lease(*lease)),
            (None, Task::Remove(key)) => {
                let key = base64::encode(key.as_bytes());
                ("/kv/deleterange", gateway::body(&json!({ "key": key })))
            }
        };
        let url = self.paths.target(self.at, path).url(self.origins.get(self.at).map_or("", String::as_str));
        let json = || SmolStr::new_static("application/json");
        let mut headers = alloc::vec![(SmolStr::new_static("content-type"), json()), ("accept".into(), json())];
        if let Some(token) = self.token.as_ref().filter(|_| !operation.login) {
            headers.push((SmolStr::new_static("authorization"), token.clone()));
        }
        Request { method: Method::Post, url, headers, body, streaming: false }
    }

    /// The answer to the request is complete. `None`: there is another request to be sent.
    pub fn on_answer(&mut self, operation: &mut Operation, head: &Head, body: &[u8]) -> Option<Result> {
        let next = match Answer::of(head, Some(body)) {
            Answer::Good if operation.login => match parse::<Token>(body) {
                Ok(Token { token }) if !token.is_empty() => {
                    self.token = Some(token.into());
                    return None;
                }
                _ => return self.on_failure(operation, "the login gives no token"),
            },
            Answer::Refused(refusal, _) if operation.login && refusal.code == FAILED_PRECONDITION => {
                self.open = true;
                return None;
            }
            Answer::Refused(refusal, _) if operation.login => return self.on_failure(operation, &refusal.message),
            Answer::Refused(refusal, _) if refusal.wants_login() && self.options.credentials().is_some() => {
                (self.token, self.open) = (None, false);
                return operation.fail(&refusal.message, self.origins.len());
            }
            Answer::Elsewhere if self.paths.missed(self.at) => return None,
            Answer::Elsewhere => return self.on_failure(operation, "there is no gateway of etcd"),
            Answer::Nonsense(reason, _) => return self.on_failure(operation, &reason),
            Answer::Good => operation.take(body),
            Answer::Refused(refusal, _) => operation.refused(refusal),
        };
        match next {
            Ok(Next::Go) => None,
            Ok(Next::Over(result)) => Some(result),
            Err(reason) => self.on_failure(operation, &reason),
        }
    }

    /// There is no answer, or none in time: somebody else is asked. `None`: there is another request to be sent.
    pub fn on_failure(&mut self, operation: &mut Operation, reason: &str) -> Option<Result> {
        self.at = (self.at + 1) % self.origins.len().max(1);
        operation.fail(reason, self.origins.len())
    }
}

impl Operation {
    const fn new(task: Task) -> Self {
        Self { task, login: false, failed: 0 }
    }

    /// A request failed: it may have been done. Everything may be asked again.
    fn fail(&mut self, reason: &str, origins: usize) -> Option<Result> {
        self.failed += 1;
        if let Task::Register(it) = &mut self.task {
            it.doubt();
        }
        (self.failed > origins.max(1)).then(|| Err(Denied::Silent(reason.into())))
    }

    /// Takes a good answer; an error: it makes no sense.
    fn take(&mut self, body: &[u8]) -> core::result::Result<Next, String> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Ended {
            header: Header,
            deleted: Option<SmolStr>,
        }
        match &mut self.task {
            Task::Register(it) => it.take(body),
            Task::Update(it) => it.take(body),
            Task::Renew(it) => it.take(body),
            Task::Revoke(_) | Task::Remove(_) => {
                let Ended { header, deleted } = parse(body).map_err(|error| error.to_string())?;
                let was = matches!(self.task, Task::Revoke(_)) || deleted.is_some_and(|count| count != "0");
                Ok(Next::done(Done::Gone { was, revision: header.revision }))
            }
        }
    }

    fn refused(&mut self, refusal: Refusal) -> core::result::Result<Next, String> {
        use super::message::NOT_FOUND;
        match &mut self.task {
            Task::Register(it) => it.refused(refusal),
            Task::Revoke(_) if refusal.code == NOT_FOUND => Ok(Next::done(Done::Gone { was: false, revision: 0 })),
            Task::Update(_) if refusal.code == NOT_FOUND => Ok(Next::denied(LeaseError::Expired)),
            Task::Renew(it) if refusal.code == NOT_FOUND => it.not_found(),
            _ => Ok(Next::denied(Denied::Refused(refusal.message))),
        }
    }
}

impl LeaseId {
    /// An id that etcd takes: it is above zero.
    fn drawn(bits: u64) -> Self {
        Self((bits >> 1).max(1).cast_signed())
    }
}

/// The lease of a holder on a key.
fn derived(Incarnation(of): Incarnation, key: &str) -> LeaseId {
    let mut bytes = of.to_be_bytes().to_vec();
    bytes.extend_from_slice(key.as_bytes());
    LeaseId::drawn(hash(&bytes))
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, origins, at, open, .. } = self;
        let mut shown = f.debug_struct("Desk");
        let shown = shown.field("options", options).field("origins", origins).field("at", at).field("open", open);
        shown.finish_non_exhaustive()
    }
}
