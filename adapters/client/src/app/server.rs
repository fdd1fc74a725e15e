//! What an application runs, and how it is told to stop.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use periplus_core::Endpoint;

use super::info::AppInfo;
use crate::face::BoxFuture;
use crate::waiters::Waiters;

/// Any error of a server or a hook.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Something that an application runs. Object-safe.
///
/// It binds, and then serves until it is told to stop. Dropping either future ends all that it runs, connections and
/// tasks included: that is how a server is stopped that does not stop in time.
pub trait Server: Send {
    /// What to call it in errors and logs: `http`, `grpc`.
    fn name(&self) -> &str;

    /// Opens its listener, and says at which endpoints others reach it; at none, if others are not to call it. Called
    /// once, before anything else. Nothing is accepted yet.
    ///
    /// # Errors
    /// If it cannot listen, or no address can be found that others reach it at.
    fn bind(&mut self) -> BoxFuture<'_, Result<Vec<Endpoint>, BoxError>>;

    /// Serves. It says [`Serving::accepting`] once it accepts; the application is registered after that. It ends well
    /// when it was told to stop ([`Stop::stopping`]) and its open calls have ended. An end before that counts as a
    /// failure.
    ///
    /// # Errors
    /// If it cannot go on.
    fn serve(self: Box<Self>, serving: Serving) -> BoxFuture<'static, Result<(), BoxError>>;
}

/// What a server is given while it serves.
#[derive(Clone, Debug)]
pub struct Serving {
    info: AppInfo,
    stop: Stop,
}

impl Serving {
    /// What a server is given, and what controls it: for an application, and for tests of servers.
    #[must_use]
    pub fn new(info: AppInfo) -> (Self, Control) {
        let shared = Arc::new(Shared::default());
        (Self { info, stop: Stop(Arc::clone(&shared)) }, Control(shared))
    }

    /// What the application says of itself, for handlers.
    #[must_use]
    pub const fn info(&self) -> &AppInfo {
        &self.info
    }

    /// Says that the server accepts. Once is enough.
    pub fn accepting(&self) {
        self.stop.0.change(|state| state.accepting = true);
    }

    /// How the server is told to stop.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }
}

/// How far a server is to stop. Later ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not at all.
    #[default]
    Serve,
    /// It serves on, and says to those who ask for its health that it is leaving: they are to go elsewhere.
    Drain,
    /// It accepts nothing new, and ends when its open calls have ended.
    Stop,
}

/// Tells a server how far to stop. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Shared>);

impl Stop {
    /// How far it is to stop.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.0.lock().stage
    }

    /// Waits until it is to serve on and say that it is leaving, or to stop. May be dropped at any time.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + Unpin + 'static {
        self.reached(|state| state.stage >= Stage::Drain)
    }

    /// Waits until it is to stop. May be dropped at any time.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + Unpin + 'static {
        self.reached(|state| state.stage >= Stage::Stop)
    }

    fn reached(&self, is: fn(&State) -> bool) -> Reached {
        Reached { shared: Arc::clone(&self.0), is, token: None }
    }
}

/// What controls a server. Dropping it changes nothing.
#[derive(Debug)]
pub struct Control(Arc<Shared>);

impl Control {
    /// Tells the server how far to stop. There is no way back: an earlier stage is ignored.
    pub fn stop(&self, stage: Stage) {
        self.0.change(|state| state.stage = state.stage.max(stage));
    }

    /// Waits until the server accepts. May be dropped at any time.
    pub fn accepting(&self) -> impl Future<Output = ()> + Send + Unpin + 'static {
        Reached { shared: Arc::clone(&self.0), is: |state| state.accepting, token: None }
    }
}

#[derive(Debug, Default)]
struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    accepting: bool,
    waiters: Waiters,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        change(&mut state);
        state.waiters.take(&mut wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Waits for a state.
struct Reached {
    shared: Arc<Shared>,
    is: fn(&State) -> bool,
    token: Option<u64>,
}

impl Future for Reached {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let waker = cx.waker().clone();
        let mut state = this.shared.lock();
        let (result, old) = match (this.is)(&state) {
            true => (Poll::Ready(()), Some(waker)),
            false => (Poll::Pending, state.waiters.park(&mut this.token, waker)),
        };
        drop(state);
        drop(old);
        result
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        let old = self.shared.lock().waiters.leave(self.token);
        drop(old);
    }
}
