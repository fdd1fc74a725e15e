//! What dialling over HTTP promises, with real sockets, on every native runtime. A runtime's test says how it is made and
//! run, and includes this file.

#![allow(unreachable_pub, reason = "it is a module of a test")]

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::net::TcpListener;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures_core::Stream;
use periplus::app::{AppInfo, Control, Server, Serving, Stage};
use periplus::core::balance::{BalanceConfig, Filter, OutlierConfig, Policy, SlowStart};
use periplus::core::dial::EmptyPolicy;
use periplus::core::{Endpoint, InstanceId, Patch, ServiceInstance, ServiceName};
use periplus::{Client, ConnectOptions, Registration, Runtime, connect_with};
use periplus_hyper::{HttpChannel, HttpDialer, HttpError, HttpServer, Net, Picked, TlsConfig, UrlError};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::server::{Peer, serve};

#[allow(dead_code, reason = "other tests need all of it")]
mod server;

const SERVICE: &str = "web";
const TARGET: &str = "discovery:///web";

/// A runtime under test.
pub trait Subject {
    type Runtime: Runtime + Net;

    /// Runs a test to its end.
    fn run(test: impl Future<Output = ()>);

    fn runtime() -> Self::Runtime;

    fn server(address: &str, router: Router) -> HttpServer;
}

/// Runs every test of this file with a subject.
#[macro_export]
macro_rules! suite {
    ($subject:ty) => {
        $crate::suite! { $subject:
            requests_are_spread_smoothly_by_weight
            a_change_of_weight_or_metadata_reconnects_nothing
            a_killed_server_is_noticed_without_a_call_and_called_again_when_it_is_back
            a_server_that_dies_with_a_call_fails_it_and_no_other
            nobody_to_call_is_said_at_once
            calls_wait_for_the_first_word_and_for_an_instance_if_they_are_to_but_not_for_ever
            an_instance_that_leaves_finishes_its_calls_and_its_idle_connections_close
            a_kept_connection_that_the_server_has_closed_costs_nothing
            a_get_that_crosses_with_the_end_of_its_connection_is_sent_once_more
            a_post_that_crosses_with_the_end_of_its_connection_is_not_sent_again
            a_get_that_was_answered_in_part_is_not_sent_again
            a_get_on_a_fresh_connection_is_not_sent_again
            bodies_are_streamed_both_ways
            a_service_is_known_by_its_name_in_tls
            the_one_who_was_picked_is_named_and_a_filter_narrows_the_choice
            an_instance_that_says_it_is_unavailable_is_ejected
            a_call_that_takes_too_long_says_so
            addresses_are_dialled_without_a_registry
            a_url_is_called_through_one_channel_a_service
            a_host_is_the_services_name_unless_the_request_has_one
            connections_end_with_the_last_channel
        }
    };
    ($subject:ty: $($test:ident)*) => {
        $(#[test]
        fn $test() {
            <$subject as testing::Subject>::run(testing::bounded::<$subject>(testing::$test::<$subject>()));
        })*
    };
}

/// Gives a test a minute.
pub async fn bounded<S: Subject>(test: impl Future<Output = ()>) {
    let mut test = std::pin::pin!(test);
    let mut limit = Net::sleep(&S::runtime(), Duration::from_secs(60));
    poll_fn(|cx| match test.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => limit.as_mut().poll(cx).map(|()| panic!("the test hangs")),
    })
    .await;
}

fn registry<S: Subject>() -> Client {
    connect_with(S::runtime(), "memory:", ConnectOptions::default()).unwrap()
}

fn instance(id: &str, endpoint: &str) -> ServiceInstance {
    ServiceInstance::new(ServiceName::new(SERVICE).unwrap(), InstanceId::new(id).unwrap())
        .with_endpoint(Endpoint::new(endpoint).unwrap())
}

/// A server of this process.
struct Provider {
    endpoint: Endpoint,
    control: Control,
    /// Sent, the server and its connections are dropped at once.
    kill: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
    /// How many calls of `/slow` are inside.
    inside: Arc<AtomicUsize>,
    /// Lets calls of `/slow` go on.
    release: Arc<Semaphore>,
}

impl Provider {
    async fn start<S: Subject>(id: &str) -> Self {
        Self::at::<S>(id, "127.0.0.1:0").await
    }

    async fn at<S: Subject>(id: &str, address: &str) -> Self {
        Self::serve::<S>(id, address, |server| server).await
    }

    async fn serve<S: Subject>(id: &str, address: &str, with: impl FnOnce(HttpServer) -> HttpServer) -> Self {
        let (inside, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (count, gate) = (Arc::clone(&inside), Arc::clone(&release));
        let slow = async move |Extension(app): Extension<AppInfo>| {
            count.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            app.id().to_string()
        };
        let router = Router::new()
            .route("/id", get(async |Extension(app): Extension<AppInfo>| app.id().to_string()))
            .route("/hello/{name}", get(async |Path(name): Path<String>| name))
            .route("/host", get(async |headers: HeaderMap| headers["host"].to_str().unwrap().to_owned()))
            .route("/unavailable", get(async || StatusCode::SERVICE_UNAVAILABLE))
            .route("/echo", post(async |body: Body| body))
            .route("/slow", get(slow.clone()).post(slow));
        let mut server = Box::new(with(S::server(address, router)));
        let endpoint = server.bind().await.unwrap().remove(0);
        let (serving, control) = Serving::new(AppInfo::new(instance(id, endpoint.as_str())));
        let (kill, killed) = oneshot::channel();
        let (tell, ended) = oneshot::channel();
        let mut work = server.serve(serving);
        let mut killed = Box::pin(killed);
        Net::spawn(
            &S::runtime(),
            Box::pin(async move {
                poll_fn(|cx| match killed.as_mut().poll(cx) {
                    Poll::Ready(Ok(())) => Poll::Ready(()),
                    _ => work.as_mut().poll(cx).map(|result| result.unwrap()),
                })
                .await;
                drop(work);
                let _ = tell.send(());
            }),
        );
        control.accepting().await;
        Self { endpoint, control, kill, ended, inside, release }
    }

    fn instance(&self, id: &str) -> ServiceInstance {
        instance(id, self.endpoint.as_str())
    }

    async fn register(&self, registry: &Client, id: &str) -> Registration {
        registry.register(self.instance(id)).await.unwrap()
    }

    fn address(&self) -> String {
        let parts = self.endpoint.parts().unwrap();
        format!("{}:{}", parts.host, parts.port)
    }

    /// Everything is gone at once. Answers where it was.
    async fn kill(self) -> String {
        let address = self.address();
        self.kill.send(()).unwrap();
        self.ended.await.unwrap();
        address
    }

    /// Takes no new calls, and waits for those that are under way.
    async fn stop(self) {
        self.control.stop(Stage::Stop);
        let _kill = self.kill;
        self.ended.await.unwrap();
    }
}

/// Smooth weighted round robin from its beginning, without slow start.
fn round_robin() -> BalanceConfig {
    let slow_start = SlowStart { window: Duration::ZERO, ..SlowStart::default() };
    BalanceConfig { slow_start, start: Some(0), ..BalanceConfig::new(Policy::WeightedRoundRobin) }
}

fn dial<S: Subject>(registry: &Client) -> HttpChannel {
    HttpChannel::builder(S::runtime(), TARGET).balance(round_robin()).connect(registry).unwrap()
}

async fn text(channel: &HttpChannel, path: &str) -> Result<String, HttpError> {
    let bytes = channel.get(path).await?.into_body().bytes().await?;
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

async fn tally(channel: &HttpChannel, calls: usize) -> BTreeMap<String, usize> {
    let mut by = BTreeMap::new();
    for _ in 0..calls {
        *by.entry(text(channel, "/id").await.unwrap()).or_insert(0) += 1;
    }
    by
}

/// Looks until it is so.
async fn until<S: Subject, F: Future<Output = bool>>(mut is: impl FnMut() -> F) {
    while !is().await {
        Net::sleep(&S::runtime(), Duration::from_millis(5)).await;
    }
}

/// A call under way, whose result comes later.
fn under_way<S: Subject>(
    channel: &HttpChannel,
    request: Request<Body>,
) -> oneshot::Receiver<Result<String, HttpError>> {
    let (channel, (tell, told)) = (channel.clone(), oneshot::channel());
    Net::spawn(
        &S::runtime(),
        Box::pin(async move {
            let answer = async {
                let bytes = channel.send(request).await?.into_body().bytes().await?;
                Ok(String::from_utf8(bytes.to_vec()).unwrap())
            };
            let _ = tell.send(answer.await);
        }),
    );
    told
}

fn request(method: Method, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

pub async fn requests_are_spread_smoothly_by_weight<S: Subject>() {
    let registry = registry::<S>();
    let mut running = Vec::new();
    for (id, weight) in [("a", 5), ("b", 1), ("c", 1)] {
        let provider = Provider::start::<S>(id).await;
        let instance = provider.instance(id).with_metadata("weight", weight.to_string());
        running.push((registry.register(instance).await.unwrap(), provider));
    }
    let channel = dial::<S>(&registry);
    let mut order = String::new();
    for _ in 0..14 {
        order += &text(&channel, "/id").await.unwrap();
    }
    assert_eq!(order, "aabacaaaabacaa");
    let expected = BTreeMap::from([("a".to_owned(), 50), ("b".to_owned(), 10), ("c".to_owned(), 10)]);
    assert_eq!(tally(&channel, 70).await, expected);
}

/// Answers each request of each connection, and counts the connections.
fn counting(listener: TcpListener, count: &AtomicUsize) {
    loop {
        let mut peer = Peer::accept(&listener);
        count.fetch_add(1, Ordering::SeqCst);
        std::thread::spawn(move || {
            while peer.request().is_some() {
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        });
    }
}

pub async fn a_change_of_weight_or_metadata_reconnects_nothing<S: Subject>() {
    let registry = registry::<S>();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let (url, _end) = serve(move |listener| counting(listener, &counted));
    let provider = Provider::start::<S>("b").await;
    let a = registry.register(instance("a", &url).with_metadata("weight", "1")).await.unwrap();
    let _b = registry.register(provider.instance("b").with_metadata("weight", "1")).await.unwrap();
    let channel = dial::<S>(&registry);
    assert_eq!(tally(&channel, 10).await["ok"], 5);
    for weight in [3, 7, 4] {
        a.update(&Patch::new().with_weight(weight)).unwrap();
    }
    until::<S, _>(async || tally(&channel, 5).await["ok"] == 4).await;
    assert_eq!(tally(&channel, 50).await["ok"], 40);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

pub async fn a_killed_server_is_noticed_without_a_call_and_called_again_when_it_is_back<S: Subject>() {
    let registry = registry::<S>();
    let (a, b) = (Provider::start::<S>("a").await, Provider::start::<S>("b").await);
    let _registrations = (a.register(&registry, "a").await, b.register(&registry, "b").await);
    let channel = dial::<S>(&registry);
    assert_eq!(tally(&channel, 10).await.len(), 2);
    let address = b.kill().await;
    // It is still listed.
    assert_eq!(tally(&channel, 100).await, BTreeMap::from([("a".to_owned(), 100)]));
    // The other goes, too: what says so is the reason, and no call has asked for it.
    let other = a.kill().await;
    until::<S, _>(async || {
        let error = text(&channel, "/id").await.unwrap_err();
        assert!(!error.was_begun(), "{error}");
        error.to_string().contains("no instance can be reached")
    })
    .await;
    let _a = Provider::at::<S>("a", &other).await;
    let _b = Provider::at::<S>("b", &address).await;
    until::<S, _>(async || text(&channel, "/id").await.is_ok()).await;
    until::<S, _>(async || tally(&channel, 2).await.len() == 2).await;
    assert_eq!(tally(&channel, 10).await["b"], 5);
}

pub async fn a_server_that_dies_with_a_call_fails_it_and_no_other<S: Subject>() {
    let registry = registry::<S>();
    let (a, b) = (Provider::start::<S>("a").await, Provider::start::<S>("b").await);
    let _registrations = (a.register(&registry, "a").await, b.register(&registry, "b").await);
    let channel = dial::<S>(&registry);
    let call = under_way::<S>(&channel, request(Method::POST, "/slow"));
    until::<S, _>(async || a.inside.load(Ordering::SeqCst) + b.inside.load(Ordering::SeqCst) == 1).await;
    let (dies, lives) = if a.inside.load(Ordering::SeqCst) == 1 { (a, "b") } else { (b, "a") };
    dies.kill().await;
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, HttpError::Lost { .. }) && error.was_begun(), "{error}");
    assert_ne!(error.picked().unwrap().instance().id.as_str(), lives);
    assert_eq!(tally(&channel, 50).await, BTreeMap::from([(lives.to_owned(), 50)]));
}

pub async fn nobody_to_call_is_said_at_once<S: Subject>() {
    let registry = registry::<S>();
    let channel = HttpChannel::builder(S::runtime(), TARGET).wait(Duration::from_secs(60)).connect(&registry).unwrap();
    let began = Instant::now();
    let error = text(&channel, "/id").await.unwrap_err();
    assert!(matches!(error, HttpError::Unavailable { .. }) && !error.was_begun());
    assert_eq!(error.to_string(), "unavailable: discovery:///web: no instance is registered");
    let _other = registry.register(instance("a", "grpc://127.0.0.1:1")).await.unwrap();
    until::<S, _>(async || {
        let error = text(&channel, "/id").await.unwrap_err().to_string();
        error == "unavailable: discovery:///web: no instance has an endpoint of the scheme `http`"
    })
    .await;
    // Nobody listens there.
    let _deaf = registry.register(instance("b", "http://127.0.0.1:1")).await.unwrap();
    until::<S, _>(async || text(&channel, "/id").await.unwrap_err().to_string().contains("at 127.0.0.1:1: ")).await;
    assert!(began.elapsed() < Duration::from_secs(20));
}

pub async fn calls_wait_for_the_first_word_and_for_an_instance_if_they_are_to_but_not_for_ever<S: Subject>() {
    // There is no registry there.
    let down = connect_with(S::runtime(), "periplus://127.0.0.1:1", ConnectOptions::default()).unwrap();
    let limit = Duration::from_millis(100);
    let channel = HttpChannel::builder(S::runtime(), TARGET).wait(limit).connect(&down).unwrap();
    let began = Instant::now();
    let error = text(&channel, "/id").await.unwrap_err();
    assert!(error.to_string().contains("the registry has not said yet who is there"), "{error}");
    assert!(began.elapsed() >= limit);

    let registry = registry::<S>();
    let builder = HttpChannel::builder(S::runtime(), TARGET).wait(Duration::from_secs(50));
    let waiting = builder.clone().empty(EmptyPolicy::Wait).connect(&registry).unwrap();
    let call = under_way::<S>(&waiting, request(Method::GET, "/id"));
    let provider = Provider::start::<S>("a").await;
    let registration = provider.register(&registry, "a").await;
    assert_eq!(call.await.unwrap().unwrap(), "a");

    let kept = builder.empty(EmptyPolicy::KeepLast(Duration::from_millis(300))).connect(&registry).unwrap();
    assert_eq!(text(&kept, "/id").await.unwrap(), "a");
    let gone = Instant::now();
    registration.close().await;
    assert_eq!(text(&kept, "/id").await.unwrap(), "a");
    until::<S, _>(async || text(&kept, "/id").await.is_err()).await;
    assert!(gone.elapsed() >= Duration::from_millis(250));
}

pub async fn an_instance_that_leaves_finishes_its_calls_and_its_idle_connections_close<S: Subject>() {
    let registry = registry::<S>();
    let provider = Provider::start::<S>("a").await;
    let registration = provider.register(&registry, "a").await;
    let channel = dial::<S>(&registry);
    let call = under_way::<S>(&channel, request(Method::GET, "/slow"));
    until::<S, _>(async || provider.inside.load(Ordering::SeqCst) == 1).await;
    // Another connection, that is idle from now on.
    assert_eq!(text(&channel, "/id").await.unwrap(), "a");
    registration.close().await;
    until::<S, _>(async || text(&channel, "/id").await.is_err()).await;
    provider.release.add_permits(1);
    assert_eq!(call.await.unwrap().unwrap(), "a");
    provider.stop().await;

    // A server that closes nothing by itself sees its client close.
    let (url, closed) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.request().unwrap();
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        peer.is_closed()
    });
    let registration = registry.register(instance("b", &url)).await.unwrap();
    until::<S, _>(async || text(&channel, "/id").await.is_ok_and(|text| text == "ok")).await;
    registration.close().await;
    assert!(closed.await);
}

pub async fn a_kept_connection_that_the_server_has_closed_costs_nothing<S: Subject>() {
    let registry = registry::<S>();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    // One request a connection, and no word that it will be closed.
    let (url, _end) = serve(move |listener| {
        loop {
            let mut peer = Peer::accept(&listener);
            counted.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                if peer.request().is_some() {
                    peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                }
            });
        }
    });
    let _registration = registry.register(instance("a", &url)).await.unwrap();
    let channel = dial::<S>(&registry);
    for _ in 0..20 {
        assert_eq!(text(&channel, "/id").await.unwrap(), "ok");
    }
    assert!(count.load(Ordering::SeqCst) >= 20);
}

/// A server that answers the first request of its first connection, and to the second says this and closes. On further
/// connections it answers. Where it is, and which requests it got.
fn crossing(last_words: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&lines);
    let (url, _end) = serve(move |listener| {
        for number in 0.. {
            let (mut peer, lines) = (Peer::accept(&listener), Arc::clone(&lines));
            std::thread::spawn(move || {
                let mut requests = 0;
                while let Some(request) = peer.request() {
                    lines.lock().unwrap().push(request.line);
                    requests += 1;
                    if number == 0 && requests == 2 {
                        return peer.write(last_words);
                    }
                    peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                }
            });
        }
    });
    (url, told)
}

pub async fn a_get_that_crosses_with_the_end_of_its_connection_is_sent_once_more<S: Subject>() {
    let registry = registry::<S>();
    let (url, lines) = crossing("");
    let _registration = registry.register(instance("a", &url)).await.unwrap();
    let channel = dial::<S>(&registry);
    assert_eq!(text(&channel, "/1").await.unwrap(), "ok");
    assert_eq!(text(&channel, "/2").await.unwrap(), "ok");
    assert_eq!(*lines.lock().unwrap(), ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1", "GET /2 HTTP/1.1"]);
}

pub async fn a_post_that_crosses_with_the_end_of_its_connection_is_not_sent_again<S: Subject>() {
    let registry = registry::<S>();
    let (url, lines) = crossing("");
    let _registration = registry.register(instance("a", &url)).await.unwrap();
    let channel = dial::<S>(&registry);
    assert_eq!(text(&channel, "/1").await.unwrap(), "ok");
    let error = channel.send(request(Method::POST, "/2")).await.unwrap_err();
    assert!(matches!(error, HttpError::Lost { .. }) && error.was_begun(), "{error}");
    // The instance is not given up for it.
    assert_eq!(text(&channel, "/3").await.unwrap(), "ok");
    assert_eq!(*lines.lock().unwrap(), ["GET /1 HTTP/1.1", "POST /2 HTTP/1.1", "GET /3 HTTP/1.1"]);
}

pub async fn a_get_that_was_answered_in_part_is_not_sent_again<S: Subject>() {
    let registry = registry::<S>();
    let (url, lines) = crossing("HTTP/1.1 20");
    let _registration = registry.register(instance("a", &url)).await.unwrap();
    let channel = dial::<S>(&registry);
    assert_eq!(text(&channel, "/1").await.unwrap(), "ok");
    let error = text(&channel, "/2").await.unwrap_err();
    assert!(matches!(error, HttpError::Lost { .. }), "{error}");
    assert_eq!(text(&channel, "/3").await.unwrap(), "ok");
    assert_eq!(*lines.lock().unwrap(), ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1", "GET /3 HTTP/1.1"]);
}

pub async fn a_get_on_a_fresh_connection_is_not_sent_again<S: Subject>() {
    let registry = registry::<S>();
    // The kept connection is busy with a call, so that the next has a fresh one.
    let (inside, entered) = oneshot::channel();
    let (url, lines) = serve(move |listener| {
        let mut busy = Peer::accept(&listener);
        let mut lines = vec![busy.request().unwrap().line];
        inside.send(()).unwrap();
        let mut fresh = Peer::accept(&listener);
        lines.push(fresh.request().unwrap().line);
        drop(fresh);
        busy.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        lines.extend(busy.request().map(|request| request.line));
        lines
    });
    let _registration = registry.register(instance("a", &url)).await.unwrap();
    let channel = dial::<S>(&registry);
    let first = under_way::<S>(&channel, request(Method::GET, "/1"));
    entered.await.unwrap();
    let error = text(&channel, "/2").await.unwrap_err();
    assert!(matches!(error, HttpError::Lost { .. }), "{error}");
    assert_eq!(first.await.unwrap().unwrap(), "ok");
    drop(channel);
    assert_eq!(lines.await, ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1"]);
}

/// A body that is sent piece by piece.
struct Pieces(mpsc::Receiver<Bytes>);

impl Stream for Pieces {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|piece| piece.map(Ok))
    }
}

pub async fn bodies_are_streamed_both_ways<S: Subject>() {
    let registry = registry::<S>();
    let provider = Provider::start::<S>("a").await;
    let _registration = provider.register(&registry, "a").await;
    let channel = dial::<S>(&registry);
    let (pieces, receiver) = mpsc::channel(1);
    let request = Request::post("/echo").body(Body::from_stream(Pieces(receiver))).unwrap();
    pieces.send(Bytes::from_static(b"first")).await.unwrap();
    let response = channel.send(request).await.unwrap();
    let node = Arc::clone(response.extensions().get::<Picked>().unwrap().node());
    let mut echo = Body::new(response.into_body()).into_data_stream();
    let mut next = async || poll_fn(|cx| Pin::new(&mut echo).poll_next(cx)).await.map(|piece| piece.unwrap());
    assert_eq!(next().await.unwrap(), "first");
    // Each comes back before the next is sent.
    for piece in ["second", "third"] {
        pieces.send(Bytes::from_static(piece.as_bytes())).await.unwrap();
        assert_eq!(next().await.unwrap(), piece);
    }
    assert_eq!(node.stats().in_flight, 1);
    drop(pieces);
    assert_eq!(next().await, None);
    assert_eq!(node.stats().in_flight, 0);
    // And a long one, whole.
    let long = vec![7; 3 << 20];
    let request = Request::post("/echo").body(Body::from(long.clone())).unwrap();
    let echo = channel.send(request).await.unwrap().into_body().bytes().await.unwrap();
    assert!(echo == long);
}

pub async fn a_service_is_known_by_its_name_in_tls<S: Subject>() {
    let registry = registry::<S>();
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec![SERVICE.into()]).unwrap();
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::SeqCst);
    let directory: PathBuf = std::env::temp_dir().join(format!("periplus-dial-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let provider = Provider::serve::<S>("a", "127.0.0.1:0", |server| server.tls_files(certificate, key)).await;
    std::fs::remove_dir_all(directory).unwrap();
    let _registration = provider.register(&registry, "a").await;
    let believing = || TlsConfig::default().with_roots(cert.pem().as_bytes()).unwrap().without_public_roots();
    let builder = || HttpChannel::builder(S::runtime(), TARGET);
    let channel = builder().tls(believing()).connect(&registry).unwrap();
    assert_eq!(text(&channel, "/id").await.unwrap(), "a");
    // Who is not believed, or has another name, is not called.
    for refused in [builder().tls(TlsConfig::default()), builder().tls(believing()).server_name("other.example")] {
        let error = text(&refused.connect(&registry).unwrap(), "/id").await.unwrap_err();
        assert!(error.to_string().contains("certificate") && !error.was_begun(), "{error}");
    }
    // Without TLS there is nobody: there is no falling back.
    let error = text(&builder().connect(&registry).unwrap(), "/id").await.unwrap_err();
    assert!(error.to_string().contains("no instance has an endpoint of the scheme `http`"), "{error}");
}

pub async fn the_one_who_was_picked_is_named_and_a_filter_narrows_the_choice<S: Subject>() {
    let registry = registry::<S>();
    let (a, b) = (Provider::start::<S>("a").await, Provider::start::<S>("b").await);
    let _a = registry.register(a.instance("a").with_version("1")).await.unwrap();
    let _b = registry.register(b.instance("b").with_version("2")).await.unwrap();
    let channel = dial::<S>(&registry);
    let second = channel.clone().with_filter(Filter::version("2"));
    assert_eq!(tally(&second, 10).await, BTreeMap::from([("b".to_owned(), 10)]));
    // For one call.
    for _ in 0..10 {
        let mut request = request(Method::GET, "/id");
        request.extensions_mut().insert(Filter::version("1"));
        let response = channel.send(request).await.unwrap();
        let picked = response.extensions().get::<Picked>().unwrap();
        assert_eq!((picked.instance().id.as_str(), picked.instance().version.as_str()), ("a", "1"));
    }
    let error = text(&channel.with_filter(Filter::version("3")), "/id").await.unwrap_err();
    assert!(error.to_string().contains("no instance passes the filter"), "{error}");
}

pub async fn an_instance_that_says_it_is_unavailable_is_ejected<S: Subject>() {
    let registry = registry::<S>();
    let (url, _end) = serve(|listener| {
        loop {
            let mut peer = Peer::accept(&listener);
            std::thread::spawn(move || {
                while peer.request().is_some() {
                    peer.write("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
                }
            });
        }
    });
    let good = Provider::start::<S>("good").await;
    let _bad = registry.register(instance("bad", &url)).await.unwrap();
    let _good = good.register(&registry, "good").await;
    let outlier = OutlierConfig { consecutive: 3, base: Duration::from_secs(600), ..OutlierConfig::default() };
    let balance = BalanceConfig { outlier, ..round_robin() };
    let channel = HttpChannel::builder(S::runtime(), TARGET).balance(balance).connect(&registry).unwrap();
    let (mut unavailable, mut in_a_row) = (0, 0);
    while in_a_row < 4 {
        let good = channel.get("/id").await.unwrap().status() == StatusCode::OK;
        (unavailable, in_a_row) = if good { (unavailable, in_a_row + 1) } else { (unavailable + 1, 0) };
    }
    assert!(unavailable >= 3);
    assert_eq!(tally(&channel, 20).await, BTreeMap::from([("good".to_owned(), 20)]));
}

pub async fn a_call_that_takes_too_long_says_so<S: Subject>() {
    let registry = registry::<S>();
    let provider = Provider::start::<S>("a").await;
    let _registration = provider.register(&registry, "a").await;
    let limit = Duration::from_millis(100);
    let channel = HttpChannel::builder(S::runtime(), TARGET).timeout(limit).connect(&registry).unwrap();
    until::<S, _>(async || text(&channel, "/id").await.is_ok()).await;
    let error = text(&channel, "/slow").await.unwrap_err();
    assert!(matches!(error, HttpError::TimedOut { .. }) && error.was_begun(), "{error}");
    let node = Arc::clone(error.picked().unwrap().node());
    assert_eq!((node.stats().in_flight, provider.inside.load(Ordering::SeqCst)), (0, 1));
    assert!(node.stats().failures_in_a_row > 0);
}

pub async fn addresses_are_dialled_without_a_registry<S: Subject>() {
    let (a, b) = (Provider::start::<S>("a").await, Provider::start::<S>("b").await);
    let target = format!("direct:///{},{}", a.address(), b.address());
    let builder = HttpChannel::builder(S::runtime(), target).balance(round_robin());
    let channel = builder.connect(&registry::<S>()).unwrap();
    assert_eq!(tally(&channel, 10).await.values().copied().collect::<Vec<_>>(), [5, 5]);
    assert!(HttpChannel::builder(S::runtime(), "dns:///web").connect(&registry::<S>()).is_err());
}

pub async fn a_url_is_called_through_one_channel_a_service<S: Subject>() {
    let registry = registry::<S>();
    let provider = Provider::start::<S>("a").await;
    let _registration = provider.register(&registry, "a").await;
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened);
    let dialer = HttpDialer::new(S::runtime(), registry, move |builder| {
        counted.fetch_add(1, Ordering::SeqCst);
        builder.balance(round_robin())
    });
    for name in ["x", "a%20b"] {
        let response = dialer.get(&format!("discovery:///web/hello/{name}?a=b")).await.unwrap();
        assert_eq!(response.into_body().bytes().await.unwrap(), name.replace("%20", " "));
    }
    let direct = format!("direct:///{}/echo", provider.address());
    let response = dialer.send(&direct, Request::post("/").body(Body::from("word")).unwrap()).await.unwrap();
    assert_eq!(response.into_body().bytes().await.unwrap(), "word");
    assert_eq!(opened.load(Ordering::SeqCst), 2);
    assert!(matches!(dialer.get("http://web/").await, Err(UrlError::Connect(_))));
    assert!(matches!(dialer.get("discovery:///other/x").await, Err(UrlError::Call(HttpError::Unavailable { .. }))));
}

pub async fn a_host_is_the_services_name_unless_the_request_has_one<S: Subject>() {
    let registry = registry::<S>();
    let provider = Provider::start::<S>("a").await;
    let _registration = provider.register(&registry, "a").await;
    let channel = dial::<S>(&registry);
    assert_eq!(text(&channel, "/host").await.unwrap(), "web");
    assert_eq!(text(&channel, "http://shop.example:81/host").await.unwrap(), "shop.example:81");
    let named = HttpChannel::builder(S::runtime(), TARGET).server_name("named.example").connect(&registry).unwrap();
    assert_eq!(text(&named, "/host").await.unwrap(), "named.example");
}

pub async fn connections_end_with_the_last_channel<S: Subject>() {
    let registry = registry::<S>();
    let (url, closed) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.request().unwrap();
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        peer.is_closed()
    });
    let _registration = registry.register(instance("a", &url)).await.unwrap();
    let channel = dial::<S>(&registry);
    assert_eq!(text(&channel, "/").await.unwrap(), "ok");
    drop(channel);
    assert!(closed.await);
}
