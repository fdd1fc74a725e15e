//! What many readers get is written once: changes by revision, lists and snapshots by the service's last change.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use periplus_core::{Delivered, Epoch, Revision, ServiceKey};
use smol_str::SmolStr;

use super::encode;
use super::metrics::Metrics;

/// The changes that are kept written: more than any watcher that keeps up is behind.
const CHANGES: usize = 4096;
/// The services whose lists or snapshots are kept written.
const SERVICES: usize = 1024;
/// The bytes of lists, and as many of snapshots, that are kept written.
pub(super) const KEPT_BYTES: usize = 16 << 20;

/// Everything that is kept written.
pub(super) struct Shared {
    epoch: Epoch,
    changes: Mutex<Box<[Option<Frame>]>>,
    pub(super) lists: ByService,
    pub(super) snapshots: ByService,
    metrics: Arc<Metrics>,
}

/// A change as a delivery of its own.
#[derive(Clone)]
pub(super) struct Frame {
    revision: Revision,
    /// Which of the changes of that revision: a mirror's transactions have several.
    service: Arc<ServiceKey>,
    id: SmolStr,
    /// The block and its id.
    pub(super) whole: Bytes,
    /// Where the id begins.
    pub(super) block: usize,
}

impl Shared {
    pub(super) fn new(epoch: Epoch, metrics: Arc<Metrics>) -> Self {
        Self {
            epoch,
            changes: Mutex::new(vec![None; CHANGES].into()),
            lists: ByService::new(),
            snapshots: ByService::new(),
            metrics,
        }
    }

    /// A change, written now or before. All watchers are told the same of one revision.
    pub(super) fn change(&self, change: &Delivered) -> Frame {
        let place = change.revision.0 as usize % CHANGES;
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frame) = &changes[place]
            && frame.revision == change.revision
            && Arc::ptr_eq(&frame.service, &change.service)
            && frame.id == *change.instance.id()
        {
            self.metrics.frames_shared.inc();
            return frame.clone();
        }
        let mut out = Vec::with_capacity(encode::size_of(&change.instance) + 96);
        encode::change(&mut out, change);
        let block = out.len();
        encode::id(&mut out, &self.epoch, change.revision);
        let frame = Frame {
            revision: change.revision,
            service: Arc::clone(&change.service),
            id: change.instance.id().into(),
            whole: out.into(),
            block,
        };
        self.metrics.frames_written.inc();
        changes[place] = Some(frame.clone());
        frame
    }
}

/// Bytes of services, each good until the service changes.
pub(super) struct ByService(Mutex<Kept>);

struct Kept {
    slots: Box<[Option<Slot>]>,
    bytes: usize,
}

struct Slot {
    /// The catalog's own key: as long as it is held here, no other service is at its address.
    service: Arc<ServiceKey>,
    revision: Revision,
    bytes: Bytes,
}

impl ByService {
    fn new() -> Self {
        let slots = (0..SERVICES).map(|_| None).collect();
        Self(Mutex::new(Kept { slots, bytes: 0 }))
    }

    /// What was written of the service since it last changed.
    pub(super) fn get(&self, service: &Arc<ServiceKey>, revision: Revision) -> Option<Bytes> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = kept.slots[place(service)].as_ref()?;
        let same = Arc::ptr_eq(&slot.service, service) && slot.revision == revision;
        same.then(|| slot.bytes.clone())
    }

    /// Keeps what was written, in place of whatever was in its way.
    pub(super) fn put(&self, service: Arc<ServiceKey>, revision: Revision, bytes: Bytes) {
        if bytes.len() > KEPT_BYTES / 4 {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + bytes.len() > KEPT_BYTES {
            kept.slots.fill_with(|| None);
            kept.bytes = 0;
        }
        kept.bytes += bytes.len();
        let place = place(&service);
        let slot = Slot { service, revision, bytes };
        if let Some(old) = kept.slots[place].replace(slot) {
            kept.bytes -= old.bytes.len();
        }
    }
}

/// Keys of services are allocated one by one, so that their addresses scatter.
fn place(service: &Arc<ServiceKey>) -> usize {
    let address = Arc::as_ptr(service) as usize as u64;
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize % SERVICES
}

#[cfg(test)]
mod tests {
    use super::*;
    use periplus_core::{Namespace, ServiceName};

    fn service(name: &str) -> Arc<ServiceKey> {
        Arc::new(ServiceKey::new(Namespace::default(), ServiceName::new(name).unwrap()))
    }

    #[test]
    fn what_was_written_is_good_until_the_service_changes() {
        let (kept, web) = (ByService::new(), service("web"));
        kept.put(web.clone(), Revision(1), "one".into());
        assert_eq!(kept.get(&web, Revision(1)), Some("one".into()));
        assert_eq!(kept.get(&web, Revision(2)), None);
        // The same name, but the service was forgotten in between.
        assert_eq!(kept.get(&service("web"), Revision(1)), None);
    }

    #[test]
    fn no_more_is_kept_than_allowed() {
        let kept = ByService::new();
        let big = Bytes::from(vec![0; KEPT_BYTES / 4]);
        let services: Vec<_> = (0..100).map(|n| service(&n.to_string())).collect();
        for web in &services {
            kept.put(web.clone(), Revision(1), big.clone());
            let sum: usize = {
                let kept = kept.0.lock().unwrap();
                let sum = kept.slots.iter().flatten().map(|slot| slot.bytes.len()).sum();
                assert_eq!(sum, kept.bytes);
                sum
            };
            assert!(sum <= KEPT_BYTES);
        }
    }
}
