//! The life of an application: servers, and a registration for as long as they serve.
//!
//! [`Lifecycle`] decides what is done when; its driver binds, serves, runs hooks and talks to registrars, and says what
//! came of it. Whatever ends an application (a signal, a server that crashed, a hook that failed, a registry that is
//! down), it leaves the same way: it is deregistered at once, those who watch have the time of the drain to hear of it,
//! the servers stop, and what does not stop in time is dropped.
//!
//! What each input does in each state: what is to be *done*, and the state that follows if it is another one. The
//! application has one server and one registrar; in `registering` and `leaving` the registrar has not answered yet, and
//! in `leaving` and `draining` the hooks before the stop still run, without which servers do not stop.
//!
//! | input | binding | before start | starting | registering | after start | running | leaving | draining | stopping | after stop | ended |
//! |---|---|---|---|---|---|---|---|---|---|---|---|
//! | bound | *hooks*, → before start | – | – | – | – | – | – | – | – | – | – |
//! | accepting | – | – | *register*, → registering | – | – | – | – | – | – | – | – |
//! | server ended | *exit*, → ended | – | *hooks*, → draining | *deregister*, *hooks*, → leaving | *cut*, *deregister*, *hooks*, → leaving | *deregister*, *hooks*, → leaving | – | – | *hooks*, → after stop | – | – |
//! | server failed | *exit*, → ended | – | *hooks*, → draining | *deregister*, *hooks*, → leaving | *cut*, *deregister*, *hooks*, → leaving | *deregister*, *hooks*, → leaving | – | – | *hooks*, → after stop | – | – |
//! | hooks done | – | *serve*, → starting | – | – | → running | – | – | – | – | *exit*, → ended | – |
//! | hooks failed | – | *abort*, *hooks*, → draining | – | – | *deregister*, *drain*, *hooks*, → leaving | – | – | – | – | *exit*, → ended | – |
//! | registered | – | – | – | *hooks*, → after start | – | – | – | – | – | – | – |
//! | superseded | – | – | – | *deregister*, *drain*, *hooks*, → leaving | – | – | – | – | – | – | – |
//! | superseded, `WhenEnded::Stop` | – | – | – | *deregister*, *drain*, *hooks*, → leaving | *cut*, *deregister*, *drain*, *hooks*, → leaving | *deregister*, *drain*, *hooks*, → leaving | – | – | – | – | – |
//! | deregistered | – | – | – | – | – | – | → draining | – | – | – | – |
//! | told to stop | *abort*, *exit*, → ended | *cut*, *abort*, *hooks*, → draining | *drain*, *hooks*, → draining | *deregister*, *drain*, *hooks*, → leaving | *cut*, *deregister*, *drain*, *hooks*, → leaving | *deregister*, *drain*, *hooks*, → leaving | – | – | – | – | – |
//! | a first signal | *abort*, *exit*, → ended | *cut*, *abort*, *hooks*, → draining | *drain*, *hooks*, → draining | *deregister*, *drain*, *hooks*, → leaving | *cut*, *deregister*, *drain*, *hooks*, → leaving | *deregister*, *drain*, *hooks*, → leaving | – | – | – | – | – |
//! | a second signal | | | | | | | *cut*, *abort* | *cut*, *abort*, *exit*, → ended | *abort*, *exit*, → ended | *cut*, *exit*, → ended | – |
//! | a third signal | | | | | | | *exit*, → ended | | | | |
//! | time is up | *abort*, *exit*, → ended | *cut*, *abort*, *hooks*, → draining | *drain*, *hooks*, → draining | *deregister*, *drain*, *hooks*, → leaving | *cut*, *deregister*, *drain*, *hooks*, → leaving | – | → draining | – | *abort*, *hooks*, → after stop | *cut*, *exit*, → ended | – |
//! | time is up, `RegistryDown::KeepTrying` | *abort*, *exit*, → ended | *cut*, *abort*, *hooks*, → draining | *drain*, *hooks*, → draining | *hooks*, → after start | *cut*, *deregister*, *drain*, *hooks*, → leaving | – | → draining | – | *abort*, *hooks*, → after stop | *cut*, *exit*, → ended | – |
//!
//! *Abort* drops what runs of a server and waits for nothing. A hook that is *cut* is dropped, too. Stop hooks run
//! whenever start hooks were begun, and must bear that those were cut short. The hooks before the stop run while the
//! application is being deregistered and drained, so that they delay neither.

mod advertised;
mod config;
mod lifecycle;
#[cfg(test)]
mod tests;

pub use advertised::{Interface, NoAddress, advertised_host};
pub use config::{LifecycleConfig, RegistryDown, WhenEnded};
pub use lifecycle::{Action, Cause, Ending, Exit, Failure, Lifecycle, LifecycleState, Phase};
