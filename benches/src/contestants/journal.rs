//! Numbered changes, and watchers that read them: what every hand-written contestant has.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;

/// How many changes are kept.
pub(super) const KEPT: usize = 65_536;

/// A change of an instance: its new content, or nothing if it went.
#[derive(Debug)]
struct Change {
    service: Arc<str>,
    id: Arc<str>,
    content: Option<Arc<[u8]>>,
}

#[derive(Debug)]
struct Watcher {
    service: Arc<str>,
    /// The first change it has not seen, while it is ready.
    from: u64,
    ready: bool,
}

/// The latest changes, and how far each watcher has read.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// The number of the latest change.
    revision: u64,
    changes: VecDeque<Change>,
    watchers: Vec<Watcher>,
    ready: Vec<usize>,
}

impl Journal {
    /// Numbers a change and wakes those who watch its service.
    pub(super) fn record(
        &mut self,
        watchers: &[usize],
        service: &Arc<str>,
        id: &Arc<str>,
        content: Option<&Arc<[u8]>>,
    ) {
        self.revision += 1;
        if self.changes.len() == KEPT {
            self.changes.pop_front();
        }
        let (service, id, content) = (Arc::clone(service), Arc::clone(id), content.cloned());
        self.changes.push_back(Change { service, id, content });
        for &number in watchers {
            let watcher = &mut self.watchers[number];
            if !watcher.ready {
                (watcher.ready, watcher.from) = (true, self.revision);
                self.ready.push(number);
            }
        }
    }

    /// Adds a watcher, which has seen nothing yet, and gives its number.
    pub(super) fn watch(&mut self, service: Arc<str>) -> usize {
        let number = self.watchers.len();
        self.watchers.push(Watcher { service, from: 0, ready: true });
        self.ready.push(number);
        number
    }

    /// Hands every ready watcher what it has not seen. One that has fallen too far behind gets its service as it is:
    /// `snapshot` hands that over and says how many instances it was.
    pub(super) fn deliver(&mut self, snapshot: impl Fn(&str) -> usize) -> usize {
        let oldest = self.revision + 1 - self.changes.len() as u64;
        let mut delivered = 0;
        for number in self.ready.drain(..) {
            let watcher = &mut self.watchers[number];
            watcher.ready = false;
            if watcher.from < oldest {
                delivered += snapshot(&watcher.service);
                continue;
            }
            let from = usize::try_from(watcher.from - oldest).expect("no more than are kept");
            for change in self.changes.range(from..) {
                if Arc::ptr_eq(&change.service, &watcher.service) {
                    black_box((&change.id, &change.content));
                    delivered += 1;
                }
            }
        }
        delivered
    }
}
