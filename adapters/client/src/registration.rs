//! A registration, held.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use periplus_core::client::{
    CommandError, Registration as Wanted, RegistrationId, RegistrationState, RegistrationView,
};
use periplus_core::{Key, Namespace, Patch, ServiceInstance, Status};

use crate::client::Client;
use crate::error::{RegisterError, UpdateError};
use crate::shared::Handle;
use crate::slots::Standing;

impl Client {
    /// Registers an instance, and keeps it registered as long as the [`Registration`] that this
    /// resolves to is held. An instance that this client has registered already is updated.
    ///
    /// It waits for the registry's word, and for a registry that is down as long as that is down. What does not want to
    /// wait says [`in_background`](Register::in_background). Dropped before its end, it leaves nothing behind.
    ///
    /// # Errors
    /// If the instance breaks a limit or would lead others to themselves, if the registry refuses it for good, if
    /// another holder takes the id meanwhile, or if the client is closed.
    pub fn register(&self, instance: ServiceInstance) -> Register {
        let wanted = self.handle.settings.wanted(&self.namespace, instance);
        Register::new(Arc::clone(&self.handle), wanted)
    }

    /// Replaces an instance that this client has registered by another of the same service and id, and waits until the
    /// registry has it.
    ///
    /// # Errors
    /// If this client has registered no such instance, the new one breaks a limit or would lead others to themselves, or
    /// the registration ends meanwhile.
    pub async fn update(&self, instance: ServiceInstance) -> Result<(), UpdateError> {
        self.handle.settings.check_advertised(&instance.endpoints)?;
        let wanted = self.handle.settings.wanted(&self.namespace, instance);
        let id = self.handle.shared.command(|state, now| state.replace(wanted, now))?;
        acknowledged(&self.handle, id).await
    }

    /// Takes out an instance that this client has registered, by its service and id, whoever holds the registration, and
    /// waits until it is out, as [`Registration::close`](Registration::close) does: for 3 s at most.
    ///
    /// # Errors
    /// If this client has registered no such instance.
    pub async fn deregister(&self, instance: &ServiceInstance) -> Result<Deregistered, UpdateError> {
        let key = Key::new(self.namespace.clone(), instance.name.clone(), instance.id.clone());
        let shared = &self.handle.shared;
        let id = shared.lock().find(key, shared.now())?;
        Ok(deregister(&self.handle, id).await)
    }
}

/// A registration. The instance stays registered as long as this, or a clone of it, is held.
///
/// The registration is renewed, and made again whenever it was lost, for as long as it takes. Dropping the last handle
/// deregisters; [`close`](Self::close) does so at once and waits for it. Registering the same instance again through the
/// same client gives another handle to the same registration.
#[must_use = "dropping a registration deregisters the instance"]
pub struct Registration {
    handle: Arc<Handle>,
    id: RegistrationId,
    seen: RegistrationState,
}

/// What came of a deregistration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deregistered {
    /// Whether the registry has said so, or does not list this registration for another reason. Otherwise it was not
    /// heard in time: the client goes on trying while it is open, and the lease ends by itself.
    pub confirmed: bool,
}

impl Registration {
    /// What became of it. `Registered` only while the last acknowledged renewal covers now.
    #[must_use]
    pub fn state(&self) -> RegistrationState {
        self.standing().state
    }

    /// All that is known of it: the state, the instance, how often it was registered, and what is wrong, if something is.
    /// `None` after its end.
    #[must_use]
    pub fn view(&self) -> Option<RegistrationView> {
        let Standing { state, view, .. } = self.standing();
        view.map(|view| RegistrationView { state, ..view })
    }

    /// The next state, as soon as it is another one than this handle told last. `None`: it has ended, and the last state
    /// was told, or nobody drives the client any more.
    ///
    /// States in between may be left out: the latest counts. May be cancelled without missing anything.
    pub async fn changed(&mut self) -> Option<RegistrationState> {
        let seen = self.seen.clone();
        if seen.is_final() {
            return None;
        }
        let next = Wait::new(&self.handle, self.id, move |standing, ended| match standing.state != seen {
            true => Verdict::Done(Some(standing.state.clone())),
            false if ended => Verdict::Done(None),
            false => Verdict::UntilChanged,
        });
        let next = next.await?;
        self.seen = next.clone();
        Some(next)
    }

    /// Changes the status, now and whenever the instance is registered again. Says what the registry said only through
    /// [`acknowledged`](Self::acknowledged).
    ///
    /// # Errors
    /// If the registration has ended; nothing was changed.
    pub fn set_status(&self, status: Status) -> Result<(), UpdateError> {
        self.update(&Patch::new().with_status(status))
    }

    /// Changes the instance, now and whenever it is registered again. Says what the registry said only through
    /// [`acknowledged`](Self::acknowledged).
    ///
    /// # Errors
    /// If the instance would break a limit or lead others to themselves, or the registration has ended; nothing was
    /// changed.
    pub fn update(&self, patch: &Patch) -> Result<(), UpdateError> {
        if let Some(endpoints) = &patch.endpoints {
            self.handle.settings.check_advertised(endpoints)?;
        }
        self.handle.shared.command(|state, now| {
            if state.closing {
                return Err(CommandError::Closed);
            }
            state.machine.update(self.id, patch, now)
        })?;
        Ok(())
    }

    /// Waits until the registry has the instance as it was last wanted. Waits for a registry that is down.
    ///
    /// # Errors
    /// If the registration ends before that.
    pub async fn acknowledged(&self) -> Result<(), UpdateError> {
        acknowledged(&self.handle, self.id).await
    }

    /// Takes the instance out and waits until it is, for 3 s at most
    /// ([`last_word`](periplus_core::client::ClientConfig::last_word)). Then it is not
    /// [`confirmed`](Deregistered::confirmed), and as long as the client is open, it goes on trying for twice the ttl and
    /// a minute at least: the lease ends by itself meanwhile.
    ///
    /// Other handles to the same registration see it end. Dropped before its end, it deregisters all the same.
    pub async fn close(self) -> Deregistered {
        deregister(&self.handle, self.id).await
    }

    /// Names the registration in [`ClientEvent`](periplus_core::client::ClientEvent)s.
    #[must_use]
    pub const fn id(&self) -> RegistrationId {
        self.id
    }

    fn standing(&self) -> Standing {
        let state = self.handle.shared.lock();
        state.registration(self.id, self.handle.shared.now())
    }
}

impl Clone for Registration {
    fn clone(&self) -> Self {
        self.handle.shared.lock().hold(self.id);
        Self { handle: Arc::clone(&self.handle), id: self.id, seen: self.seen.clone() }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.handle.shared.command(|state, now| state.let_go(self.id, now));
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("id", &self.id).field("state", &self.state()).finish()
    }
}

/// Waits until the registry has what is wanted.
pub(crate) async fn acknowledged(handle: &Arc<Handle>, id: RegistrationId) -> Result<(), UpdateError> {
    Wait::new(handle, id, acknowledgement(UpdateError::of)).await
}

/// Takes an instance out and waits until it is, but no longer than for the last word.
pub(crate) async fn deregister(handle: &Arc<Handle>, id: RegistrationId) -> Deregistered {
    let until = handle.shared.command(|state, now| {
        state.machine.deregister(id, now);
        let until = now.saturating_add(handle.settings.last_word);
        state.slots.partings.insert((until, id));
        until
    });
    let shared = Arc::clone(&handle.shared);
    let wait = Wait::new(handle, id, move |standing, ended| match standing.state {
        RegistrationState::Deregistered { confirmed } => Verdict::Done(Deregistered { confirmed }),
        RegistrationState::Superseded | RegistrationState::Refused(_) => {
            Verdict::Done(Deregistered { confirmed: true })
        }
        _ if ended || shared.now() >= until => Verdict::Done(Deregistered { confirmed: false }),
        _ => Verdict::UntilChanged,
    });
    let deregistered = wait.await;
    // Others who wait for the same are through as well.
    handle.shared.lock().slots.partings.remove(&(until, id));
    deregistered
}

/// An instance being registered: a future that resolves when the registry has acknowledged it, however long that takes.
///
/// Nothing happens before it is polled, or [`in_background`](Self::in_background) is called. Dropping it leaves no
/// registration behind, whenever that is.
#[must_use = "a registration begins when it is awaited, or with `in_background`"]
pub struct Register {
    handle: Arc<Handle>,
    wanted: Wanted,
    held: Option<Held>,
}

/// A registration that has begun. The wait is dropped first.
struct Held {
    wait: Acknowledged,
    registration: Registration,
}

type Acknowledged = Pin<Box<dyn Future<Output = Result<(), RegisterError>> + Send>>;

impl Register {
    pub(crate) const fn new(handle: Arc<Handle>, wanted: Wanted) -> Self {
        Self { handle, wanted, held: None }
    }

    /// Lets the lease live so long without a renewal. The registry's default, if neither this nor the address says.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.wanted.ttl = Some(ttl);
        self
    }

    /// Registers in another namespace than the client's.
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.wanted.namespace = namespace;
        self
    }

    /// Begins the registration and returns at once: [`Registration::state`] says how far it is.
    ///
    /// # Errors
    /// If the instance breaks a limit or would lead others to themselves, or the client is closed.
    pub fn in_background(self) -> Result<Registration, RegisterError> {
        begin(&self.handle, &self.wanted)
    }
}

pub(crate) fn begin(handle: &Arc<Handle>, wanted: &Wanted) -> Result<Registration, RegisterError> {
    handle.settings.check_advertised(&wanted.instance.endpoints)?;
    let id = handle.shared.command(|state, now| state.register(wanted, now))?;
    Ok(Registration { handle: Arc::clone(handle), id, seen: RegistrationState::Registering })
}

impl Future for Register {
    type Output = Result<Registration, RegisterError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut held = match this.held.take() {
            Some(held) => held,
            None => {
                let registration = begin(&this.handle, &this.wanted)?;
                let wait = Wait::new(&this.handle, registration.id, acknowledgement(RegisterError::of));
                Held { wait: Box::pin(wait), registration }
            }
        };
        match held.wait.as_mut().poll(cx) {
            Poll::Ready(Ok(())) => {
                held.registration.seen = RegistrationState::Registered;
                Poll::Ready(Ok(held.registration))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                this.held = Some(held);
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// What somebody who waits for a registration makes of its state.
enum Verdict<T> {
    Done(T),
    /// Look again when the state is another one.
    UntilChanged,
    /// Look again at the driver's next turn.
    UntilAcknowledged,
}

/// Whether the registry has what is wanted; `of` makes an error of how the registration has ended.
fn acknowledgement<E: From<CommandError>>(
    of: fn(RegistrationState) -> E,
) -> impl Fn(&Standing, bool) -> Verdict<Result<(), E>> {
    move |standing, ended| match &standing.state {
        RegistrationState::Registered if standing.current => Verdict::Done(Ok(())),
        state if state.is_final() => Verdict::Done(Err(of(state.clone()))),
        _ if ended => Verdict::Done(Err(CommandError::Closed.into())),
        RegistrationState::Registered => Verdict::UntilAcknowledged,
        _ => Verdict::UntilChanged,
    }
}

/// Waits for a registration. Dropping it leaves the places where it waited.
struct Wait<F> {
    handle: Arc<Handle>,
    id: RegistrationId,
    look: F,
    changed: Option<u64>,
    acknowledged: Option<u64>,
}

impl<F> Wait<F> {
    fn new<T>(handle: &Arc<Handle>, id: RegistrationId, look: F) -> Self
    where
        F: Fn(&Standing, bool) -> Verdict<T>,
    {
        Self { handle: Arc::clone(handle), id, look, changed: None, acknowledged: None }
    }
}

impl<T, F: Fn(&Standing, bool) -> Verdict<T> + Unpin> Future for Wait<F> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.get_mut();
        let waker = cx.waker().clone();
        let mut state = this.handle.shared.lock();
        let standing = state.registration(this.id, this.handle.shared.now());
        let (result, old) = match (this.look)(&standing, state.ended) {
            Verdict::Done(result) => (Poll::Ready(result), Some(waker)),
            Verdict::UntilChanged => match state.slots.registrations.get_mut(&this.id) {
                Some(slot) => (Poll::Pending, slot.waiters.park(&mut this.changed, waker)),
                None => (Poll::Pending, state.slots.acknowledgements.park(&mut this.acknowledged, waker)),
            },
            Verdict::UntilAcknowledged => {
                (Poll::Pending, state.slots.acknowledgements.park(&mut this.acknowledged, waker))
            }
        };
        drop(state);
        drop(old);
        result
    }
}

impl<F> Drop for Wait<F> {
    fn drop(&mut self) {
        let mut state = self.handle.shared.lock();
        let slot = state.slots.registrations.get_mut(&self.id);
        let one = slot.and_then(|slot| slot.waiters.leave(self.changed));
        let other = state.slots.acknowledgements.leave(self.acknowledged);
        drop(state);
        drop((one, other));
    }
}
