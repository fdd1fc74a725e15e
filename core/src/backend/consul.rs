//! The client machine of Consul: its agents' HTTP API, written and read as Kratos does.
//!
//! # Registering
//!
//! An instance is a service at one agent, by its id. What is put there is what Kratos puts, and what Kratos reads is read
//! the same way. The registration is done when its TTL check is passed: a new check is critical, and one that was there
//! before keeps its status. Renewing is passing the check again, one request an instance, because Consul has no batch; an
//! agent that does not know the check has forgotten the service, and gets it again at once. Without a TTL check the
//! client looks at the interval whether the service is still there, and TCP checks alone say whether it lives.
//!
//! Agents do not know of each other's services. All calls for a registration go to one; when calls go to another, because
//! that one does not answer, the registration is made anew there. What is left at the old agent is critical when its ttl
//! has passed, so that no reader is given it, and is taken out when it has been critical for `deregister_after`. Without
//! a TTL check it stays as long as its endpoints can be connected to from there.
//!
//! An instance that says it is `draining` or `down` is in maintenance mode meanwhile, and listed nowhere. That mode is a
//! check at the agent, and a registration that replaces all checks ends it; so one that drains replaces none. The checks
//! of endpoints that it has no more are left until it is up again; if one is critical for `deregister_after`, the agent
//! takes the instance out, and it is registered anew, in maintenance.
//!
//! # What holds instead of the laws
//!
//! Consul cannot fence: who may write a service may write it again, and the last one wins.
//!
//! - *One owner of an id*: two clients with one id replace each other's registration at one agent, and neither learns of
//!   it; both renew the same check. At two agents there are two services of one id, of which readers here take the one
//!   that was changed last. Nobody is ever [superseded](crate::client::RegistrationState::Superseded). Give instances ids
//!   of their own.
//! - *No resurrection, no zombie*: a registration that arrives after its deregistration takes effect. Its check is new and
//!   critical, so that nobody is shown it, until `deregister_after` has passed; only a renewal that is as late as that can
//!   make it be seen, for one ttl. If a registration was not answered, its deregistration is repeated after
//!   [`call_timeout`](ClientConfig::call_timeout), and is not confirmed before. Without a TTL check this is all there is.
//! - *Idempotent*: a registration that is sent twice is one, but there is no telling it from another one's.
//! - *Late updates*: a registration that arrives after a newer one replaces what that says, and no answer tells. So each
//!   change, and each registration that follows one without an answer, is put again once when twice the
//!   [`call_timeout`](ClientConfig::call_timeout) has passed.
//! - *Never early*: the agent keeps the ttl by its own clock. What is taken out may be so late: half a minute after
//!   `deregister_after` has passed, but it is critical, and so unseen, from when the ttl has.
//!
//! # Following
//!
//! Each service is one query in each datacenter, which waits at the agent until something has changed; names that begin
//! alike are found by a query for all names. Answers list all there is. The differences are told in places that the
//! client counts itself, because Consul has no revision of everything.
//!
//! - An index that falls is forgotten. If something is missing then, or if something is missing after an outage and no
//!   node is listed that was known before, Consul has lost its memory: a new epoch begins, in which what is not listed
//!   stays, unconfirmed, for [`warm_up`](ConsulOptions::warm_up), because those who hold it need a while to come back.
//! - After a failure a query is asked at once instead of waiting for a change: so an answer comes, whether or not
//!   something has changed.
//! - Agents that follow their servers by a stream (since 1.10) answer those who wait from what they have heard, and go on
//!   to when they hear nothing any more: the same index and the same list, for ever. So what has waited in vain asks once
//!   for all there is, which agents do ask their servers for, unless the answer says `X-Consul-Query-Backend:
//!   blocking-query`.
//! - No more than [`long_polls`](ConsulOptions::long_polls) queries wait at once. Those that do not wait go beside them,
//!   and what finds no place to wait for 15 s asks for all there is.
//! - An empty list is the registry's word, unless the answer says that rights hide something: then it is stale.
//!   `X-Consul-KnownLeader: false` says nothing: answers from an agent's own stream always have it.
//! - Consul does not say it to those who show no token: where `default_policy` is `deny`, all that they may not read is
//!   an empty list. So one with `X-Consul-Default-Acl-Policy: deny` and no token of ours is asked for once more with the
//!   token `anonymous`, which is Consul's name for nobody, before it is believed. Not from the start, because an agent
//!   may have a token of its own for those who show none; if it has, and all instances are there but critical, the empty
//!   list is stale until they are taken out. Where `default_policy` is `allow` and a rule hides a service from nobody,
//!   the list is believed to be empty. And in a browser, which may read these headers only if
//!   `Access-Control-Expose-Headers` names them, so it is anyhow. Give a token where there are access lists.
//! - An agent that has no leader, or hears of no datacenter, is left for the next one. A datacenter that does not answer keeps what it listed last, and all that it is a part of is stale; what changes in
//!   the others is told all the same. Of one id in two datacenters the first one's is shown. If several are asked,
//!   metadata has a `dc`, as in Kratos.
//!
//! # In a browser
//!
//! A page speaks to an agent itself, if `http_config.response_headers` of that says so. An agent answers the question that
//! a browser asks before a `PUT`, or before a token is shown, with these headers and without a token:
//!
//! ```text
//! http_config {
//!   response_headers {
//!     "Access-Control-Allow-Origin"   = "https://the.page"
//!     "Access-Control-Allow-Methods"  = "GET, PUT"
//!     "Access-Control-Allow-Headers"  = "content-type, x-consul-token"
//!     "Access-Control-Expose-Headers" = "X-Consul-Index, X-Consul-Query-Backend, X-Consul-Default-Acl-Policy, X-Consul-Results-Filtered-By-ACLs"
//!   }
//! }
//! ```
//!
//! There is one origin, or `*` for all. Without `X-Consul-Index` exposed, no answer of a query is one. The TCP checks of
//! what cannot be connected to never pass: a tab registers with `checks=ttl`.
//!
//! # States and inputs
//!
//! What each input does to a client that does one thing and knows one agent: *down*, the way to the agent has failed, and
//! is tried again after a while; *stale* and *told*, what the subscription learns; and what is sent at once.
//!
//! | input | not ours, or over | a call | a query, at once | a query that waits |
//! |---|---|---|---|---|
//! | head | – | – | – | – |
//! | chunk | – | – | – | – |
//! | chunk beyond the limit | – | dropped, down | dropped, down | dropped, stale, down |
//! | end without a head | – | down | down | stale, down |
//! | answer: nothing | – | up, *pass* | down | stale, down |
//! | answer: a list | – | down | told, up, *wait* | told |
//! | answer: the list as before | – | down | told, up, *wait* | – |
//! | answer: garbage | – | down | down | stale, down |
//! | answer: 400 | – | refused, up | up, told why | stale, told why |
//! | answer: 403 | – | up, later | up, told why | stale, told why |
//! | answer: 500, no leader | – | down | down | stale, down |
//! | failure: not sent | – | down | down | stale, down |
//! | failure: unknown | – | down | down | stale, down |
//! | suspend | – | – | dropped | dropped, stale |
//! | nothing for 69 s | – | dropped, down | dropped, down | dropped, stale, down |

mod ask;
mod check;
mod decode;
pub mod desk;
mod encode;
mod options;
mod poll;
mod queue;
mod watch;
mod work;

pub use options::{Checks, ConsulOptions, Reads, Token};

use alloc::format;

use crate::catalog::Selector;
use crate::client::calls::Call;
use crate::client::holding::Work;
use crate::client::link::Fall;
use crate::client::machine::{Machine, Protocol, What};
use crate::client::{ClientConfig, CommandError, Registration};
use crate::http::target::Target;
use crate::http::{Head, Request, RequestId};
use crate::name::Namespace;
use crate::rng::{Rng, Seed};
use crate::time::Instant;
use poll::Query;
use watch::Watches;
use work::{Lease, Placed, Step};

/// A client of Consul. See [`Backend`](crate::client::Backend) for how it is driven.
pub type Consul = Machine<Wire>;

/// What a client of Consul keeps beside what every client keeps.
#[derive(Debug)]
pub struct Wire {
    options: ConsulOptions,
    placed: Placed,
    watches: Watches,
    /// When a query was last answered.
    heard: Option<Instant>,
}

impl Consul {
    /// A client that has not called yet. `seed` is 32 bytes from the system. The origins are those of agents: calls for
    /// a registration go to one of them, and to another only when that does not answer.
    ///
    /// # Panics
    /// If the configuration names no origin.
    #[must_use]
    pub fn new(config: ClientConfig, options: ConsulOptions, seed: Seed, now: Instant) -> Self {
        let mut rng = Rng::new(seed);
        let name = format!("consul-{:016x}", rng.next_u64()).into();
        let wire = Wire { options, placed: Placed::default(), watches: Watches::new(name), heard: None };
        Self::assemble(config, rng, wire, now)
    }
}

impl Wire {
    /// A target within a namespace, and the partition if there is one. The default namespace has no name in Consul.
    fn within(&self, target: Target, namespace: &Namespace) -> Target {
        let ns = Some(namespace).filter(|ns| **ns != Namespace::default());
        target.query_if("ns", ns).query_if("partition", self.options.partition.as_ref())
    }

    fn sign(&self, request: &mut Request) {
        if let Some(token) = &self.options.token {
            request.set_header("x-consul-token", token.as_str());
        }
    }
}

impl Protocol for Wire {
    type Lease = Lease;
    type Step = Step;
    type Aside = Query;

    /// There is no batch.
    const BATCH: usize = 1;

    fn check(_machine: &Consul, registration: &Registration) -> Result<(), CommandError> {
        check::instance(&registration.instance)
    }

    fn check_selector(_machine: &Consul, selector: &Selector) -> Result<(), CommandError> {
        match selector {
            Selector::Service(key) => check::path("service", &key.service),
            Selector::Prefix { .. } => Ok(()),
        }
    }

    fn ask(machine: &mut Consul, work: Work, now: Instant) {
        machine.ask(work, now);
    }

    fn on_called(machine: &mut Consul, id: RequestId, now: Instant) {
        machine.on_called(id, now);
    }

    fn asides(&self) -> usize {
        self.watches.open
    }

    fn is_streamed(_: &Query) -> bool {
        false
    }

    fn on_aside_head(_: &mut Consul, _: RequestId, _: &Head, _: Instant) {}

    fn on_aside_chunk(_: &mut Consul, _: RequestId, _: &[u8], _: Instant) {}

    fn on_aside_end(machine: &mut Consul, id: RequestId, now: Instant) {
        machine.on_polled(id, now);
    }

    fn on_aside_over(
        machine: &mut Consul,
        id: RequestId,
        call: Call<What<Self>>,
        fall: Fall,
        reason: &str,
        now: Instant,
    ) {
        machine.on_poll_over(id, &call, fall, reason, now);
    }

    fn follow(machine: &mut Consul, now: Instant) {
        machine.refit(now);
        machine.send_polls(now);
    }

    fn on_time(machine: &mut Consul, now: Instant) {
        while let Some(id) = machine.calls.overdue(now) {
            machine.break_off(id, Fall::Bad(None), "no answer in time", now);
        }
        machine.doubt_overdue(now);
        machine.settle(now);
    }

    fn poll_timeout(machine: &Consul) -> Option<Instant> {
        machine.polls_timeout()
    }

    fn on_online(machine: &mut Consul, now: Instant) {
        machine.refresh_polls(now);
    }

    fn close(machine: &mut Consul) {
        machine.close_watches();
    }
}

#[cfg(test)]
mod tests;
