//! An application, as the rest of the program reaches it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use periplus_core::app::LifecycleState;
use periplus_core::{Patch, Status};

use super::info::AppInfo;
use crate::error::UpdateError;
use crate::registration::Registration;
use crate::waiters::DriverWaker;

/// An application that runs elsewhere. Clones are cheap, and keep nothing running.
#[derive(Clone, Default)]
pub struct AppHandle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    waker: DriverWaker,
}

#[derive(Default)]
struct State {
    stop: bool,
    life: Option<LifecycleState>,
    info: Option<AppInfo>,
    registrations: Vec<Registration>,
}

impl AppHandle {
    /// Makes the application leave, as a signal does. Said before it runs, it leaves as soon as it does.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.0.waker.wake();
    }

    /// Where the application is in its life. `None` before it runs.
    #[must_use]
    pub fn state(&self) -> Option<LifecycleState> {
        self.lock().life
    }

    /// What the application says of itself. `None` until its servers are bound.
    #[must_use]
    pub fn info(&self) -> Option<AppInfo> {
        self.lock().info.clone()
    }

    /// Changes what is registered, wherever it is registered now: weight, status, metadata. O(registrars). Where it is
    /// not, nothing happens.
    ///
    /// # Errors
    /// If it cannot be changed in one of the registries; those before it have it.
    pub fn update(&self, patch: &Patch) -> Result<(), UpdateError> {
        let registrations = self.lock().registrations.clone();
        registrations.iter().try_for_each(|registration| registration.update(patch))
    }

    /// Changes the status; see [`update`](Self::update).
    ///
    /// # Errors
    /// As there.
    pub fn set_status(&self, status: Status) -> Result<(), UpdateError> {
        self.update(&Patch::new().with_status(status))
    }

    pub(super) fn waker(&self) -> &DriverWaker {
        &self.0.waker
    }

    pub(super) fn is_told_to_stop(&self) -> bool {
        self.lock().stop
    }

    pub(super) fn is_in(&self, life: LifecycleState) {
        self.lock().life = Some(life);
    }

    pub(super) fn is(&self, info: AppInfo) {
        self.lock().info = Some(info);
    }

    pub(super) fn holds(&self, registration: Registration) {
        self.lock().registrations.push(registration);
    }

    /// The application has left, or is dropped: nothing is held here any more.
    pub(super) fn let_go(&self) {
        let registrations = std::mem::take(&mut self.lock().registrations);
        drop(registrations);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for AppHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppHandle").field("state", &self.state()).finish_non_exhaustive()
    }
}
