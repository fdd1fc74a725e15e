//! What can be done to a registry. Six bytes make one operation, so that bytes from anywhere make a run.

/// One operation. The small numbers are reduced to what there is to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Register {
        key: u8,
        body: u8,
        ttl: u8,
        holder: u8,
        sequence: u8,
        reclaim: u8,
    },
    Renew {
        lease: u8,
    },
    RenewForged {
        lease: u8,
    },
    RenewAll {
        from: u8,
        count: u8,
    },
    Update {
        lease: u8,
        patch: u8,
        sequence: u8,
    },
    Deregister {
        lease: u8,
        sequence: u8,
    },
    Abandon {
        key: u8,
        holder: u8,
        sequence: u8,
    },
    Overlay {
        key: u8,
        patch: u8,
    },
    ClearOverlay {
        key: u8,
        only: u8,
    },
    Evict {
        key: u8,
        block: u8,
    },
    Watch {
        selector: u8,
        since: u8,
        second: u8,
    },
    Unwatch {
        watch: u8,
    },
    Poll {
        watch: u8,
    },
    Bookmark {
        watch: u8,
    },
    /// Time passes and the driver is punctual.
    Advance {
        by: u8,
    },
    /// Time passes and the driver does not notice until it is over.
    Stall {
        by: u8,
    },
    /// The clock jumps back for the next command.
    ClockBack {
        by: u8,
    },
    Settle,
    Restart {
        epoch: u8,
    },
}

pub const WORD: usize = 6;

impl Op {
    pub fn from_word(word: [u8; WORD]) -> Self {
        let [kind, a, b, c, d, e] = word;
        match kind % 64 {
            0..=13 => Self::Register { key: a, body: b, ttl: c, holder: d, sequence: e, reclaim: e.wrapping_mul(b) },
            14..=19 => Self::Renew { lease: a },
            20 => Self::RenewForged { lease: a },
            21..=22 => Self::RenewAll { from: a, count: b },
            23..=25 => Self::Update { lease: a, patch: b, sequence: c },
            26..=28 => Self::Deregister { lease: a, sequence: b },
            29 => Self::Abandon { key: a, holder: b, sequence: c },
            30..=32 => Self::Overlay { key: a, patch: b },
            33 => Self::ClearOverlay { key: a, only: b },
            34..=35 => Self::Evict { key: a, block: b },
            36..=40 => Self::Watch { selector: a, since: b, second: c },
            41 => Self::Unwatch { watch: a },
            42..=49 => Self::Poll { watch: a },
            50 => Self::Bookmark { watch: a },
            51..=58 => Self::Advance { by: a },
            59..=60 => Self::Stall { by: a },
            61 => Self::ClockBack { by: a },
            62 => Self::Settle,
            _ => Self::Restart { epoch: a },
        }
    }

    pub fn decode(bytes: &[u8]) -> Vec<Self> {
        bytes.as_chunks().0.iter().map(|word| Self::from_word(*word)).collect()
    }
}
