//! Greets over gRPC and HTTP, registered while it does. It is called as `provider_tonic --help` says; any registry will do:
//! `periplus://127.0.0.1:7171`, `consul://127.0.0.1:8500`, `etcd://127.0.0.1:2379`.

mod helloworld;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use axum::routing::get;
use axum::{Extension, Json};
use clap::Parser;
use helloworld::{Greeter, GreeterServer, HelloReply, HelloRequest};
use periplus_hyper::TlsAcceptor;
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
    /// Where to listen for gRPC; without a host, at all addresses
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    grpc: String,
    /// Where to listen for HTTP; without a host, at all addresses
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    http: String,
    /// Serve both with TLS, by cert.pem and key.pem of this directory
    #[arg(long, value_name = "DIR")]
    tls: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn address(text: &str) -> Result<String, String> {
    let advice = "write it as HOST:PORT, such as 127.0.0.1:9000, or as :9000";
    let Some((host, port)) = text.rsplit_once(':') else { return Err(format!("there is no port: {advice}")) };
    if port.parse::<u16>().is_err() {
        return Err(format!("`{port}` is no port, which is a number up to 65535: {advice}"));
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(format!("`{host}` needs brackets, if it is an IPv6 address: {advice}"));
    }
    Ok(text.to_owned())
}

/// The certificate and the key in a directory.
fn identity(directory: &Path) -> Result<(PathBuf, PathBuf), BoxError> {
    let advice = "name the directory that has cert.pem and key.pem in it, both PEM";
    if !directory.is_dir() {
        return Err(format!("--tls: {} is no directory: {advice}", directory.display()).into());
    }
    let files = ["cert.pem", "key.pem"].map(|name| directory.join(name));
    for file in &files {
        std::fs::File::open(file)
            .map_err(|error| format!("--tls: cannot read {}: {error}: {advice}", file.display()))?;
    }
    // Said now, because it is one mistake and not one of each server.
    TlsAcceptor::of_files(&files[0], &files[1]).map_err(|error| format!("--tls: {}: {error}", directory.display()))?;
    Ok(files.into())
}

/// What went wrong, with the option that is to be changed.
fn advice(error: &BoxError) -> String {
    match error.downcast_ref() {
        Some(AppError::Bind { server, source }) => {
            format!("--{server}: {source}: choose an address of this machine, and a port that is free")
        }
        _ => error.to_string(),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match provide(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", advice(&error));
            // What has served once was started well.
            let served = matches!(error.downcast_ref(), Some(AppError::Server { .. } | AppError::ServerEnded { .. }));
            ExitCode::from(if served { 1 } else { 2 })
        }
    }
}

async fn provide(options: Options) -> Result<(), BoxError> {
    let identity = options.tls.as_deref().map(identity).transpose()?;
    let registry = periplus_tokio::connect(&options.registry).await?;
    let greeter = GreeterServer::new(Id(options.id.clone()));
    let mut grpc = GrpcServer::new(options.grpc).add_service(greeter);
    let mut http = http_server(options.http, axum::Router::new().route("/helloworld/{name}", get(hello)));
    if let Some((certificate, key)) = identity {
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

async fn hello(Extension(app): Extension<AppInfo>) -> Json<serde_json::Value> {
    Json(serde_json::json!({ "message": app.id().as_str() }))
}
