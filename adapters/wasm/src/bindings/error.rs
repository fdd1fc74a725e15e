//! Errors as JavaScript sees them: an `Error` with a `code` for programs.

use js_sys::Reflect;
use periplus::core::client::CommandError;
use periplus::core::instance::StatusError;
use periplus::{ConnectError, GetError, RegisterError, UpdateError, WatchError};
use wasm_bindgen::JsValue;

/// An `Error` whose `name` is `PeriplusError`.
pub(super) fn error(code: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    error.set_name("PeriplusError");
    // It is a plain object, and takes any property.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

/// An error of the façade's, with the code that it goes by.
pub(super) trait Coded: std::error::Error {
    fn code(&self) -> &str;

    fn to_js(&self) -> JsValue {
        error(self.code(), &self.to_string())
    }
}

impl Coded for CommandError {
    fn code(&self) -> &str {
        match self {
            Self::Closed => "closed",
            Self::Limit { .. } => "limit",
            Self::Ended => "ended",
            _ => "invalid",
        }
    }
}

impl Coded for RegisterError {
    fn code(&self) -> &str {
        match self {
            Self::Command(error) => error.code(),
            Self::Superseded => "superseded",
            Self::Refused(problem) => &problem.code,
            Self::Deregistered => "ended",
            _ => "invalid",
        }
    }
}

impl Coded for UpdateError {
    fn code(&self) -> &str {
        match self {
            Self::Command(error) => error.code(),
            Self::Superseded => "superseded",
            Self::Refused(problem) => &problem.code,
            Self::Deregistered | Self::NotRegistered(_) => "ended",
            _ => "invalid",
        }
    }
}

impl Coded for GetError {
    fn code(&self) -> &str {
        match self {
            Self::Command(error) => error.code(),
            Self::NotHeard { .. } => "not_heard",
            _ => "invalid",
        }
    }
}

impl Coded for WatchError {
    fn code(&self) -> &str {
        match self {
            Self::Command(error) => error.code(),
            _ => "invalid",
        }
    }
}

impl Coded for ConnectError {
    fn code(&self) -> &str {
        "invalid"
    }
}

impl Coded for StatusError {
    fn code(&self) -> &str {
        "invalid"
    }
}
