//! The client machine of etcd, through its JSON gateway: what it registers, a Kratos program finds, and the other way
//! round.
//!
//! Calls and the watch stream fail and recover apart, each with its own back-off and its own endpoint in use.
//!
//! # Registrations
//!
//! An instance is the key `{prefix}/{service}/{id}` with Kratos's JSON, under a lease of its own. The id of the lease is
//! drawn by the client, so that a grant may be repeated: the second is refused with code 9, and the lease is renewed
//! instead. All that is written is written by a transaction that says what it expects of the key. A first registration
//! takes the key as it was when the lease was granted, whoever had it. Anything later, a retry that may have come through
//! before, a registration made again after a loss, an update, expects what the client wrote itself, or nothing. So it
//! takes nothing back, and what arrives late or twice does nothing.
//!
//! The holder watches its own key, because the lease of a holder that was superseded is renewed like any other. A
//! deregistration revokes the lease: the key goes if it is still under it, and what is late finds no lease. Readers of
//! etcd know no status, so that the key of an instance that is `draining` or `down` is away while its lease stays.
//!
//! # Watches
//!
//! What is followed is listed at one revision and watched from the next on, all of it and all keys of one's own with one
//! stream. Whatever etcd says is dated and says how a key is, not how it differs; so a new stream may begin while the one
//! before is heard. etcd says nothing on a quiet stream: one that was not heard for a while is opened anew, and the answer
//! that it was created shows that it lives.
//!
//! - The answer to a question for progress is not taken for a place in the history: before 3.4.25 and 3.5.8 it overtakes
//!   what is still to be told.
//! - A watch whose past was compacted is canceled in a stream that goes on: that watch is listed anew.
//! - A watch that is not permitted is canceled with success, in the same words as one whose token has worn out.
//! - The epoch is the id of the cluster. A cluster that was made anew has the same id and counts its revisions from the
//!   start, unless it was told to go on beyond. So before a stream is opened a few keys are read that prove the history.
//!   If it is another one, or if nothing is as it was, which proves nothing, and something is missing, a new epoch
//!   begins, and the client takes nothing for gone that is only not listed, until [`EtcdOptions::warm_up`] has passed.
//!   So what left while everything else changed, too, leaves so much later.
//!
//! # What etcd keeps of a registry's laws
//!
//! It fences: a lease that ended holds no key, and leases, revisions and transactions are those of one history. What it
//! does not keep, and what holds instead:
//!
//! - *A holder knows at its next call that it was superseded.* Here it hears of it from the watch of its key, or at its
//!   next update: as long as neither gets through, it says that it is registered while its lease is renewed.
//! - *No generation*: who holds a key is told by the lease.
//! - *Late by a stated bound*: etcd ends leases when it comes to it, usually within a second; a new leader gives all their
//!   whole time again.
//! - *No cause*: nobody says whether a key expired or was removed.
//! - *(E, r) is never reused* only as far as the loss of a history is noticed: not if in another one the last keys that
//!   were heard of are written by the same leases at the same revisions.
//! - Whoever may write the keys may write anything: what is no instance, or is not where it says, is skipped.
//!
//! # In a browser
//!
//! A page speaks to the gateway itself: of any origin, unless etcd was started with `--cors` and those that are let in. It
//! takes origins with a port only, and the browser names none that is usual, so that a page at such a port is let in with all
//! others or not at all. The headers `accept`, `content-type` and `authorization` are let through, and no other is sent.
//! Only browsers keep to that: to everybody else etcd answers anyhow, so that it takes authentication to keep them out.
//!
//! # States and inputs
//!
//! What each input does to a client that does one thing: *down*, the way is tried again after a while; *stale*, what the
//! subscription learns; *told*, what the application does; and what is *sent* at once.
//!
//! | input | not ours, or over | a call | a login | a listing | a stream, opening | a stream, open |
//! |---|---|---|---|---|---|---|
//! | head: success | – | – | – | – | – | – |
//! | head: refusal | – | – | – | – | – | – |
//! | refused: out of service, complete | – | down | down | down | stale, down | stale, down |
//! | refused: no right, complete | – | up, told | down | told | stale, told, down | stale, told, down |
//! | not found, complete | – | *grant* | *authenticate* | *txn* | stale, *txn* | stale, *txn* |
//! | garbage, complete | – | down | down | down | dropped, stale, down | dropped, stale, down |
//! | a line: created | – | – | – | – | – | – |
//! | end | – | down | down | down | stale, down | stale, down |
//! | failure: not sent | – | down | down | down | stale, down | stale, down |
//! | failure: unknown | – | down | down | down | stale, down | stale, down |
//! | suspend | – | – | – | dropped | dropped, stale | dropped, stale |
//! | nothing for a minute | – | dropped, down | dropped, down | dropped, down | dropped, stale, down | dropped, stale, down |

mod ask;
mod claim;
mod cluster;
pub mod desk;
mod facts;
mod gateway;
mod keys;
mod listing;
mod login;
mod message;
mod options;
mod own;
mod stream;
mod work;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use smol_str::SmolStr;

use crate::catalog::Selector;
use crate::client::calls::Call;
use crate::client::holding::Work;
use crate::client::link::Fall;
use crate::client::machine::{Machine, Protocol, What};
use crate::client::{ClientConfig, CommandError, Registration};
use crate::http::{Head, RequestId};
use crate::instance::ServiceInstance;
use crate::name::Namespace;
use crate::rng::{Rng, Seed};
use crate::time::Instant;
use claim::{Claims, Guard};
use cluster::Cluster;
use gateway::Paths;
use login::Door;
use stream::Streams;

pub use message::LeaseId;
pub use options::EtcdOptions;

/// A client of an etcd. See [`Backend`](crate::client::Backend) for how it is driven.
pub type Etcd = Machine<Wire>;

/// What a client of an etcd keeps beside what every client keeps.
#[derive(Debug)]
pub struct Wire {
    options: EtcdOptions,
    paths: Paths,
    door: Door,
    claims: Claims,
    cluster: Cluster,
    streams: Streams,
    /// Revocations under way that nobody waits for.
    revoking: usize,
}

/// Which request of a piece of work it is.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The lease is made.
    Grant,
    /// The lease is there already: it is renewed.
    Revive,
    /// The key is written, or read.
    Write {
        /// What it expects.
        guard: Guard,
        /// What is written; `None`: the key goes.
        value: Option<Vec<u8>>,
        /// Whether an earlier write may have taken effect.
        retry: bool,
        /// How often the key was not as expected.
        round: u32,
    },
    /// A lease is ended: this one, counted from the first.
    Revoke(usize),
    /// These are renewed.
    Renew(Vec<LeaseId>),
}

/// A request that does no work of a registration.
#[derive(Clone, Debug)]
pub(crate) enum Aside {
    Login,
    List,
    Watch,
    Revoke,
}

impl Etcd {
    /// A client that has not called yet. `seed` is 32 bytes from the system: the ids of leases are drawn from it.
    ///
    /// # Panics
    /// If the configuration names no origin.
    #[must_use]
    pub fn new(config: ClientConfig, options: EtcdOptions, seed: Seed, now: Instant) -> Self {
        let wire = Wire {
            options,
            paths: Paths::new(config.origins.len()),
            door: Door::default(),
            claims: Claims::default(),
            cluster: Cluster::default(),
            streams: Streams::default(),
            revoking: 0,
        };
        Self::assemble(config, Rng::new(seed), wire, now)
    }
}

impl Protocol for Wire {
    type Lease = LeaseId;
    type Step = Step;
    type Aside = Aside;

    const BATCH: usize = 256;

    fn check(machine: &Etcd, registration: &Registration) -> Result<(), CommandError> {
        check_namespace(&machine.wire.options, &registration.namespace)?;
        check_endpoints(&registration.instance)
    }

    fn check_selector(machine: &Etcd, selector: &Selector) -> Result<(), CommandError> {
        check_namespace(&machine.wire.options, selector.namespace())
    }

    fn may_ask(machine: &Etcd) -> bool {
        machine.is_let_in()
    }

    fn ask(machine: &mut Etcd, work: Work, now: Instant) {
        machine.ask(work, now);
    }

    fn on_called(machine: &mut Etcd, id: RequestId, now: Instant) {
        machine.on_called(id, now);
    }

    fn asides(&self) -> usize {
        self.streams.len() + self.revoking + usize::from(self.door.is_knocking())
    }

    fn is_streamed(aside: &Aside) -> bool {
        matches!(aside, Aside::Watch)
    }

    fn on_aside_head(_: &mut Etcd, _: RequestId, _: &Head, _: Instant) {}

    fn on_aside_chunk(machine: &mut Etcd, id: RequestId, chunk: &[u8], now: Instant) {
        machine.on_stream_chunk(id, chunk, now);
    }

    fn on_aside_end(machine: &mut Etcd, id: RequestId, now: Instant) {
        let Some(call) = machine.calls.end(id) else {
            return;
        };
        match call.what {
            What::Aside(Aside::Login) => machine.on_login(&call, now),
            What::Aside(Aside::List) => machine.on_listed(id, call, now),
            What::Aside(Aside::Watch) => machine.on_stream_end(id, call, now),
            What::Aside(Aside::Revoke) => machine.wire.revoking -= 1,
            What::Work(..) => {}
        }
    }

    fn on_aside_over(
        machine: &mut Etcd,
        id: RequestId,
        call: Call<What<Self>>,
        fall: Fall,
        reason: &str,
        now: Instant,
    ) {
        match call.what {
            What::Aside(Aside::Login) => machine.on_login_over(call.way, fall, reason, now),
            What::Aside(Aside::List) => machine.on_listing_over(call.way, fall, reason, now),
            What::Aside(Aside::Watch) => machine.on_stream_over(id, call.way, fall, reason, now),
            What::Aside(Aside::Revoke) => machine.wire.revoking -= 1,
            What::Work(..) => {}
        }
    }

    fn follow(machine: &mut Etcd, now: Instant) {
        machine.follow(now);
        // Only now it is known whether there is anything to be let in for.
        machine.knock(now);
    }

    fn on_time(machine: &mut Etcd, now: Instant) {
        machine.knock(now);
        machine.watch_time(now);
    }

    fn poll_timeout(machine: &Etcd) -> Option<Instant> {
        machine.streams_timeout().into_iter().chain(machine.login_timeout()).min()
    }

    fn on_online(machine: &mut Etcd, now: Instant) {
        machine.refresh_streams(now);
    }

    fn close(machine: &mut Etcd) {
        machine.close_streams();
    }
}

/// Kratos skips a whole instance for one endpoint that it cannot parse.
fn check_endpoints(instance: &ServiceInstance) -> Result<(), CommandError> {
    for (at, endpoint) in instance.endpoints.iter().enumerate() {
        if let Ok(parts) = endpoint.parts()
            && !is_go_url(parts.host, parts.rest)
        {
            let problem =
                String::from("Kratos cannot parse it and would skip the whole instance: write %25 for a percent sign");
            return Err(CommandError::Unfit { field: format!("endpoints[{at}]").into(), problem });
        }
    }
    Ok(())
}

/// A namespace with a slash would lie within a service of another one.
fn check_namespace(options: &EtcdOptions, namespace: &Namespace) -> Result<(), CommandError> {
    let clash = format!("/{namespace}") == options.prefix && *namespace != Namespace::default();
    if !namespace.contains('/') && !clash {
        return Ok(());
    }
    let problem = if clash {
        format!("`{}` is the prefix of the namespace `default`: use that", options.prefix)
    } else {
        String::from("its keys would lie among those of another one: use a name without a slash")
    };
    Err(CommandError::Unfit { field: SmolStr::new_static("namespace"), problem })
}

/// Whether Go's parser, which Kratos uses, takes what percent signs there are in a host, a path and a fragment.
fn is_go_url(host: &str, rest: &str) -> bool {
    let escaped = |text: &str| {
        text.split('%').skip(1).all(|after| after.len() >= 2 && after.bytes().take(2).all(|b| b.is_ascii_hexdigit()))
    };
    let (path, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let path = path.split('?').next().unwrap_or("");
    !host.contains('%') && escaped(path) && escaped(fragment)
}

#[cfg(test)]
mod tests;
