//! What a user says of an etcd beside where it is.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use smol_str::SmolStr;

use crate::client::url::{RegistryUrl, UrlError};
use crate::protocol::Span;

/// The ttl of Kratos's providers.
const TTL: Duration = Duration::from_secs(15);
/// The longest ttl that a client asks for.
const LONGEST_TTL: u64 = 24 * 3600;

/// How a client uses an etcd.
///
/// ```
/// use core::time::Duration;
/// use periplus_core::backend::etcd::EtcdOptions;
/// use periplus_core::client::url::RegistryUrl;
///
/// let url: RegistryUrl = "etcd://a,b?namespace=/shop&ttl=30s&user=web".parse().unwrap();
/// let options = EtcdOptions::from_url(&url).unwrap().with_password("secret");
/// assert_eq!((options.prefix.as_str(), options.ttl), ("/shop", Duration::from_secs(30)));
/// assert!(!format!("{options:?}").contains("secret"));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EtcdOptions {
    /// What all keys of the namespace `default` begin with, before a slash and the service's name: Kratos's option
    /// `Namespace`, taken as it is. Another namespace `b` has `/b`.
    pub prefix: SmolStr,
    /// How long an instance lives without a renewal, if its registration does not say. etcd counts whole seconds: a
    /// part of one counts as a whole one.
    pub ttl: Duration,
    /// Who the client is, for an etcd with authentication.
    pub user: Option<SmolStr>,
    /// The user's password.
    password: Option<String>,
    /// After etcd has lost its history, for so long what it does not list proves nothing.
    pub warm_up: Duration,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self {
            prefix: SmolStr::new_static("/microservices"),
            ttl: TTL,
            user: None,
            password: None,
            warm_up: Duration::from_secs(90),
        }
    }
}

impl EtcdOptions {
    /// The keys of a registry's address that say something here.
    pub const KEYS: &[&str] = &["namespace", "ttl", "user", "warm_up"];

    /// What an address says. Secrets are not among it.
    ///
    /// # Errors
    /// If a value makes no sense.
    pub fn from_url(url: &RegistryUrl) -> Result<Self, UrlError> {
        let mut options = Self::default();
        if let Some(prefix) = url.value("namespace") {
            options.prefix = prefix.into();
        }
        if let Some(Span(ttl)) = url.parsed::<Span>("ttl", "a duration such as 15s")? {
            options.ttl = ttl;
        }
        if let Some(Span(warm_up)) = url.parsed::<Span>("warm_up", "a duration such as 90s")? {
            options.warm_up = warm_up;
        }
        options.user = url.value("user").map(SmolStr::new);
        Ok(options)
    }

    /// Sets what keys begin with.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<SmolStr>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the ttl.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the user and the password.
    #[must_use]
    pub fn with_user(self, user: impl Into<SmolStr>, password: impl Into<String>) -> Self {
        Self { user: Some(user.into()), ..self }.with_password(password)
    }

    /// Sets the password of the user that the address names.
    #[must_use]
    pub fn with_password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Sets for how long an etcd that has lost its history is not believed about what it does not list.
    #[must_use]
    pub const fn with_warm_up(mut self, warm_up: Duration) -> Self {
        self.warm_up = warm_up;
        self
    }

    pub(super) fn credentials(&self) -> Option<(&str, &str)> {
        Some((self.user.as_deref()?, self.password.as_deref().unwrap_or_default()))
    }

    /// A ttl as etcd counts it: in whole seconds.
    pub(super) fn seconds(&self, ttl: Option<Duration>) -> u64 {
        let ttl = ttl.unwrap_or(self.ttl);
        (ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).clamp(1, LONGEST_TTL)
    }
}

impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, ttl, user, warm_up, .. } = self;
        let mut shown = f.debug_struct("EtcdOptions");
        let shown = shown.field("prefix", prefix).field("ttl", ttl).field("user", user).field("warm_up", warm_up);
        shown.finish_non_exhaustive()
    }
}
