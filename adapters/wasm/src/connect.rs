//! From the address of a registry to a client of it in this page.

use periplus::core::backend::native::Native;
use periplus::core::client::ClientConfig;
use periplus::core::client::url::{PERIPLUS, RegistryUrl, UrlError};
use periplus::core::http::origin::Scheme;
use periplus::core::{NameError, Seed};
use periplus::{Client, Runtime as _, drive};

use crate::browser::Browser;
use crate::page::Page;

/// The port of a registry whose address names none.
const PORT: u16 = 7171;

/// Why there is no client. Nothing is left behind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// It is no address of a registry.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The namespace in the address is none.
    #[error("ns: {0}")]
    Namespace(#[from] NameError),
    /// A browser cannot speak to such a registry.
    #[error("no browser speaks to a registry of the scheme `{0}`: use periplus, http or https")]
    Scheme(String),
}

/// Opens a client of a registry: `periplus://HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`, with `?ns=` and
/// `?tls=true` where they are wanted. It does not wait for the registry.
///
/// The client is told when the page was woken or its network is back, and closes when the page goes away for good: what
/// is registered is then deregistered, as far as the browser lets the page say so.
///
/// # Errors
/// If it is no such address.
pub fn connect(address: &str) -> Result<Client, ConnectError> {
    let url: RegistryUrl = address.parse()?;
    url.check_keys(&["ns", "tls"])?;
    let scheme = match &*url.scheme {
        PERIPLUS if url.flag("tls")? => Scheme::Https,
        PERIPLUS | "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => return Err(ConnectError::Scheme(other.to_owned())),
    };
    let origins = url.origins(scheme, PORT).map(|origin| origin.to_string()).collect();
    let config = ClientConfig { origins, ..ClientConfig::default() };
    let browser = Browser::new();
    let mut seed: Seed = [0; 32];
    browser.entropy(&mut seed);
    let mut client = drive(browser, Box::new(Native::new(config, seed, browser.now())));
    if let Some(namespace) = url.value("ns") {
        client = client.namespace(namespace)?;
    }
    follow_page(&client);
    Ok(client)
}

/// Lets a client hear of what happens to the page, and does not keep it open.
fn follow_page(client: &Client) {
    let page = Page::this();
    let signal = client.online_signal();
    page.on_wake(move || {
        signal.notify();
        !signal.is_gone()
    });
    let signal = client.online_signal();
    page.on_leave(move || signal.leave());
}
