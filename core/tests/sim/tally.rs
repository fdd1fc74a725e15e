//! What happened in a run: faults by kind, and the rare states that must be reached now and then.

macro_rules! counted {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)*
                }
            }
        }
    };
}

counted! {
    /// What goes wrong, or is done to make something go wrong.
    Kind {
        Latency = "slow link",
        Jitter = "messages overtake each other",
        LoseRequests = "requests are lost",
        LoseAnswers = "answers are lost",
        Duplicate = "requests arrive twice",
        Partition = "partition",
        PartitionUp = "one-way partition, towards the registry",
        PartitionDown = "one-way partition, towards the client",
        Hold = "messages are held longer than a ttl",
        Cut = "connections are cut in mid-message",
        Reset = "connections are reset",
        Shred = "bodies come in small pieces",
        ServerError = "answers 5xx",
        Garbage = "garbage for answers",
        Truncate = "answers end too early",
        Empty = "empty answers",
        WrongNumber = "a renewal's answer has another number",
        Throttle = "answers 429 with Retry-After",
        GarbageEvents = "garbage among the events",
        HalfOpen = "streams fall silent",
        EndStreams = "streams end",
        SlowAnswers = "answers come just before they are given up",
        SlowReader = "streams are read slowly",
        Refuse = "connections are refused",
        LateInputs = "inputs for requests that were dropped",
        Spurious = "timeouts too early and too often",
        Online = "the network says that it is back",
        ClientCrash = "a client crashes and starts again",
        ClientClose = "a client closes and starts again",
        ClientSuspend = "a client is suspended",
        ManySuspend = "many clients are suspended at once",
        ClientForward = "a client's clock jumps ahead",
        ClientBack = "a client's clock jumps back",
        ClientFreeze = "a client's clock stands still",
        Hidden = "a tab is hidden",
        ServerCrash = "a registry crashes and forgets",
        ServerRestart = "a registry restarts with its state",
        ServerBye = "a registry stops in order",
        ServerPause = "a registry is paused",
        ServerForward = "a registry's clock jumps ahead",
        ServerBack = "a registry's clock jumps back",
        MassExpiry = "many cannot renew at once",
        Collision = "two clients want one id",
        Evict = "an operator evicts",
        Block = "an operator evicts and blocks",
        Overlay = "an operator lays something over",
        UpdateStorm = "update storm",
        WatchChurn = "watches come and go",
        RegisterTwice = "registered twice",
        DeregisterRace = "deregistered and registered at once",
        LooksAway = "a client follows nothing for a while",
    }
}

counted! {
    /// Rare states that must be reached.
    Mark {
        AnsweredTooLate = "a registration was answered after its client had given it up",
        SupersededUnheard = "superseded while it could not be told",
        ResumedByRevision = "a watch resumed by revision",
        ResyncedByCompaction = "a watch was resynced because its past was compacted",
        ResyncedByEpoch = "a watch was resynced because the epoch was new",
        UnconfirmedCameBack = "an unconfirmed instance came back",
        UnconfirmedWent = "an unconfirmed instance went when the registry had settled",
        LapsedEarly = "a client lapsed before the registry ended its lease",
        ToldExpired = "a client was told that its lease had expired",
        ToldUnknown = "a client was told that its lease is not known",
        ToldEvicted = "a client was told that it was evicted",
        DeregisterRetried = "a deregistration was sent again",
        Abandoned = "a registration without an answer was given up by its number",
        FailedOver = "a client went to another registry",
        RenewedLate = "a lease was renewed late",
        Repeated = "a repeated registration was recognised",
        Replaced = "a holder replaced its own lease",
        Superseded = "a holder superseded another",
        ReclaimRefused = "a holder was refused an id that another took",
        ZombieRefused = "a registration was refused because it had been given up",
        BlockedHeld = "a blocked client was told to wait",
        GraceGiven = "a stalled registry gave leases time",
        AlarmSounded = "the alarm of a mass expiry sounded",
        ClosedConfirmed = "a client closed and everything was confirmed",
        ClosedUnheard = "a client closed and could not say so",
        EmptyByWord = "a set became empty by the registry's word",
        StaleKept = "a set was kept through an outage",
        OneDiff = "after an outage, several changes came as one difference",
        ReportedOld = "what was reported as applied was less than what was received",
        ReportedAgain = "a report that failed was made up for",
        SleptPastTtl = "a client slept past its ttl",
        HiddenRenewed = "a hidden tab renewed",
        CutInDelivery = "a stream was cut within an event",
        SaidBye = "a stream was told that the registry stops",
        ThrottleHeard = "a client was told to come back later",
    }
}

/// Counts of everything.
#[derive(Clone, Debug)]
pub struct Tally {
    pub micros: u64,
    pub runs: u64,
    pub events: u64,
    pub faults: Vec<u64>,
    pub marks: Vec<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { micros: 0, runs: 0, events: 0, faults: vec![0; Kind::ALL.len()], marks: vec![0; Mark::ALL.len()] }
    }
}

impl Tally {
    pub fn fault(&mut self, kind: Kind) {
        self.faults[kind as usize] += 1;
    }

    pub fn mark(&mut self, mark: Mark) {
        self.marks[mark as usize] += 1;
    }

    pub fn add(&mut self, other: &Self) {
        self.micros += other.micros;
        self.runs += other.runs;
        self.events += other.events;
        self.faults.iter_mut().zip(&other.faults).for_each(|(sum, n)| *sum += n);
        self.marks.iter_mut().zip(&other.marks).for_each(|(sum, n)| *sum += n);
    }

    pub fn hours(&self) -> f64 {
        self.micros as f64 / 3.6e9
    }

    pub fn total_faults(&self) -> u64 {
        self.faults.iter().sum()
    }

    pub fn never_reached(&self) -> Vec<&'static str> {
        Mark::ALL.iter().filter(|&&mark| self.marks[mark as usize] == 0).map(|mark| mark.label()).collect()
    }

    /// Everything in one line.
    pub fn line(&self) -> String {
        let list = |entries: Vec<(&str, u64)>| {
            entries.iter().map(|(label, n)| format!("{label}: {n}")).collect::<Vec<_>>().join(", ")
        };
        let faults = list(Kind::ALL.iter().map(|&kind| (kind.label(), self.faults[kind as usize])).collect());
        let marks = list(Mark::ALL.iter().map(|&mark| (mark.label(), self.marks[mark as usize])).collect());
        format!(
            "{:.1} simulated hours in {} runs, {} events; {} faults [{faults}]; marks [{marks}]",
            self.hours(),
            self.runs,
            self.events,
            self.total_faults()
        )
    }
}
