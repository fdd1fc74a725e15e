//! Leases: who may act for an instance, and until when. They know nothing of watching.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::expiry::{Armed, ExpiryQueue};
use crate::fault::{Fault, Faults};
use crate::time::{Instant, micros};

/// The right to act for one registration: a place, how often it was given out, and a secret of 128 bits.
///
/// On the wire it is an opaque text of 32 characters. It never comes back once its lease has ended. Its `Debug`
/// form hides the secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    slot: u32,
    generation: u32,
    secret: [u64; 2],
}

/// The text is not a lease that any registry gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a lease: send the text that the registration was answered with")]
pub struct LeaseFormatError;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const VALUES: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut at = 0;
    while at < 64 {
        values[ALPHABET[at] as usize] = at as u8;
        at += 1;
    }
    values
};

impl Lease {
    /// Reads the text form. O(1).
    ///
    /// # Errors
    /// If the text has another length or other characters than a lease has.
    pub fn parse(text: &[u8]) -> Result<Self, LeaseFormatError> {
        let text: &[u8; 32] = text.try_into().map_err(|_| LeaseFormatError)?;
        let mut bytes = [0u8; 24];
        let mut seen = 0;
        for (out, four) in bytes.as_chunks_mut::<3>().0.iter_mut().zip(text.as_chunks::<4>().0) {
            let [a, b, c, d] = four.map(|byte| u32::from(VALUES[usize::from(byte)]));
            seen |= a | b | c | d;
            let [_, x, y, z] = (a << 18 | b << 12 | c << 6 | d).to_be_bytes();
            *out = [x, y, z];
        }
        if seen >= 64 {
            return Err(LeaseFormatError);
        }
        let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let place = word(0);
        Ok(Self { slot: (place >> 32) as u32, generation: place as u32, secret: [word(8), word(16)] })
    }

    /// The text form: 32 characters of base64url. O(1).
    #[must_use]
    pub fn to_text(&self) -> [u8; 32] {
        let mut bytes = [0u8; 24];
        bytes[..4].copy_from_slice(&self.slot.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.generation.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.secret[0].to_be_bytes());
        bytes[16..].copy_from_slice(&self.secret[1].to_be_bytes());
        let mut text = [0u8; 32];
        for (out, three) in text.as_chunks_mut::<4>().0.iter_mut().zip(bytes.as_chunks::<3>().0) {
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            *out = [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize]);
        }
        text
    }
}

impl Lease {
    /// A lease of three numbers that say all about it, for a server that keeps nothing.
    pub(crate) const fn of_words([place, first, second]: [u64; 3]) -> Self {
        Self { slot: (place >> 32) as u32, generation: place as u32, secret: [first, second] }
    }

    /// The three numbers.
    pub(crate) const fn words(&self) -> [u64; 3] {
        [(self.slot as u64) << 32 | self.generation as u64, self.secret[0], self.secret[1]]
    }

    pub(crate) const fn index(&self) -> u32 {
        self.slot
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.to_text()).expect("base64url is ASCII"))
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({}:{}, …)", self.slot, self.generation)
    }
}

impl FromStr for Lease {
    type Err = LeaseFormatError;
    fn from_str(text: &str) -> Result<Self, LeaseFormatError> {
        Self::parse(text.as_bytes())
    }
}

impl Serialize for Lease {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lease {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a lease is good for nothing. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// No such lease, or one that ended long ago.
    #[error("the lease is not known here: register again")]
    Unknown,
    /// It was not renewed in time.
    #[error("the lease has expired: register again")]
    Expired,
    /// Its holder deregistered.
    #[error("the lease ended when its instance was deregistered")]
    Deregistered,
    /// Another holder registered the same id.
    #[error("another holder has registered this id since: it is theirs")]
    Superseded,
    /// An operator took the instance out.
    #[error("an operator has evicted the instance")]
    Evicted,
}

impl LeaseError {
    /// The word for it on the wire: `lease_expired` and so on.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "lease_unknown",
            Self::Expired => "lease_expired",
            Self::Deregistered => "lease_deregistered",
            Self::Superseded => "lease_superseded",
            Self::Evicted => "lease_evicted",
        }
    }

    const ALL: [Self; 5] = [Self::Unknown, Self::Expired, Self::Deregistered, Self::Superseded, Self::Evicted];
}

/// What a renewal reads and writes, two to a cache line.
#[derive(Clone, Copy)]
struct Slot {
    /// Microseconds; of a lease that has ended: how, as an index of [`LeaseError::ALL`].
    deadline: u64,
    secret: [u64; 2],
    generation: u32,
    /// Zero: the lease has ended.
    ttl_ms: u32,
}

/// What else there is to know of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The entry of the catalog it stands for.
    pub(crate) entry: u32,
    /// Which holder of the id this is.
    pub(crate) generation: u64,
    /// Who it was given to; see [`Terms::incarnation`].
    pub(crate) holder: [u64; 2],
    /// The holder's latest command.
    pub(crate) sequence: u64,
}

impl Terms {
    pub(crate) const fn new(entry: u32, generation: u64, incarnation: u128, sequence: u64) -> Self {
        let holder = [(incarnation >> 64) as u64, incarnation as u64];
        Self { entry, generation, holder, sequence }
    }

    /// Who it was given to. Kept in halves, which need no padding.
    pub(crate) const fn incarnation(&self) -> u128 {
        (self.holder[0] as u128) << 64 | self.holder[1] as u128
    }
}

/// A lease that was renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Less than a quarter of the ttl was left.
    pub(crate) late: bool,
}

/// All leases of a registry.
pub(crate) struct Leases {
    slots: Vec<Slot>,
    terms: Vec<Terms>,
    /// Slots whose lease has ended, longest ago first: a holder who comes late can still be told how it ended.
    free: VecDeque<u32>,
    remembered: usize,
    live: usize,
    queue: ExpiryQueue,
    due: Vec<Armed>,
    faults: Faults,
}

impl Leases {
    pub(crate) fn new(remembered: usize, faults: Faults) -> Self {
        let (slots, terms) = (Vec::new(), Vec::new());
        let (free, queue, due) = (VecDeque::new(), ExpiryQueue::new(), Vec::new());
        Self { slots, terms, free, remembered, live: 0, queue, due, faults }
    }

    /// Gives out a lease. O(1).
    pub(crate) fn grant(&mut self, terms: Terms, ttl: Duration, secret: u128, now: Instant) -> Lease {
        let slot = Slot {
            deadline: now.saturating_add(ttl).as_micros(),
            secret: [(secret >> 64) as u64, secret as u64],
            generation: 0,
            ttl_ms: whole_millis(ttl),
        };
        let at = if self.free.len() > self.remembered { self.free.pop_front() } else { None };
        let at = match at {
            Some(at) => {
                let generation = self.slots[at as usize].generation + 1;
                self.slots[at as usize] = Slot { generation, ..slot };
                self.terms[at as usize] = terms;
                at
            }
            None => {
                self.slots.push(slot);
                self.terms.push(terms);
                u32::try_from(self.slots.len() - 1).expect("the limits keep leases below 2^32")
            }
        };
        self.live += 1;
        self.arm(at);
        self.lease(at)
    }

    fn arm(&mut self, at: u32) {
        let slot = self.slots[at as usize];
        self.queue.arm(Armed { at: slot.deadline, slot: at, generation: slot.generation });
    }

    pub(crate) fn lease(&self, at: u32) -> Lease {
        let slot = &self.slots[at as usize];
        Lease { slot: at, generation: slot.generation, secret: slot.secret }
    }

    /// Finds a live lease. O(1).
    pub(crate) fn find(&self, lease: &Lease) -> Result<u32, LeaseError> {
        let slot = self.slots.get(lease.slot as usize).ok_or(LeaseError::Unknown)?;
        if !self.matches(slot, lease) {
            return Err(LeaseError::Unknown);
        }
        if slot.ttl_ms == 0 && !self.faults.has(Fault::RenewEndedLease) {
            return Err(LeaseError::ALL[slot.deadline as usize % LeaseError::ALL.len()]);
        }
        Ok(lease.slot)
    }

    /// Looks at the whole secret, whatever it finds, so that the time it takes says nothing of it.
    #[inline]
    fn matches(&self, slot: &Slot, lease: &Lease) -> bool {
        let differs = (slot.secret[0] ^ lease.secret[0]) | (slot.secret[1] ^ lease.secret[1]);
        slot.generation == lease.generation && (differs == 0 || self.faults.has(Fault::RenewIgnoresSecret))
    }

    /// Renews a lease: one store into its slot. O(1), no allocation.
    #[inline]
    pub(crate) fn renew(&mut self, lease: &Lease, now: Instant) -> Result<Touched, LeaseError> {
        match self.slots.get(lease.slot as usize) {
            Some(slot) if slot.ttl_ms != 0 && self.matches(slot, lease) => Ok(self.touch(lease.slot, now)),
            _ => self.find(lease).map(|at| self.touch(at, now)),
        }
    }

    /// Renews the lease of a slot that is known to be live.
    #[inline]
    pub(crate) fn touch(&mut self, at: u32, now: Instant) -> Touched {
        let slot = &mut self.slots[at as usize];
        let ttl = u64::from(slot.ttl_ms) * 1_000;
        let late = slot.deadline < now.as_micros().saturating_add(ttl / 4);
        let deadline = now.as_micros().saturating_add(ttl);
        slot.deadline = if self.faults.has(Fault::RenewShortens) { deadline } else { slot.deadline.max(deadline) };
        Touched { late }
    }

    /// Ends a lease. Whoever entry it is told how it ended as long as its slot is not needed. O(1).
    pub(crate) fn end(&mut self, at: u32, how: LeaseError) {
        let slot = &mut self.slots[at as usize];
        debug_assert!(slot.ttl_ms != 0 || self.faults.has(Fault::RenewEndedLease), "a lease ends once");
        self.live -= usize::from(slot.ttl_ms != 0);
        slot.ttl_ms = 0;
        slot.deadline = LeaseError::ALL.iter().position(|&e| e == how).unwrap_or(0) as u64;
        // A slot that has been given out as often as it can be told apart is not used again.
        if slot.generation < u32::MAX {
            self.free.push_back(at);
        }
        if self.queue.len() > 2 * self.len() + 1_024 {
            let slots = &self.slots;
            self.queue.retain(|armed| live(slots, armed).is_some());
        }
    }

    /// Takes the leases that are due, in order of their deadlines and then of their slots, but does not end them.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<u32> {
        let (slots, faults) = (&self.slots, self.faults);
        let deadline = |armed: &Armed| {
            let at = live(slots, armed).filter(|&at| at == armed.at || !faults.has(Fault::RearmForgotten))?;
            Some(at.saturating_sub(u64::from(faults.has(Fault::ExpireEarly))))
        };
        let mut due = core::mem::take(&mut self.due);
        self.queue.take_due(now.as_micros(), deadline, &mut due);
        due.sort_unstable();
        if faults.has(Fault::ExpireOnlyOne) {
            due.truncate(1);
        }
        let taken = due.iter().map(|armed| armed.slot).collect();
        due.clear();
        if due.capacity() <= 4_096 {
            self.due = due;
        }
        taken
    }

    /// Moves a deadline that was taken as due.
    pub(crate) fn hold(&mut self, at: u32, until: Instant) {
        self.slots[at as usize].deadline = until.as_micros();
        self.arm(at);
    }

    /// Gives every lease at least `span`, but no more than its ttl, from now. Returns how many needed it. O(leases).
    pub(crate) fn grace(&mut self, now: Instant, span: Duration) -> usize {
        let mut extended = 0;
        for slot in self.slots.iter_mut().filter(|slot| slot.ttl_ms != 0) {
            let until = now.as_micros().saturating_add(micros(span).min(u64::from(slot.ttl_ms) * 1_000));
            if until > slot.deadline {
                slot.deadline = until;
                extended += 1;
            }
        }
        extended
    }

    /// No lease is due before this; a renewed one may be due later. O(1).
    pub(crate) fn next(&self) -> Option<Instant> {
        let late = u64::from(self.faults.has(Fault::TimeoutLate));
        self.queue.next().map(|at| Instant::from_micros(at + late))
    }

    pub(crate) fn terms(&self, at: u32) -> &Terms {
        &self.terms[at as usize]
    }

    pub(crate) fn terms_mut(&mut self, at: u32) -> &mut Terms {
        &mut self.terms[at as usize]
    }

    pub(crate) fn deadline(&self, at: u32) -> Instant {
        Instant::from_micros(self.slots[at as usize].deadline)
    }

    pub(crate) fn ttl(&self, at: u32) -> Duration {
        Duration::from_millis(u64::from(self.slots[at as usize].ttl_ms))
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// How often each slot was given out: with it, restored leases stay unlike any new one.
    pub(crate) fn generations(&self) -> Vec<u32> {
        self.slots.iter().map(|slot| slot.generation).collect()
    }

    /// Puts the slots back as [`Leases::generations`] gave them, without a live lease among them.
    pub(crate) fn restore(&mut self, generations: &[u32]) {
        let ended = |&generation: &u32| Slot { deadline: 0, secret: [0; 2], generation, ttl_ms: 0 };
        self.slots = generations.iter().map(ended).collect();
        let terms = Terms::new(u32::MAX, 0, 0, 0);
        self.terms = alloc::vec![terms; generations.len()];
    }

    /// Puts a live lease back into its slot. Returns false if the slot is taken or not as the lease says.
    pub(crate) fn revive(&mut self, lease: &Lease, terms: Terms, ttl: Duration, deadline: Instant) -> bool {
        let Some(slot) = self.slots.get_mut(lease.slot as usize) else {
            return false;
        };
        if slot.ttl_ms != 0 || slot.generation != lease.generation {
            return false;
        }
        *slot = Slot {
            deadline: deadline.as_micros(),
            secret: lease.secret,
            generation: lease.generation,
            ttl_ms: whole_millis(ttl),
        };
        self.terms[lease.slot as usize] = terms;
        self.live += 1;
        self.arm(lease.slot);
        true
    }

    /// Lets the slots without a live lease be used again, after everything was revived.
    pub(crate) fn free_the_rest(&mut self) {
        let ended = |(at, slot): (usize, &Slot)| (slot.ttl_ms == 0 && slot.generation < u32::MAX).then_some(at as u32);
        self.free = self.slots.iter().enumerate().filter_map(ended).collect();
    }
}

fn live(slots: &[Slot], armed: &Armed) -> Option<u64> {
    let slot = &slots[armed.slot as usize];
    (slot.generation == armed.generation && slot.ttl_ms != 0).then_some(slot.deadline)
}

fn whole_millis(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX).max(1)
}
