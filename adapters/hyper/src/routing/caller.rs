//! One call's search for whom it goes to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use periplus_core::balance::{Filter, Pick, PickError, PickRequest};
use periplus_core::dial::Readiness;
use periplus_core::{InstanceId, Instant};
use tokio::sync::{Notify, mpsc, watch};

use super::{Account, HashKey, Link, Picked, Table, both};
use crate::dial::within;
use crate::host;
use crate::net::Net;

/// How often a call is sent at most that nobody has begun to process.
pub const ATTEMPTS: usize = 5;

/// What the calls of a channel share.
pub(super) struct Shared {
    target: String,
    wait: Duration,
    net: Arc<dyn Net>,
    attention: Arc<Notify>,
    views: mpsc::Sender<Filter>,
    random: AtomicU64,
}

/// Who calls. Clones are cheap, and what they follow ends with the last of them.
pub struct Caller<L> {
    shared: Arc<Shared>,
    tables: watch::Receiver<Arc<Table<L>>>,
    filter: Option<Filter>,
}

/// One call's search for whom it goes to: it remembers whom it has tried.
pub struct Search<L> {
    caller: Caller<L>,
    key: Option<u64>,
    tried: Vec<InstanceId>,
    deadline: Instant,
}

/// Whom a call goes to.
#[derive(Debug)]
pub struct Found<L> {
    /// What is to be told how the call ends.
    pub account: Account,
    /// Who it is.
    pub picked: Picked,
    /// What the call goes over.
    pub link: Arc<L>,
}

/// Why there is nobody to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// Everybody was tried, and is still there: what the last one said is the reason.
    Tried,
    /// Nobody can be called; why, for people.
    Nobody(String),
}

impl Shared {
    pub(super) fn new(
        target: String,
        wait: Duration,
        net: Arc<dyn Net>,
        attention: Arc<Notify>,
        views: mpsc::Sender<Filter>,
    ) -> Self {
        let mut seed = [0; 8];
        host::entropy(&mut seed);
        Self { target, wait, net, attention, views, random: AtomicU64::new(u64::from_le_bytes(seed)) }
    }

    /// Sixty-four bits to balance by (SplitMix64).
    fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let z = self.random.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

impl<L> Caller<L> {
    pub(super) fn new(shared: Shared, tables: watch::Receiver<Arc<Table<L>>>, filter: Option<Filter>) -> Self {
        Self { shared: Arc::new(shared), tables, filter }
    }

    /// What is called.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.shared.target
    }

    /// The network that it is on.
    pub(crate) fn net(&self) -> &dyn Net {
        &*self.shared.net
    }

    /// The same caller, whose calls go only to instances that pass a filter.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }
}

impl<L: Link> Caller<L> {
    /// Begins a call. What its extensions say of whom it may go to ([`Filter`], [`HashKey`]) is followed.
    #[must_use]
    pub fn search(&self, extensions: &mut http::Extensions) -> Search<L> {
        let mut caller = self.clone();
        caller.filter = both(caller.filter, extensions.remove::<Filter>());
        let key = extensions.get::<HashKey>().map(|HashKey(key)| *key);
        let deadline = host::now().saturating_add(self.shared.wait);
        Search { caller, key, tried: Vec::new(), deadline }
    }
}

impl<L: Link> Search<L> {
    /// Waits for somebody to call who was not tried yet, and picks. With `again`, the call has been tried, and nobody has
    /// begun to process it.
    ///
    /// # Errors
    /// If there is nobody, or nobody in time.
    pub async fn next(&mut self, again: bool) -> Result<Found<L>, NotFound> {
        let (pick, link) = self.pick(again).await?;
        let picked = Picked(Arc::clone(pick.node()));
        self.tried.push(picked.instance().id.clone());
        Ok(Found { account: Account::new(pick, Arc::clone(&self.caller.shared.attention)), picked, link })
    }

    async fn pick(&mut self, again: bool) -> Result<(Pick, Arc<L>), NotFound> {
        let Self { caller: Caller { shared, tables, filter }, key, tried, deadline } = self;
        let nobody = |reason: String| NotFound::Nobody(format!("{}: {reason}", shared.target));
        loop {
            let table = Arc::clone(&tables.borrow_and_update());
            let routes = &table.routes;
            let reason = match &routes.readiness {
                Readiness::Failing(reason) => return Err(nobody(reason.to_string())),
                Readiness::Waiting(reason) => reason.to_string(),
                Readiness::Ready => {
                    let picker = match filter {
                        None => Some(&routes.picker),
                        Some(filter) => routes.picker.view(filter),
                    };
                    let request = PickRequest { random: shared.random(), key: *key, exclude: tried.as_slice() };
                    match picker.map(|picker| picker.pick(&request, host::now())) {
                        Some(Ok(pick)) => {
                            let link = routes.connections.get(pick.node().id()).and_then(|id| table.links.get(id));
                            match link {
                                Some(link) => return Ok((pick, Arc::clone(link))),
                                None => "its connection has just gone".to_owned(),
                            }
                        }
                        Some(Err(PickError::Excluded)) => {
                            let lost = lost(&table, tried);
                            if again && !lost && tried.iter().all(|id| routes.connections.contains_key(id)) {
                                return Err(NotFound::Tried);
                            }
                            tried.clear();
                            if !lost {
                                continue;
                            }
                            "every connection has just gone".to_owned()
                        }
                        Some(Err(PickError::Filtered))
                            if filter.as_ref().is_some_and(|filter| routes.may_come(filter)) =>
                        {
                            "no connection to any instance that passes the filter is made yet".to_owned()
                        }
                        Some(Err(error)) => return Err(nobody(error.to_string())),
                        None => {
                            // There is no view for it yet.
                            if let Some(filter) = filter {
                                let _ = shared.views.send(filter.clone()).await;
                            }
                            "the filter is being applied".to_owned()
                        }
                    }
                }
            };
            let left = deadline.saturating_since(host::now());
            match within(&*shared.net, left, tables.changed()).await {
                Some(Ok(())) => {}
                Some(Err(_)) => return Err(nobody("the channel's driver has ended with its runtime".to_owned())),
                None => return Err(nobody(format!("{reason}, after {:?}", shared.wait))),
            }
        }
    }
}

/// Whether one of these has lost its connection, which the table does not say yet.
fn lost<L: Link>(table: &Table<L>, tried: &[InstanceId]) -> bool {
    let link = |id| table.routes.connections.get(id).and_then(|id| table.links.get(id));
    tried.iter().filter_map(link).any(|link| link.is_lost())
}

impl<L> Clone for Caller<L> {
    fn clone(&self) -> Self {
        let Self { shared, tables, filter } = self;
        Self { shared: Arc::clone(shared), tables: tables.clone(), filter: filter.clone() }
    }
}

impl<L> fmt::Debug for Caller<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("target", &self.shared.target).finish_non_exhaustive()
    }
}

impl<L> fmt::Debug for Search<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search").field("tried", &self.tried).finish_non_exhaustive()
    }
}
