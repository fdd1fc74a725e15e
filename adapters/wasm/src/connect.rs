//! From the address of a registry to a client of it in this page.

use periplus::core::client::BoxedBackend;
use periplus::{Client, ConnectError, ConnectOptions};

use crate::browser::Browser;
use crate::page::Page;

/// Opens a client of the registry at an address; see [`connect_with`](periplus::connect_with) for what addresses there
/// are. It does not wait for the registry.
///
/// The client is told when the page was woken or its network is back, and closes when the page goes away for good: what
/// is registered is then deregistered, as far as the browser lets the page say so.
///
/// # Errors
/// If the address makes no sense.
pub fn connect(url: &str) -> Result<Client, ConnectError> {
    connect_with(url, ConnectOptions::default())
}

/// Opens a client with options.
///
/// # Errors
/// If the address or the options make no sense.
pub fn connect_with(url: &str, options: ConnectOptions) -> Result<Client, ConnectError> {
    let client = periplus::connect_with(Browser::new(), url, options)?;
    follow_page(&client);
    Ok(client)
}

/// Runs a machine of one's own in this page, such as that of a registry whose address needs no reading because the browser
/// says it. What reads addresses is then no part of the page.
pub fn drive(machine: BoxedBackend, options: &ConnectOptions) -> Client {
    let client = periplus::drive(Browser::new(), machine, options);
    follow_page(&client);
    client
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
