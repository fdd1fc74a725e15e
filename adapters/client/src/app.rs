//! An application: servers, and a registration for as long as they serve.

mod info;
mod server;

pub use info::AppInfo;
pub use server::{BoxError, Control, Server, Serving, Stage, Stop};
