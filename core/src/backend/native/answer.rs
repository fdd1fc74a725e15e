//! What the registry answers to calls.

use alloc::string::{String, ToString};
use core::time::Duration;

use smol_str::ToSmolStr;

use super::refusal::refusal;
use super::{Native, Wire};
use crate::client::calls::Call;
use crate::client::holding::{Terms, Verdict, Work};
use crate::client::link::Fall;
use crate::client::machine::What;
use crate::client::{Channel, ClientEvent, RegistrationId};
use crate::fault::Fault;
use crate::http::RequestId;
use crate::protocol::{Dated, Problem, RegisteredMessage, RenewedMessage, Span};
use crate::time::Instant;

/// What came of a call.
enum Answer {
    /// It was done.
    Done,
    /// It was refused by the registry: the status, what it says, how long it asks to wait.
    Refused(u16, Problem, Option<Duration>),
    /// Whatever answered, it was not the registry, or not in a state to.
    Nonsense(String, Option<Duration>),
}

impl Native {
    /// The answer to a call is complete.
    pub(super) fn on_called(&mut self, id: RequestId, now: Instant) {
        let Some(call) = self.calls.end(id) else {
            return;
        };
        let (What::Work(work, number), Some(head)) = (&call.what, &call.head) else {
            return;
        };
        let answer = match head.is_success() {
            true => self.take(work, *number, id, &call, now),
            false => match refusal(head, &call) {
                (Ok(problem), hint) => Answer::Refused(head.status, problem, hint),
                (Err(reason), hint) => Answer::Nonsense(reason, hint),
            },
        };
        let answer = match (answer, work) {
            // A batch is refused for no fault of its leases: the registry is busy, and nothing else is to be sent.
            (Answer::Refused(_, problem, hint), Work::Renew(_)) => Answer::Nonsense(problem.message, hint),
            (answer, _) => answer,
        };
        match answer {
            Answer::Done => self.on_answer(Channel::Calls, call.way, now),
            Answer::Refused(status, problem, hint) => {
                self.on_answer(Channel::Calls, call.way, now);
                self.on_refusal(work, status, problem, hint, now);
            }
            Answer::Nonsense(reason, hint) => {
                self.on_fall(Channel::Calls, call.way, Fall::Bad(hint), &reason, now);
                self.on_unanswered(work, id, true, &reason, now);
            }
        }
    }

    /// Takes a good answer.
    fn take(&mut self, work: &Work, number: u64, id: RequestId, call: &Call<What<Wire>>, now: Instant) -> Answer {
        let result = match work {
            Work::Register(registration) => call.body.finish().map(|answer: RegisteredMessage| {
                let RegisteredMessage { outcome, lease, generation, ttl: Span(ttl), .. } = answer;
                let terms = Terms { lease, generation: Some(generation), ttl, outcome: Some(outcome) };
                self.holdings.on_registered(*registration, terms, &self.config, &mut self.rng, now);
            }),
            Work::Update(registration) => call.body.finish().map(|_: Dated| {
                self.holdings.on_updated(*registration, now);
            }),
            Work::Deregister(registration) => call.body.finish().map(|_: Dated| {
                self.holdings.on_deregistered(*registration, &self.config, now);
            }),
            Work::Renew(ids) => match call.body.finish::<RenewedMessage>() {
                Ok(answer) if answer.number != Some(number) && !self.config.faults.has(Fault::NumberIgnored) => {
                    return Answer::Nonsense("the answer is to another renewal".into(), None);
                }
                Ok(answer) => {
                    self.on_renewed(ids, id, &answer, now);
                    Ok(())
                }
                Err(error) => Err(error),
            },
        };
        match result {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Nonsense(error.to_string(), None),
        }
    }

    fn on_renewed(&mut self, ids: &[RegistrationId], call: RequestId, answer: &RenewedMessage, now: Instant) {
        for failure in &answer.failed {
            let Some(id) = ids.get(failure.index) else {
                continue;
            };
            let verdict = lost(&failure.code);
            self.holdings.on_lease_lost(*id, call, verdict, &self.config, &mut self.rng, now);
        }
        // Those that were lost are not held any more, and take no notice.
        for id in ids {
            self.holdings.on_renewed(*id, call, &self.config, &mut self.rng, now);
        }
    }

    fn on_refusal(&mut self, work: &Work, status: u16, problem: Problem, hint: Option<Duration>, now: Instant) {
        match work {
            Work::Renew(_) => {}
            Work::Deregister(id) if status < 500 && !is_passing(status, &problem.code) => {
                // There is nothing to take out that the registry knows of.
                self.holdings.on_deregistered(*id, &self.config, now);
            }
            Work::Deregister(id) => {
                self.holdings.on_not_deregistered(*id, hint, &problem.message, &mut self.rng, now);
            }
            Work::Register(id) | Work::Update(id) => {
                let verdict = verdict(status, problem.clone(), hint);
                if let Some(retry_in) = self.holdings.on_refused(*id, verdict, &self.config, &mut self.rng, now) {
                    self.emit(ClientEvent::Deferred { id: *id, problem, retry_in });
                }
            }
        }
    }
}

/// What a refusal means for a registration.
fn verdict(status: u16, problem: Problem, hint: Option<Duration>) -> Verdict {
    match problem.code.as_str() {
        "superseded" => Verdict::Superseded,
        "outdated" | "operation_reused" | "ended" => Verdict::Outdated,
        code if code.starts_with("lease_") => lost(code),
        code if is_passing(status, code) => Verdict::Later(problem, hint),
        _ => Verdict::Refused(problem),
    }
}

/// What it means for a registration that its lease has ended.
fn lost(code: &str) -> Verdict {
    match code {
        "lease_superseded" => Verdict::Superseded,
        "lease_deregistered" => Verdict::TakenOut,
        _ => Verdict::Lost(code.to_smolstr()),
    }
}

/// Whether the same request may succeed later: the registry is busy, or the id is taken or blocked for now.
fn is_passing(status: u16, code: &str) -> bool {
    status >= 500 || matches!(status, 408 | 423 | 425 | 429) || matches!(code, "taken" | "behind")
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol_str::SmolStr;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn said(status: u16, code: &str) -> Verdict {
        let problem = Problem { code: code.into(), message: "no".into(), field: None, limit: None };
        verdict(status, problem, None)
    }

    #[test]
    fn a_refusal_is_final_only_if_a_repetition_would_be_refused_too() {
        assert_eq!(said(409, "superseded"), Verdict::Superseded);
        for code in ["outdated", "operation_reused"] {
            assert_eq!(said(409, code), Verdict::Outdated);
        }
        assert_eq!(said(410, "ended"), Verdict::Outdated);
        assert_eq!(said(410, "lease_expired"), Verdict::Lost(SmolStr::new("lease_expired")));
        assert_eq!(said(410, "lease_superseded"), Verdict::Superseded);
        for (status, code) in [(503, "limit_instances"), (423, "blocked"), (409, "taken"), (429, "busy")] {
            assert!(matches!(said(status, code), Verdict::Later(..)), "{code}");
        }
        for (status, code) in [(400, "invalid_metadata"), (413, "too_large"), (403, "forbidden")] {
            assert!(matches!(said(status, code), Verdict::Refused(..)), "{code}");
        }
    }
}
