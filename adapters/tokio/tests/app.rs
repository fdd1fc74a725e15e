//! Applications with real servers: on every way out nothing stays registered and nothing keeps running.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Extension;
use axum::routing::get;
use futures_channel::{mpsc, oneshot};
use periplus_tokio::app::{BoxError, Ending, RegistryDown, Server, Serving, Stop, StopReason, Stopped, WhenEnded};
use periplus_tokio::core::{Endpoint, ServiceInstance, Status};
use periplus_tokio::{
    App, AppBuilder, AppError, AppHandle, AppInfo, BoxFuture, Client, Deregistered, PlainServer, RegisterError,
    Registrar, Registration, Signal, Tokio, UpdateError, Watcher, connect, http_server,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[cfg(unix)]
#[path = "app/process.rs"]
mod process;
#[path = "app/tls.rs"]
mod tls;

type Run = JoinHandle<Result<Stopped, AppError>>;

/// An application that answers, and leaves without a wait.
fn web(registry: impl Registrar + 'static) -> AppBuilder<Tokio> {
    let router = axum::Router::new()
        .route("/", get(async |Extension(app): Extension<AppInfo>| app.id().to_string()))
        .route("/never", get(async || pending::<String>().await));
    App::builder()
        .name("web")
        .id("web-1")
        .server(http_server("127.0.0.1:0", router))
        .registrar(registry)
        .signals([])
        .drain(Duration::ZERO)
}

fn run(builder: AppBuilder<Tokio>) -> (AppHandle, Run) {
    let app = builder.build().unwrap();
    (app.handle(), tokio::spawn(app.run()))
}

/// Waits until it is registered, and says where it is reached.
async fn registered(watcher: &mut Watcher) -> String {
    loop {
        let listing = watcher.next().await.expect("the client is open");
        if let Some(instance) = listing.decode().first() {
            return address(&instance.endpoints[0]);
        }
    }
}

async fn deregistered(watcher: &mut Watcher) {
    while !watcher.next().await.expect("the client is open").is_empty() {}
}

fn address(endpoint: &Endpoint) -> String {
    let parts = endpoint.parts().unwrap();
    format!("{}:{}", parts.host, parts.port)
}

async fn ask(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    text
}

async fn is_there(address: &str) -> bool {
    answer(ask(address, "/").await).await.ends_with("web-1")
}

async fn is_gone(address: &str) -> bool {
    TcpStream::connect(address).await.is_err()
}

/// Waits for something that will be sent once.
fn gate() -> (oneshot::Sender<()>, impl Future<Output = Result<(), BoxError>> + Send) {
    let (open, opened) = oneshot::channel();
    (open, async { opened.await.map_err(Into::into) })
}

#[tokio::test]
async fn it_registers_once_all_its_servers_accept_and_its_handlers_know_it() {
    let registry = connect("memory:").await.unwrap();
    let (began, begun) = gate();
    let (open, opened) = gate();
    let slow = Slow { began, opened: Box::pin(opened) };
    let mut watcher = registry.watch("web").unwrap();
    let (handle, run) = run(web(registry.clone()).server(slow).metadata("zone", "a").version("2"));

    begun.await.unwrap();
    assert!(registry.get_service("web").await.unwrap().is_empty());
    open.send(()).unwrap();
    let address = registered(&mut watcher).await;
    assert!(is_there(&address).await);
    let info = handle.info().unwrap();
    assert_eq!((info.version(), info.endpoints()[0].as_str()), ("2", format!("http://{address}").as_str()));

    handle.set_status(Status::Draining).unwrap();
    while watcher.next().await.unwrap().instances[0].status() != Status::Draining {}
    handle.stop();
    let stopped = run.await.unwrap().unwrap();
    assert_eq!((stopped.reason, stopped.deregistered, stopped.forced), (StopReason::Told, true, false));
    assert!(is_gone(&address).await);
}

/// A server that accepts only when it is let.
struct Slow {
    began: oneshot::Sender<()>,
    opened: BoxFuture<'static, Result<(), BoxError>>,
}

impl Server for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn bind(&mut self) -> BoxFuture<'_, Result<Vec<Endpoint>, BoxError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn serve(self: Box<Self>, serving: Serving) -> BoxFuture<'static, Result<(), BoxError>> {
        Box::pin(async move {
            let _ = self.began.send(());
            self.opened.await?;
            serving.accepting();
            serving.stop().stopping().await;
            Ok(())
        })
    }
}

#[tokio::test]
async fn it_is_deregistered_at_once_and_serves_until_everybody_has_heard() {
    let registry = connect("memory:").await.unwrap();
    let (open, opened) = gate();
    let mut watcher = registry.watch("web").unwrap();
    let (handle, run) = run(web(registry.clone()).before_stop(async |_| opened.await));
    let address = registered(&mut watcher).await;
    handle.stop();
    deregistered(&mut watcher).await;
    assert!(is_there(&address).await);
    open.send(()).unwrap();
    run.await.unwrap().unwrap();
    assert!(is_gone(&address).await);
}

#[tokio::test]
async fn calls_under_way_end_before_it_does() {
    let registry = connect("memory:").await.unwrap();
    let (entered, mut entering) = mpsc::unbounded();
    let (open, opened) = gate();
    let opened = Arc::new(tokio::sync::Mutex::new(Some(Box::pin(opened))));
    let slow = get(async move || {
        entered.unbounded_send(()).unwrap();
        let opened = opened.lock().await.take().unwrap();
        opened.await.unwrap();
        "whole"
    });
    let router = axum::Router::new().route("/slow", slow);
    let mut watcher = registry.watch("web").unwrap();
    let app = App::builder().name("web").signals([]).drain(Duration::ZERO).registrar(registry.clone());
    let (handle, run) = run(app.server(http_server("127.0.0.1:0", router)));
    let address = registered(&mut watcher).await;
    let call = ask(&address, "/slow").await;
    next(&mut entering).await;
    handle.stop();
    // It has begun to stop when nobody new is let in.
    while !is_gone(&address).await {
        tokio::task::yield_now().await;
    }
    assert!(!run.is_finished());
    open.send(()).unwrap();
    assert!(answer(call).await.ends_with("whole"));
    assert!(!run.await.unwrap().unwrap().forced);
}

async fn next<T>(stream: &mut mpsc::UnboundedReceiver<T>) -> T {
    let next = poll_fn(|cx| futures_core::Stream::poll_next(Pin::new(stream), cx));
    next.await.expect("somebody holds the other end")
}

#[tokio::test]
async fn a_call_that_does_not_end_in_time_is_cut() {
    let registry = connect("memory:").await.unwrap();
    let mut watcher = registry.watch("web").unwrap();
    let (handle, run) = run(web(registry.clone()).stop_timeout(Duration::from_millis(20)));
    let address = registered(&mut watcher).await;
    // The answer to the second shows that the first has been read: both are written to sockets of this thread.
    let call = ask(&address, "/never").await;
    assert!(is_there(&address).await);
    handle.stop();
    assert!(run.await.unwrap().unwrap().forced);
    assert_eq!(answer(call).await, "");
    assert!(is_gone(&address).await);
}

#[tokio::test]
async fn a_call_without_an_end_learns_that_it_is_to_end() {
    let registry = connect("memory:").await.unwrap();
    let (entered, mut entering) = mpsc::unbounded();
    let endless = get(async move |Extension(stop): Extension<Stop>| {
        entered.unbounded_send(()).unwrap();
        stop.stopping().await;
        "over"
    });
    let mut watcher = registry.watch("web").unwrap();
    let app = App::builder().name("web").signals([]).drain(Duration::ZERO).registrar(registry.clone());
    let (handle, run) = run(app.server(http_server("127.0.0.1:0", axum::Router::new().route("/endless", endless))));
    let call = ask(&registered(&mut watcher).await, "/endless").await;
    next(&mut entering).await;
    handle.stop();
    assert!(answer(call).await.ends_with("over"));
    assert!(!run.await.unwrap().unwrap().forced);
}

#[tokio::test]
async fn what_a_connection_was_upgraded_to_is_cut_with_the_others() {
    let registry = connect("memory:").await.unwrap();
    let mut watcher = registry.watch("web").unwrap();
    let router = axum::Router::new().route("/echo", get(echo_upgraded));
    let app = App::builder().name("web").signals([]).drain(Duration::ZERO).registrar(registry.clone());
    let app = app.server(http_server("127.0.0.1:0", router)).stop_timeout(Duration::from_millis(20));
    let (handle, run) = run(app);
    let mut stream = TcpStream::connect(registered(&mut watcher).await).await.unwrap();
    stream.write_all(b"GET /echo HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
    stream.write_all(b"x").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    handle.stop();
    assert!(run.await.unwrap().unwrap().forced);
    assert_eq!(answer(stream).await, "");
}

async fn echo_upgraded(mut request: axum::extract::Request) -> axum::http::Response<axum::body::Body> {
    use hyper::rt::{Read, ReadBuf, Write};

    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut connection = upgrade.await.unwrap();
        loop {
            let mut byte = [0; 1];
            let mut read = ReadBuf::new(&mut byte);
            let result = poll_fn(|cx| Pin::new(&mut connection).poll_read(cx, read.unfilled())).await;
            if result.is_err() || read.filled().is_empty() {
                return;
            }
            if poll_fn(|cx| Pin::new(&mut connection).poll_write(cx, read.filled())).await.is_err() {
                return;
            }
        }
    });
    let head = axum::http::Response::builder().status(101).header("connection", "upgrade").header("upgrade", "echo");
    head.body(axum::body::Body::empty()).unwrap()
}

#[tokio::test]
async fn a_server_that_crashes_takes_the_registration_and_the_others_with_it() {
    for (crash, text) in [(true, "the server worker failed: out of luck"), (false, "the server worker ended although")]
    {
        let registry = connect("memory:").await.unwrap();
        let (open, opened) = gate();
        let worker = PlainServer::new("worker", async move |_| {
            opened.await?;
            if crash { Err(BoxError::from("out of luck")) } else { Ok(()) }
        });
        let mut watcher = registry.watch("web").unwrap();
        let (_, run) = run(web(registry.clone()).server(worker));
        let address = registered(&mut watcher).await;
        open.send(()).unwrap();
        let error = run.await.unwrap().unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
        assert!(registry.get_service("web").await.unwrap().is_empty());
        assert!(is_gone(&address).await);
    }
}

#[tokio::test]
async fn a_server_that_panics_is_a_server_that_failed() {
    let registry = connect("memory:").await.unwrap();
    let worker = PlainServer::new("worker", async |serving: Serving| {
        if serving.info().version() == "" {
            panic!("on purpose");
        }
        Ok::<_, BoxError>(())
    });
    let (_, run) = run(web(registry.clone()).server(worker));
    assert!(matches!(run.await.unwrap(), Err(AppError::Server { .. })));
    assert!(registry.get_service("web").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_hook_that_fails_ends_it_and_the_stop_hooks_run() {
    for late in [false, true] {
        let registry = connect("memory:").await.unwrap();
        let ran = Arc::new(Mutex::new(Vec::new()));
        let hook = |name: &'static str, fails: bool| {
            let ran = Arc::clone(&ran);
            async move |app: AppInfo| {
                assert_eq!(app.endpoints().len(), 1);
                ran.lock().unwrap().push(name);
                if fails { Err(BoxError::from("no")) } else { Ok(()) }
            }
        };
        let app = web(registry.clone())
            .before_start(hook("before start", !late))
            .after_start(hook("after start", late))
            .after_start(hook("never", false))
            .before_stop(hook("before stop", true))
            .before_stop(hook("before stop too", false))
            .after_stop(hook("after stop", false));
        let (_, run) = run(app);
        let error = run.await.unwrap().unwrap_err();
        let phase = if late { "AfterStart" } else { "BeforeStart" };
        assert_eq!(error.to_string(), format!("a hook failed ({phase}): no"));
        let mut all = vec!["before start", "after start", "before stop", "before stop too", "after stop"];
        if !late {
            all.remove(1);
        }
        assert_eq!(*ran.lock().unwrap(), all);
        assert!(registry.get_service("web").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_bound_starts_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let registry = connect("memory:").await.unwrap();
    let app = web(registry).server(PlainServer::tcp("echo", &*address, async |_, _| Ok::<_, BoxError>(())));
    let (_, run) = run(app.before_start(async |_| -> Result<(), BoxError> { unreachable!("not all are bound") }));
    let error = run.await.unwrap().unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("cannot bind the server echo: cannot listen at {address}")),
        "{error}"
    );
}

#[tokio::test]
async fn it_is_registered_in_all_its_registries_with_the_endpoints_that_it_was_given() {
    let (one, other) = (connect("memory:").await.unwrap(), connect("memory:").await.unwrap());
    let mut watchers = [one.watch("web").unwrap(), other.watch("web").unwrap()];
    let given = Endpoint::new("http://web.example:80").unwrap();
    let (handle, run) = run(web(one).registrar(Arc::new(other) as Arc<dyn Registrar>).endpoint(given));
    for watcher in &mut watchers {
        assert_eq!(registered(watcher).await, "web.example:80");
    }
    handle.stop();
    assert!(run.await.unwrap().unwrap().deregistered);
    for watcher in &mut watchers {
        deregistered(watcher).await;
    }
}

#[tokio::test]
async fn a_loopback_address_is_not_advertised_to_a_registry_elsewhere() {
    let (_, run) = run(web(connect("periplus://registry.example:7171").await.unwrap()));
    let error = run.await.unwrap().unwrap_err();
    assert!(matches!(error, AppError::Register(RegisterError::Advertise(_))), "{error}");
}

/// A registry where nobody listens.
async fn nobody() -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("periplus://{}", listener.local_addr().unwrap());
    drop(listener);
    connect(&url).await.unwrap()
}

#[tokio::test]
async fn a_registry_that_is_down_at_the_start_fails_it() {
    let places = Arc::new(Mutex::new(None));
    let place = Arc::clone(&places);
    let app =
        web(nobody().await).registrar_timeout(Duration::from_millis(20)).before_start(async move |app: AppInfo| {
            *place.lock().unwrap() = Some(address(&app.endpoints()[0]));
            Ok::<_, BoxError>(())
        });
    let (_, run) = run(app);
    assert!(matches!(run.await.unwrap(), Err(AppError::RegistryDown { .. })));
    let address = places.lock().unwrap().take().unwrap();
    assert!(is_gone(&address).await);
}

#[tokio::test]
async fn or_it_serves_and_goes_on_trying() {
    let (started, start) = gate();
    let app = web(nobody().await)
        .registry_down(RegistryDown::KeepTrying)
        .registrar_timeout(Duration::from_millis(20))
        .after_start(async |_| started.send(()).map_err(|()| "nobody waits"));
    let (handle, run) = run(app);
    start.await.unwrap();
    assert!(is_there(&address(&handle.info().unwrap().endpoints()[0])).await);
    handle.stop();
    assert_eq!(run.await.unwrap().unwrap().reason, StopReason::Told);
}

/// A registry that does not answer any more when one wants to leave.
struct Silent(Client);

impl Registrar for Silent {
    fn register(&self, instance: ServiceInstance) -> BoxFuture<'_, Result<Registration, RegisterError>> {
        Registrar::register(&self.0, instance)
    }

    fn update(&self, instance: ServiceInstance) -> BoxFuture<'_, Result<(), UpdateError>> {
        Registrar::update(&self.0, instance)
    }

    fn deregister<'a>(&'a self, _: &'a ServiceInstance) -> BoxFuture<'a, Result<Deregistered, UpdateError>> {
        Box::pin(pending())
    }
}

#[tokio::test]
async fn a_registry_that_is_down_at_the_stop_does_not_hold_it() {
    let registry = connect("memory:").await.unwrap();
    let mut watcher = registry.watch("web").unwrap();
    let (handle, run) = run(web(Silent(registry.clone())).registrar_timeout(Duration::from_millis(20)));
    let address = registered(&mut watcher).await;
    handle.stop();
    assert!(!run.await.unwrap().unwrap().deregistered);
    assert!(is_gone(&address).await);
    // Nobody holds the registration any more.
    deregistered(&mut watcher).await;
}

#[tokio::test]
async fn a_second_signal_cuts_hooks_and_calls_short() {
    let registry = connect("memory:").await.unwrap();
    let mut watcher = registry.watch("web").unwrap();
    let (signals, signal) = mpsc::unbounded();
    let never = async |_: AppInfo| pending::<Result<(), BoxError>>().await;
    let (_, run) = run(web(registry.clone()).signals_from(signal).before_stop(never).drain(Duration::MAX));
    let address = registered(&mut watcher).await;
    let call = ask(&address, "/never").await;
    assert!(is_there(&address).await);
    signals.unbounded_send(Signal::Terminate).unwrap();
    deregistered(&mut watcher).await;
    assert!(is_there(&address).await);
    signals.unbounded_send(Signal::Terminate).unwrap();
    let stopped = run.await.unwrap().unwrap();
    assert_eq!((stopped.reason, stopped.deregistered, stopped.forced), (StopReason::Signal, true, true));
    assert_eq!(answer(call).await, "");
    assert!(is_gone(&address).await);
}

/// Takes the id of an application over, and says how it took that.
async fn supersede(policy: WhenEnded, name: &str) -> (AppHandle, Run, String, Registration) {
    let url = format!("memory:{name}");
    let (registry, other) = (connect(&url).await.unwrap(), connect(&url).await.unwrap());
    let mut watcher = other.watch("web").unwrap();
    let (handle, run) = run(web(registry).when_ended(policy));
    let address = registered(&mut watcher).await;
    let mut instance = handle.info().unwrap().instance().clone();
    instance.version = "other".into();
    let registration = other.register(instance).await.unwrap();
    (handle, run, address, registration)
}

#[tokio::test]
async fn one_that_is_superseded_stops_if_it_is_to_and_leaves_the_other_alone() {
    let (_, run, address, other) = supersede(WhenEnded::Stop, "superseded-stops").await;
    let stopped = run.await.unwrap().unwrap();
    assert_eq!(stopped.reason, StopReason::RegistrationEnded(Ending::Superseded));
    assert!(is_gone(&address).await);
    other.acknowledged().await.unwrap();
}

#[tokio::test]
async fn one_that_is_superseded_serves_on_otherwise() {
    let (handle, run, address, other) = supersede(WhenEnded::KeepServing, "superseded-serves").await;
    assert!(is_there(&address).await);
    handle.stop();
    assert_eq!(run.await.unwrap().unwrap().reason, StopReason::Told);
    other.acknowledged().await.unwrap();
}

#[tokio::test]
async fn dropping_it_leaves_nothing_behind() {
    let registry = connect("memory:").await.unwrap();
    let mut watcher = registry.watch("web").unwrap();
    let (_handle, run) = run(web(registry.clone()));
    let address = registered(&mut watcher).await;
    let call = ask(&address, "/never").await;
    assert!(is_there(&address).await);
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    deregistered(&mut watcher).await;
    assert_eq!(answer(call).await, "");
    assert!(is_gone(&address).await);
}

#[tokio::test]
async fn anything_that_accepts_is_a_server() {
    let registry = connect("memory:").await.unwrap();
    let echo = PlainServer::tcp("echo", "127.0.0.1:0", async |listener: TcpListener, serving: Serving| {
        let serve = async {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        };
        tokio::select! {
            () = serve => {}
            () = serving.stop().stopping() => {}
        }
        Ok::<_, BoxError>(())
    });
    let mut watcher = registry.watch("echo").unwrap();
    let app = App::builder().name("echo").server(echo).registrar(registry.clone()).signals([]).drain(Duration::ZERO);
    let (handle, run) = run(app);
    let address = registered(&mut watcher).await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
    drop(stream);
    handle.stop();
    run.await.unwrap().unwrap();
    assert!(is_gone(&address).await);
}

#[tokio::test]
async fn without_a_name_there_is_no_application() {
    let error = App::builder().build().unwrap_err();
    assert_eq!(error.to_string(), "an application needs the name of its service: give it with `name`");
    let one = App::builder().name("web").build().unwrap();
    let other = App::builder().name("web").build().unwrap();
    assert_ne!(format!("{one:?}"), format!("{other:?}"), "the id is random");
}
