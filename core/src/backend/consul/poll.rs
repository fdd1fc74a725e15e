//! One query that is asked again and again, and waits at the agent for a change.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use smol_str::SmolStr;

use crate::client::Backoff;
use crate::http::RequestId;
use crate::name::{InstanceId, Namespace, ServiceKey, ServiceName};
use crate::packed::Instance;
use crate::time::Instant;

/// What a query is for, in one of the datacenters: a place in the options.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Query {
    /// The names of all services of a namespace.
    Names(Namespace, usize),
    /// The healthy instances of a service.
    Health(ServiceKey, usize),
}

impl Query {
    pub(super) const fn dc(&self) -> usize {
        match self {
            Self::Names(_, dc) | Self::Health(_, dc) => *dc,
        }
    }

    pub(super) const fn namespace(&self) -> &Namespace {
        match self {
            Self::Names(namespace, _) => namespace,
            Self::Health(service, _) => &service.namespace,
        }
    }
}

/// A request for a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) id: RequestId,
    /// The era of the link that it was sent in.
    pub(super) era: u64,
    pub(super) at: Instant,
    /// The index that it waits from, if it waits.
    pub(super) since: Option<u64>,
    /// Whether it says that nobody asks, and not just who does.
    pub(super) as_nobody: bool,
}

/// What is asked next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Next {
    /// What changes from where it was.
    #[default]
    Change,
    /// What there is, because the last answer proves nothing.
    All,
    /// What there is, in the name of nobody: only to those who show a token, if that of nobody, Consul says that it hides
    /// something.
    AllAsNobody,
}

/// A query and what it gave.
#[derive(Debug)]
pub(super) struct Poll {
    /// The request that is under way.
    pub(super) call: Option<Sent>,
    /// When it is to be asked next, if it is not under way.
    pub(super) due: Instant,
    /// The index of the last answer; 0: there is none to wait from.
    pub(super) index: u64,
    /// Whether it has failed since the last answer: the next one is asked for at once, because one that waits for a change
    /// shows only when there is one whether anybody is there.
    pub(super) resuming: bool,
    /// Whether what it gave is out of date for all that is known.
    pub(super) stale: bool,
    /// When it was last answered; before that, when it was first wanted.
    pub(super) heard: Instant,
    /// The client's epoch that the last answer belongs to; `None`: there was none.
    pub(super) epoch: Option<u32>,
    /// The epoch in which it was last answered, or has failed: nothing is waited for then before all is shown.
    pub(super) tried: Option<u32>,
    pub(super) instances: BTreeMap<InstanceId, Instance>,
    pub(super) nodes: BTreeSet<(SmolStr, u64)>,
    pub(super) names: BTreeSet<ServiceName>,
    /// Whether it was told that rights are missing.
    pub(super) filtered: bool,
    pub(super) next: Next,
    /// When an answer last showed that somebody knows what there is.
    pub(super) proven: Instant,
    /// How often an agent said that it has no leader, since the last good answer.
    pub(super) leaderless: usize,
    /// For what it alone was refused.
    pub(super) backoff: Backoff,
    pace: Pace,
}

impl Poll {
    pub(super) const fn new(now: Instant, backoff: Backoff) -> Self {
        Self {
            call: None,
            due: now,
            index: 0,
            resuming: false,
            stale: false,
            heard: now,
            epoch: None,
            tried: None,
            instances: BTreeMap::new(),
            nodes: BTreeSet::new(),
            names: BTreeSet::new(),
            filtered: false,
            next: Next::Change,
            proven: now,
            leaderless: 0,
            backoff,
            pace: Pace { at: now },
        }
    }

    /// From where to wait for a change; `None`: at once.
    pub(super) const fn since(&self) -> Option<u64> {
        if self.resuming || self.index == 0 || !matches!(self.next, Next::Change) { None } else { Some(self.index) }
    }

    /// It is sent.
    pub(super) fn sent(&mut self, sent: Sent) {
        self.call = Some(sent);
        self.next = Next::Change;
        self.pace.spend(sent.at);
    }

    /// It is to be asked again when its pace allows it.
    pub(super) fn again(&mut self, now: Instant) {
        self.due = self.pace.next(now);
    }
}

/// One a second, and two at once.
#[derive(Debug)]
struct Pace {
    /// When all is paid for that was sent.
    at: Instant,
}

impl Pace {
    const EACH: Duration = Duration::from_secs(1);

    fn spend(&mut self, now: Instant) {
        self.at = self.at.max(now).saturating_add(Self::EACH);
    }

    fn next(&self, now: Instant) -> Instant {
        let ahead = self.at.saturating_since(now);
        now.saturating_add(ahead.saturating_sub(Self::EACH))
    }
}
