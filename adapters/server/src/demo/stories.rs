//! What can happen to the fleet. A story picks its instances when it begins, and plans all that becomes of them.

use std::time::Duration;

use super::cast::{self, CAST, HOSTS};
use super::script::{Act, Member, Script, version_text};

/// Begins a story, or says that there is nobody it could be about.
type Story = fn(&mut Script) -> Option<()>;

/// All stories, with how often they come.
const STORIES: &[(usize, Story)] = &[
    (10, deploy),
    (6, scale_up),
    (6, scale_down),
    (7, crash),
    (6, flap),
    (8, come_late),
    (5, drain),
    (4, evict),
    (4, canary),
    (3, zone_down),
    (2, power_loss),
];

/// Begins one of the stories.
pub(super) fn begin_one(script: &mut Script) {
    let all: usize = STORIES.iter().map(|(weight, _)| weight).sum();
    // Some stories need a service that is not deploying, or an idle instance: another is tried then.
    for _ in 0..10 {
        let mut n = script.random.below(all);
        for (weight, story) in STORIES {
            if n < *weight {
                if story(script).is_some() {
                    return;
                }
                break;
            }
            n -= weight;
        }
    }
}

fn one_of<'a>(script: &mut Script, texts: &[&'a str]) -> &'a str {
    script.random.pick(texts).copied().unwrap_or_default()
}

fn host_of(script: &Script, id: &str) -> usize {
    script.members[id].host
}

fn name_of(script: &Script, id: &str) -> &'static str {
    CAST[script.members[id].role].name
}

/// A service that is not being deployed.
fn quiet_service(script: &mut Script) -> Option<usize> {
    let quiet: Vec<usize> = (0..CAST.len()).filter(|role| !script.deploying[*role]).collect();
    script.random.pick(&quiet).copied()
}

/// A new version comes in waves: new instances start, old ones drain and leave.
fn deploy(script: &mut Script) -> Option<()> {
    let role = quiet_service(script)?;
    let old = script.idle(|member| member.role == role);
    if old.is_empty() || script.deploying.iter().filter(|deploying| **deploying).count() > 2 {
        return None;
    }
    let [major, minor, patch] = script.versions[role];
    script.versions[role] = match script.random.below(10) {
        0 => [major + 1, 0, 0],
        1..=5 => [major, minor + 1, 0],
        _ => [major, minor, patch + 1],
    };
    script.deploying[role] = true;
    let (name, version) = (CAST[role].name, version_text(script.versions[role]));
    let wave = old.len().div_ceil(4).max(1);
    script.tell(0.0, name, format!("deploys {version}, {wave} of {} at a time", old.len()));
    let mut at = 0.5;
    for wave in old.chunks(wave) {
        for id in wave {
            let host = host_of(script, id);
            script.leave(id);
            let new = script.join(role, true);
            let start = script.register_with(&new, "status", "starting");
            let ready = script.change(&new, "status", None);
            let wobble = script.random.unit();
            script.act(at, start);
            script.act(at + 2.0 + wobble, ready);
            script.free(at + 4.0, &new);
            let drain =
                Act::Change { host, id: id.clone(), metadata: [("status".into(), Some("draining".into()))].into() };
            script.act(at + 3.5, drain);
            script.act(at + 5.5 + wobble, Act::Deregister { host, id: id.clone() });
        }
        at += 6.0;
    }
    script.tell(at + 1.0, name, format!("runs {version} everywhere"));
    script.free(at + 1.0, name);
    Some(())
}

fn scale_up(script: &mut Script) -> Option<()> {
    let role = quiet_service(script)?;
    let size = script.members.values().filter(|member| member.role == role).count();
    if size > script.sizes[role] + script.sizes[role] / 4 {
        return None;
    }
    let more = 1 + script.random.below(script.sizes[role] / 3 + 1);
    let why = one_of(
        script,
        &["a newsletter went out", "queues are growing", "the evening rush begins", "a crawler has found it"],
    );
    script.tell(0.0, CAST[role].name, format!("scales up by {more}: {why}"));
    for n in 0..more {
        let id = script.join(role, true);
        let (start, ready) = (script.register_with(&id, "status", "starting"), script.change(&id, "status", None));
        let at = 0.3 * n as f64;
        script.act(at, start);
        script.act(at + 1.5, ready);
        script.free(at + 1.5, &id);
    }
    Some(())
}

fn scale_down(script: &mut Script) -> Option<()> {
    let role = quiet_service(script)?;
    let idle = script.idle(|member| member.role == role);
    let size = script.members.values().filter(|member| member.role == role).count();
    let spare = size.saturating_sub(script.sizes[role]).min(idle.len());
    if spare == 0 {
        return None;
    }
    let fewer = 1 + script.random.below(spare);
    let why = one_of(script, &["it is quiet", "costs are looked at", "the rush is over"]);
    script.tell(0.0, CAST[role].name, format!("scales down by {fewer}: {why}"));
    for id in &idle[..fewer] {
        let (host, drain) = (host_of(script, id), script.change(id, "status", Some("draining")));
        script.act(0.2, drain);
        script.act(3.0, Act::Deregister { host, id: id.clone() });
        script.leave(id);
    }
    Some(())
}

/// An instance stops without a word; its lease ends, and another one takes its place.
fn crash(script: &mut Script) -> Option<()> {
    let id = script.take_one()?;
    let Member { role, host, .. } = script.members[&id];
    let why = one_of(
        script,
        &["out of memory", "segmentation fault", "the kernel killed it", "panicked at 'index out of bounds'"],
    );
    script.tell(0.0, CAST[role].name, format!("{id} on {} crashes: {why}", cast::host_name(host)));
    script.act(0.0, Act::Crash { host, id: id.clone() });
    script.leave(&id);
    let new = script.join(role, true);
    let back = super::TTL.as_secs_f64() + 4.0;
    let start = script.register(&new);
    script.tell(back, CAST[role].name, format!("{new} takes the place of {id}"));
    script.act(back, start);
    script.free(back, &new);
    Some(())
}

fn flap(script: &mut Script) -> Option<()> {
    let id = script.take_one()?;
    let (host, start) = (host_of(script, &id), script.register(&id));
    let times = 3 + script.random.below(3);
    script.tell(0.0, name_of(script, &id), format!("{id} flaps: its health check fails {times} times"));
    for n in 0..times {
        let at = 3.0 * n as f64;
        script.act(at, Act::Deregister { host, id: id.clone() });
        script.act(at + 1.2, start.clone());
    }
    script.free(3.0 * times as f64, &id);
    Some(())
}

fn come_late(script: &mut Script) -> Option<()> {
    let first = script.take_one()?;
    let role = script.members[&first].role;
    let mut ids = vec![first];
    let others = script.idle(|member| member.role == role);
    let more = script.random.below(4).min(others.len());
    ids.extend_from_slice(&others[..more]);
    let why = one_of(script, &["a long garbage collection", "the disk is full", "a noisy neighbour", "it swaps"]);
    let what = match &*ids {
        [id] => format!("{id} slows down and renews late: {why}"),
        _ => format!("{} instances slow down and renew late: {why}", ids.len()),
    };
    script.tell(0.0, CAST[role].name, what);
    for id in ids {
        script.take(&id);
        let host = host_of(script, &id);
        script.act(0.0, Act::Pause { host, id: id.clone() });
        script.act(10.0, Act::Pause { host, id: id.clone() });
        script.free(20.0, &id);
    }
    Some(())
}

/// The operator takes an instance out of the traffic and gives it back.
fn drain(script: &mut Script) -> Option<()> {
    let id = script.take_one()?;
    let service = name_of(script, &id);
    let reason = format!(
        "{}, INC-{}",
        one_of(script, &["errors on every third call", "profiling", "suspicious latency"]),
        1000 + script.random.below(9000)
    );
    script.tell(0.0, service, format!("an operator drains {id}: {reason}"));
    let overlay = Act::Overlay { service: service.into(), id: id.clone(), key: "status", value: "draining", reason };
    script.act(0.0, overlay);
    let back = 15.0 + 15.0 * script.random.unit();
    script.tell(back, service, format!("the operator gives {id} back to the traffic"));
    script.act(back, Act::ClearOverlay { service: service.into(), id: id.clone(), key: "status" });
    script.free(back, &id);
    Some(())
}

fn evict(script: &mut Script) -> Option<()> {
    let id = script.take_one()?;
    let service = name_of(script, &id);
    let reason =
        one_of(script, &["answers with other people's data", "runs a debug build", "talks to the test database"]);
    let seconds = 10 + 5 * script.random.below(3) as u64;
    script.tell(0.0, service, format!("an operator evicts {id} and blocks it for {seconds} s: {reason}"));
    let block_for = Duration::from_secs(seconds);
    script.act(0.0, Act::Evict { service: service.into(), id: id.clone(), reason: reason.into(), block_for });
    script.tell(seconds as f64 + 1.0, service, format!("{id} may come back"));
    script.free(seconds as f64 + 10.0, &id);
    Some(())
}

/// One instance gets a little traffic, then more, then its share.
fn canary(script: &mut Script) -> Option<()> {
    let id = script.take_one()?;
    let service = name_of(script, &id);
    script.tell(0.0, service, format!("{id} becomes the canary: weight 1, then 2, then 5"));
    for (at, value) in [(0.0, "1"), (6.0, "2"), (12.0, "5")] {
        let reason = "canary of a new flag".into();
        script.act(at, Act::Overlay { service: service.into(), id: id.clone(), key: "weight", value, reason });
    }
    script.tell(18.0, service, format!("the canary {id} is well: back to its own weight"));
    script.act(18.0, Act::ClearOverlay { service: service.into(), id: id.clone(), key: "weight" });
    script.free(18.0, &id);
    Some(())
}

/// A service is of no use in one zone, and says so.
fn zone_down(script: &mut Script) -> Option<()> {
    let role = quiet_service(script)?;
    let zone = cast::zone(script.random.below(HOSTS));
    let ids = script.idle(|member| member.role == role && cast::zone(member.host) == zone);
    if ids.is_empty() {
        return None;
    }
    let why = one_of(script, &["its database fails over", "its certificate has expired", "its cache is cold"]);
    script.tell(0.0, CAST[role].name, format!("is down in zone {zone}, {} instances: {why}", ids.len()));
    let back = 8.0 + 8.0 * script.random.unit();
    for id in ids {
        script.take(&id);
        let (down, up) = (script.change(&id, "status", Some("down")), script.change(&id, "status", None));
        script.act(0.0, down);
        script.act(back, up);
        script.free(back, &id);
    }
    script.tell(back, CAST[role].name, format!("is up again in zone {zone}"));
    Some(())
}

/// Two machines go at once, with all that runs on them.
fn power_loss(script: &mut Script) -> Option<()> {
    let first = script.random.below(HOSTS);
    let second = (first + 3) % HOSTS;
    let ids = script.idle(|member| member.host == first || member.host == second);
    if ids.len() < 2 {
        return None;
    }
    let names = format!("{} and {}", cast::host_name(first), cast::host_name(second));
    script.tell(0.0, "power", format!("a rack fails: {names} are gone, with {} instances", ids.len()));
    let back = 30.0 + 10.0 * script.random.unit();
    script.tell(back, "power", format!("{names} boot again"));
    for id in ids {
        script.take(&id);
        let (host, start) = (host_of(script, &id), script.register(&id));
        script.act(0.0, Act::Crash { host, id: id.clone() });
        let up = back + 3.0 * script.random.unit();
        script.act(up, start);
        script.free(up, &id);
    }
    Some(())
}
