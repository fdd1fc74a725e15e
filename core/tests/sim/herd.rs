//! The herd: very many clients lose their registry in one instant, and it is back in the next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use periplus_core::backend::native::Native;
use periplus_core::client::{Backend, ClientConfig, Registration, RegistrationState};
use periplus_core::fault::Faults;
use periplus_core::http::{Failure, Input, RequestId, Transmit};
use periplus_core::{Config, Epoch, Instant, ServiceKey};

use super::node::{key_of, look, selector};
use super::plan::SECOND;
use super::random::Random;
use super::server::{Reply, Server};

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Herd {
    pub clients: usize,
    /// The most requests that came within 100 ms after the registry was back.
    pub peak: u64,
    /// When everyone was registered again and all streams were open again.
    pub back: Duration,
    /// How many were registered again in the end.
    pub registered: usize,
}

enum Next {
    Wake(usize),
    Input(usize, RequestId, Input),
    Send(usize, RequestId, Box<periplus_core::http::Request>),
    Kill,
}

/// Clients with one registration of 30 s and one watch each. After a minute the registry is killed; it is back at once and
/// knows nothing.
pub fn herd(clients: usize, seed: u64, faults: Faults) -> Herd {
    let mut random = Random::fork(seed, 77);
    let config = Config { faults, warm_up: Duration::from_secs(90), ..Config::default() };
    let start = Instant::from_micros(0);
    let mut server = Server::new(config, random.seed(), Epoch("h0".into()), start);
    let mut queue: BinaryHeap<Reverse<(u64, u64, usize)>> = BinaryHeap::new();
    let mut slots: Vec<Option<Next>> = Vec::new();
    let push = |queue: &mut BinaryHeap<_>, slots: &mut Vec<Option<Next>>, at: u64, next: Next| {
        slots.push(Some(next));
        queue.push(Reverse((at, slots.len() as u64, slots.len() - 1)));
    };
    let mut machines: Vec<Native> = Vec::with_capacity(clients);
    let mut registrations = Vec::new();
    let mut wakes: Vec<Option<u64>> = vec![None; clients];
    let mut streams: Vec<Vec<RequestId>> = vec![vec![]; clients];
    let kill = 60 * SECOND;
    push(&mut queue, &mut slots, kill, Next::Kill);
    for at in 0..clients {
        let config = ClientConfig { origins: vec!["http://r0:7171".into()], faults, ..ClientConfig::default() };
        machines.push(Native::new(config, random.seed(), start));
        push(&mut queue, &mut slots, random.below(20 * SECOND), Next::Wake(at));
    }
    let latency = 500;
    let exchange = |at: usize, id: RequestId| (at as u64) << 32 | id.0;
    let mut buckets = vec![0_u64; 1_200];
    let mut back = 0;
    let mut begun = vec![false; clients];
    let mut killed = false;
    while let Some(Reverse((now, _, slot))) = queue.pop() {
        if now > kill + 60 * SECOND {
            break;
        }
        let Some(next) = slots[slot].take() else { continue };
        let instant = Instant::from_micros(now);
        let who = match next {
            Next::Kill => {
                killed = true;
                server = Server::new(config, random.seed(), Epoch("h1".into()), instant);
                for (at, open) in streams.iter_mut().enumerate() {
                    for id in std::mem::take(open) {
                        let input = Input::Failure(Failure::unknown("connection reset"));
                        push(&mut queue, &mut slots, now + latency, Next::Input(at, id, input));
                    }
                }
                continue;
            }
            Next::Send(at, id, request) => {
                if killed {
                    buckets[((now - kill) / 100_000).min(1_199) as usize] += 1;
                }
                match server.handle_request(exchange(at, id), &request, instant) {
                    Reply::Whole(answer) => {
                        push(&mut queue, &mut slots, now + latency, Next::Input(at, id, Input::Response(answer.head)));
                        push(&mut queue, &mut slots, now + latency, Next::Input(at, id, Input::Chunk(answer.body)));
                        push(&mut queue, &mut slots, now + latency, Next::Input(at, id, Input::End));
                    }
                    Reply::Stream(head, _) => {
                        streams[at].push(id);
                        push(&mut queue, &mut slots, now + latency, Next::Input(at, id, Input::Response(head)));
                    }
                }
                while let Some((number, part)) = server.poll_part() {
                    let (at, id) = ((number >> 32) as usize, RequestId(number & 0xffff_ffff));
                    if let super::server::Part::Chunk(bytes) = part {
                        push(&mut queue, &mut slots, now + latency, Next::Input(at, id, Input::Chunk(bytes)));
                    }
                }
                let _ = server.take_events();
                continue;
            }
            Next::Wake(at) => {
                if std::mem::replace(&mut begun[at], true) {
                    if wakes[at] != Some(now) {
                        continue;
                    }
                    machines[at].handle_timeout(instant);
                } else {
                    let key = key_of(0, &format!("h{at}"));
                    let registration = Registration {
                        namespace: key.namespace.clone(),
                        instance: look(&key, 0),
                        ttl: Some(Duration::from_secs(30)),
                    };
                    let id = machines[at].register(&registration, instant).expect("it is a good registration");
                    registrations.push((at, id));
                    // Each follows a service of its own, so that it is connections that are counted and not changes.
                    let mut followed = selector(0);
                    if let periplus_core::Selector::Service(ServiceKey { service, .. }) = &mut followed {
                        *service = periplus_core::ServiceName::new(format!("s{at}")).expect("a name");
                    }
                    let _ = machines[at].watch(&followed, instant).expect("a good watch");
                }
                wakes[at] = None;
                at
            }
            Next::Input(at, id, input) => {
                machines[at].handle_input(id, &input, instant);
                at
            }
        };
        while let Some(transmit) = machines[who].poll_transmit() {
            match transmit {
                Transmit::Send(id, request) => {
                    push(&mut queue, &mut slots, now + latency, Next::Send(who, id, Box::new(request)));
                }
                Transmit::Cancel(id) => {
                    server.handle_gone(exchange(who, id));
                    streams[who].retain(|stream| *stream != id);
                }
            }
        }
        while let Some(event) = machines[who].poll_event() {
            let registered = matches!(
                event,
                periplus_core::client::ClientEvent::Registration(_, RegistrationState::Registered)
                    | periplus_core::client::ClientEvent::Connected { .. }
            );
            if registered && killed {
                back = now - kill;
            }
        }
        let due = machines[who].poll_timeout().map(|due| due.as_micros().max(now));
        if due != wakes[who] {
            wakes[who] = due;
            if let Some(due) = due {
                push(&mut queue, &mut slots, due, Next::Wake(who));
            }
        }
    }
    let held = registrations.iter().filter(|(at, id)| {
        let view = machines[*at].registration(*id);
        view.is_some_and(|view| view.state == RegistrationState::Registered) && streams[*at].len() == 1
    });
    Herd {
        clients,
        peak: buckets.iter().copied().max().unwrap_or(0),
        back: Duration::from_micros(back),
        registered: held.count(),
    }
}
