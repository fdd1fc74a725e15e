//! What goes wrong where there is more than one agent, datacenter and token.
//!
//! What real ones do: a dead agent's services are not healthy, and it has them still when it is back; a datacenter that is
//! down is an error at once, also for those who wait; who may not read is given less, and a header that says so; a
//! catalog that is restored wakes everybody who waits, with a lower index, and agents put there what it lacks.

use std::time::Duration;

use periplus_core::Instant;
use periplus_core::http::Head;

use super::super::kind::service;
use super::super::plan::Rights;
use super::{Act, ConsulStore, ExchangeId, FOREIGN};

/// How long agents take to put what the catalog lacks.
const SYNC: Duration = Duration::from_secs(15);

impl ConsulStore {
    /// The answer to everything, if there is one: nobody knows the token, or the datacenter that is asked for is down.
    pub fn denied(&mut self, center: Option<usize>, now: Instant) -> Option<(Head, Vec<u8>)> {
        if self.rights.is_some_and(|(rights, until)| rights == Rights::Unknown && until > now) {
            self.marks.push("a token was not known");
            return Some((Head::new(403), b"ACL not found".to_vec()));
        }
        let at = center.filter(|at| self.centers[*at].down.is_some_and(|until| until > now))?;
        self.marks.push("a datacenter did not answer");
        let text = ["No cluster leader", "No path to datacenter"][at];
        Some((Head::new(500), text.into()))
    }

    /// Whether a service may be read; `None`: that of Consul itself.
    pub fn may_read(&self, name: Option<&str>, now: Instant) -> bool {
        match self.rights.filter(|(_, until)| *until > now) {
            Some((Rights::HideAll | Rights::Unknown, _)) => false,
            Some((Rights::Hide(hidden), _)) => name != Some(service(hidden).as_str()),
            None => true,
        }
    }

    pub fn ail(&mut self, act: &Act, now: Instant) {
        match act {
            Act::Agent { endpoint, until, empty } => {
                let host = format!("s{endpoint}:2379");
                let agent = self.agent(&host);
                agent.dead = Some(agent.dead.map_or(*until, |dead| dead.max(*until)));
                self.touch_all(&host);
                if *empty {
                    self.agent(&host).services.clear();
                }
            }
            Act::Datacenter { west, until } => self.centers[usize::from(*west)].down = Some(*until),
            Act::Rights(rights, until) => self.rights = Some((*rights, *until)),
            Act::Rewind { west, by } => self.rewind(usize::from(*west), *by, now),
            _ => {
                self.rights = None;
                for center in &mut self.centers {
                    center.down = None;
                }
                for host in self.agents.keys().cloned().collect::<Vec<_>>() {
                    if self.agent(&host).dead.take().is_some() {
                        self.touch_all(&host);
                    }
                }
            }
        }
    }

    /// All that an agent has is seen, or not seen any more.
    fn touch_all(&mut self, host: &str) {
        let names = self.agent(host).services.iter().map(|((ns, _), it)| (ns.clone(), it.name.clone()));
        for (namespace, name) in names.collect::<Vec<_>>() {
            self.touch(host, &namespace, &name);
        }
    }

    fn rewind(&mut self, at: usize, by: u64, now: Instant) {
        let center = &mut self.centers[at];
        center.index = center.index.saturating_sub(by).max(12);
        let index = center.index;
        for changed in center.changed.values_mut().chain(center.names_changed.values_mut()) {
            *changed = index.min(*changed);
        }
        for (_, agent) in self.agents.iter_mut().filter(|(host, _)| usize::from(*host == FOREIGN) == at) {
            for service in agent.services.values_mut() {
                if service.created > index {
                    service.unsynced = Some(now.saturating_add(SYNC));
                }
                service.created = index.min(service.created);
                service.modified = index.min(service.modified);
            }
        }
        let of_it = self.waiting.iter().filter(|(_, it)| it.query.center() == at);
        let fell = of_it.clone().any(|(_, it)| self.index_of(&it.query) < it.index);
        let ready: Vec<ExchangeId> = of_it.map(|(exchange, _)| *exchange).collect();
        if fell {
            self.marks.push("an index that was waited from fell");
        }
        self.answer_all(ready, now);
    }
}
