//! Requests and answers on their way, and what the network does to them.

use std::collections::VecDeque;
use std::rc::Rc;

use periplus_core::http::{Failure, Input, Request, RequestId};

use super::link::Fate;
use super::past::Cause;
use super::plan::{Condition, SECOND};
use super::spoil::{Answer, empty, error, garbage, garbage_event};
use super::store::{ExchangeId, Part, Reply};
use super::world::{Event, World};

/// A request and its answer.
pub struct Exchange {
    pub client: usize,
    pub life: u32,
    pub id: RequestId,
    pub endpoint: usize,
    pub boot: u32,
    pub streaming: bool,
    pub read: bool,
    pub sent: u64,
    flights: VecDeque<(u64, Input)>,
    last_at: u64,
    pub wanted: bool,
    withdrawn: bool,
    /// The store has it and answers bit by bit.
    pub held: bool,
    /// Nothing more comes of it.
    pub silent: bool,
    /// It breaks in the middle of what is said next.
    pub breaks: bool,
}

impl World {
    /// A client sends a request.
    pub fn transmit(&mut self, client: usize, id: RequestId, request: Request) {
        let endpoint = endpoint(&request.url);
        self.last_exchange += 1;
        let number = self.last_exchange;
        self.say(|| {
            let path = request.url.split_once("://").map_or("", |(_, rest)| rest);
            let body = String::from_utf8_lossy(&request.body);
            format!("c{client} sends {number}: {} {path} {body}", request.method.as_str())
        });
        self.note(number ^ id.0 << 20);
        self.tally.requests += 1;
        self.on_sent(client);
        let life = self.clients[client].life;
        let exchange = Exchange {
            client,
            life,
            id,
            endpoint,
            boot: self.boot,
            streaming: request.streaming,
            read: (self.kind.is_read)(&request),
            sent: self.now,
            flights: VecDeque::new(),
            last_at: 0,
            wanted: true,
            withdrawn: false,
            held: false,
            silent: false,
            breaks: false,
        };
        self.exchanges.insert(number, exchange);
        self.clients[client].exchanges.insert(id, number);
        let (boot, of) = (self.boot, (client, life));
        let link = &mut self.links[client][endpoint];
        let down = self.outage.is_some();
        let refused = link.is(self.now, Condition::Refuse) || self.outage.is_some_and(|outage| !outage.silent);
        let (fate, latency) = (link.fate(self.now, true), link.latency);
        match fate {
            Fate::Arrives(at) if refused => {
                self.fly(number, at + latency, Input::Failure(Failure::not_sent("connection refused")));
            }
            Fate::Arrives(at) if !down => {
                let request = Rc::new(request);
                let link = &mut self.links[client][endpoint];
                let mut twice = false;
                for (_, condition) in link.conditions(self.now).collect::<Vec<_>>() {
                    if let Condition::Duplicate(percent) = condition {
                        twice |= link.random.percent(percent);
                    }
                }
                if twice && !request.streaming {
                    let later = at + link.random.spread(1, 20 * SECOND);
                    link.trouble = link.trouble.max(later);
                    let request = Rc::clone(&request);
                    self.last_exchange += 1;
                    let exchange = self.last_exchange;
                    self.at(later, Event::Arrive { exchange, request, endpoint, boot, of, echo: true });
                }
                self.at(at, Event::Arrive { exchange: number, request, endpoint, boot, of, echo: false });
            }
            Fate::Arrives(_) | Fate::Vanishes => {
                // The client's system may find out in the end.
                let link = &mut self.links[client][endpoint];
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
        self.say(|| format!("c{client} drops {number}"));
        let now = self.now;
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        exchange.wanted = false;
        let endpoint = exchange.endpoint;
        let (held, link) = (exchange.held, &mut self.links[client][endpoint]);
        if link.is(now, Condition::LateInputs) {
            let late: Vec<Input> = exchange.flights.drain(..).map(|(_, input)| input).collect();
            let late = if late.is_empty() { vec![Input::Chunk(b"late".to_vec()), Input::End] } else { late };
            self.clients[client].late.extend(late.into_iter().map(|input| (id, input)));
        }
        if held {
            let after = link.latency + if link.trouble > now { 60 * SECOND } else { 0 };
            self.after(after, Event::Gone(number));
        } else if link.random.percent(40) {
            exchange.withdrawn = true;
        }
    }

    /// A request arrives at the store.
    pub fn arrive(
        &mut self,
        number: ExchangeId,
        request: &Rc<Request>,
        endpoint: usize,
        boot: u32,
        of: (usize, u32),
        echo: bool,
    ) {
        if self.exchanges.get(&number).is_some_and(|exchange| exchange.withdrawn) {
            self.exchanges.remove(&number);
            return;
        }
        let alien = self.boot != boot && self.random.percent(50);
        if self.outage.is_some() || alien {
            if !self.outage.is_some_and(|outage| outage.silent) {
                self.break_off(number, "connection reset");
            }
            return;
        }
        let wanted = self.exchanges.get(&number).is_some_and(|exchange| exchange.wanted);
        if wanted && let Some(answer) = self.intercept(number) {
            self.answer(number, answer);
            return;
        }
        let read = (self.kind.is_read)(request);
        if read && !wanted {
            self.exchanges.remove(&number);
            return;
        }
        let now = self.store_clock.read(self.now);
        let reply = self.store.handle_request(number, request, now);
        if echo {
            self.mark("a request arrived twice");
        } else if !wanted {
            self.mark("a request took effect after its client had given it up");
        }
        self.say(|| format!("the store has {number} of c{}.{} from s{endpoint}", of.0, of.1));
        match reply {
            Reply::Whole(head, body) => {
                if wanted {
                    self.answer(number, Answer { head, body });
                } else {
                    self.exchanges.remove(&number);
                }
            }
            Reply::Held if wanted => {
                if let Some(exchange) = self.exchanges.get_mut(&number) {
                    exchange.held = true;
                    exchange.boot = self.boot;
                }
            }
            Reply::Held => {
                self.exchanges.remove(&number);
                self.store.handle_gone(number);
            }
        }
        let late = echo || !wanted || self.links[of.0].iter().any(|link| link.trouble + 60 * SECOND > self.now);
        self.store_done(if read { Cause::Read } else { Cause::Request { of, late } });
    }

    /// A part of a held answer goes out.
    pub fn send_part(&mut self, number: ExchangeId, part: Part) {
        let Some(exchange) = self.exchanges.get_mut(&number) else {
            self.store.handle_gone(number);
            return;
        };
        if !exchange.wanted || exchange.silent {
            return;
        }
        let streaming = exchange.streaming;
        let link = &mut self.links[exchange.client][exchange.endpoint];
        let conditions: Vec<_> = link.conditions(self.now).map(|(_, condition)| condition).collect();
        let mut inputs = Vec::new();
        match part {
            Part::Head(head) => {
                let r = &mut link.random;
                let spoiled = conditions.iter().find_map(|condition| match condition {
                    Condition::ServerError(percent) if r.percent(*percent) => Some(error(r.below(5))),
                    Condition::Garbage(percent) if r.percent(*percent) => Some(garbage(r.below(7))),
                    Condition::Empty(percent) if r.percent(*percent) => Some(empty(streaming)),
                    _ => None,
                });
                if let Some(Answer { head, body }) = spoiled {
                    let body = Some(body).filter(|body| !body.is_empty()).map(Input::Chunk);
                    let whole = [Input::Response(head)].into_iter().chain(body).chain([Input::End]);
                    self.send_down(number, whole.collect());
                    return self.let_go(number);
                }
                inputs.push(Input::Response(head));
            }
            Part::Chunk(mut bytes) => {
                for condition in conditions {
                    match condition {
                        Condition::GarbageEvents(percent) if streaming && link.random.percent(percent) => {
                            inputs.push(Input::Chunk(garbage_event(link.random.below(6))));
                        }
                        Condition::Truncate(percent) if !streaming && link.random.percent(percent) => {
                            bytes.truncate(link.random.index(bytes.len().max(1)));
                        }
                        _ => {}
                    }
                }
                if std::mem::take(&mut exchange.breaks) {
                    bytes.truncate(self.random.index(bytes.len().max(1)));
                    inputs.push(Input::Chunk(bytes));
                    inputs.push(Input::Failure(Failure::unknown("connection reset by peer")));
                    self.mark("a watch was cut in the middle of what it said");
                    self.send_down(number, inputs);
                    return self.let_go(number);
                }
                inputs.push(Input::Chunk(bytes));
            }
            Part::End => {
                inputs.push(Input::End);
                exchange.held = false;
            }
        }
        self.send_down(number, inputs);
    }

    /// The store's side of a held answer is over.
    fn let_go(&mut self, number: ExchangeId) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        exchange.silent = true;
        if std::mem::take(&mut exchange.held) && exchange.boot == self.boot {
            self.store.handle_gone(number);
        }
    }

    /// Sends inputs towards the client, in order, cut into pieces if the link does that.
    pub fn send_down(&mut self, number: ExchangeId, inputs: Vec<Input>) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        if exchange.silent {
            return;
        }
        let (client, endpoint) = (exchange.client, exchange.endpoint);
        let link = &mut self.links[client][endpoint];
        if exchange.held && link.is(self.now, Condition::HalfOpen) {
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
            Fate::Arrives(mut at) => {
                for input in inputs {
                    let Input::Chunk(bytes) = input else {
                        self.fly(number, at, input);
                        continue;
                    };
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        let link = &mut self.links[client][endpoint];
                        let most = if link.random.percent(50) { 64 } else { 4 };
                        let take = link.random.between(1, rest.len().min(most) as u64) as usize;
                        let take = if shred { take } else { rest.len() };
                        at += if shred { link.random.below(3_000) } else { 0 };
                        let (piece, left) = rest.split_at(take);
                        rest = left;
                        self.fly(number, at, Input::Chunk(piece.to_vec()));
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

    /// The connection of a request breaks: of what is on its way, a part still arrives.
    pub fn break_off(&mut self, number: ExchangeId, reason: &str) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        if !exchange.wanted || exchange.silent {
            return;
        }
        let (client, endpoint) = (exchange.client, exchange.endpoint);
        let keep = self.random.index(exchange.flights.len() + 1);
        if keep < exchange.flights.len() {
            exchange.flights.truncate(keep + 1);
            if let Some((_, Input::Chunk(bytes))) = exchange.flights.back_mut() {
                let at = self.random.index(bytes.len().max(1));
                bytes.truncate(at);
            } else {
                exchange.flights.pop_back();
            }
        }
        let at = self.now + self.links[client][endpoint].latency;
        self.fly(number, at, Input::Failure(Failure::unknown(reason)));
        self.let_go(number);
    }

    /// The store ends an answer that is held.
    pub fn end_held(&mut self, number: ExchangeId) {
        let Some(exchange) = self.exchanges.get(&number) else { return };
        let at = self.now + self.links[exchange.client][exchange.endpoint].latency;
        self.fly(number, at, Input::End);
        self.let_go(number);
    }

    /// All connections of the store break; whoever was connected learns it, unless packets just vanish.
    pub fn break_all(&mut self, silent: bool) {
        let held: Vec<ExchangeId> =
            self.exchanges.iter().filter(|(_, it)| it.held).map(|(number, _)| *number).collect();
        for number in held {
            if silent {
                self.let_go(number);
            } else {
                self.break_off(number, "connection reset");
                self.let_go(number);
            }
        }
        self.boot += 1;
    }

    /// What has arrived for a client goes in.
    pub fn deliver(&mut self, number: ExchangeId) {
        loop {
            let Some(exchange) = self.exchanges.get_mut(&number) else { return };
            let (client, id, read) = (exchange.client, exchange.id, exchange.read);
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
            let over = matches!(input, Input::End | Input::Failure(_));
            let failed = matches!(input, Input::Failure(_));
            self.note(number << 3 ^ u64::from(over));
            if over {
                if self.exchanges.get(&number).is_some_and(|it| it.held) {
                    self.let_go(number);
                }
                self.exchanges.remove(&number);
                self.clients[client].exchanges.remove(&id);
            }
            if read && !failed {
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
            if let Input::Chunk(bytes) = &input {
                self.clients[client].received += bytes.len() as u64;
            }
            self.step(client, |machine, now| machine.handle_input(id, &input, now));
        }
    }

    /// The requests under way of a client.
    pub fn under_way(&self, client: usize) -> Vec<ExchangeId> {
        self.clients[client].exchanges.values().copied().collect()
    }
}

/// Which address a URL names: `http://sN:2379`.
fn endpoint(url: &str) -> usize {
    let host = url.strip_prefix("http://s").and_then(|rest| rest.split([':', '/']).next());
    host.and_then(|number| number.parse().ok()).expect("a request goes to one of the origins")
}
