//! Service registration and discovery for any async runtime.

pub mod driver;
pub mod runtime;

mod client;
mod connect;
mod error;
mod events;
mod face;
mod get;
mod registration;
mod report;
mod settings;
mod shared;
mod waiters;
mod watcher;

pub use client::{Client, OnlineSignal};
pub use connect::drive;
pub use error::{GetError, RegisterError, UpdateError, WatchError};
pub use events::Events;
pub use face::{BoxFuture, Discovery, Registrar};
pub use get::GetService;
pub use periplus_core as core;
pub use registration::{Deregistered, Register, Registration};
pub use runtime::Runtime;
pub use watcher::{Changed, Changes, Listing, Watcher};
