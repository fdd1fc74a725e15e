//! What a holder hears of its own key.
//!
//! The lease of a holder that was superseded, or whose key an operator removed, lives on and is renewed: its renewals say
//! nothing of the key. So the key is watched.

use super::claim::News;
use super::message::{Event, Pair};
use super::{Etcd, ask, keys};
use crate::client::RegistrationId;
use crate::client::holding::Verdict;
use crate::time::Instant;

impl Etcd {
    /// The key of a registration, if it is to be watched.
    pub(super) fn own_key(&self, id: RegistrationId) -> Option<alloc::string::String> {
        let claim = self.wire.claims.of(id)?;
        Some(keys::instance(&self.wire.options.prefix, &claim.key))
    }

    /// Something has happened to the key.
    pub(super) fn on_own_event(&mut self, id: RegistrationId, event: &Event, now: Instant) {
        let pair = (!event.is_delete()).then_some(&event.kv);
        self.on_own(id, event.kv.mod_revision, pair, now);
    }

    /// What there is at the key, at this revision.
    pub(super) fn on_own(&mut self, id: RegistrationId, revision: u64, pair: Option<&Pair>, now: Instant) {
        let Some(claim) = self.wire.claims.of_mut(id) else {
            return;
        };
        if claim.since.is_some_and(|since| revision <= since) {
            return;
        }
        let news = match pair {
            None => News::Gone,
            Some(pair) if claim.leases.contains(&pair.lease) => News::Ours(pair.clone()),
            Some(_) => News::Theirs,
        };
        claim.news = Some((revision, news));
        self.on_news(id, now);
    }

    /// What was heard of the key counts once no write of ours is out that it may come from.
    pub(super) fn on_news(&mut self, id: RegistrationId, now: Instant) {
        let held = self.holdings.lease(id).is_some();
        let Some(claim) = self.wire.claims.of_mut(id) else {
            return;
        };
        if claim.doubt || !held {
            return;
        }
        let Some((revision, news)) = claim.news.take() else {
            return;
        };
        if claim.since.is_some_and(|since| revision <= since) {
            return;
        }
        claim.since = Some(revision);
        let hidden = claim.hidden;
        match news {
            News::Theirs => self.on_superseded(id, now),
            News::Gone if hidden => claim.written = None,
            News::Gone => self.on_key_gone(id, revision, now),
            News::Ours(pair) => {
                let same = claim.written == Some((pair.mod_revision, pair.lease));
                claim.written = Some((pair.mod_revision, pair.lease));
                let wanted = self.holdings.wanted(id).and_then(ask::listed);
                if !same && wanted.as_deref() != Some(pair.value.0.as_slice()) {
                    // Something that was late has come through. What is wanted is written again.
                    self.on_verdict(id, Verdict::Lost(smol_str::SmolStr::new_static("key_changed")), now);
                }
            }
        }
    }
}
