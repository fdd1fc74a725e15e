use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

/// A registry that answers what the test says.
struct Fake {
    requests: mpsc::UnboundedReceiver<Request>,
    want: watch::Sender<Wanted>,
    holder: JoinHandle<End>,
}

/// A request that waits for its answer. Dropped, its connection breaks.
struct Request {
    line: String,
    body: Value,
    socket: TcpStream,
}

impl Request {
    async fn read(mut socket: TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
                if bytes.len() >= end + 4 + length.unwrap_or(0) {
                    let line = String::from_utf8_lossy(&bytes).lines().next()?.to_owned();
                    let body = serde_json::from_slice(&bytes[end + 4..]).unwrap_or_default();
                    return Some(Self { line, body, socket });
                }
            }
            if socket.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    }

    async fn answer(mut self, status: u16, mut body: Value) {
        body["epoch"] = json!("e");
        body["revision"] = json!(1);
        let body = body.to_string();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        self.socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    }

    /// Answers a registration with a lease of a short life.
    async fn register(self, lease: &str, generation: u64) {
        assert!(self.line.starts_with("PUT /v1/services/web/instances/a?ns=default "), "{}", self.line);
        let answer = json!({"outcome": "registered", "lease": lease, "generation": generation, "ttl": "90ms"});
        self.answer(200, answer).await;
    }

    async fn fail_renewal(self, code: &str) {
        assert!(self.line.starts_with("POST /v1/leases/renew "), "{}", self.line);
        self.answer(200, json!({"renewed": 0, "failed": [{"index": 0, "code": code}]})).await;
    }
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move { Request::read(socket).await.map(|request| sender.send(request)) });
            }
        });
        let client = Client::new(address.parse().unwrap(), "default".into());
        let instance = ServiceInstance::new("web".parse().unwrap(), "a".parse().unwrap());
        let registration = Registration { instance, ttl: None };
        let (want, wanted) = watch::channel(Wanted::In);
        let holder = tokio::spawn(Holder::new(client, registration).run(wanted, |_| {}));
        Self { requests, want, holder }
    }

    async fn next(&mut self) -> Request {
        let next = tokio::time::timeout(Duration::from_secs(10), self.requests.recv()).await;
        next.expect("a request comes in time").expect("the fake runs")
    }

    /// The next request that is no renewal; renewals succeed.
    async fn next_change(&mut self) -> Request {
        loop {
            let request = self.next().await;
            if !request.line.starts_with("POST /v1/leases/renew ") {
                return request;
            }
            request.answer(200, json!({"renewed": 1, "failed": []})).await;
        }
    }

    fn want(&self, wanted: Wanted) {
        self.want.send(wanted).unwrap();
    }

    async fn end(mut self) -> End {
        let end = tokio::time::timeout(Duration::from_secs(10), self.holder).await;
        assert!(self.requests.try_recv().is_err(), "nothing follows the last word");
        end.expect("it ends in time").unwrap()
    }
}

#[tokio::test]
async fn the_last_request_is_the_deregistration() {
    let mut fake = Fake::start().await;
    fake.next().await.register("L1", 1).await;
    let renewal = fake.next().await;
    assert_eq!(renewal.body, json!({"leases": ["L1"]}));
    renewal.answer(200, json!({"renewed": 1, "failed": []})).await;
    fake.want(Wanted::Stop);
    let last = fake.next_change().await;
    assert!(last.line.starts_with("DELETE ") && last.body["lease"] == "L1", "{} {}", last.line, last.body);
    last.answer(200, json!({})).await;
    assert!(matches!(fake.end().await, End::Stopped));
}

#[tokio::test]
async fn a_registration_whose_answer_never_came_is_sent_again_as_the_same_one() {
    let mut fake = Fake::start().await;
    let first = fake.next().await.body.clone();
    let second = fake.next().await;
    assert_eq!(first, second.body);
    assert!(first["sequence"].is_u64() && first["incarnation"].as_str().map(str::len) == Some(32));
    second.register("L1", 1).await;
    fake.want(Wanted::Stop);
    fake.next_change().await.answer(200, json!({})).await;
    fake.end().await;
}

#[tokio::test]
async fn a_registration_that_is_not_wanted_any_more_is_given_up_by_number() {
    let mut fake = Fake::start().await;
    let registration = fake.next().await;
    fake.want(Wanted::Stop);
    let last = fake.next().await;
    assert!(last.line.starts_with("DELETE "), "{}", last.line);
    assert_eq!(last.body["incarnation"], registration.body["incarnation"]);
    assert!(last.body["sequence"].as_u64() >= registration.body["sequence"].as_u64());
    last.answer(200, json!({})).await;
    assert!(matches!(fake.end().await, End::Stopped));
}

#[tokio::test]
async fn a_registration_whose_answer_never_came_is_given_up_at_the_end() {
    let mut fake = Fake::start().await;
    drop(fake.next().await);
    fake.want(Wanted::Stop);
    let last = fake.next().await;
    assert!(last.line.starts_with("DELETE "), "{}", last.line);
    last.answer(200, json!({})).await;
    assert!(matches!(fake.end().await, End::Stopped));
}

#[tokio::test]
async fn after_a_loss_it_registers_again_and_names_the_generation_it_had() {
    let mut fake = Fake::start().await;
    let first = fake.next().await;
    assert!(first.body.get("reclaim").is_none());
    let sequence = first.body["sequence"].as_u64();
    first.register("L1", 7).await;
    fake.next().await.fail_renewal("lease_expired").await;
    let second = fake.next().await;
    assert_eq!(second.body["reclaim"], 7);
    assert!(second.body["sequence"].as_u64() > sequence);
    second.register("L2", 8).await;
    assert_eq!(fake.next().await.body, json!({"leases": ["L2"]}));
}

#[tokio::test]
async fn a_registration_that_was_over_before_it_came_gets_a_new_number() {
    let mut fake = Fake::start().await;
    let first = fake.next().await;
    let sequence = first.body["sequence"].as_u64();
    first.answer(410, json!({"code": "ended", "message": "given up"})).await;
    assert!(fake.next().await.body["sequence"].as_u64() > sequence);
}

#[tokio::test]
async fn whose_id_is_taken_does_not_take_it_back() {
    let mut fake = Fake::start().await;
    fake.next().await.register("L1", 1).await;
    fake.next().await.fail_renewal("lease_superseded").await;
    assert!(matches!(fake.end().await, End::Lost(refusal) if refusal.code == "lease_superseded"));
}

#[tokio::test]
async fn who_went_out_comes_in_again_under_a_higher_number() {
    let mut fake = Fake::start().await;
    let first = fake.next().await;
    let sequence = first.body["sequence"].as_u64();
    first.register("L1", 1).await;
    // So that the answer has been read before something else is wanted.
    fake.next().await.answer(200, json!({"renewed": 1, "failed": []})).await;
    fake.want(Wanted::Out);
    let leave = fake.next_change().await;
    assert_eq!(leave.body["lease"], "L1");
    let left = leave.body["sequence"].as_u64();
    leave.answer(200, json!({})).await;
    fake.want(Wanted::In);
    let again = fake.next().await;
    assert!(again.body["sequence"].as_u64() > left && left > sequence);
    again.register("L2", 2).await;
}

#[tokio::test]
async fn a_deregistration_whose_answer_never_came_is_not_taken_for_a_loss() {
    let mut fake = Fake::start().await;
    fake.next().await.register("L1", 1).await;
    fake.next().await.answer(200, json!({"renewed": 1, "failed": []})).await;
    fake.want(Wanted::Out);
    drop(fake.next_change().await);
    fake.want(Wanted::In);
    // It may have been tried once more before.
    loop {
        let request = fake.next().await;
        if request.line.starts_with("PUT ") {
            request.register("L2", 2).await;
            break;
        }
        assert_eq!(request.body["incarnation"].as_str().map(str::len), Some(32), "{}", request.body);
        drop(request);
    }
    assert_eq!(fake.next().await.body, json!({"leases": ["L2"]}));
}

#[tokio::test]
async fn a_registration_that_can_never_succeed_is_not_tried_again() {
    let mut fake = Fake::start().await;
    fake.next().await.answer(400, json!({"code": "invalid_ttl", "message": "too short", "field": "ttl"})).await;
    assert!(matches!(fake.end().await, End::Refused(_)));
}

#[tokio::test]
async fn a_busy_registry_is_asked_again() {
    let mut fake = Fake::start().await;
    fake.next().await.answer(503, json!({"code": "overloaded", "message": "later"})).await;
    fake.next().await.register("L1", 1).await;
}
