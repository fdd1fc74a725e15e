//! Why a request was refused, as its sender is told.

use std::borrow::Cow;
use std::ops::Deref;
use std::time::Duration;

use http::StatusCode;
use periplus_core::catalog::Compacted;
use periplus_core::error::LimitReached;
use periplus_core::query::{LENGTH_LIMIT, QueryProblem, TERMS_LIMIT};
use periplus_core::{
    InstanceError, LeaseError, NameError, OperatorError, QueryError, RegisterError, UpdateError, WatchError,
};

use super::hub::Date;

/// How long whoever meets a limit is asked to wait, in seconds.
const RETRY_LATER: u64 = 5;

/// A refusal: status, name, and a word on what to do. Every one is sent as JSON.
#[derive(Debug)]
pub(super) struct Problem(Box<Details>);

/// What a refusal says.
#[derive(Debug)]
pub(super) struct Details {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: Cow<'static, str>,
    pub(super) field: Option<Cow<'static, str>>,
    pub(super) limit: Option<u64>,
    /// In seconds.
    pub(super) retry_after: Option<u64>,
    /// The methods that the path has.
    pub(super) allow: Option<String>,
    /// The connection ends with the answer: what is left of the request was not read.
    pub(super) close: bool,
    /// Where the registry was, if it was asked.
    pub(super) date: Option<Date>,
}

impl Deref for Problem {
    type Target = Details;
    fn deref(&self) -> &Details {
        &self.0
    }
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Details {
            status,
            code,
            message: message.into(),
            field: None,
            limit: None,
            retry_after: None,
            allow: None,
            close: false,
            date: None,
        }))
    }

    /// A field of the request that is wrong.
    pub(super) fn invalid(
        code: &'static str,
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message).with_field(field)
    }

    pub(super) fn with_field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    pub(super) fn with_limit(mut self, limit: usize) -> Self {
        self.0.limit = Some(limit as u64);
        self
    }

    pub(super) fn with_retry(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// The path has these methods and no others.
    pub(super) fn allowing(mut self, methods: String) -> Self {
        self.0.allow = Some(methods);
        self
    }

    pub(super) fn closing(mut self) -> Self {
        self.0.close = true;
        self
    }

    pub(super) fn dated(mut self, date: Date) -> Self {
        self.0.date = Some(date);
        self
    }

    pub(super) fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn too_large(what: &'static str, limit: usize) -> Self {
        let message = format!("{what} is too large: the limit is {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).with_limit(limit)
    }

    /// Memory runs out, and this is what can be done without.
    pub(super) fn overloaded(what: &'static str) -> Self {
        let message =
            format!("memory is nearly used up, so {what} are refused for now: try again later, or raise limits.memory");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).with_retry(RETRY_LATER)
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        let code = match error.field() {
            "namespace" => "invalid_ns",
            "service" => "invalid_service",
            _ => "invalid_id",
        };
        let field = if error.field() == "namespace" { "ns" } else { error.field() };
        Self::invalid(code, field, error.to_string())
    }
}

impl From<InstanceError> for Problem {
    fn from(error: InstanceError) -> Self {
        let message = error.to_string();
        match error {
            InstanceError::Endpoint { at, .. } => {
                Self::invalid("invalid_endpoints", format!("endpoints[{at}]"), message)
            }
            InstanceError::EmptyKey => Self::invalid("invalid_metadata", "metadata", message),
            InstanceError::Limit { field, limit, .. } if field == "instance" => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).with_field("instance").with_limit(limit)
            }
            InstanceError::Limit { field, limit, .. } => {
                let code = invalid_code(&field);
                Self::invalid(code, field, message).with_limit(limit)
            }
            InstanceError::Name(error) => error.into(),
            InstanceError::Text { field } => Self::invalid(invalid_code(field), field, message),
            _ => Self::new(StatusCode::BAD_REQUEST, "invalid_instance", message),
        }
    }
}

/// The code of a field that is wrong, by the field's first word.
pub(super) fn invalid_code(field: &str) -> &'static str {
    let word = field.split(['.', '[', ' ']).find(|word| !matches!(*word, "key" | "of")).unwrap_or("");
    match word {
        "version" => "invalid_version",
        "metadata" => "invalid_metadata",
        "endpoints" => "invalid_endpoints",
        "ttl" => "invalid_ttl",
        "incarnation" => "invalid_incarnation",
        "sequence" => "invalid_sequence",
        "reclaim" => "invalid_reclaim",
        "since" => "invalid_since",
        "lease" => "invalid_lease",
        "leases" => "invalid_leases",
        "number" => "invalid_number",
        "weight" => "invalid_weight",
        "status" => "invalid_status",
        "reason" => "invalid_reason",
        "block_for" => "invalid_block_for",
        "keys" => "invalid_keys",
        "watch" => "invalid_watch",
        "id" => "invalid_id",
        "name" => "invalid_name",
        _ => "invalid_json",
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let problem = Self::invalid("invalid_filter", "filter", error.to_string());
        match error.problem {
            QueryProblem::Length { .. } => problem.with_limit(LENGTH_LIMIT),
            QueryProblem::Terms => problem.with_limit(TERMS_LIMIT),
            _ => problem,
        }
    }
}

impl From<LimitReached> for Problem {
    fn from(reached: LimitReached) -> Self {
        let LimitReached { limit, value } = reached;
        let code = match limit {
            "instances" => "limit_instances",
            "instances_per_service" => "limit_instances_per_service",
            "services" => "limit_services",
            "namespaces" => "limit_namespaces",
            "overlays" => "limit_overlays",
            "blocks" => "limit_blocks",
            _ => "limit_bytes",
        };
        let message =
            format!("the registry has reached its limit of {value} {limit}: deregister some, or raise the limit");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message).with_limit(value).with_retry(RETRY_LATER)
    }
}

impl From<LeaseError> for Problem {
    fn from(error: LeaseError) -> Self {
        Self::new(StatusCode::GONE, error.code(), error.to_string()).with_field("lease")
    }
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        let message = error.to_string();
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, message.clone());
        match error {
            RegisterError::Blocked { remaining, .. } => {
                Self::new(StatusCode::LOCKED, "blocked", message.clone()).with_retry(seconds(remaining))
            }
            RegisterError::Ended => Self::new(StatusCode::GONE, "ended", message.clone()),
            RegisterError::Generation { limit, .. } => Self::invalid("invalid_reclaim", "reclaim", message.clone())
                .with_limit(usize::try_from(limit).unwrap_or(usize::MAX)),
            RegisterError::Since { limit, .. } => Self::invalid("invalid_since", "since", message.clone())
                .with_limit(usize::try_from(limit).unwrap_or(usize::MAX)),
            RegisterError::Instance(error) => error.into(),
            RegisterError::Limit(reached) => reached.into(),
            RegisterError::OperationReused { .. } => conflict("operation_reused"),
            RegisterError::Outdated { .. } => conflict("outdated"),
            RegisterError::Superseded => conflict("superseded"),
            RegisterError::Taken => conflict("taken"),
            RegisterError::Ttl { .. } => Self::invalid("invalid_ttl", "ttl", message.clone()),
            _ => conflict("refused"),
        }
    }
}

impl From<UpdateError> for Problem {
    fn from(error: UpdateError) -> Self {
        let message = error.to_string();
        match error {
            UpdateError::Lease(error) => error.into(),
            UpdateError::Instance(error) => error.into(),
            UpdateError::Limit(reached) => reached.into(),
            UpdateError::Outdated { .. } => Self::new(StatusCode::CONFLICT, "outdated", message),
            _ => Self::new(StatusCode::CONFLICT, "refused", message),
        }
    }
}

impl From<OperatorError> for Problem {
    fn from(error: OperatorError) -> Self {
        let message = error.to_string();
        match error {
            OperatorError::NotFound => Self::not_found(message),
            OperatorError::Instance(error) => error.into(),
            OperatorError::Limit(reached) => reached.into(),
            OperatorError::MetadataOnly => Self::invalid("invalid_metadata", "metadata", message),
            OperatorError::BlockTooLong { limit, .. } => Self::invalid("invalid_block_for", "block_for", message)
                .with_limit(usize::try_from(limit.as_secs()).unwrap_or(usize::MAX)),
            _ => Self::new(StatusCode::CONFLICT, "refused", message),
        }
    }
}

impl From<WatchError> for Problem {
    fn from(error: WatchError) -> Self {
        let message = error.to_string();
        match error {
            WatchError::Watches { limit } => Self::new(StatusCode::SERVICE_UNAVAILABLE, "limit_watches", message)
                .with_limit(limit)
                .with_retry(RETRY_LATER),
            WatchError::Selectors { limit, .. } => Self::invalid("invalid_watch", "watch", message).with_limit(limit),
            _ => Self::new(StatusCode::CONFLICT, "refused", message),
        }
    }
}

impl From<Compacted> for Problem {
    fn from(error: Compacted) -> Self {
        Self::new(StatusCode::GONE, "compacted", error.to_string())
            .with_limit(usize::try_from(error.first.0).unwrap_or(usize::MAX))
    }
}

/// Whole seconds, rounded up.
fn seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}
