//! Who the client is: a name and a password for a token, before anything else is asked for, and again when etcd does not
//! take the token any more.

use core::fmt;

use serde_json::json;
use smol_str::SmolStr;

use super::gateway::{Answer, body};
use super::message::{FAILED_PRECONDITION, Token};
use super::{Aside, Etcd, Wire};
use crate::client::Channel;
use crate::client::calls::{Call, Way};
use crate::client::link::Fall;
use crate::client::machine::What;
use crate::http::RequestId;
use crate::time::Instant;

/// The way in.
#[derive(Default)]
pub(super) struct Door {
    token: Option<SmolStr>,
    /// The last request that was sent without this token.
    before: Option<RequestId>,
    knocking: bool,
    /// Whether something has worked with this token.
    proven: bool,
    /// etcd asks nobody who they are.
    open: bool,
}

impl Door {
    pub(super) fn token(&self) -> Option<SmolStr> {
        self.token.clone()
    }

    pub(super) const fn is_knocking(&self) -> bool {
        self.knocking
    }

    /// Something has worked.
    pub(super) const fn proven(&mut self) {
        self.proven = true;
    }

    /// etcd does not take the token of this request. Whether that is no surprise: a good one wears out.
    pub(super) fn shut(&mut self, id: RequestId) -> bool {
        if self.before.is_some_and(|before| id <= before) {
            return true;
        }
        self.token = None;
        self.open = false;
        core::mem::replace(&mut self.proven, false)
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, knocking, open, .. } = self;
        let mut shown = f.debug_struct("Door");
        let shown = shown.field("has_token", &token.is_some()).field("knocking", knocking).field("open", open);
        shown.finish_non_exhaustive()
    }
}

impl Etcd {
    /// Whether nothing keeps the client from asking.
    pub(super) fn is_let_in(&self) -> bool {
        self.wire.options.credentials().is_none() || self.wire.door.open || self.wire.door.token.is_some()
    }

    fn wants_in(&self) -> bool {
        !self.is_let_in() && !self.wire.door.knocking && (self.holdings.has_work() || self.wire.streams.is_due())
    }

    /// Asks for a token, if one is needed.
    pub(super) fn knock(&mut self, now: Instant) {
        if !self.wants_in() || !self.link.is_ready(now) {
            return;
        }
        let Some((name, password)) = self.wire.options.credentials() else {
            return;
        };
        let login = body(&json!({ "name": name, "password": password }));
        let way = self.link.way();
        let request = self.post(way, "/auth/authenticate", login);
        let deadline = now.saturating_add(self.config.call_timeout);
        self.send_aside(Aside::Login, way, request, Some(deadline));
        self.wire.door.knocking = true;
    }

    /// When it is time to ask for a token.
    pub(super) fn login_timeout(&self) -> Option<Instant> {
        self.link.retry().filter(|retry| *retry > self.now && self.wants_in())
    }

    pub(super) fn on_login(&mut self, call: &Call<What<Wire>>, now: Instant) {
        self.wire.door.knocking = false;
        match Answer::read(call) {
            Answer::Good => match call.body.finish::<Token>() {
                Ok(Token { token }) if !token.is_empty() => {
                    self.wire.door.token = Some(token.into());
                    self.wire.door.before = Some(self.calls.latest());
                    self.on_answer(Channel::Calls, call.way, now);
                }
                _ => self.on_fall(Channel::Calls, call.way, Fall::Bad(None), "the login gives no token", now),
            },
            Answer::Refused(refusal, _) if refusal.code == FAILED_PRECONDITION => {
                self.wire.door.open = true;
                self.on_answer(Channel::Calls, call.way, now);
            }
            Answer::Refused(refusal, hint) => {
                self.on_fall(Channel::Calls, call.way, Fall::Bad(hint), &refusal.message, now);
            }
            Answer::Elsewhere if self.wire.paths.missed(call.way.origin) => {}
            Answer::Elsewhere => {
                self.on_fall(Channel::Calls, call.way, Fall::Bad(None), "there is no gateway of etcd", now);
            }
            Answer::Nonsense(reason, hint) => {
                self.on_fall(Channel::Calls, call.way, Fall::Bad(hint), &reason, now);
            }
        }
        self.knock(now);
    }

    pub(super) fn on_login_over(&mut self, way: Way, fall: Fall, reason: &str, now: Instant) {
        self.wire.door.knocking = false;
        self.on_fall(Channel::Calls, way, fall, reason, now);
        self.knock(now);
    }
}
