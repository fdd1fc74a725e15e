//! The table of states and inputs in the docs, made by trying each.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::time::Instant;

const STATES: [(&str, LifecycleState); 11] = [
    ("binding", LifecycleState::Binding),
    ("before start", LifecycleState::BeforeStart),
    ("starting", LifecycleState::Starting),
    ("registering", LifecycleState::Registering),
    ("after start", LifecycleState::AfterStart),
    ("running", LifecycleState::Running),
    ("leaving", LifecycleState::Leaving),
    ("draining", LifecycleState::Draining),
    ("stopping", LifecycleState::Stopping),
    ("after stop", LifecycleState::AfterStop),
    ("ended", LifecycleState::Ended),
];

/// How a life goes well, a step a state.
const LIFE: [fn(&mut Lifecycle, Instant); 10] = [
    |life, now| life.handle_bound(0, now),
    |life, now| life.handle_hooks(Phase::BeforeStart, true, now),
    |life, now| life.handle_accepting(0, now),
    |life, now| life.handle_registered(0, now),
    |life, now| life.handle_hooks(Phase::AfterStart, true, now),
    |life, now| life.signal(now),
    |life, now| life.handle_deregistered(0, true, now),
    |life, now| {
        life.handle_hooks(Phase::BeforeStop, true, now);
        life.handle_timeout(life.poll_timeout().unwrap());
    },
    |life, now| life.handle_ended(0, true, now),
    |life, now| life.handle_hooks(Phase::AfterStop, true, now),
];

/// Which of them makes it leave.
const LEAVES: usize = 5;

type Trial = (&'static str, fn(&mut Lifecycle, Instant));

const TRIALS: [Trial; 16] = [
    ("bound", |life, now| life.handle_bound(0, now)),
    ("accepting", |life, now| life.handle_accepting(0, now)),
    ("server ended", |life, now| life.handle_ended(0, true, now)),
    ("server failed", |life, now| life.handle_ended(0, false, now)),
    ("hooks done", |life, now| life.handle_hooks(phase_of(life), true, now)),
    ("hooks failed", |life, now| life.handle_hooks(phase_of(life), false, now)),
    ("registered", |life, now| life.handle_registered(0, now)),
    ("superseded", |life, now| life.handle_registration_ended(0, Ending::Superseded, now)),
    ("superseded, `WhenEnded::Stop`", |life, now| life.handle_registration_ended(0, Ending::Superseded, now)),
    ("deregistered", |life, now| life.handle_deregistered(0, true, now)),
    ("told to stop", |life, now| life.stop(now)),
    ("a first signal", |life, now| life.signal(now)),
    ("a second signal", |life, now| life.signal(now)),
    ("a third signal", |life, now| life.signal(now)),
    ("time is up", |life, _| {
        if let Some(due) = life.poll_timeout() {
            life.handle_timeout(due);
        }
    }),
    ("time is up, `RegistryDown::KeepTrying`", |life, _| {
        if let Some(due) = life.poll_timeout() {
            life.handle_timeout(due);
        }
    }),
];

/// The phase whose hooks would run now.
fn phase_of(life: &Lifecycle) -> Phase {
    match life.state() {
        LifecycleState::Binding | LifecycleState::BeforeStart => Phase::BeforeStart,
        state if state < LifecycleState::Leaving => Phase::AfterStart,
        state if state < LifecycleState::Stopping => Phase::BeforeStop,
        _ => Phase::AfterStop,
    }
}

fn in_state(at: usize, trial: &str) -> (Lifecycle, Instant) {
    let now = Instant::from_millis(1_000);
    let mut config = LifecycleConfig { servers: 1, registrars: 1, ..LifecycleConfig::default() };
    if trial.contains("KeepTrying") {
        config.registry_down = RegistryDown::KeepTrying;
    }
    if trial.contains("WhenEnded::Stop") {
        config.when_ended = WhenEnded::Stop;
    }
    let mut life = Lifecycle::new(config, now);
    for (step, live) in LIFE[..at].iter().enumerate() {
        match step == LEAVES && trial == "a first signal" {
            true => life.stop(now),
            false => live(&mut life, now),
        }
    }
    if trial == "a third signal" {
        life.signal(now);
    }
    while life.poll_action().is_some() {}
    assert_eq!(life.state(), STATES[at].1);
    (life, now)
}

fn effect(life: &mut Lifecycle, was: LifecycleState) -> String {
    let mut words: Vec<String> = Vec::new();
    while let Some(action) = life.poll_action() {
        words.push(match action {
            Action::Bind(_) => "*bind*".into(),
            Action::Serve(_) => "*serve*".into(),
            Action::Run(_) => "*hooks*".into(),
            Action::Cut(_) => "*cut*".into(),
            Action::Register(_) => "*register*".into(),
            Action::Deregister(_) => "*deregister*".into(),
            Action::Drain(_) => "*drain*".into(),
            Action::Stop(_) => "*stop*".into(),
            Action::Abort(_) => "*abort*".into(),
            Action::Exit(_) => "*exit*".into(),
        });
    }
    if life.state() != was {
        let name = STATES.iter().find(|(_, state)| *state == life.state()).unwrap().0;
        words.push(format!("→ {name}"));
    }
    if words.is_empty() { "–".into() } else { words.join(", ") }
}

#[test]
fn the_table_in_the_docs_is_what_each_input_does_in_each_state() {
    let mut table = Vec::new();
    for (name, trial) in TRIALS {
        let mut row = format!("//! | {name} |");
        for (at, (_, state)) in STATES.into_iter().enumerate() {
            let before = match name {
                "a second signal" => at <= LEAVES,
                "a third signal" => at != LEAVES + 1,
                _ => false,
            };
            if before {
                row += " |";
                continue;
            }
            let (mut life, now) = in_state(at, name);
            trial(&mut life, now);
            row += &format!(" {} |", effect(&mut life, state));
        }
        table.push(row);
    }
    let docs: Vec<&str> = include_str!("../app.rs").lines().filter(|line| line.starts_with("//! | ")).skip(1).collect();
    assert_eq!(docs, table, "the table should be:\n{}", table.join("\n"));
}
