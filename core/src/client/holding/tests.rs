//! The table of states and inputs, made by trying each, and what a table cannot say.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Holdings, Phase, Terms, Verdict, Work};
use crate::client::{ClientConfig, CommandError, Loss, Registration, RegistrationId, RegistrationState};
use crate::http::RequestId;
use crate::instance::{Patch, ServiceInstance, Status};
use crate::name::{InstanceId, ServiceName};
use crate::protocol::Problem;
use crate::rng::Rng;
use crate::time::Instant;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const TTL: Duration = Duration::from_secs(30);
const CALL: RequestId = RequestId(1);
const RENEWAL: RequestId = RequestId(2);
const PHASES: [&str; 5] = ["out", "registering", "held", "leaving", "over"];

/// One registration in a machine of its own.
struct Holder {
    holdings: Holdings<u8>,
    id: RegistrationId,
    config: ClientConfig,
    rng: Rng,
    now: Instant,
}

fn registration() -> Registration {
    let instance = ServiceInstance::new(ServiceName::new("web").unwrap(), InstanceId::new("a").unwrap());
    Registration { ttl: Some(TTL), ..Registration::new(instance) }
}

fn problem() -> Problem {
    Problem { code: "busy".into(), message: "busy".into(), field: None, limit: None }
}

impl Holder {
    fn new() -> Self {
        let (mut holdings, config, now) = (Holdings::new(), ClientConfig::default(), Instant::from_millis(1_000));
        let id = holdings.register(&registration(), &config, now).unwrap();
        Self { holdings, id, config, rng: Rng::new([7; 32]), now }
    }

    /// A registration that something was sent for, and is in this phase.
    fn in_phase(phase: &str) -> Self {
        let mut it = Self::new();
        it.start(CALL);
        match phase {
            "registering" => {}
            "out" => it.holdings.on_unanswered(it.id, true, "lost", &it.config, it.now),
            "held" => it.on_registered(),
            "leaving" => it.holdings.deregister(it.id, &it.config, it.now),
            _ => it.refuse(Verdict::Superseded),
        }
        it
    }

    fn start(&mut self, call: RequestId) -> Option<Work> {
        let work = self.holdings.next_work(10, self.now)?;
        self.holdings.operation(self.id);
        self.holdings.started(&work, call, self.now);
        Some(work)
    }

    fn on_registered(&mut self) {
        let terms = Terms { lease: 1, generation: Some(1), ttl: TTL, outcome: None };
        self.holdings.on_registered(self.id, terms, &self.config, &mut self.rng, self.now);
    }

    fn refuse(&mut self, verdict: Verdict) {
        self.holdings.on_refused(self.id, verdict, &self.config, &mut self.rng, self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
        self.holdings.handle_timeout(&self.config, self.now);
    }

    fn phase(&self) -> &'static str {
        match self.holdings.entries[&self.id].phase {
            Phase::Out { .. } => "out",
            Phase::Registering { .. } => "registering",
            Phase::Held(_) => "held",
            Phase::Leaving { .. } => "leaving",
            Phase::Over => "over",
        }
    }

    fn state(&self) -> String {
        match self.holdings.view(self.id).unwrap().state {
            RegistrationState::Registering => "registering".into(),
            RegistrationState::Registered => "registered".into(),
            RegistrationState::Lost(Loss::Lapsed) => "lost: lapsed".into(),
            RegistrationState::Lost(Loss::Told(_)) => "lost: told".into(),
            RegistrationState::Deregistering => "deregistering".into(),
            RegistrationState::Superseded => "superseded".into(),
            RegistrationState::Refused(_) => "refused".into(),
            RegistrationState::Deregistered { confirmed: true } => "deregistered".into(),
            RegistrationState::Deregistered { confirmed: false } => "left behind".into(),
        }
    }

    /// What is to be sent now.
    fn work(&self) -> Option<&'static str> {
        self.holdings.next_work(10, self.now).map(|work| match work {
            Work::Register(_) => "register",
            Work::Update(_) => "update",
            Work::Renew(_) => "renew",
            Work::Deregister(_) => "deregister",
        })
    }

    /// Where it is, in a few words.
    fn place(&self) -> (String, Option<&'static str>) {
        let (phase, state) = (self.phase(), self.state());
        (if phase == "over" || state.starts_with("lost") { state } else { phase.into() }, self.work())
    }
}

/// An input, by its name.
type Trial = (&'static str, fn(&mut Holder));

const TRIALS: [Trial; 16] = [
    ("update", |it| {
        let patch = Patch::new().with_status(Status::Draining);
        let refused = it.holdings.update(it.id, &patch, &it.config, it.now).is_err();
        assert_eq!(refused, matches!(it.phase(), "leaving" | "over"), "an update of what has ended is refused");
    }),
    ("deregister", |it| it.holdings.deregister(it.id, &it.config, it.now)),
    ("close", |it| it.holdings.close(&it.config, it.now)),
    ("answer: registered", Holder::on_registered),
    ("answer: registered, after its ttl", |it| {
        it.now = it.now.saturating_add(TTL);
        it.on_registered();
    }),
    ("answer: updated", |it| it.holdings.on_updated(it.id, it.now)),
    ("answer: renewed", |it| it.holdings.on_renewed(it.id, RENEWAL, &it.config, &mut it.rng, it.now)),
    ("answer: not renewed, the lease has expired", |it| {
        if let Phase::Held(held) = &mut it.holdings.entries.get_mut(&it.id).unwrap().phase {
            held.renewing = Some(RENEWAL);
        }
        let verdict = Verdict::Lost("lease_expired".into());
        it.holdings.on_lease_lost(it.id, RENEWAL, verdict, &it.config, &mut it.rng, it.now);
    }),
    ("answer: deregistered", |it| it.holdings.on_deregistered(it.id, &it.config, it.now)),
    ("refused: for now", |it| it.refuse(Verdict::Later(problem(), None))),
    ("refused: out of date", |it| it.refuse(Verdict::Outdated)),
    ("refused: superseded", |it| it.refuse(Verdict::Superseded)),
    ("refused: for good", |it| it.refuse(Verdict::Refused(problem()))),
    ("no answer", |it| it.holdings.on_unanswered(it.id, true, "lost", &it.config, it.now)),
    ("a third of the ttl passes", |it| it.pass(TTL / 3)),
    ("two minutes pass", |it| it.pass(Duration::from_secs(120))),
];

#[test]
fn the_table_in_the_docs_is_what_each_input_does_in_each_phase() {
    let mut table = Vec::new();
    for (name, trial) in TRIALS {
        let mut row = format!("//! | {name} |");
        for phase in PHASES {
            let mut it = Holder::in_phase(phase);
            let before = it.place();
            trial(&mut it);
            let (place, work) = it.place();
            let cell = match work {
                _ if (&place, work) == (&before.0, before.1) => "–".to_string(),
                Some(work) if place == before.0 => format!("*{work}*"),
                Some(work) => format!("{place}, *{work}*"),
                None => place,
            };
            row += &format!(" {cell} |");
        }
        table.push(row);
    }
    let docs: Vec<&str> =
        include_str!("../holding.rs").lines().filter(|line| line.starts_with("//! | ")).skip(1).collect();
    assert_eq!(docs, table, "the table should be:\n{}", table.join("\n"));
}

#[test]
fn a_registration_without_an_answer_keeps_its_number_and_a_changed_one_gets_another() {
    let mut it = Holder::new();
    it.start(CALL);
    let number = it.holdings.operation(it.id);
    it.holdings.on_unanswered(it.id, true, "lost", &it.config, it.now);
    assert_eq!(it.holdings.operation(it.id), number);
    it.holdings.update(it.id, &Patch::new().with_weight(2), &it.config, it.now).unwrap();
    assert!(it.holdings.operation(it.id) > number);
}

#[test]
fn it_is_registered_only_as_long_as_the_last_acknowledged_renewal_covers_now() {
    let mut it = Holder::in_phase("held");
    let covered = TTL - TTL / 32;
    it.pass(covered - Duration::from_micros(1));
    assert_eq!(it.state(), "registered");
    it.pass(Duration::from_micros(1));
    assert_eq!(it.place(), ("lost: lapsed".into(), Some("register")));
}

#[test]
fn a_cover_begins_when_the_renewal_was_sent() {
    let mut it = Holder::in_phase("held");
    it.pass(TTL / 3);
    assert_eq!(it.start(RENEWAL), Some(Work::Renew(alloc::vec![it.id])));
    let sent = it.now;
    it.pass(Duration::from_secs(4));
    it.holdings.on_renewed(it.id, RENEWAL, &it.config, &mut it.rng, it.now);
    assert_eq!(it.holdings.view(it.id).unwrap().until, Some(sent.saturating_add(TTL - TTL / 32)));
}

#[test]
fn in_any_ttl_there_are_at_most_five_renewals_whatever_fails() {
    for seed in 0..20_u8 {
        let mut it = Holder::in_phase("held");
        it.rng = Rng::new([seed; 32]);
        let mut sent: Vec<Instant> = Vec::new();
        for step in 0..400_u32 {
            // The registration is kept alive by renewals that succeed now and then.
            if it.phase() != "held" {
                it.start(CALL);
                it.on_registered();
            }
            let call = RequestId(100 + u64::from(step));
            while it.work() == Some("renew") {
                it.start(call);
                sent.push(it.now);
                if (step + u32::from(seed)) % 3 == 0 {
                    it.holdings.on_renewed(it.id, call, &it.config, &mut it.rng, it.now);
                } else {
                    it.holdings.on_not_renewed(it.id, call, "refused", &mut it.rng, it.now);
                }
            }
            it.pass(Duration::from_millis(500 + u64::from(seed) * 37));
        }
        for (at, first) in sent.iter().enumerate() {
            let window = sent[at..].iter().take_while(|other| other.saturating_since(*first) < TTL).count();
            assert!(window <= 5, "seed {seed}: {window} renewals within a ttl");
        }
    }
}

#[test]
fn what_is_removed_is_said_to_be_removed_until_the_registry_has_heard() {
    let mut it = Holder::new();
    let patch = Patch::new().with_metadata("old", Some("1".into()));
    it.holdings.update(it.id, &patch, &it.config, it.now).unwrap();
    it.start(CALL);
    it.on_registered();
    it.holdings.update(it.id, &Patch::new().with_metadata("old", None), &it.config, it.now).unwrap();
    let unwanted = |it: &Holder| it.holdings.unwanted_keys(it.id).cloned().collect::<Vec<_>>();
    assert_eq!(unwanted(&it), ["old"]);
    assert_eq!(it.start(CALL), Some(Work::Update(it.id)));
    it.holdings.on_unanswered(it.id, true, "lost", &it.config, it.now);
    assert_eq!(unwanted(&it), ["old"]);
    it.start(CALL);
    it.holdings.on_updated(it.id, it.now);
    assert!(unwanted(&it).is_empty());
    assert!(it.holdings.view(it.id).unwrap().current);
}

#[test]
fn the_same_key_again_is_the_same_registration_and_after_its_end_another() {
    let mut it = Holder::in_phase("held");
    let again = it.holdings.register(&registration(), &it.config, it.now);
    assert_eq!(again, Ok(it.id));
    it.holdings.deregister(it.id, &it.config, it.now);
    let number = it.holdings.operation(it.id);
    let other = it.holdings.register(&registration(), &it.config, it.now).unwrap();
    assert_ne!(other, it.id);
    assert!(it.holdings.operation(other) > number, "what is given up is older than what is registered");
}

#[test]
fn what_was_given_up_is_in_doubt_for_the_next_of_its_name_until_the_registry_confirms() {
    let mut it = Holder::in_phase("out");
    it.holdings.deregister(it.id, &it.config, it.now);
    let next = it.holdings.register(&registration(), &it.config, it.now).unwrap();
    it.holdings.deregister(next, &it.config, it.now);
    let state = |it: &Holder, id| it.holdings.view(id).unwrap().state;
    assert_eq!(state(&it, next), RegistrationState::Deregistering);
    it.holdings.on_deregistered(next, &it.config, it.now);
    assert_eq!(state(&it, next), RegistrationState::Deregistered { confirmed: true });
    let last = it.holdings.register(&registration(), &it.config, it.now).unwrap();
    it.holdings.deregister(last, &it.config, it.now);
    assert_eq!(state(&it, last), RegistrationState::Deregistered { confirmed: true });
}

#[test]
fn another_ttl_makes_another_lease_and_the_cover_holds_till_then() {
    let mut it = Holder::in_phase("held");
    let other = Registration { ttl: Some(TTL * 2), ..registration() };
    it.holdings.register(&other, &it.config, it.now).unwrap();
    assert_eq!((it.phase(), it.state().as_str(), it.work()), ("out", "registered", Some("register")));
}

#[test]
fn nothing_is_taken_after_the_close() {
    let mut it = Holder::in_phase("held");
    it.holdings.close(&it.config, it.now);
    assert_eq!(it.holdings.register(&registration(), &it.config, it.now), Err(CommandError::Closed));
    it.pass(it.config.last_word);
    assert!(it.holdings.is_empty());
    assert_eq!(it.state(), "left behind");
}

#[test]
fn ten_thousand_renewals_are_one_piece_of_work() {
    let (mut holdings, config, now) = (Holdings::new(), ClientConfig::default(), Instant::from_millis(0));
    let mut rng = Rng::new([1; 32]);
    for n in 0..10_000 {
        let instance = ServiceInstance::new(ServiceName::new("web").unwrap(), InstanceId::new(format!("{n}")).unwrap());
        let registration = Registration { ttl: Some(TTL), ..Registration::new(instance) };
        let id = holdings.register(&registration, &config, now).unwrap();
        holdings.started(&Work::Register(id), RequestId(n), now);
        holdings.on_registered(
            id,
            Terms { lease: 0_u8, generation: None, ttl: TTL, outcome: None },
            &config,
            &mut rng,
            now,
        );
    }
    let now = holdings.poll_timeout().unwrap();
    holdings.handle_timeout(&config, now);
    let Some(Work::Renew(first)) = holdings.next_work(10_000, now) else { panic!("a renewal is due") };
    assert!(first.len() > 5_000, "{} travel together", first.len());
}
