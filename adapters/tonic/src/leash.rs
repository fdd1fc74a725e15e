//! Tasks that end when their owner does.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::rt::Executor;
use tokio::sync::{Notify, watch};

/// Holds tasks: when it is dropped they are, too.
#[derive(Debug)]
pub(crate) struct Leash {
    holds: watch::Sender<()>,
    stirred: Arc<Notify>,
}

/// Spawns tasks that a [`Leash`] holds.
#[derive(Clone, Debug)]
pub(crate) struct Leashed {
    held: watch::Receiver<()>,
    stirred: Arc<Notify>,
    /// Whether the next task is the first.
    first: Arc<AtomicBool>,
}

impl Leash {
    pub(crate) fn new() -> (Self, Leashed) {
        let (holds, held) = watch::channel(());
        let stirred = Arc::new(Notify::new());
        let leashed = Leashed { held, stirred: Arc::clone(&stirred), first: Arc::new(AtomicBool::new(true)) };
        (Self { holds, stirred }, leashed)
    }

    /// Waits until the first task has done something.
    pub(crate) async fn stirred(&self) {
        self.stirred.notified().await;
    }

    /// Waits until all tasks have ended, and all who could spawn another are gone.
    pub(crate) async fn ended(&self) {
        self.holds.closed().await;
    }
}

impl Leashed {
    /// Spawns a task.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut held = self.held.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = held.changed() => {}
                () = task => {}
            }
        });
    }
}

impl<F> Executor<F> for Leashed
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        let stirred = self.first.swap(false, Ordering::Relaxed).then(|| Arc::clone(&self.stirred));
        self.spawn(async move {
            let mut task = pin!(task);
            poll_fn(|cx| {
                let result = task.as_mut().poll(cx).map(drop);
                stirred.iter().for_each(|stirred| stirred.notify_one());
                result
            })
            .await;
        });
    }
}
