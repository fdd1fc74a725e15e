//! What the exit codes mean.

use periplus_core::protocol::Problem;

use crate::cli::output;
use crate::cli::watches::NotTold;
use crate::client::error::CallError;
use crate::hold::Ended;

/// Done.
pub const OK: u8 = 0;
/// The registry refused, or something else failed.
pub const REFUSED: u8 = 1;
/// The arguments make no sense.
pub const USAGE: u8 = 2;
/// The registry cannot be reached.
pub const UNREACHABLE: u8 = 3;
/// There is no such instance.
pub const NOT_FOUND: u8 = 4;
/// The lease is no more: somebody else has the id, or it ended.
pub const LEASE_LOST: u8 = 5;
/// The time is over, and not everybody who watches has heard of it.
pub const NOT_TOLD: u8 = 7;

/// It was done for some of the instances, and not for others.
pub const PARTLY: u8 = 6;

/// The same for the help.
pub const HELP: &str = "\
Exit codes:
  0  done; also when interrupted, and when the reader of a pipe has gone
  1  the registry refused, or something else failed: the message says what
  2  the arguments make no sense
  3  the registry cannot be reached
  4  there is no such instance
  5  the lease is lost: somebody else has registered the id, or it has ended
  6  it failed for some of the instances that a filter names; the others are done
  7  it is done, but after --wait not every watcher has applied it
`periplus run` exits with the code of its program; see `periplus run --help`.";

/// The arguments make no sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// The registry says no.
#[derive(Debug, thiserror::Error)]
#[error("the registry refused ({}): {}", .0.code, .0.message)]
pub struct Refused(pub Problem);

/// What was to be done to several instances was not done to all.
#[derive(Debug, thiserror::Error)]
#[error("left as they were: {left} of {all} instances; the messages before say why")]
pub struct Partly {
    /// To how many it was not done.
    pub left: usize,
    /// Of how many.
    pub all: usize,
}

/// Nobody reads the results any more.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the results has gone")]
pub struct ClosedPipe;

/// Says what failed, on stderr, and gives the code for it.
pub fn report(error: &anyhow::Error) -> u8 {
    let code = code(error);
    if code != OK {
        output::note(format_args!("{error:#}"));
    }
    code
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<ClosedPipe>() {
        return OK;
    }
    if error.is::<Usage>() {
        return USAGE;
    }
    if error.is::<Partly>() {
        return PARTLY;
    }
    if error.is::<NotTold>() {
        return NOT_TOLD;
    }
    if let Some(Ended::Superseded | Ended::TakenOut) = error.downcast_ref() {
        return LEASE_LOST;
    }
    match error.downcast_ref::<CallError>() {
        Some(CallError::Unreachable { .. } | CallError::Garbled { .. }) => UNREACHABLE,
        Some(CallError::Refused(refusal)) if refusal.is_lease_lost() => LEASE_LOST,
        Some(CallError::Refused(refusal)) if refusal.code == "not_found" => NOT_FOUND,
        _ => REFUSED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::error::Refusal;
    use anyhow::Context;

    fn refused(status: u16, code: &str) -> anyhow::Error {
        let status = http::StatusCode::from_u16(status).unwrap();
        CallError::from(Refusal { status, code: code.into(), message: String::new(), retry_after: None }).into()
    }

    #[test]
    fn codes_tell_apart_who_is_to_blame() {
        assert_eq!(code(&refused(400, "invalid_ttl")), REFUSED);
        assert_eq!(code(&refused(404, "not_found")), NOT_FOUND);
        assert_eq!(code(&refused(410, "lease_expired")), LEASE_LOST);
        assert_eq!(code(&refused(409, "superseded")), LEASE_LOST);
        assert_eq!(code(&anyhow::Error::from(Usage("x".into()))), USAGE);
        assert_eq!(code(&anyhow::Error::from(ClosedPipe)), OK);
        assert_eq!(code(&anyhow::Error::from(Partly { left: 1, all: 2 })), PARTLY);
        let gone = CallError::Unreachable { address: "a".into(), reason: "r".into(), not_sent: true };
        assert_eq!(code(&Err::<(), _>(gone).context("reading").unwrap_err()), UNREACHABLE);
        assert_eq!(code(&anyhow::anyhow!("other")), REFUSED);
    }
}
