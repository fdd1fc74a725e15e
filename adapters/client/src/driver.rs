//! The one loop that drives a client's machine, on any runtime.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use periplus_core::client::ClientEvent;
use periplus_core::http::{Input, RequestId, Transmit};
use periplus_core::ordered::OrderedMap;
use periplus_core::{Instant, Key};

use crate::report::report;
use crate::runtime::Runtime;
use crate::shared::{Shared, wake_all};

/// Turns that one poll takes before the driver lets others run.
const TURNS: usize = 16;

/// Inputs that one request may hand in before the others have had their turn.
const INPUTS: usize = 16;

/// The driver of one client: a future that ends when the client is closed, or after the last handle is gone and the last
/// word has been said. Dropping it ends the client without a last word.
///
/// It carries requests and time between the machine and the [`Runtime`], and decides nothing. What was received goes
/// before a timeout. The lock on the machine is not held while other people's code runs.
pub struct Driver<R: Runtime> {
    runtime: R,
    shared: Arc<Shared>,
    /// The name under which the last known sets are stored.
    cache: String,
    exchanges: OrderedMap<RequestId, R::Exchange>,
    sleep: Option<(Instant, R::Sleep)>,
    inputs: Vec<(RequestId, Input)>,
    drained: Drained,
}

/// What the machine wanted done, taken out in one go.
#[derive(Default)]
struct Drained {
    transmits: Vec<Transmit>,
    events: Vec<(ClientEvent, Option<Key>)>,
    wakers: Vec<Waker>,
}

/// Where the machine stands once it is drained.
struct Standing {
    timeout: Option<Instant>,
    closed: bool,
}

impl<R: Runtime> Driver<R> {
    pub(crate) const fn new(runtime: R, shared: Arc<Shared>, cache: String) -> Self {
        Self {
            runtime,
            shared,
            cache,
            exchanges: OrderedMap::new(),
            sleep: None,
            inputs: Vec::new(),
            drained: Drained { transmits: Vec::new(), events: Vec::new(), wakers: Vec::new() },
        }
    }

    /// Takes out all that the machine has to say, and acts on it.
    fn drain(&mut self) -> Standing {
        let Drained { transmits, events, wakers } = &mut self.drained;
        let mut state = self.shared.lock();
        while let Some(transmit) = state.machine.poll_transmit() {
            transmits.push(transmit);
        }
        while let Some(event) = state.machine.poll_event() {
            let key = state.on_event(&event, wakers);
            events.push((event, key));
        }
        state.slots.on_turn(wakers);
        let cache = state.machine.poll_cache();
        let standing = Standing { timeout: state.next_timeout(), closed: state.machine.is_closed() };
        state.armed = standing.timeout;
        drop(state);

        for (event, key) in events.drain(..) {
            report(&event, key.as_ref());
        }
        wake_all(wakers);
        self.shared.wake_neighbours();
        for transmit in transmits.drain(..) {
            match transmit {
                Transmit::Send(id, request) => drop(self.exchanges.insert(id, self.runtime.request(request))),
                Transmit::Cancel(id) => drop(self.exchanges.remove(&id)),
            }
        }
        if let Some(bytes) = cache {
            self.runtime.store(&self.cache, bytes);
        }
        standing
    }

    /// Hands in what has been received. Says whether anything was.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let inputs = &mut self.inputs;
        self.exchanges.retain(|&id, exchange| {
            for _ in 0..INPUTS {
                let (input, more) = match Pin::new(&mut *exchange).poll_next(cx) {
                    Poll::Pending => return true,
                    Poll::Ready(Some(input)) => {
                        let more = !matches!(input, Input::End | Input::Failure(_));
                        (input, more)
                    }
                    // It ended without a word about how.
                    Poll::Ready(None) => (Input::Failure(lost()), false),
                };
                inputs.push((id, input));
                if !more {
                    return false;
                }
            }
            true
        });
        if inputs.is_empty() {
            return false;
        }
        let mut state = self.shared.lock();
        let now = self.shared.now();
        for (id, input) in inputs.drain(..) {
            state.machine.handle_input(id, &input, now);
        }
        true
    }

    /// Tells the machine that its time has come, if it has.
    fn time(&mut self, timeout: Option<Instant>) -> bool {
        let now = self.shared.now();
        if timeout.is_none_or(|at| at > now) {
            return false;
        }
        let wakers = &mut self.drained.wakers;
        let mut state = self.shared.lock();
        state.on_time(now, wakers);
        if state.machine.poll_timeout().is_some_and(|at| at <= now) {
            state.machine.handle_timeout(now);
        }
        drop(state);
        wake_all(wakers);
        true
    }

    /// Sleeps until then. Says whether it is then already.
    fn sleep(&mut self, timeout: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = timeout else {
            self.sleep = None;
            return Poll::Pending;
        };
        if self.sleep.as_ref().is_none_or(|(set, _)| *set != at) {
            // The client's clock need not be this runtime's: several clients of one registry in memory share one.
            let left = at.saturating_since(self.shared.now());
            self.sleep = Some((at, self.runtime.sleep_until(self.runtime.now().saturating_add(left))));
        }
        let Some((_, sleep)) = &mut self.sleep else { return Poll::Pending };
        let woken = Pin::new(sleep).poll(cx);
        if woken.is_ready() {
            self.sleep = None;
        }
        woken
    }
}

fn lost() -> periplus_core::http::Failure {
    periplus_core::http::Failure::unknown("the connection ended in the middle of the answer")
}

impl<R: Runtime> Future for Driver<R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        driver.shared.driver.set(cx.waker());
        for _ in 0..TURNS {
            let standing = driver.drain();
            if standing.closed {
                driver.exchanges.clear();
                driver.shared.end();
                return Poll::Ready(());
            }
            if driver.receive(cx) || driver.time(standing.timeout) {
                continue;
            }
            if driver.sleep(standing.timeout, cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R: Runtime> Drop for Driver<R> {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl<R: Runtime> fmt::Debug for Driver<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("exchanges", &self.exchanges.len()).finish_non_exhaustive()
    }
}
