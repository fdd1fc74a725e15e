//! Planted bugs: one-line faults that the tests switch on to prove that they would find them.
//!
//! Without the feature `planted-faults` no fault can be switched on, and every test of one is `false` at
//! compile time.

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident,)*) => {
        /// One planted bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$doc])* $fault,)*
        }

        impl Fault {
            /// Every planted bug.
            pub const ALL: &[Self] = &[$(Self::$fault,)*];
        }
    };
}

faults! {
    /// A renewal is accepted for a lease that has ended.
    RenewEndedLease,
    /// A renewal does not look at the secret.
    RenewIgnoresSecret,
    /// A renewal sets the deadline even if it was later before.
    RenewShortens,
    /// A lease ends one microsecond before it is due.
    ExpireEarly,
    /// Only the first of the leases that are due ends.
    ExpireOnlyOne,
    /// The timeout is announced a microsecond after the first deadline.
    TimeoutLate,
    /// A lease that was renewed is not looked at again.
    RearmForgotten,
    /// Registering the same again raises the revision.
    NoOpRaisesRevision,
    /// A watcher is not given the change right after its cursor.
    DeltaOffByOne,
    /// A watcher is not told of what went.
    DeltaLosesRemoval,
    /// A watcher whose past is forgotten gets what is left of it instead of a snapshot.
    CompactedServesDelta,
    /// A watcher is not woken by an expiry.
    WakeUpLost,
    /// A prefix watch hears of every service.
    PrefixIgnored,
    /// The lease of the holder that was superseded stays good.
    SupersededLeaseLives,
    /// The same registration sent twice gives two leases.
    RepeatGetsNewLease,
    /// What a holder had given up takes effect when it arrives late.
    EndedOperationForgotten,
    /// A holder takes an id back from whoever superseded it.
    ReclaimTakesBack,
    /// A holder that was superseded before it heard of its registration is told to send another one.
    SupersededUntold,
    /// A holder that was superseded before it heard of its registration takes the id back with its next command.
    SinceIgnored,
    /// Generations do not rise.
    GenerationStays,
    /// Generations that were reclaimed are not counted: who registers later may have a lower one.
    ReclaimUncounted,
    /// An overlay is forgotten when the instance registers again.
    OverlayLost,
    /// A stalled driver expires those who could not renew.
    NoGrace,
    /// A driver that stalls while nothing is due is not missed.
    StallUnseen,
    /// The alarm of a mass expiry never sounds.
    AlarmSilent,
    /// The registry says that it has settled before it has.
    SettlesEarly,
    /// The size of an instance that is replaced is not given back.
    BytesLeak,
    /// A refused registration has ended the lease before.
    RefusalHalfDone,
    /// A block after an eviction is not kept.
    BlockForgotten,
    /// Restoring counts the time that the registry was away.
    RestoreKeepsDeadlines,
    /// A client counts a renewal from when it was acknowledged instead of from when it was sent.
    CoverFromAnswer,
    /// A client believes in its registration although no renewal is acknowledged.
    LapseForgotten,
    /// A client forgets at its deregistration that a registration without an answer may have taken effect.
    DoubtForgotten,
    /// A client that closes lets a registration follow its deregistration.
    RegistersAfterClose,
    /// A client that was superseded registers again.
    SupersededTriesAgain,
    /// A client does not try again after a failed registration.
    RetryForgotten,
    /// A client changes what it registers under the sequence it has used.
    SequenceReused,
    /// A client retries at once instead of backing off.
    NoBackoff,
    /// A client comes back at once after the loss of a live connection.
    NoSpread,
    /// A client renews once for every tick that it missed.
    TicksReplayed,
    /// A client takes any answer to a renewal for the one to its own.
    NumberIgnored,
    /// A client does not notice that a watch has gone silent.
    SilenceForgotten,
    /// A client does not say that a watch is lost.
    StaleNotTold,
    /// A client takes what a warming registry does not list for gone.
    WarmingIgnored,
    /// A client takes a watch that ends in the middle of a delivery for a delivery.
    HalfDelivery,
    /// An outage empties what a client shows.
    StaleEmpties,
    /// What a warming registry does not list is taken for gone.
    UnconfirmedGoes,
    /// What did not come back stays although the registry has settled.
    SettlingForgotten,
    /// A delivery that is older than what is held is applied.
    OldDeliveryTaken,
    /// A holder that was slow is not told of what went after it had changed.
    CoalescingLosesRemoval,
    /// A stream is resumed from where a former life of the client was.
    CacheResumed,
    /// A change goes to every prefix of its namespace.
    PrefixLeaks,
    /// What nobody asks for any more is followed for ever.
    LingersForever,
    /// A holder is not woken when only the provenance changed.
    ProvenanceUntold,
    /// What a held prefix covers starts with nothing.
    CoveredUnseeded,
    /// An instance that came back is not taken for confirmed.
    PutConfirmsNothing,
    /// What was received is reported as applied, before its holders have taken it.
    AppliedUntaken,
    /// A report that failed is not made up for.
    ReportForgotten,
    /// An older snapshot of an epoch that was left is taken.
    EpochsForgotten,
    /// What a stream says while its client is suspended, or says as if it had been heard meanwhile, is taken.
    SuspensionForgotten,
    // Of what watchers report.
    /// A watch takes a report of what it was not handed.
    AppliedUnhanded,
    /// A watch takes a report that goes back.
    AppliedGoesBack,
    // Of clients of Consul.
    /// An index that has gone back is waited from.
    ConsulIndexKept,
    /// The TTL check is not passed after a registration.
    ConsulNotPassed,
    /// A list that is empty for want of rights is taken for empty.
    ConsulFilteredEmpties,
    /// A datacenter that does not answer has nothing.
    ConsulDatacenterEmpties,
    /// Endpoints of one scheme have one key.
    ConsulSchemesCollide,
    /// A registration is renewed at an agent that does not hold it.
    ConsulRenewsElsewhere,
    /// A check that the agent does not know is taken for renewed.
    ConsulUnknownIgnored,
    /// A registration that is given up takes out the one that was made since under its id.
    ConsulSuccessorRemoved,
    /// What a Consul without its memory does not list is taken for gone.
    ConsulLossBelieved,
    // Of clients of etcd.
    /// etcd: what a history lacks in which nothing is as it was is taken for gone.
    EtcdOpenBelieved,
    /// etcd: a registration that is made again takes the key from whoever has it.
    EtcdTakesBack,
    /// etcd: a holder does not watch its own key.
    EtcdKeyUnwatched,
    /// etcd: a watch that is canceled because its past is gone is taken for quiet.
    EtcdCompactionIgnored,
    /// etcd: a watch is resumed one revision too late.
    EtcdResumeOffByOne,
    /// etcd: what another service has under a key that may be ours is taken for ours.
    EtcdNameIgnored,
    /// etcd: the cover of a registration counts from when its key was written, not from when its lease was.
    EtcdCoverFromWrite,
    /// etcd: the answer to a request for progress is taken for the place up to which everything was told.
    EtcdProgressBelieved,
    /// etcd: nobody looks whether the revision goes back.
    EtcdRegressUnseen,
    /// etcd: a lease that is gone counts as renewed.
    EtcdGoneRenewed,
    /// etcd: a deregistration deletes the key and leaves the lease, under which a late write brings it back.
    EtcdLeaseLeft,
    // Of the life of applications.
    /// An application registers before its servers accept.
    AppRegistersEarly,
    /// An application whose server crashed is not deregistered.
    AppCrashLeavesGhost,
    /// The servers of an application stop as soon as it is deregistered.
    AppDrainSkipped,
    /// An application ends although a server still runs.
    AppServersLeft,
    /// An application waits for a registry at its stop for ever.
    AppDeregisterUnbounded,
    /// A second signal does nothing.
    AppSecondSignalIgnored,
    /// The last failure of an application is taken for the first.
    AppLastCauseCounts,
    /// What start hooks say that were cut short is believed.
    AppBelievesCutHooks,
    // Of dialling.
    /// Dialling: an instance is called before it says that it serves.
    DialUnhealthyCalled,
    /// Dialling: a failed connection is tried again at once.
    DialNoBackoff,
    /// Dialling: an outage takes away who is not listed.
    DialStaleEmpties,
    /// Dialling: a malformed endpoint makes the whole instance undiallable.
    DialPoisoned,
    /// Dialling: an instance that changes is connected anew.
    DialReconnects,
    /// Dialling: those who were there last are kept for ever.
    DialKeepsForever,
    /// Dialling: a connection that was given up is heard.
    DialOldConnectionHeard,
    /// Dialling: calls to an instance that is no longer listed are cut off.
    DialCutsOff,
    // Of balancers.
    /// A balancer forgets what it has learned of an instance that changes.
    BalancerForgets,
    /// The cheaper of two is drawn without regard to weights.
    BalancerIgnoresWeight,
    /// A pick that has ended stays in flight.
    BalancerLeaksCalls,
    /// A call that its caller has given up counts as a failure of the node.
    BalancerCountsCancels,
    /// Calls through one view move the place of another in the round robin.
    BalancerMixesViews,
    /// A node that was slow is never tried again.
    BalancerNeverRetries,
    /// A newcomer has its full weight at once.
    BalancerRushesNewcomers,
    /// All instances may be ejected at once.
    BalancerEjectsEveryone,
    /// Who is ejected never returns.
    BalancerNeverPardons,
}

/// Which bugs are planted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults(u128);

impl Faults {
    /// One planted bug. Without the feature `planted-faults`: none.
    #[must_use]
    pub const fn only(fault: Fault) -> Self {
        Self(if cfg!(feature = "planted-faults") { 1 << fault as u32 } else { 0 })
    }

    /// Whether this bug is planted.
    #[inline]
    pub(crate) const fn has(self, fault: Fault) -> bool {
        cfg!(feature = "planted-faults") && self.0 & (1 << fault as u32) != 0
    }
}
