//! An application with an axum router, registered while it serves: `cargo run --features app --example app [REGISTRY]`.
//! Ctrl-C deregisters it at once, and stops it when those who watch have heard.

use axum::Extension;
use axum::routing::get;
use periplus_tokio::app::BoxError;
use periplus_tokio::{App, AppInfo, http_server};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "periplus://127.0.0.1:7171".into());
    let registry = periplus_tokio::connect(&url).await?;
    let router = axum::Router::new().route("/", get(hello));

    let stopped = App::builder()
        .name("greeter")
        .version("1.0.0")
        .metadata("zone", "a")
        .server(http_server("127.0.0.1:0", router))
        .registrar(registry)
        .after_start(async |app: AppInfo| {
            println!("{} serves at {}", app.name(), app.endpoints()[0]);
            Ok::<_, BoxError>(())
        })
        .build()?
        .run()
        .await?;
    println!("{stopped:?}");
    Ok(())
}

/// Handlers know which instance they belong to.
async fn hello(Extension(app): Extension<AppInfo>) -> String {
    format!("hello from {}\n", app.id())
}
