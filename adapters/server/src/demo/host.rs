//! A machine of the demo: a process that keeps the instances on it registered, with one batch of renewals for all.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use periplus_core::client::Backoff;
use periplus_core::http::target::Target;
use periplus_core::protocol::{Dated, DeregisterMessage, RenewMessage, RenewedMessage, UpdateMessage};
use periplus_core::{Incarnation, Operation, Patch, Rng};
use periplus_hyper::host;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::client::error::CallError;
use crate::client::messages::Registered;
use crate::client::registration::Registration;
use crate::client::{CALL_TIMEOUT, Client};
use crate::random;

/// How long a machine may try to deregister what is on it.
const LAST_WORD: Duration = Duration::from_secs(3);

/// What a machine is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Starts an instance.
    Start(Registration),
    /// Changes an instance's metadata.
    Change(String, BTreeMap<String, Option<String>>),
    /// Stops an instance in good order.
    Stop(String),
    /// Forgets an instance.
    Crash(String),
    /// Renews an instance late, once.
    Pause(String),
}

/// What a machine says of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remark {
    /// It cannot be reached.
    Away(String),
    /// It can be reached again.
    Back,
    /// It refuses an instance, for good.
    Refused(String),
}

/// A running machine.
pub(super) struct Host {
    client: Client,
    instances: BTreeMap<String, Instance>,
    /// What has crashed, as long as the registry may not know it.
    crashed: Vec<Instance>,
    commands: mpsc::UnboundedReceiver<Command>,
    remarks: mpsc::UnboundedSender<Remark>,
    sequence: u64,
    next_renewal: Instant,
    /// Nothing is tried before this.
    retry_at: Instant,
    away: bool,
    backoff: Backoff,
    rng: Rng,
}

/// An instance on the machine.
struct Instance {
    registration: Registration,
    /// Drawn anew each time the instance starts.
    incarnation: Incarnation,
    lease: Option<String>,
    generation: Option<u64>,
    renewed: Instant,
    /// Not renewed before this.
    paused_until: Option<Instant>,
    /// Not registered before this: the registry said so.
    blocked_until: Option<Instant>,
}

impl Host {
    /// A machine with nothing on it.
    pub(super) fn new(
        client: Client,
        commands: mpsc::UnboundedReceiver<Command>,
        remarks: mpsc::UnboundedSender<Remark>,
    ) -> Self {
        let now = Instant::now();
        Self {
            client,
            instances: BTreeMap::new(),
            crashed: Vec::new(),
            commands,
            remarks,
            sequence: 0,
            next_renewal: now + super::TTL / 3,
            retry_at: now,
            away: false,
            backoff: Backoff::default(),
            rng: random::rng(),
        }
    }

    /// Runs until nobody commands it any more; then deregisters everything. Gives how many it could not.
    pub(super) async fn run(mut self) -> usize {
        loop {
            let wake = self.wake_at();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command).await,
                    None => return self.clear().await,
                },
                () = tokio::time::sleep_until(wake) => self.on_time().await,
            }
        }
    }

    /// When there is something to do.
    fn wake_at(&self) -> Instant {
        let registrations = self.instances.values().filter(|it| it.lease.is_none());
        let registrations = registrations.map(|it| it.blocked_until.unwrap_or(self.retry_at));
        let pauses = self.instances.values().filter_map(|it| it.paused_until);
        registrations.chain(pauses).fold(self.next_renewal, Instant::min).max(self.retry_at)
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            Command::Start(registration) => {
                let id = registration.id().to_owned();
                let instance = Instance {
                    registration,
                    incarnation: random::incarnation(),
                    lease: None,
                    generation: None,
                    renewed: Instant::now(),
                    paused_until: None,
                    blocked_until: None,
                };
                self.instances.insert(id.clone(), instance);
                if Instant::now() >= self.retry_at {
                    self.register(&id).await;
                }
            }
            Command::Change(id, metadata) => self.change(&id, metadata).await,
            Command::Stop(id) => {
                let instance = self.instances.remove(&id);
                // If the registry cannot be reached, the lease ends by itself.
                if let Some(instance) = instance.filter(|_| Instant::now() >= self.retry_at) {
                    let _ = self.deregister(&instance).await;
                }
            }
            Command::Crash(id) => {
                self.crashed.retain(|it| it.renewed.elapsed() < super::TTL);
                self.crashed.extend(self.instances.remove(&id));
            }
            Command::Pause(id) => {
                if let Some(instance) = self.instances.get_mut(&id) {
                    instance.paused_until = Some(instance.renewed + super::TTL.mul_f64(0.85));
                }
            }
        }
    }

    async fn on_time(&mut self) {
        let now = Instant::now();
        let missing =
            self.instances.iter().filter(|(_, it)| it.lease.is_none() && it.blocked_until.is_none_or(|at| at <= now));
        let missing: Vec<String> = missing.map(|(id, _)| id.clone()).collect();
        for id in missing {
            if Instant::now() >= self.retry_at {
                self.register(&id).await;
            }
        }
        let paused_are_due = self.instances.values().any(|it| it.paused_until.is_some_and(|at| at <= now));
        if now >= self.next_renewal || paused_are_due {
            self.renew(now).await;
        }
    }

    async fn register(&mut self, id: &str) {
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        self.sequence += 1;
        let operation = Operation { incarnation: instance.incarnation, sequence: self.sequence };
        let body = instance.registration.message(operation, instance.generation);
        let target = self.client.instance(instance.registration.service(), id, "");
        instance.blocked_until = None;
        let sent = Instant::now();
        match self.client.change::<Registered>(Method::PUT, target, &body, CALL_TIMEOUT).await {
            Ok(answer) => {
                instance.generation = Some(answer.generation);
                instance.lease = Some(answer.lease);
                instance.renewed = sent;
                self.on_success();
            }
            Err(CallError::Refused(no)) if no.is_passing() => {
                let wait = no.retry_after.unwrap_or(Duration::from_secs(1));
                instance.blocked_until = Some(Instant::now() + wait);
            }
            Err(CallError::Refused(no)) => {
                self.instances.remove(id);
                let _ = self.remarks.send(Remark::Refused(format!("{id} stays out: {no}")));
            }
            Err(error) => self.on_failure(&error),
        }
    }

    async fn renew(&mut self, now: Instant) {
        let ids: Vec<String> =
            self.instances.iter().filter(|(_, it)| it.is_renewed_at(now)).map(|(id, _)| id.clone()).collect();
        let leases: Vec<_> = ids.iter().filter_map(|id| Some(self.instances[id].lease.as_deref()?.into())).collect();
        if !leases.is_empty() {
            let body = RenewMessage { leases, number: None };
            let target = Target::new("/v1/leases/renew");
            match self.client.change::<RenewedMessage>(Method::POST, target, &body, super::TTL / 3).await {
                Ok(RenewedMessage { failed, .. }) => {
                    self.on_renewed(&ids, now);
                    for failure in failed {
                        if let Some(instance) = ids.get(failure.index).and_then(|id| self.instances.get_mut(id)) {
                            // Whether it may come back is what the next registration is told.
                            instance.lease = None;
                        }
                    }
                    self.on_success();
                }
                Err(error) => return self.on_failure(&error),
            }
        }
        if now >= self.next_renewal {
            self.next_renewal = now + super::TTL / 3;
        }
    }

    fn on_renewed(&mut self, ids: &[String], now: Instant) {
        for id in ids {
            if let Some(instance) = self.instances.get_mut(id) {
                instance.renewed = now;
                instance.paused_until = None;
            }
        }
    }

    async fn change(&mut self, id: &str, metadata: BTreeMap<String, Option<String>>) {
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        let patch = Patch { metadata, ..Patch::default() };
        instance.registration.instance.apply(&patch);
        // Without a lease the next registration says it.
        if Instant::now() < self.retry_at {
            instance.lease = None;
        }
        let Some(lease) = &instance.lease else { return };
        self.sequence += 1;
        let body = UpdateMessage {
            lease: lease.as_str().into(),
            sequence: Some(self.sequence),
            metadata: Some(patch.metadata),
            ..UpdateMessage::default()
        };
        let target = self.client.instance(instance.registration.service(), id, "");
        match self.client.change::<Dated>(Method::PATCH, target, &body, CALL_TIMEOUT).await {
            Ok(_) => self.on_success(),
            // It registers again, with the change.
            Err(error) => {
                instance.lease = None;
                if error.refusal().is_none() {
                    self.on_failure(&error);
                }
            }
        }
    }

    async fn deregister(&self, instance: &Instance) -> Result<(), CallError> {
        let Some(lease) = &instance.lease else {
            return Ok(());
        };
        let Registration { instance, .. } = &instance.registration;
        let target = self.client.instance(&instance.name, &instance.id, "");
        let body = DeregisterMessage { lease: Some(lease.as_str().into()), ..DeregisterMessage::default() };
        match self.client.change::<Dated>(Method::DELETE, target, &body, LAST_WORD).await {
            Ok(_) | Err(CallError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deregisters everything, unless the registry cannot be reached. Gives how many it could not.
    async fn clear(self) -> usize {
        let all = async {
            for instance in &self.crashed {
                let _ = self.deregister(instance).await;
            }
            for (done, instance) in self.instances.values().enumerate() {
                if self.deregister(instance).await.is_err() {
                    return self.instances.len() - done;
                }
            }
            0
        };
        tokio::time::timeout(LAST_WORD, all).await.unwrap_or(self.instances.len())
    }

    fn on_success(&mut self) {
        if std::mem::take(&mut self.away) {
            let _ = self.remarks.send(Remark::Back);
        }
        self.backoff = Backoff::default();
    }

    fn on_failure(&mut self, error: &CallError) {
        let (hint, now) = (error.retry_after(), host::now());
        self.retry_at = Instant::now() + self.backoff.next(&mut self.rng, Backoff::CAP, hint, now);
        if !std::mem::replace(&mut self.away, true) {
            let _ = self.remarks.send(Remark::Away(error.to_string()));
        }
    }
}

impl Instance {
    fn is_renewed_at(&self, now: Instant) -> bool {
        self.lease.is_some() && self.paused_until.is_none_or(|until| until <= now)
    }
}
