//! Keeps one instance registered as long as that is wanted, and says on stderr what happens.

use std::collections::BTreeSet;

use periplus_core::Outcome;
use periplus_core::client::{Channel, ClientEvent, Loss, RegistrationId, RegistrationState, RegistrationView};
use periplus_core::protocol::Span;
use periplus_tokio::{Client, Events, RegisterError, Registration, Runtime, Tokio};
use tokio::sync::watch;

use crate::cli::exit::Refused;
use crate::cli::output;
use crate::client::registration::Registration as Wish;

/// What is to be seen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The instance is registered.
    In,
    /// It is not, for now.
    Out,
    /// It is not any more.
    Stop,
}

/// Why an instance does not stay registered although that is wanted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// Another holder has the id.
    #[error("somebody else has registered this id")]
    Superseded,
    /// Somebody who has the lease has given it up.
    #[error("somebody else gave the lease up")]
    TakenOut,
    /// The registry refuses it.
    #[error(transparent)]
    Refused(Refused),
    /// The client refuses it.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

/// One instance, and how it is registered.
pub(crate) struct Hold<F> {
    client: Client,
    clock: Tokio,
    wish: Wish,
    /// Service and id, for people.
    name: String,
    /// Whether a refusal that may pass ends it, as long as the instance was never registered.
    impatient: bool,
    held: Option<Registration>,
    /// How often it was told that this registration was made.
    told: u64,
    /// Those that were told as registered, and not as ended.
    ever: BTreeSet<RegistrationId>,
    again: bool,
    /// Why calls fail at the moment, if they do.
    trouble: Option<String>,
    on_registered: F,
}

impl<F: FnMut(&RegistrationView)> Hold<F> {
    /// Nothing is registered yet. `on_registered` learns of each time that it is.
    pub(crate) fn new(client: Client, wish: Wish, on_registered: F) -> Self {
        Self {
            client,
            clock: Tokio::new(),
            name: format!("{}/{}", wish.service(), wish.id()),
            wish,
            impatient: false,
            held: None,
            told: 0,
            ever: BTreeSet::new(),
            again: false,
            trouble: None,
            on_registered,
        }
    }

    /// Lets the first registration fail if somebody else has the id or it is blocked, for a person who waits for the
    /// outcome.
    pub(crate) fn impatient(self) -> Self {
        Self { impatient: true, ..self }
    }

    /// Sees to what is wanted, until that is [`Wanted::Stop`] or the id is lost to somebody else. Never gives up
    /// otherwise. At the end nothing is registered, or the registry could not be reached for a while.
    ///
    /// # Errors
    /// Says why it ended although that was not wanted.
    pub(crate) async fn run(mut self, mut wanted: watch::Receiver<Wanted>) -> Result<(), Ended> {
        let mut events = self.client.events();
        let result = self.attend(&mut events, &mut wanted).await;
        self.held = None;
        let close = self.client.clone().close();
        let farewell = async {
            while let Some(event) = events.next().await {
                // It has ended already.
                let _ = self.on_event(&event);
            }
        };
        tokio::join!(close, farewell);
        result
    }

    async fn attend(&mut self, events: &mut Events, wanted: &mut watch::Receiver<Wanted>) -> Result<(), Ended> {
        loop {
            let now_wanted = *wanted.borrow_and_update();
            match now_wanted {
                Wanted::In if self.held.is_none() => self.register()?,
                Wanted::In => {}
                // Dropping the registration deregisters.
                Wanted::Out => self.held = None,
                Wanted::Stop => return Ok(()),
            }
            tokio::select! {
                biased;
                changed = wanted.changed() => if changed.is_err() {
                    return Ok(());
                },
                event = events.next() => match event {
                    Some(event) => self.on_event(&event)?,
                    None => return Ok(()),
                },
            }
        }
    }

    fn register(&mut self) -> Result<(), Ended> {
        let register = self.client.register(self.wish.instance.clone());
        let register = match self.wish.ttl {
            Some(ttl) => register.ttl(ttl),
            None => register,
        };
        self.held = Some(register.in_background()?);
        self.told = 0;
        Ok(())
    }

    fn on_event(&mut self, event: &ClientEvent) -> Result<(), Ended> {
        match event {
            ClientEvent::Registration(id, state) => return self.on_state(*id, state),
            ClientEvent::Deferred { problem, retry_in, .. } => {
                let held_by_others = matches!(problem.code.as_str(), "taken" | "blocked");
                let refused = Ended::Refused(Refused(problem.clone()));
                if self.impatient && !self.again && held_by_others {
                    return Err(refused);
                }
                output::note(format_args!("{refused}; {}", output::retry(*retry_in)));
            }
            ClientEvent::Connected { channel: Channel::Calls, .. } => {
                let view = self.view().filter(|view| view.state == RegistrationState::Registered);
                if self.trouble.take().is_some() && view.is_some_and(|view| view.registered == self.told) {
                    output::note(format_args!("{} is renewed again", self.name));
                }
            }
            ClientEvent::Disconnected { channel: Channel::Calls, origin, reason, retry_in } => {
                let left = self.view().and_then(|view| view.until);
                let lives = left.map_or_else(String::new, |until| {
                    let left = until.saturating_since(self.clock.now());
                    format!("; the lease lives for {}", output::duration(left))
                });
                let trouble = format!("cannot reach the registry {origin}: {reason}");
                output::note(format_args!("{trouble}; {}{lives}", output::retry(*retry_in)));
                self.trouble = Some(trouble);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_state(&mut self, id: RegistrationId, state: &RegistrationState) -> Result<(), Ended> {
        let is_held = self.held.as_ref().is_some_and(|held| held.id() == id);
        let name = &self.name;
        match state {
            RegistrationState::Registered if is_held => {
                // States are coalesced: it may be another registration although nobody said that the old one was lost.
                if let Some(view) = self.view().filter(|view| view.registered > self.told) {
                    output::note(registered(name, &view, self.again));
                    (self.on_registered)(&view);
                    (self.told, self.again, self.trouble) = (view.registered, true, None);
                    self.ever.insert(id);
                }
            }
            RegistrationState::Lost(Loss::Told(code)) if is_held => {
                output::note(format_args!("the registry has no lease for {name} any more ({code})"));
            }
            RegistrationState::Lost(_) if is_held => {
                output::note(format_args!("no renewal came through in time: the lease of {name} may have run out"));
            }
            RegistrationState::Superseded if is_held => return Err(Ended::Superseded),
            RegistrationState::Refused(problem) if is_held => return Err(Ended::Refused(Refused(problem.clone()))),
            RegistrationState::Deregistered { .. } if is_held => return Err(Ended::TakenOut),
            RegistrationState::Deregistered { confirmed: true } if self.ever.remove(&id) => {
                output::note(format_args!("deregistered {name}"));
            }
            RegistrationState::Deregistered { confirmed: false } => {
                let why = self.trouble.as_deref().unwrap_or("the registry did not answer");
                output::note(format_args!("could not deregister {name}, its lease will end by itself: {why}"));
            }
            _ => {}
        }
        Ok(())
    }

    fn view(&self) -> Option<RegistrationView> {
        self.held.as_ref()?.view()
    }
}

fn registered(name: &str, view: &RegistrationView, again: bool) -> String {
    let again = if again { " again" } else { "" };
    let how = if view.outcome == Some(Outcome::Superseded) { ", in place of another holder" } else { "" };
    // Not every registry counts who held an id.
    let generation = view.generation.map(|generation| format!("generation {generation}, ")).unwrap_or_default();
    let ttl = Span(view.ttl.unwrap_or_default());
    format!("registered {name}{again}{how} ({generation}ttl {ttl})")
}
