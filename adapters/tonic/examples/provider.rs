//! Greets over gRPC and HTTP, registered while it does. It is called as `provider --help` says; any registry will do:
//! `periplus://127.0.0.1:7171`, `consul://127.0.0.1:8500`, `etcd://127.0.0.1:2379`.

mod helloworld;

use std::path::PathBuf;
use std::process::ExitCode;

use axum::extract::Path;
use axum::routing::get;
use axum::{Extension, Json};
use clap::Parser;
use helloworld::{Greeter, GreeterServer, HelloReply, HelloRequest};
use periplus_tokio::app::{AppError, BoxError};
use periplus_tokio::{App, AppInfo, http_server};
use periplus_tonic::GrpcServer;
use tonic::Status;

/// Answers its id to whoever greets, over gRPC (helloworld.Greeter/SayHello) and HTTP (GET /helloworld/{name}).
#[derive(Parser)]
struct Options {
    /// The registry, such as periplus://127.0.0.1:7171
    #[arg(long, value_name = "URL")]
    registry: String,
    /// The id of this instance
    #[arg(long)]
    id: String,
    /// The name of the service
    #[arg(long, default_value = "provider")]
    name: String,
    /// The version of this instance
    #[arg(long, default_value = "")]
    version: String,
    /// What else the instance says of itself; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// Where to listen for gRPC
    #[arg(long, value_name = "HOST:PORT")]
    grpc: String,
    /// Where to listen for HTTP
    #[arg(long, value_name = "HOST:PORT")]
    http: String,
    /// Serve both with TLS, by cert.pem and key.pem of this directory
    #[arg(long, value_name = "DIR")]
    tls: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    match provide(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            // What has served once was started well.
            let served = matches!(error.downcast_ref(), Some(AppError::Server { .. } | AppError::ServerEnded { .. }));
            ExitCode::from(if served { 1 } else { 2 })
        }
    }
}

async fn provide(options: Options) -> Result<(), BoxError> {
    let registry = periplus_tokio::connect(&options.registry).await?;
    let greeter = GreeterServer::new(Id(options.id.clone()));
    let mut grpc = GrpcServer::new(options.grpc).add_service(greeter);
    let mut http = http_server(options.http, axum::Router::new().route("/helloworld/{name}", get(hello)));
    if let Some(files) = options.tls {
        let (certificate, key) = (files.join("cert.pem"), files.join("key.pem"));
        grpc = grpc.tls_files(&certificate, &key);
        http = http.tls_files(certificate, key);
    }
    let mut app = App::builder().id(options.id).name(options.name).version(options.version);
    for (key, value) in options.metadata {
        app = app.metadata(key, value);
    }
    app.server(grpc).server(http).registrar(registry).build()?.run().await?;
    Ok(())
}

struct Id(String);

impl Greeter for Id {
    async fn say_hello(&self, _: HelloRequest) -> Result<HelloReply, Status> {
        Ok(HelloReply { message: self.0.clone() })
    }
}

async fn hello(Path(_): Path<String>, Extension(app): Extension<AppInfo>) -> Json<serde_json::Value> {
    Json(serde_json::json!({ "message": app.id().as_str() }))
}
