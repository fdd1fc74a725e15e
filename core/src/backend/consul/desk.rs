//! Operations on a Consul agent one by one, for a server that holds nothing itself.
//!
//! What a holder of such a server is given names the agent and the service; it is good at that agent only, and a holder that
//! comes to a server of another agent registers anew there. What holds instead of the laws is the same as for the
//! [client](super::Consul), and a server cannot do what takes a memory: a registration whose answer got lost is a
//! registration, and whoever deregisters an id takes out whatever is there.
//!
//! An [`Operation`] is a machine: the driver takes its next request from the [`Desk`], sends it, and gives back what came of
//! it, until there is an outcome.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use smol_str::SmolStr;

use super::encode::{registration, ttl_check};
use super::work::{Said, Step, read};
use super::{ConsulOptions, check, decode};
use crate::backend::desk::{Change, Denied, Done, Result, Wanted, hash};
use crate::fault::Faults;
use crate::http::target::Target;
use crate::http::{Head, Method, Request};
use crate::instance::{ServiceInstance, Status};
use crate::lease::{Lease, LeaseError};
use crate::name::{InstanceId, Key, Namespace, ServiceName};
use crate::packed::Instance;
use crate::registry::Outcome;

/// Operations on one of several agents.
#[derive(Debug)]
pub struct Desk {
    options: ConsulOptions,
    origins: Vec<String>,
    namespace: Namespace,
    /// Who is asked.
    at: usize,
}

/// One operation, and how far it is.
#[derive(Debug)]
pub struct Operation {
    task: Task,
    /// How often a request of it failed.
    failed: usize,
}

#[derive(Debug)]
enum Task {
    Put(Putting),
    Update { key: Key, lease: Lease, change: Change },
    Remove(Key),
    Renew(Renewing),
}

/// A service is put, perhaps into maintenance, and its check is passed.
#[derive(Debug)]
struct Putting {
    key: Key,
    instance: ServiceInstance,
    ttl: Duration,
    step: Step,
    /// It is an update, and this is its lease.
    updates: Option<Lease>,
}

/// Checks are passed, one after the other: Consul has no batch.
#[derive(Debug)]
struct Renewing {
    leases: Vec<(Lease, Option<Key>)>,
    at: usize,
    /// Whether it is known what the agent has.
    looked: bool,
    failed: Vec<(usize, LeaseError)>,
}

impl Desk {
    /// Operations at the agents at these origins, in a namespace: the first that answers.
    #[must_use]
    pub const fn new(options: ConsulOptions, origins: Vec<String>, namespace: Namespace) -> Self {
        Self { options, origins, namespace, at: 0 }
    }

    // Beginning.

    /// An instance is registered.
    ///
    /// # Errors
    /// If readers would choke on it.
    pub fn register(&self, wanted: Wanted) -> Result<Operation> {
        check::instance(&wanted.instance)?;
        let ttl = wanted.ttl.unwrap_or(self.options.ttl);
        let Wanted { key, instance, .. } = wanted;
        Ok(Operation::new(Task::Put(Putting { key, instance, ttl, step: Step::Put, updates: None })))
    }

    /// An instance is changed by its holder.
    #[must_use]
    pub fn update(&self, key: &Key, lease: Lease, change: Change) -> Operation {
        Operation::new(Task::Update { key: key.clone(), lease, change })
    }

    /// Leases are renewed, each with its key as far as that is known.
    #[must_use]
    pub fn renew(&self, leases: Vec<(Lease, Option<Key>)>) -> Operation {
        let looked = leases.iter().all(|(_, key)| key.is_some());
        Operation::new(Task::Renew(Renewing { leases, at: 0, looked, failed: Vec::new() }))
    }

    /// A registration is ended by its holder.
    ///
    /// # Errors
    /// If the lease is of another key or agent.
    pub fn deregister(&self, key: &Key, lease: &Lease) -> Result<Operation> {
        if !self.is_here(lease) || lease.words()[1] != self.mark(key) {
            return Err(LeaseError::Unknown.into());
        }
        Ok(self.evict(key))
    }

    /// Whatever is there is taken out.
    #[must_use]
    pub fn evict(&self, key: &Key) -> Operation {
        Operation::new(Task::Remove(key.clone()))
    }

    /// What a lease says of its key, to find it again: a hash.
    #[must_use]
    pub fn mark(&self, key: &Key) -> u64 {
        let Key { namespace, service, id } = key;
        hash(alloc::format!("{namespace}\n{service}\n{id}").as_bytes())
    }

    /// The [mark](Self::mark) of the key that a lease is of.
    #[must_use]
    pub const fn mark_of(lease: &Lease) -> u64 {
        lease.words()[1]
    }

    fn origin(&self) -> &str {
        self.origins.get(self.at).map_or("", String::as_str)
    }

    /// Whether it was given by the agent that is asked now, as far as its address says.
    fn is_here(&self, lease: &Lease) -> bool {
        lease.words()[0] == hash(self.origin().as_bytes())
    }

    // Driving.

    /// The request that an operation wants to be sent now.
    #[must_use]
    pub fn request(&self, operation: &Operation) -> Request {
        let at = Target::new;
        let put = |target| (Method::Put, target, Vec::new());
        let pass = |id: &str| {
            let body = br#"{"Status":"passing","Output":"pass"}"#.to_vec();
            (Method::Put, at("/v1/agent/check/update").segment(&ttl_check(id)), body)
        };
        let (method, target, body) = match &operation.task {
            Task::Put(Putting { key, step: Step::Pass, .. }) => pass(&key.id),
            Task::Put(Putting { key, instance, step: Step::Maintain(_), .. }) => {
                let target = at("/v1/agent/service/maintenance").segment(&key.id).query("enable", true);
                put(target.query("reason", instance.status()))
            }
            Task::Put(Putting { instance, ttl, .. }) => {
                let body = registration(instance, &self.options, *ttl, Faults::default());
                (Method::Put, at("/v1/agent/service/register").query("replace-existing-checks", "true"), body)
            }
            Task::Update { key, .. } => (Method::Get, at("/v1/agent/service").segment(&key.id), Vec::new()),
            Task::Remove(key) => put(at("/v1/agent/service/deregister").segment(&key.id)),
            Task::Renew(it) => match it.key() {
                Some(key) if it.looked && self.options.checks.ttl => pass(&key.id),
                Some(key) if it.looked => (Method::Get, at("/v1/agent/service").segment(&key.id), Vec::new()),
                _ => (Method::Get, at("/v1/agent/services"), Vec::new()),
            },
        };
        let ns = Some(&self.namespace).filter(|ns| **ns != Namespace::default());
        let target = target.query_if("ns", ns).query_if("partition", self.options.partition.as_ref());
        let json = || SmolStr::new_static("application/json");
        let mut headers = alloc::vec![(SmolStr::new_static("accept"), json())];
        if !body.is_empty() {
            headers.push((SmolStr::new_static("content-type"), json()));
        }
        let mut request = Request { method, url: target.url(self.origin()), headers, body, streaming: false };
        if let Some(token) = &self.options.token {
            request.set_header("x-consul-token", token.as_str());
        }
        request
    }

    /// The answer to the request is complete. `None`: there is another request to be sent.
    pub fn on_answer(&mut self, operation: &mut Operation, head: &Head, body: &[u8]) -> Option<Result> {
        let next = match &mut operation.task {
            Task::Put(it) => match read(it.step, head, body) {
                Said::Done => {
                    it.step = match next_step(it, &self.options) {
                        Some(step) => step,
                        None => return Some(Ok(self.put(it))),
                    };
                    return None;
                }
                said => said,
            },
            Task::Update { key, lease, change } => match read(Step::Look, head, body) {
                Said::Done => {
                    let here = lease.words()[0] == hash(self.origins.get(self.at).map_or(&[], |it| it.as_bytes()));
                    let updating =
                        if here { updated(key, *lease, change, body) } else { Err(LeaseError::Unknown.into()) };
                    match updating {
                        Ok(Some(putting)) => operation.task = Task::Put(putting),
                        Ok(None) => return Some(Ok(Done::Updated { changed: false, revision: 0 })),
                        Err(denied) => return Some(Err(denied)),
                    }
                    return None;
                }
                Said::Gone => return Some(Err(LeaseError::Unknown.into())),
                said => said,
            },
            Task::Remove(_) => match read(Step::Remove, head, body) {
                Said::Done => return Some(Ok(Done::Gone { was: true, revision: 0 })),
                Said::Gone => return Some(Ok(Done::Gone { was: false, revision: 0 })),
                said => said,
            },
            Task::Renew(_) => return self.on_renewal(operation, head, body),
        };
        self.on_refusal(operation, next)
    }

    fn on_renewal(&mut self, operation: &mut Operation, head: &Head, body: &[u8]) -> Option<Result> {
        let Task::Renew(it) = &mut operation.task else { return None };
        let said = if !it.looked {
            // A list, whose answer is read like that to nothing in particular.
            match (head.is_success(), decode::all_held(body)) {
                (true, Ok(held)) => {
                    it.look(&held, &self.namespace, |key| self.mark(key));
                    return it.outcome();
                }
                (true, Err(error)) => Said::Outage(error.to_string(), None),
                (false, _) => read(Step::Pass, head, body),
            }
        } else {
            read(if self.options.checks.ttl { Step::Pass } else { Step::Look }, head, body)
        };
        match said {
            Said::Done => {}
            // The agent has forgotten it.
            Said::Gone if it.looked => it.failed.push((it.at, LeaseError::Unknown)),
            said => return self.on_refusal(operation, said),
        }
        it.at += 1;
        it.outcome()
    }

    fn on_refusal(&mut self, operation: &mut Operation, said: Said) -> Option<Result> {
        match said {
            Said::Outage(reason, _) => self.on_failure(operation, &reason),
            Said::Later(problem, _) | Said::Never(problem) => Some(Err(Denied::Refused(problem.message))),
            Said::Gone => self.on_failure(operation, "the agent does not know what it has just been given"),
            Said::Done => None,
        }
    }

    fn put(&self, it: &Putting) -> Done {
        if it.updates.is_some() {
            return Done::Updated { changed: true, revision: 0 };
        }
        let ttl = if self.options.checks.ttl { it.ttl } else { self.options.interval.saturating_mul(3) };
        let millis = u64::try_from(it.ttl.as_millis()).unwrap_or(u64::MAX);
        let lease = Lease::of_words([hash(self.origin().as_bytes()), self.mark(&it.key), millis]);
        Done::Registered { lease, generation: 1, ttl, outcome: Outcome::Registered }
    }

    /// There is no answer, or none in time: another agent is asked. `None`: there is another request to be sent.
    pub fn on_failure(&mut self, operation: &mut Operation, reason: &str) -> Option<Result> {
        self.at = (self.at + 1) % self.origins.len().max(1);
        operation.failed += 1;
        if operation.failed > self.origins.len().max(1) {
            return Some(Err(Denied::Silent(reason.into())));
        }
        // The other agent knows nothing of what this one was told.
        if let Task::Put(it) = &mut operation.task {
            if it.updates.is_some_and(|_| self.origins.len() > 1) {
                return Some(Err(LeaseError::Unknown.into()));
            }
            it.step = Step::Put;
        }
        None
    }
}

impl Operation {
    const fn new(task: Task) -> Self {
        Self { task, failed: 0 }
    }
}

/// What follows a step; `None`: it is done.
fn next_step(it: &Putting, options: &ConsulOptions) -> Option<Step> {
    let hidden = options.maintenance && matches!(it.instance.status(), Status::Draining | Status::Down);
    match it.step {
        // Before the check passes: so it is not seen in between.
        Step::Put if hidden => Some(Step::Maintain(true)),
        Step::Put | Step::Maintain(_) if options.checks.ttl => Some(Step::Pass),
        _ => None,
    }
}

/// What is put instead of what the agent has; nothing, if that is the same.
fn updated(key: &Key, lease: Lease, change: &Change, body: &[u8]) -> Result<Option<Putting>> {
    let held = decode::held(body).map_err(|_| LeaseError::Unknown)?;
    if held.id != key.id || held.name != key.service {
        return Err(LeaseError::Unknown.into());
    }
    let instance = Instance::pack(&held).patched(&change.patch, &change.limits)?.decode();
    check::instance(&instance)?;
    let ttl = Duration::from_millis(lease.words()[2]);
    let putting = Putting { key: key.clone(), instance, ttl, step: Step::Put, updates: Some(lease) };
    Ok((putting.instance != held).then_some(putting))
}

impl Renewing {
    fn key(&self) -> Option<&Key> {
        self.leases.get(self.at)?.1.as_ref()
    }

    /// What the agent has is known: whatever it has not is lost.
    fn look(&mut self, held: &[(String, String)], namespace: &Namespace, mark: impl Fn(&Key) -> u64) {
        let keys = held.iter().filter_map(|(id, service)| {
            let (service, id) = (ServiceName::new(service.as_str()).ok()?, InstanceId::new(id.as_str()).ok()?);
            let key = Key { namespace: namespace.clone(), service, id };
            Some((mark(&key), key))
        });
        let keys: BTreeMap<u64, Key> = keys.collect();
        for (lease, key) in self.leases.iter_mut().filter(|(_, key)| key.is_none()) {
            *key = keys.get(&lease.words()[1]).cloned();
        }
        self.looked = true;
    }

    /// The outcome, once all are renewed whose keys are known.
    fn outcome(&mut self) -> Option<Result> {
        while let Some((_, None)) = self.leases.get(self.at) {
            self.failed.push((self.at, LeaseError::Unknown));
            self.at += 1;
        }
        (self.at >= self.leases.len()).then(|| Ok(Done::Renewed(core::mem::take(&mut self.failed))))
    }
}
