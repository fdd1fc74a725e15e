//! Requests and answers on their way, and what the network does to them.

use std::collections::VecDeque;
use std::rc::Rc;

use periplus_core::http::{Failure, Head, Input, Request, RequestId};
use periplus_core::protocol::WatchMessage;
use periplus_core::{Namespace, Selector, ServiceKey, ServiceName};

use super::link::Fate;
use super::plan::{Condition, SECOND};
use super::server::{Answer, Did, ExchangeId, Part, Reply};
use super::tally::Mark;
use super::world::{Event, Exchange, World};

impl World {
    /// A client sends a request.
    pub fn transmit(&mut self, client: usize, id: RequestId, request: Request) {
        let server = origin(&request.url);
        self.last_exchange += 1;
        let number = self.last_exchange;
        self.say(|| {
            let path = request.url.split_once("://").map_or("", |(_, rest)| rest);
            let body = String::from_utf8_lossy(&request.body);
            format!("c{client} sends {number}: {} {path} {body}", request.method.as_str())
        });
        self.note(number ^ id.0 << 20);
        self.on_sent(client, id, &request);
        let local = self.clients[client].local;
        let life = self.clients[client].life;
        let exchange = Exchange {
            client,
            life,
            id,
            server,
            streaming: request.streaming,
            sent: self.now,
            sent_local: local,
            selectors: if request.streaming { watched(&request) } else { Vec::new() },
            reported: None,
            flights: VecDeque::new(),
            last_at: 0,
            wanted: true,
            withdrawn: false,
            arrived: false,
            silent: false,
            did: Did::Nothing,
            intact: true,
            status: 0,
            breaks: false,
        };
        // A stream that takes over from another counts from when it is asked for: what was live stays so until it fails.
        if exchange.streaming {
            self.clients[client].open.insert(number);
        }
        self.exchanges.insert(number, exchange);
        self.clients[client].exchanges.insert(id, number);
        let node = &self.nodes[server];
        let (down, silent, boot) = (node.server.is_none(), node.silent, node.boot);
        let link = &mut self.links[client][server];
        let refused = link.is(self.now, Condition::Refuse) || (down && !silent);
        let (fate, latency) = (link.fate(self.now, true), link.latency);
        match fate {
            Fate::Arrives(at) if refused => {
                self.fly(number, at + latency, Input::Failure(Failure::not_sent("connection refused")));
            }
            Fate::Arrives(at) if !down => {
                let request = Rc::new(request);
                let link = &mut self.links[client][server];
                let mut twice = false;
                for (_, condition) in link.conditions(self.now).collect::<Vec<_>>() {
                    if let Condition::Duplicate(percent) = condition {
                        twice |= link.random.percent(percent);
                    }
                }
                if twice && !request.streaming {
                    let later = at + link.random.spread(1, 20 * SECOND);
                    let request = Rc::clone(&request);
                    self.at(later, Event::Arrive { exchange: number, request, server, boot, echo: true });
                }
                self.at(at, Event::Arrive { exchange: number, request, server, boot, echo: false });
            }
            Fate::Arrives(_) | Fate::Vanishes => {
                // The client's system may find out in the end.
                let link = &mut self.links[client][server];
                if link.random.percent(30) {
                    let after = link.random.spread(SECOND / 2, 60 * SECOND);
                    self.fly(number, self.now + after, Input::Failure(Failure::not_sent("no route to host")));
                }
            }
        }
    }

    /// A client drops a request.
    pub fn cancel(&mut self, client: usize, id: RequestId) {
        let Some(number) = self.clients[client].exchanges.remove(&id) else {
            self.violate("driver", || format!("c{client} drops {id:?}, which is not under way"));
            return;
        };
        self.clients[client].open.remove(&number);
        self.say(|| format!("c{client} drops {number}"));
        let now = self.now;
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        exchange.wanted = false;
        let (server, streaming, arrived) = (exchange.server, exchange.streaming, exchange.arrived);
        if self.links[client][server].is(now, Condition::LateInputs) {
            let late: Vec<Input> = exchange.flights.drain(..).map(|(_, input)| input).collect();
            let late = if late.is_empty() { vec![Input::Chunk(b"late".to_vec()), Input::End] } else { late };
            self.clients[client].late.extend(late.into_iter().map(|input| (id, input)));
        }
        let latency = self.links[client][server].latency;
        let boot = self.nodes[server].boot;
        if streaming && arrived {
            let after = latency + if self.links[client][server].trouble > now { 60 * SECOND } else { 0 };
            self.after(after, Event::Gone { exchange: number, server, boot });
        } else if !arrived && self.links[client][server].random.percent(40) {
            if let Some(exchange) = self.exchanges.get_mut(&number) {
                exchange.withdrawn = true;
            }
        } else {
            self.exchanges.remove(&number);
        }
    }

    /// A request arrives at a registry.
    pub fn arrive(&mut self, number: ExchangeId, request: &Rc<Request>, server: usize, boot: u32, echo: bool) {
        if self.exchanges.get(&number).is_some_and(|exchange| exchange.withdrawn) {
            self.exchanges.remove(&number);
            return;
        }
        let node = &mut self.nodes[server];
        if node.paused {
            node.waiting.push((number, Rc::clone(request), echo));
            return;
        }
        let alien = node.boot != boot && self.random.percent(50);
        let node = &mut self.nodes[server];
        if node.server.is_none() || alien {
            if !node.silent && !echo {
                self.break_off(number, "connection reset");
            }
            return;
        }
        let wanted = self.exchanges.get(&number).is_some_and(|exchange| exchange.wanted);
        if request.streaming && !wanted {
            return;
        }
        if wanted
            && !echo
            && let Some(answer) = self.intercept(number)
        {
            self.answer(number, answer, request.streaming);
            return;
        }
        let node = &mut self.nodes[server];
        let now = node.clock.read(self.now);
        let Some(machine) = &mut node.server else { return };
        let reply = machine.handle_request(number, request, now);
        match reply {
            Reply::Whole(answer) => {
                let gone = !self.exchanges.get(&number).is_some_and(|exchange| exchange.wanted);
                if gone && matches!(answer.did, Did::Registered { .. }) {
                    self.mark(Mark::AnsweredTooLate);
                }
                self.on_did(server, &answer.did);
                if !echo && !gone {
                    self.answer(number, answer, request.streaming);
                }
            }
            Reply::Stream(head, opened) => {
                if opened.foreign {
                    self.mark(Mark::ResyncedByEpoch);
                }
                if opened.from_scratch {
                    self.mark(Mark::ResyncedByCompaction);
                } else if opened.resumed && !opened.foreign {
                    self.mark(Mark::ResumedByRevision);
                }
                if let Some(exchange) = self.exchanges.get_mut(&number) {
                    exchange.arrived = true;
                    exchange.status = head.status;
                }
                self.send_down(number, vec![Input::Response(head)]);
            }
        }
        self.server_done(server);
    }

    /// Something between the two answers instead of the registry.
    fn intercept(&mut self, number: ExchangeId) -> Option<Answer> {
        let exchange = &self.exchanges[&number];
        let link = &mut self.links[exchange.client][exchange.server];
        for (_, condition) in link.conditions(self.now).collect::<Vec<_>>() {
            let r = &mut link.random;
            let answer = match condition {
                Condition::ServerError(percent) if r.percent(percent) && r.percent(50) => error(r.below(5)),
                Condition::Throttle(seconds) => {
                    let mut head = Head::new(429);
                    head.headers.push(("retry-after".into(), seconds.to_string().into()));
                    let body = br#"{"code":"busy","message":"too many requests"}"#.to_vec();
                    self.mark(Mark::ThrottleHeard);
                    return Some(Answer { head, body, did: Did::Nothing });
                }
                Condition::Garbage(percent) if r.percent(percent) && r.percent(40) => garbage(r.below(6)),
                Condition::Empty(percent) if r.percent(percent) && r.percent(40) => empty(exchange.streaming),
                _ => continue,
            };
            return Some(answer);
        }
        None
    }

    /// A whole answer goes out, through whatever may change it.
    fn answer(&mut self, number: ExchangeId, mut answer: Answer, streaming: bool) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        exchange.arrived = true;
        let link = &mut self.links[exchange.client][exchange.server];
        let mut intact = true;
        for (_, condition) in link.conditions(self.now).collect::<Vec<_>>() {
            let r = &mut link.random;
            let changed = match condition {
                Condition::ServerError(percent) if r.percent(percent) => error(r.below(5)),
                Condition::Garbage(percent) if r.percent(percent) => garbage(r.below(6)),
                Condition::Empty(percent) if r.percent(percent) => empty(streaming),
                Condition::Truncate(percent) if r.percent(percent) && !answer.body.is_empty() => {
                    let mut cut = answer.clone();
                    cut.body.truncate(r.index(answer.body.len()));
                    cut
                }
                Condition::WrongNumber(percent) if matches!(answer.did, Did::Renewed { .. }) && r.percent(percent) => {
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    let (before, after) = text.rsplit_once("\"number\":").unwrap_or((&text, "0}"));
                    let other: u64 = after.trim_end_matches('}').parse().unwrap_or(1);
                    let other = if r.percent(50) { other + 1 } else { other.saturating_sub(1) };
                    // As if it were the answer to another renewal: nothing failed.
                    let failed = before.find("\"failed\":[").map_or(before.len(), |at| at);
                    let body = format!("{}\"failed\":[],\"number\":{other}}}", &before[..failed]).into_bytes();
                    Answer { head: answer.head.clone(), body, did: Did::Nothing }
                }
                _ => continue,
            };
            answer = changed;
            intact = false;
        }
        exchange.did = answer.did;
        exchange.intact = intact;
        exchange.status = answer.head.status;
        let mut inputs = vec![Input::Response(answer.head)];
        if !answer.body.is_empty() {
            inputs.push(Input::Chunk(answer.body));
        }
        inputs.push(Input::End);
        self.send_down(number, inputs);
    }

    /// A part of a stream goes out.
    pub fn send_part(&mut self, number: ExchangeId, server: usize, part: Part) {
        let Some(exchange) = self.exchanges.get_mut(&number) else {
            if let Some(server) = &mut self.nodes[server].server {
                server.handle_gone(number);
            }
            return;
        };
        if !exchange.wanted {
            return;
        }
        let mut inputs = Vec::new();
        match part {
            Part::Chunk(bytes) => {
                let link = &mut self.links[exchange.client][server];
                for (_, condition) in link.conditions(self.now).collect::<Vec<_>>() {
                    if let Condition::GarbageEvents(percent) = condition
                        && link.random.percent(percent)
                    {
                        inputs.push(Input::Chunk(garbage_event(link.random.below(7))));
                    }
                }
                if bytes.starts_with(b"event: bye") {
                    self.mark(Mark::SaidBye);
                }
                let exchange = self.exchanges.get_mut(&number).expect("it is under way");
                let breaks = std::mem::take(&mut exchange.breaks);
                inputs.push(Input::Chunk(bytes));
                if breaks {
                    if let Some(Input::Chunk(bytes)) = inputs.last_mut() {
                        let at = self.random.index(bytes.len().max(1));
                        bytes.truncate(at);
                    }
                    self.send_down(number, inputs);
                    self.break_after(number);
                    return;
                }
            }
            Part::End => inputs.push(Input::End),
        }
        self.send_down(number, inputs);
    }

    /// Sends inputs towards the client, in order, cut into pieces if the link does that.
    fn send_down(&mut self, number: ExchangeId, inputs: Vec<Input>) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        if exchange.silent {
            return;
        }
        let (client, server, streaming) = (exchange.client, exchange.server, exchange.streaming);
        let link = &mut self.links[client][server];
        if streaming && link.is(self.now, Condition::HalfOpen) {
            exchange.silent = true;
            return;
        }
        let shred = link.is(self.now, Condition::Shred);
        match link.fate(self.now, false) {
            Fate::Vanishes => {
                exchange.silent = true;
                if link.random.percent(30) {
                    let after = link.random.spread(SECOND / 2, 60 * SECOND);
                    self.fly(number, self.now + after, Input::Failure(Failure::unknown("connection timed out")));
                }
            }
            Fate::Arrives(at) => {
                let mut at = at;
                for input in inputs {
                    match input {
                        Input::Chunk(bytes) if shred => {
                            let mut rest = &bytes[..];
                            while !rest.is_empty() {
                                let link = &mut self.links[client][server];
                                let most = rest.len().min(if link.random.percent(50) { 64 } else { 4 });
                                let take = link.random.between(1, most as u64) as usize;
                                at += link.random.below(3_000);
                                let piece = rest[..take].to_vec();
                                rest = &rest[take..];
                                self.fly(number, at, Input::Chunk(piece));
                            }
                        }
                        input => self.fly(number, at, input),
                    }
                }
            }
        }
    }

    /// Something is on its way to a client and arrives then, after what was sent before it.
    pub fn fly(&mut self, number: ExchangeId, at: u64, input: Input) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        let at = at.max(exchange.last_at);
        let known = exchange.last_at == at && !exchange.flights.is_empty();
        exchange.last_at = at;
        exchange.flights.push_back((at, input));
        if !known {
            self.at(at, Event::Deliver(number));
        }
    }

    /// The connection of a stream breaks, once everything that is on its way has arrived.
    fn break_after(&mut self, number: ExchangeId) {
        self.mark(Mark::CutInDelivery);
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        let server = exchange.server;
        if !exchange.silent {
            let at = self.now + 1_000;
            self.fly(number, at, Input::Failure(Failure::unknown("connection reset by peer")));
        }
        if let Some(exchange) = self.exchanges.get_mut(&number) {
            exchange.silent = true;
        }
        if let Some(server) = &mut self.nodes[server].server {
            server.handle_gone(number);
        }
    }

    /// The connection of a request breaks: of what is on its way, a part still arrives.
    pub fn break_off(&mut self, number: ExchangeId, reason: &str) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        if !exchange.wanted {
            return;
        }
        let (client, server, arrived, streaming) =
            (exchange.client, exchange.server, exchange.arrived, exchange.streaming);
        exchange.silent = true;
        let keep = self.random.index(exchange.flights.len() + 1);
        let mut cut = false;
        if keep < exchange.flights.len() {
            // Nothing cut is ever taken for whole: the end goes with what is cut.
            exchange.flights.truncate(keep + 1);
            if let Some((_, Input::Chunk(bytes))) = exchange.flights.back_mut() {
                let at = self.random.index(bytes.len().max(1));
                bytes.truncate(at);
                cut = true;
            } else {
                exchange.flights.pop_back();
            }
        }
        let link = &mut self.links[client][server];
        let at = self.now + link.latency;
        let boot = self.nodes[server].boot;
        self.fly(number, at, Input::Failure(Failure::unknown(reason)));
        if cut && streaming {
            self.mark(Mark::CutInDelivery);
        }
        if streaming && arrived && self.nodes[server].server.is_some() {
            if let Some(server) = &mut self.nodes[server].server {
                server.handle_gone(number);
            }
            let _ = boot;
        }
    }

    /// What has arrived for a client goes in.
    pub fn deliver(&mut self, number: ExchangeId) {
        loop {
            let Some(exchange) = self.exchanges.get_mut(&number) else { return };
            let (client, id) = (exchange.client, exchange.id);
            let process = &self.clients[client];
            if process.machine.is_none() || process.life != exchange.life || !exchange.wanted {
                return;
            }
            if process.suspended {
                self.clients[client].inbox.push(number);
                return;
            }
            let now = self.now;
            let Some((_, input)) = exchange.flights.pop_front_if(|(at, _)| *at <= now) else { return };
            let (streaming, status) = (exchange.streaming, exchange.status);
            let over = matches!(input, Input::End | Input::Failure(_));
            self.note(number << 3 ^ u64::from(over));
            if over {
                let ended = self.exchanges.remove(&number);
                self.clients[client].exchanges.remove(&id);
                if matches!(input, Input::End) {
                    self.on_answered(client, id);
                }
                self.clients[client].open.remove(&number);
                if let Some(exchange) = ended
                    && exchange.intact
                    && matches!(input, Input::End)
                {
                    self.on_ack(client, &exchange);
                }
            } else if streaming {
                if status == 200 {
                    self.clients[client].open.insert(number);
                }
                let local = self.clients[client].clock.read(now).as_micros();
                self.clients[client].heard = self.clients[client].heard.max(local);
            }
            self.say(|| {
                let shown = match &input {
                    Input::Chunk(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
                    other => format!("{other:?}"),
                };
                format!("c{client} gets {number}: {shown}")
            });
            self.step(client, |machine, now| machine.handle_input(id, &input, now));
        }
    }

    /// The requests under way of a client, as they are.
    pub fn under_way(&self, client: usize) -> Vec<ExchangeId> {
        self.clients[client].exchanges.values().copied().collect()
    }

    pub fn set_readers(&mut self, client: usize, server: usize, held: bool) {
        let now = self.nodes[server].clock.read(self.now);
        for number in self.under_way(client) {
            let of =
                self.exchanges.get(&number).is_some_and(|exchange| exchange.server == server && exchange.streaming);
            if of && let Some(server) = &mut self.nodes[server].server {
                server.set_held(number, held, now);
            }
        }
        self.server_done(server);
    }
}

/// What a request watches.
fn watched(request: &Request) -> Vec<Selector> {
    let message: WatchMessage = serde_json::from_slice(&request.body).unwrap_or_default();
    let selectors = message.watch.into_iter().filter_map(|watched| {
        let namespace = Namespace::new(watched.ns?).ok()?;
        Some(match watched.service {
            Some(service) => Selector::Service(ServiceKey::new(namespace, ServiceName::new(service).ok()?)),
            None => Selector::Prefix { namespace, prefix: watched.prefix? },
        })
    });
    selectors.collect()
}

/// Which registry a URL names: `http://rN:7171`.
fn origin(url: &str) -> usize {
    let host = url.strip_prefix("http://r").and_then(|rest| rest.split([':', '/']).next());
    host.and_then(|number| number.parse().ok()).expect("a request goes to one of the origins")
}

fn error(nth: u64) -> Answer {
    let (status, body): (u16, &[u8]) = match nth {
        0 => (502, b"<html><h1>502 Bad Gateway</h1></html>"),
        1 => (503, br#"{"code":"overloaded","message":"memory is nearly used up"}"#),
        2 => (500, b""),
        3 => (504, b"upstream timed out"),
        _ => (500, br#"{"error":true}"#),
    };
    Answer { head: Head::new(status), body: body.to_vec(), did: Did::Nothing }
}

fn garbage(nth: u64) -> Answer {
    let (kind, body): (&str, &[u8]) = match nth {
        0 => ("text/html", b"<!doctype html><title>Sign in to the network</title>"),
        1 => ("application/json", b"[]"),
        2 => ("application/json", br#"{"lease":12}"#),
        3 => ("application/json", b"\x00\xff\xfe\x80garbage"),
        4 => ("text/event-stream", b"\xff\xfe{]\n:::\ndata\n\nid: x\n\n"),
        _ => ("application/json", br#"{"renewed":1,"failed":[{"index":99,"code":"lease_expired"}],"epoch":"x"}"#),
    };
    let mut head = Head::new(200);
    head.headers.push(("content-type".into(), kind.into()));
    Answer { head, body: body.to_vec(), did: Did::Nothing }
}

fn empty(streaming: bool) -> Answer {
    let mut head = Head::new(200);
    let kind = if streaming { "text/event-stream" } else { "application/json" };
    head.headers.push(("content-type".into(), kind.into()));
    Answer { head, body: Vec::new(), did: Did::Nothing }
}

/// Whole events that mean nothing, or nothing good.
fn garbage_event(nth: u64) -> Vec<u8> {
    let text: &[u8] = match nth {
        0 => b": a comment\n\n",
        1 => b"event: of_a_later_version\ndata: {\"a\":1}\n\n",
        2 => b"event: alarm\ndata: {]\n\n",
        3 => b"\r\n\r\n",
        4 => b"event: alarm\ndata: {\"namespace\":\"default\",\"expired\":10,\"of\":12,\"window\":\"60s\"}\n\n",
        5 => b"retry: 100000000\n\n",
        _ => b"data: \xff\xfe\x00\n\n",
    };
    text.to_vec()
}
