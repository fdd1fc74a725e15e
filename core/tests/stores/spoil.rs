//! Answers that are not what the store said: a proxy's, an error, or nothing but noise.

use periplus_core::http::{Head, Input};

use super::plan::Condition;
use super::store::ExchangeId;
use super::world::World;

/// A whole answer.
#[derive(Clone)]
pub struct Answer {
    pub head: Head,
    pub body: Vec<u8>,
}

impl World {
    /// Something between the two answers instead of the store.
    pub fn intercept(&mut self, number: ExchangeId) -> Option<Answer> {
        let exchange = &self.exchanges[&number];
        let blank = self.kind.laws.blank_is_yes && !exchange.read;
        let link = &mut self.links[exchange.client][exchange.endpoint];
        for (_, condition) in link.conditions(self.now).collect::<Vec<_>>() {
            let r = &mut link.random;
            let answer = match condition {
                Condition::ServerError(percent) if r.percent(percent) && r.percent(50) => error(r.below(5)),
                Condition::Throttle(seconds) => {
                    let mut head = Head::new(429);
                    head.headers.push(("retry-after".into(), seconds.to_string().into()));
                    let body =
                        b"Your IP is issuing too many concurrent connections, please rate limit your calls".to_vec();
                    self.mark("a client was told to come back later");
                    return Some(Answer { head, body });
                }
                Condition::Garbage(percent) if r.percent(percent) && r.percent(40) && !blank => garbage(r.below(7)),
                Condition::Empty(percent) if r.percent(percent) && r.percent(40) && !blank => empty(exchange.streaming),
                _ => continue,
            };
            return Some(answer);
        }
        None
    }

    /// A whole answer goes out, through whatever may change it.
    pub fn answer(&mut self, number: ExchangeId, mut answer: Answer) {
        let Some(exchange) = self.exchanges.get(&number) else { return };
        let link = &mut self.links[exchange.client][exchange.endpoint];
        for (_, condition) in link.conditions(self.now).collect::<Vec<_>>() {
            let r = &mut link.random;
            let changed = match condition {
                Condition::ServerError(percent) if r.percent(percent) => error(r.below(5)),
                Condition::Garbage(percent) if r.percent(percent) => garbage(r.below(7)),
                Condition::Empty(percent) if r.percent(percent) => empty(exchange.streaming),
                Condition::Truncate(percent) if r.percent(percent) && !answer.body.is_empty() => {
                    let mut cut = answer.clone();
                    cut.body.truncate(r.index(answer.body.len()));
                    cut
                }
                _ => continue,
            };
            // What was refused is not made good on the way.
            if answer.head.is_success() || !changed.head.is_success() || !self.kind.laws.blank_is_yes || exchange.read {
                answer = changed;
            }
        }
        let mut inputs = vec![Input::Response(answer.head)];
        if !answer.body.is_empty() {
            inputs.push(Input::Chunk(answer.body));
        }
        inputs.push(Input::End);
        self.send_down(number, inputs);
    }
}

pub fn error(nth: u64) -> Answer {
    let (status, body): (u16, &[u8]) = match nth {
        0 => (502, b"<html><h1>502 Bad Gateway</h1></html>"),
        1 => (503, br#"{"code":14,"message":"etcdserver: leader changed"}"#),
        2 => (500, b""),
        3 => (500, b"rpc error making call: No cluster leader"),
        _ => (504, br#"{"error":true}"#),
    };
    Answer { head: Head::new(status), body: body.to_vec() }
}

pub fn garbage(nth: u64) -> Answer {
    let (kind, body): (&str, &[u8]) = match nth {
        0 => ("text/html", b"<!doctype html><title>Sign in to the network</title>"),
        1 => ("application/json", b"[]"),
        2 => ("application/json", b"{}"),
        3 => ("application/json", br#"{"header":12,"kvs":null,"lease":{}}"#),
        4 => ("application/json", b"\x00\xff\xfe\x80garbage"),
        5 => ("application/json", b"null"),
        _ => ("application/json", b"[{\"Node\":{}},7,"),
    };
    let mut head = Head::new(200);
    head.headers.push(("content-type".into(), kind.into()));
    Answer { head, body: body.to_vec() }
}

pub fn empty(streaming: bool) -> Answer {
    let mut head = Head::new(200);
    let kind = if streaming { "text/event-stream" } else { "application/json" };
    head.headers.push(("content-type".into(), kind.into()));
    Answer { head, body: Vec::new() }
}

/// Whole lines and events that mean nothing, or nothing good.
pub fn garbage_event(nth: u64) -> Vec<u8> {
    let text: &[u8] = match nth {
        0 => b"\n\n",
        1 => b"{}\n\n",
        2 => b"{\"result\":{}}\n\n",
        3 => b"{\"result\":\n\n",
        4 => b"\xff\xfe\x00\n\n",
        _ => b"{\"result\":{\"header\":{\"revision\":\"x\"},\"events\":[{\"kv\":7}]}}\n\n",
    };
    text.to_vec()
}
