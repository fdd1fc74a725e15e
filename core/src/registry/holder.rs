//! What holders do: register, renew, update, deregister.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Registry, names};
use crate::config::Collision;
use crate::error::{LimitReached, RegisterError, UpdateError};
use crate::event::{Caller, Cause, EventKind};
use crate::fault::Fault;
use crate::instance::Patch;
use crate::lease::{Lease, LeaseError, Terms};
use crate::log::Listed;
use crate::name::{Key, Namespace, ServiceKey};
use crate::packed::Instance;
use crate::time::Instant;

/// The largest generation: the largest whole number that every JSON reader takes for itself.
pub const MAX_GENERATION: u64 = (1 << 53) - 1;
/// What is reclaimed raises the generations up to here: nobody can use them up.
const MOST_RECLAIMED: u64 = MAX_GENERATION / 2;

/// One life of a holder: 128 random bits that it draws when it starts. On the wire, 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u128);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({:08x}…)", self.0 >> 96)
    }
}

/// The text is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an incarnation is 32 hexadecimal digits, drawn at random when a holder starts")]
pub struct IncarnationError;

impl FromStr for Incarnation {
    type Err = IncarnationError;
    fn from_str(text: &str) -> Result<Self, IncarnationError> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(IncarnationError);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| IncarnationError)
    }
}

impl Serialize for Incarnation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Incarnation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which command of which holder this is: what makes a command sent twice one command, and one that arrives after
/// it was given up none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The holder's life.
    pub incarnation: Incarnation,
    /// The command's number in it; later commands have higher ones.
    pub sequence: u64,
}

impl Operation {
    /// The command of a holder that does not say who it is: always a new one.
    pub const ANONYMOUS: Self = Self { incarnation: Incarnation(0), sequence: 0 };

    pub(super) const fn is_anonymous(self) -> bool {
        self.incarnation.0 == 0
    }
}

/// What a holder asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// Where.
    pub namespace: Namespace,
    /// The instance; its name is the service's.
    pub instance: Instance,
    /// How long the lease lives without a renewal; the configured default, if it does not say.
    pub ttl: Option<Duration>,
    /// Which command this is; [`Operation::ANONYMOUS`], if it does not say.
    pub operation: Operation,
    /// The generation that the holder had, if it had one and wants it back only if nobody took the id since.
    pub reclaim: Option<u64>,
    /// The sequence of the first command of this registration, if it is not this one: a holder that never heard that it
    /// had registered is told by it that another took the id since.
    pub since: Option<u64>,
}

impl Register {
    /// A registration in the default namespace by a holder who does not say who it is.
    #[must_use]
    pub fn new(instance: Instance) -> Self {
        Self {
            namespace: Namespace::default(),
            instance,
            ttl: None,
            operation: Operation::ANONYMOUS,
            reclaim: None,
            since: None,
        }
    }
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nobody held the id.
    Registered,
    /// It is the same registration again.
    Repeated,
    /// The same holder held the id under an older lease.
    Replaced,
    /// Another holder held the id, and no longer does.
    Superseded,
}

/// What a holder gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The right to act for the instance.
    pub lease: Lease,
    /// Which holder of the id this is: rises with every lease that is given out for it.
    pub generation: u64,
    /// How long the lease lives without a renewal.
    pub ttl: Duration,
    /// What became of the registration.
    pub outcome: Outcome,
}

impl Registry {
    /// Registers an instance. O(size of the instance + watchers).
    ///
    /// The same operation with the same body again gives the same lease, counts as a renewal, and changes nothing.
    /// Another registration for an id that is held supersedes the lease, or is refused, as configured. An overlay of
    /// the id applies.
    ///
    /// # Errors
    /// Says why the registration was refused; nothing was changed.
    pub fn register(
        &mut self,
        request: Register,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Result<Registered, RegisterError> {
        let now = self.advance(now);
        let ttl = self.checked_ttl(request.ttl)?;
        if let Some(given) = request.reclaim.filter(|&given| given >= MAX_GENERATION) {
            return Err(RegisterError::Generation { given, limit: MAX_GENERATION - 1 });
        }
        let sequence = request.operation.sequence;
        if let Some(given) = request.since.filter(|&given| given > sequence) {
            return Err(RegisterError::Since { given, limit: sequence });
        }
        self.config.limits.instance.check_total(request.instance.json().len())?;
        if let Some((remaining, reason)) = self.blocks.remaining(&request.namespace, &request.instance, now) {
            return Err(RegisterError::Blocked { remaining, reason });
        }
        let service = self.catalog.find_service(&request.namespace, request.instance.service_bytes());
        let entry = service.and_then(|service| self.catalog.entry(service, request.instance.id_bytes()));
        let over = self.ended.find(names(&request.namespace, &request.instance), request.operation.incarnation);
        if let Some(over) = over.filter(|_| !self.config.faults.has(Fault::EndedOperationForgotten)) {
            // Whoever never heard that it had registered must hear that it does not any more, and why: whoever is there by
            // now came after it.
            let other = entry.is_some_and(|entry| !self.is_held_by(entry, request.operation.incarnation));
            let since = request.since.filter(|_| !self.config.faults.has(Fault::SinceIgnored)).unwrap_or(sequence);
            let superseded = (over.superseded || other) && since <= over.sequence && over.sequence <= sequence;
            if superseded && !self.config.faults.has(Fault::SupersededUntold) {
                return Err(RegisterError::Superseded);
            }
            if sequence <= over.sequence {
                return Err(RegisterError::Ended);
            }
        }
        match entry {
            Some(entry) => self.register_again(entry, request, ttl, caller),
            None => self.register_new(service, request, ttl, caller),
        }
    }

    fn is_held_by(&self, entry: u32, holder: Incarnation) -> bool {
        self.leases.terms(self.catalog.tag(entry)).incarnation() == holder.0
    }

    fn register_new(
        &mut self,
        service: Option<u32>,
        request: Register,
        ttl: Duration,
        caller: &Arc<Caller>,
    ) -> Result<Registered, RegisterError> {
        let Register { namespace, instance, operation, reclaim, .. } = request;
        let (listed, base) = self.overlaid(&namespace, instance, ttl)?;
        self.check_room(&namespace, service, listed.size()).map_err(RegisterError::Limit)?;
        let service = match service {
            Some(service) => service,
            None => self.catalog.service_or_new(&ServiceKey::new(namespace, listed.instance.service_name())),
        };
        let why = self.why(Cause::Registered, Some(caller));
        let entry = self.catalog.insert(service, listed, why);
        let (lease, generation) = self.grant(entry, operation, ttl, reclaim);
        self.remember_base(entry, base);
        let subject = self.subject(entry);
        self.emit(EventKind::Registered { subject, generation }, Some(caller));
        Ok(Registered { lease, generation, ttl, outcome: Outcome::Registered })
    }

    fn register_again(
        &mut self,
        entry: u32,
        request: Register,
        ttl: Duration,
        caller: &Arc<Caller>,
    ) -> Result<Registered, RegisterError> {
        let held = self.catalog.tag(entry);
        let terms = *self.leases.terms(held);
        let operation = request.operation;
        let same_holder = !operation.is_anonymous() && terms.incarnation() == operation.incarnation.0;
        if same_holder {
            if operation.sequence < terms.sequence {
                return Err(RegisterError::Outdated { latest: terms.sequence });
            }
            if operation.sequence == terms.sequence && !self.config.faults.has(Fault::RepeatGetsNewLease) {
                if *self.base(entry) != request.instance || self.leases.ttl(held) != ttl {
                    return Err(RegisterError::OperationReused { sequence: operation.sequence });
                }
                self.leases.touch(held, self.now);
                let (lease, generation) = (self.leases.lease(held), terms.generation);
                return Ok(Registered { lease, generation, ttl, outcome: Outcome::Repeated });
            }
        } else {
            let lost = request.reclaim.is_some_and(|reclaim| terms.generation > reclaim);
            if lost && !self.config.faults.has(Fault::ReclaimTakesBack) {
                return Err(RegisterError::Superseded);
            }
            if self.config.collision == Collision::Refuse {
                return Err(RegisterError::Taken);
            }
        }
        if self.config.faults.has(Fault::RefusalHalfDone) {
            self.leases.touch(held, self.now.saturating_add(ttl));
        }
        let (listed, base) = self.overlaid(&request.namespace, request.instance, ttl)?;
        self.check_bytes(listed.size(), self.catalog.listed(entry).size()).map_err(RegisterError::Limit)?;

        if !self.config.faults.has(Fault::SupersededLeaseLives) {
            self.end_lease(entry, LeaseError::Superseded, !same_holder);
        }
        let (lease, generation) = self.grant(entry, operation, ttl, request.reclaim);
        self.remember_base(entry, base);
        let cause = if same_holder { Cause::Registered } else { Cause::Superseded };
        self.show(entry, listed, cause, caller);
        let subject = self.subject(entry);
        let (kind, outcome) = if same_holder {
            (EventKind::Registered { subject, generation }, Outcome::Replaced)
        } else {
            (EventKind::Superseded { subject, generation }, Outcome::Superseded)
        };
        self.emit(kind, Some(caller));
        Ok(Registered { lease, generation, ttl, outcome })
    }

    /// Renews a lease: its deadline becomes now and its ttl, unless it is later already. O(1), no allocation.
    ///
    /// # Errors
    /// Says how the lease ended; nothing was changed.
    pub fn renew(&mut self, lease: &Lease, caller: &Arc<Caller>, now: Instant) -> Result<(), LeaseError> {
        let now = self.advance(now);
        let touched = self.leases.renew(lease, now)?;
        if touched.late {
            self.renewed_late(lease, caller);
        }
        Ok(())
    }

    /// Renews many leases. Those that failed are appended with their place in the batch; the others are renewed.
    /// O(batch), no allocation but for failures.
    pub fn renew_all(
        &mut self,
        leases: &[Lease],
        caller: &Arc<Caller>,
        now: Instant,
        failed: &mut Vec<(usize, LeaseError)>,
    ) {
        let now = self.advance(now);
        for (at, lease) in leases.iter().enumerate() {
            match self.leases.renew(lease, now) {
                Ok(touched) if touched.late => self.renewed_late(lease, caller),
                Ok(_) => {}
                Err(error) => failed.push((at, error)),
            }
        }
    }

    #[cold]
    fn renewed_late(&mut self, lease: &Lease, caller: &Arc<Caller>) {
        let Ok(at) = self.leases.find(lease) else {
            return;
        };
        let subject = self.subject(self.leases.terms(at).entry);
        self.emit(EventKind::RenewedLate(subject), Some(caller));
    }

    /// Changes an instance in place; its lease stays. Returns whether anything visible changed.
    /// O(size of the instance + watchers).
    ///
    /// A sequence orders the updates of one holder: one that comes after a later one is refused, and the same again
    /// changes nothing.
    ///
    /// # Errors
    /// Says why; nothing was changed.
    pub fn update(
        &mut self,
        lease: &Lease,
        patch: &Patch,
        sequence: Option<u64>,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Result<bool, UpdateError> {
        self.advance(now);
        let at = self.leases.find(lease)?;
        let terms = *self.leases.terms(at);
        let entry = terms.entry;
        if sequence.is_some_and(|sequence| sequence < terms.sequence) {
            return Err(UpdateError::Outdated { latest: terms.sequence });
        }
        let limits = &self.config.limits.instance;
        let base = self.base(entry).patched(patch, limits)?;
        let shown = match self.overlay_of(entry) {
            Some(overlay) => base.patched(&overlay.patch(), limits)?,
            None => base.clone(),
        };
        let listed = Listed { instance: shown, ttl_ms: self.catalog.listed(entry).ttl_ms };
        self.check_bytes(listed.size(), self.catalog.listed(entry).size()).map_err(UpdateError::Limit)?;
        if let Some(sequence) = sequence {
            self.leases.terms_mut(at).sequence = sequence;
        }
        self.remember_base(entry, Some(base));
        let changed = self.show(entry, listed, Cause::Updated, caller);
        if changed {
            let subject = self.subject(entry);
            self.emit(EventKind::Updated(subject), Some(caller));
        }
        Ok(changed)
    }

    /// Ends a lease and takes its instance out. Doing so twice is doing it once. O(watchers).
    ///
    /// # Errors
    /// If the lease had ended otherwise; nothing was changed.
    pub fn deregister(
        &mut self,
        lease: &Lease,
        sequence: Option<u64>,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Result<(), LeaseError> {
        self.advance(now);
        match self.leases.find(lease) {
            Ok(at) => {
                let terms = self.leases.terms_mut(at);
                terms.sequence = terms.sequence.max(sequence.unwrap_or(0));
                let entry = terms.entry;
                self.take_out(entry, LeaseError::Deregistered, Cause::Deregistered, Some(caller));
                Ok(())
            }
            Err(LeaseError::Deregistered) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives up what a holder has sent for an instance up to an operation, whose answer it never got: if it took
    /// effect, the instance goes; if it arrives later, it is refused. Returns whether the instance went. O(watchers).
    pub fn abandon(&mut self, key: &Key, operation: Operation, caller: &Arc<Caller>, now: Instant) -> bool {
        self.advance(now);
        if operation.is_anonymous() {
            return false;
        }
        let entry = self.catalog.find(&key.namespace, &key.service, &key.id);
        let held = entry.filter(|&entry| {
            let terms = self.leases.terms(self.catalog.tag(entry));
            terms.incarnation() == operation.incarnation.0 && terms.sequence <= operation.sequence
        });
        if let Some(entry) = held {
            self.take_out(entry, LeaseError::Deregistered, Cause::Deregistered, Some(caller));
        }
        self.ended.record([key.namespace.as_bytes(), key.service.as_bytes(), key.id.as_bytes()], operation, false);
        held.is_some()
    }

    fn checked_ttl(&self, ttl: Option<Duration>) -> Result<Duration, RegisterError> {
        let limits = &self.config.ttl;
        let given = ttl.unwrap_or(limits.default);
        if given < limits.min || given > limits.max {
            return Err(RegisterError::Ttl { given, min: limits.min, max: limits.max });
        }
        Ok(Duration::from_millis(u64::try_from(given.as_millis()).unwrap_or(u64::MAX).max(1)))
    }

    fn check_room(&self, namespace: &Namespace, service: Option<u32>, size: usize) -> Result<(), LimitReached> {
        let limits = &self.config.limits;
        within("instances", self.catalog.len(), limits.instances)?;
        let instances = service.map_or(0, |service| self.catalog.instances_of(service));
        within("instances_per_service", instances, limits.instances_per_service)?;
        if instances == 0 {
            within("services", self.catalog.service_count(), limits.services)?;
            if self.catalog.namespace(namespace).services == 0 {
                within("namespaces", self.catalog.namespaces().count(), limits.namespaces)?;
            }
        }
        self.check_bytes(size, 0)
    }

    pub(super) fn check_bytes(&self, size: usize, instead_of: usize) -> Result<(), LimitReached> {
        let value = self.config.limits.bytes;
        let total = self.catalog.bytes() + size - instead_of;
        if size > instead_of && total > value { Err(LimitReached { limit: "bytes", value }) } else { Ok(()) }
    }

    /// Gives out a lease. All generations that were ever given out are counted, those of another life of the registry that
    /// were reclaimed, too: whoever registers later has a higher one, also when those before it have left.
    fn grant(&mut self, entry: u32, operation: Operation, ttl: Duration, reclaim: Option<u64>) -> (Lease, u64) {
        let above = reclaim.unwrap_or(0).min(MOST_RECLAIMED);
        let faults = self.config.faults;
        let counted = if faults.has(Fault::ReclaimUncounted) { self.generation } else { self.generation.max(above) };
        let generation = if faults.has(Fault::GenerationStays) { 1 } else { self.generation.max(above) + 1 };
        self.generation = counted + 1;
        let terms = Terms::new(entry, generation, operation.incarnation.0, operation.sequence);
        let secret = self.rng.next_u128();
        if self.leases.len() == 0 {
            self.looked = self.now;
        }
        let lease = self.leases.grant(terms, ttl, secret, self.now);
        self.catalog.set_tag(entry, lease.index());
        (lease, generation)
    }
}

fn within(limit: &'static str, held: usize, value: usize) -> Result<(), LimitReached> {
    if held >= value { Err(LimitReached { limit, value }) } else { Ok(()) }
}
