//! Who calls whom in the demo: clients that follow the services they need, and say how far they are.

use std::time::Duration;

use periplus_core::Namespace;
use periplus_tokio::{Client, ConnectOptions, Tokio, Watcher};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::cast;

/// Who needs whom. Nobody needs the gateway: calls come in there.
const NEEDS: [(&str, &[&str]); 7] = [
    ("gateway", &["users", "sessions", "catalog", "cart", "orders", "search"]),
    ("cart", &["catalog", "inventory"]),
    ("orders", &["cart", "payments", "inventory", "notifications"]),
    ("payments", &["fraud", "users"]),
    ("search", &["catalog", "recommendations"]),
    ("recommendations", &["users", "catalog"]),
    ("notifications", &["users"]),
];

/// So many instances of each follow what they need.
const EACH: usize = 2;

/// One that is busy with other things looks so seldom.
const SELDOM: Duration = Duration::from_secs(12);

/// Those who follow services, until this is dropped.
pub(super) struct Readers(Vec<JoinHandle<()>>);

impl Readers {
    /// Starts all of them, at the registry of this address.
    pub(super) fn start(address: &str, namespace: &Namespace) -> Self {
        let mut running = Vec::new();
        for (at, (reader, needs)) in NEEDS.into_iter().enumerate() {
            for n in 0..EACH {
                let host = cast::host_name((at * 5 + n) % cast::HOSTS);
                let options = ConnectOptions {
                    namespace: namespace.clone(),
                    caller: Some(format!("{reader} on {host}")),
                    ..ConnectOptions::default()
                };
                // The address is good: the fleet has been let in at it.
                let Ok(client) = periplus_tokio::connect_with(Tokio::new(), address, options) else { continue };
                // One of all is slow, so that there is somebody to wait for.
                let pause = if (reader, n) == ("orders", 1) { SELDOM } else { Duration::ZERO };
                let watchers = needs.iter().filter_map(|service| client.watch(service).ok());
                running.extend(watchers.map(|watcher| tokio::spawn(read(client.clone(), watcher, pause))));
            }
        }
        Self(running)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Takes what changes, and pauses in between. The client lives as long as somebody reads with it.
async fn read(_client: Client, mut watcher: Watcher, pause: Duration) {
    while watcher.next_changes().await.is_some() {
        sleep(pause).await;
    }
}
