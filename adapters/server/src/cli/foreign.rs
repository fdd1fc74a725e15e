//! What is to be read from registries of others: by the client that keeps up what it follows, asked once.

use std::time::Duration;

use periplus_core::client::{ClientEvent, Provenance};
use periplus_tokio::{Client, Listing, Watcher};

use super::exit::Refused;
use super::output;
use super::place::Place;
use crate::client::CALL_TIMEOUT;
use crate::client::error::CallError;

/// The first list that the registry says, within the time that any call may take.
///
/// # Errors
/// If it cannot be reached, refuses, or says nothing.
pub(super) async fn first(place: &Place, client: &Client, mut watcher: Watcher) -> anyhow::Result<Listing> {
    let mut events = client.events();
    let listing = async {
        loop {
            tokio::select! {
                biased;
                Some(listing) = watcher.next() => match listing.provenance {
                    Provenance::Live | Provenance::Unconfirmed => return Ok(listing),
                    Provenance::Unknown | Provenance::Stale { .. } => {}
                },
                event = events.next() => match event {
                    Some(ClientEvent::Disconnected { origin, reason, retry_in, .. }) => {
                        // The last host has failed too if the next attempt is not at once.
                        if retry_in > Duration::ZERO {
                            return Err(unreachable(&origin, &reason).into());
                        }
                    }
                    Some(ClientEvent::WatchRefused(problem)) => return Err(Refused(problem).into()),
                    Some(ClientEvent::Skipped { problem }) => {
                        output::note(format_args!("skipped an entry that is no instance: {problem}"));
                    }
                    Some(_) => {}
                    None => return Err(unreachable(&place.to_string(), "the client is closed").into()),
                },
            }
        }
    };
    let listing = tokio::time::timeout(CALL_TIMEOUT, listing).await;
    let listing: anyhow::Result<Listing> =
        listing.unwrap_or_else(|_| Err(unreachable(&place.to_string(), "no answer in time").into()));
    client.clone().close().await;
    let listing = listing?;
    output::note_warming(listing.provenance == Provenance::Unconfirmed);
    Ok(listing)
}

fn unreachable(address: &str, reason: &str) -> CallError {
    CallError::Unreachable { address: address.to_owned(), reason: reason.to_owned(), not_sent: false }
}
