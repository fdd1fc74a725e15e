//! Applications on async-std and on smol, with real sockets: they are registered while they serve, and then gone.

use std::future::pending;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use axum::Extension;
use axum::routing::get;
use periplus_async_std::app::{BoxError, StopReason};
use periplus_async_std::{App, AppInfo, Client, HttpServer, Runtime, Watcher};

fn router() -> axum::Router {
    axum::Router::new()
        .route("/", get(async |Extension(app): Extension<AppInfo>| app.id().to_string()))
        .route("/never", get(async || pending::<String>().await))
}

fn ask(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    blocking::unblock(move || {
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    })
    .await
}

async fn registered(watcher: &mut Watcher) -> String {
    loop {
        let listing = watcher.next().await.expect("the client is open");
        if let Some(instance) = listing.decode().first() {
            let parts = instance.endpoints[0].parts().unwrap();
            return format!("{}:{}", parts.host, parts.port);
        }
    }
}

/// Serves while it drains, lets nobody in afterwards, and cuts what does not end.
async fn live_and_leave<R: Runtime>(runtime: R, registry: Client, server: HttpServer, spawn: fn(App<R>) -> Run) {
    let mut watcher = registry.watch("web").unwrap();
    let (open, opened) = futures_channel::oneshot::channel::<()>();
    let app = App::builder_on(runtime)
        .name("web")
        .id("web-1")
        .server(server)
        .registrar(registry.clone())
        .drain(Duration::ZERO)
        .stop_timeout(Duration::from_millis(20))
        .before_stop(async |_| opened.await.map_err(|_| "nobody opens"))
        .build()
        .unwrap();
    let handle = app.handle();
    let run = spawn(app);
    let address = registered(&mut watcher).await;
    let never = ask(&address, "/never");
    assert!(answer(ask(&address, "/")).await.ends_with("web-1"));
    handle.stop();
    while !watcher.next().await.unwrap().is_empty() {}
    assert!(answer(ask(&address, "/")).await.ends_with("web-1"));
    open.send(()).unwrap();
    let stopped = run.await.unwrap();
    assert_eq!((stopped.reason, stopped.deregistered, stopped.forced), (StopReason::Told, true, true));
    assert_eq!(answer(never).await, "");
    assert!(TcpStream::connect(&address).is_err());
}

type Run = std::pin::Pin<
    Box<dyn Future<Output = Result<periplus_async_std::app::Stopped, periplus_async_std::AppError>> + Send>,
>;

#[cfg(feature = "async-std")]
#[test]
fn an_application_on_async_std_serves_until_it_has_left_and_no_longer() {
    use periplus_async_std::{AsyncStd, connect, http_server};

    async_std::task::block_on(async {
        let registry = connect("memory:").await.unwrap();
        let server = http_server("127.0.0.1:0", router());
        live_and_leave(AsyncStd::new(), registry, server, |app| Box::pin(async_std::task::spawn(app.run()))).await;
    });
}

#[cfg(feature = "smol")]
#[test]
fn an_application_on_smol_serves_until_it_has_left_and_no_longer() {
    use periplus_async_std::{Smol, connect_smol, http_server_smol};

    smol::block_on(async {
        let registry = connect_smol("memory:").await.unwrap();
        let server = http_server_smol("127.0.0.1:0", router());
        live_and_leave(Smol::new(), registry, server, |app| Box::pin(smol::spawn(app.run()))).await;
    });
}

/// The signal goes to the whole process: this is the one test here that may be sent one.
#[cfg(all(unix, feature = "async-std"))]
#[test]
fn a_signal_ends_an_application() {
    use periplus_async_std::{AsyncStd, Signal, connect};

    let stopped = async_std::task::block_on(async {
        let registry = connect("memory:").await.unwrap();
        let app = App::<AsyncStd>::builder()
            .name("signalled")
            .signals([Signal::User1])
            .registrar(registry)
            .drain(Duration::ZERO)
            .after_start(async |_| {
                let pid = std::process::id().to_string();
                let kill = std::process::Command::new("kill").args(["-USR1", &pid]).status()?;
                if kill.success() { Ok(()) } else { Err(BoxError::from("kill failed")) }
            });
        app.build().unwrap().run().await.unwrap()
    });
    assert_eq!((stopped.reason, stopped.deregistered), (StopReason::Signal, true));
}
