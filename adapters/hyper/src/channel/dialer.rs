//! Requests by URL, `discovery:///name/path`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::Empty;
use periplus::Discovery;

use super::{BoxError, HttpBody, HttpChannel, HttpChannelBuilder, HttpError};
use crate::net::Net;
use crate::routing::ConnectError;

/// Sends requests to URLs such as `discovery:///name/path?query` and `direct:///a:1,b:2/path`, over one [`HttpChannel`] for
/// each service, which it keeps until it is dropped. Cheap to clone; clones share the channels.
///
/// The name is the first segment of the URL's path, percent-encoded: a slash in a name is `%2F`.
#[derive(Clone)]
pub struct HttpDialer(Arc<Inner>);

struct Inner {
    open: Box<Open>,
    channels: Mutex<HashMap<String, HttpChannel>>,
}

type Open = dyn Fn(&str) -> Result<HttpChannel, ConnectError> + Send + Sync;

/// Why a request to a URL got no response.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// What is before the path is nothing to dial.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The call went wrong.
    #[error(transparent)]
    Call(#[from] HttpError),
}

impl HttpDialer {
    /// A dialer on a runtime's network. How its channels behave is chosen once, for all of them.
    pub fn new<N: Net + Clone>(
        net: N,
        registry: impl Discovery + 'static,
        choose: impl Fn(HttpChannelBuilder) -> HttpChannelBuilder + Send + Sync + 'static,
    ) -> Self {
        let open = move |target: &str| choose(HttpChannel::builder(net.clone(), target)).connect(&registry);
        Self(Arc::new(Inner { open: Box::new(open), channels: Mutex::default() }))
    }

    /// The channel for a URL, and the path to ask it for. Opens it if there is none yet. O(1).
    ///
    /// # Errors
    /// If the URL names nothing to dial, its path is none, or the registry's client is closed.
    pub fn channel(&self, url: &str) -> Result<(HttpChannel, PathAndQuery), UrlError> {
        let (target, path) = split(url);
        let path: PathAndQuery = path.as_ref().parse().map_err(|error| HttpError::invalid(url, &error))?;
        let mut channels = self.0.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(target) {
            return Ok((channel.clone(), path));
        }
        let channel = (self.0.open)(target)?;
        channels.insert(target.to_owned(), channel.clone());
        Ok((channel, path))
    }

    /// Sends a request to a URL; what its own URI says does not count. Everything else is as
    /// [`HttpChannel::send`] promises.
    ///
    /// # Errors
    /// As [`channel`](Self::channel) and [`HttpChannel::send`].
    pub async fn send<B>(&self, url: &str, mut request: Request<B>) -> Result<Response<HttpBody>, UrlError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (channel, path) = self.channel(url)?;
        *request.uri_mut() = Uri::from(path);
        Ok(channel.send(request).await?)
    }

    /// Gets a URL.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn get(&self, url: &str) -> Result<Response<HttpBody>, UrlError> {
        self.send(url, Request::new(Empty::<Bytes>::new())).await
    }
}

/// Takes a URL apart: what is dialled, and the path from its slash on.
fn split(url: &str) -> (&str, Cow<'_, str>) {
    let slash = Cow::Borrowed("/");
    let Some(authority) = url.find("://").map(|at| at + 3) else { return (url, slash) };
    let Some(name) = url[authority..].find('/').map(|at| authority + at + 1) else { return (url, slash) };
    let Some(at) = url[name..].find(['/', '?']) else { return (url, slash) };
    let (target, path) = url.split_at(name + at);
    // A query without a path is asked of the root.
    (target, if path.starts_with('?') { format!("/{path}").into() } else { path.into() })
}

impl fmt::Debug for HttpDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpDialer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_target_and_a_path() {
        for (url, target, path) in [
            ("discovery:///web", "discovery:///web", "/"),
            ("discovery:///web/", "discovery:///web", "/"),
            ("discovery:///web/a/b?c=d/e", "discovery:///web", "/a/b?c=d/e"),
            ("discovery:///web?c=/d", "discovery:///web", "/?c=/d"),
            ("discovery://default/a%2Fb/c", "discovery://default/a%2Fb", "/c"),
            ("direct:///a:1,[::1]:2/x", "direct:///a:1,[::1]:2", "/x"),
            ("discovery:", "discovery:", "/"),
        ] {
            assert_eq!(split(url), (target, path.into()), "{url}");
        }
    }
}
