//! Looks at a service, or calls it, and prints JSON. It is called as `consumer_tonic --help` says.

mod helloworld;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use helloworld::{GreeterClient, HelloRequest};
use periplus_tokio::core::Instance;
use periplus_tokio::core::balance::{BalanceConfig, Policy, SlowStart};
use periplus_tokio::core::protocol::Span;
use periplus_tokio::{Client, HttpChannel, TlsConfig, Tokio};
use periplus_tonic::Channel;
use serde_json::{Value, json};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Looks at a service, or calls it, and prints JSON.
#[derive(Parser)]
struct Options {
    /// The registry, such as periplus://127.0.0.1:7171
    #[arg(long, value_name = "URL")]
    registry: String,
    /// What to do
    #[arg(long, value_enum)]
    mode: Mode,
    /// The name of the service
    #[arg(long, default_value = "provider")]
    name: String,
    /// End after so many seconds, if calls have not ended before
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// How many calls to make; 100, unless --seconds says how long
    #[arg(short, value_name = "CALLS")]
    n: Option<u64>,
    /// How long to pause between two calls
    #[arg(long, value_name = "SPAN", default_value = "5ms")]
    pause: Span,
    /// Dial with TLS, and believe whom cert.pem of this directory vouches for
    #[arg(long, value_name = "DIR")]
    tls: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Print the instances as one array
    Get,
    /// Print a line with the instances for each change
    Watch,
    /// Call by gRPC, and print who has answered how often
    Call,
    /// Call by HTTP, and print who has answered how often
    #[value(name = "callhttp")]
    CallHttp,
}

#[tokio::main]
async fn main() -> ExitCode {
    match consume(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

async fn consume(options: Options) -> Result<(), BoxError> {
    let registry = periplus_tokio::connect(&options.registry).await?;
    // Fails if the registry cannot be reached.
    let listing = registry.get_service(&options.name).await?;
    match options.mode {
        Mode::Get => println!("{}", array(&listing.instances)),
        Mode::Watch => watch(&registry, &options).await?,
        Mode::Call => {
            let channel = channel(&registry, &options)?;
            let greet = async || {
                let request = HelloRequest { name: options.name.clone() };
                let response = GreeterClient::new(channel.clone()).say_hello(request).await;
                response.map(|response| response.into_inner().message).map_err(|status| status.message().into())
            };
            println!("{}", call(greet, &options).await);
        }
        Mode::CallHttp => {
            let channel = http_channel(&registry, &options)?;
            let greet = async || {
                let response = channel.get(&format!("/helloworld/{}", encoded(&options.name))).await?;
                let status = response.status();
                if !status.is_success() {
                    return Err(format!("it says {status}").into());
                }
                let greeting: Value = serde_json::from_slice(&response.into_body().bytes().await?)?;
                Ok(greeting["message"].as_str().ok_or("it does not say who it is")?.to_owned())
            };
            println!("{}", call(greet, &options).await);
        }
    }
    registry.close().await;
    Ok(())
}

/// Smooth weighted round robin from the first call on: nobody is eased in.
fn balance() -> BalanceConfig {
    let slow_start = SlowStart { window: Duration::ZERO, ..SlowStart::default() };
    BalanceConfig { slow_start, ..BalanceConfig::new(Policy::WeightedRoundRobin) }
}

fn channel(registry: &Client, options: &Options) -> Result<Channel, BoxError> {
    let mut channel = Channel::builder(target(options)).balance(balance());
    if let Some(tls) = tls(options)? {
        channel = channel.tls(tls);
    }
    Ok(channel.connect(registry)?)
}

fn http_channel(registry: &Client, options: &Options) -> Result<HttpChannel, BoxError> {
    let mut channel = HttpChannel::builder(Tokio::new(), target(options)).balance(balance());
    if let Some(tls) = tls(options)? {
        channel = channel.tls(tls);
    }
    Ok(channel.connect(registry)?)
}

fn target(options: &Options) -> String {
    format!("discovery:///{}", encoded(&options.name))
}

fn tls(options: &Options) -> Result<Option<TlsConfig>, BoxError> {
    let Some(files) = &options.tls else { return Ok(None) };
    let roots = TlsConfig::default().with_root_file(files.join("cert.pem"));
    let advice = "name the directory that has the providers' cert.pem in it";
    Ok(Some(roots.map_err(|error| format!("--tls: {error}: {advice}"))?.without_public_roots()))
}

/// A name as a segment of a path.
fn encoded(name: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    name.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

async fn watch(registry: &Client, options: &Options) -> Result<(), BoxError> {
    let began = Instant::now();
    let mut watcher = registry.watch(&options.name)?;
    let watching = async {
        let mut told = None;
        while let Some(listing) = watcher.next().await {
            let instances = array(&listing.instances);
            // A list may come again because it can be believed more, or less.
            if told.as_ref() != Some(&instances) {
                println!("{}", json!({ "ms": began.elapsed().as_millis() as u64, "instances": instances }));
                told = Some(instances);
            }
        }
    };
    match options.seconds {
        Some(seconds) => drop(tokio::time::timeout(Duration::from_secs(seconds), watching).await),
        None => watching.await,
    }
    Ok(())
}

/// Makes the calls, one after the other. Each answers who was called.
async fn call(call: impl AsyncFn() -> Result<String, BoxError>, options: &Options) -> Value {
    let usual = if options.seconds.is_some() { u64::MAX } else { 100 };
    let limit = options.n.unwrap_or(usual);
    let end = options.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let (mut calls, mut errors, mut by) = (0_u64, 0_u64, BTreeMap::<String, u64>::new());
    while calls < limit && end.is_none_or(|end| Instant::now() < end) {
        match call().await {
            Ok(id) => *by.entry(id).or_default() += 1,
            Err(error) => {
                errors += 1;
                eprintln!("call {calls}: {error}");
            }
        }
        calls += 1;
        tokio::time::sleep(options.pause.0).await;
    }
    json!({ "calls": calls, "errors": errors, "by": by })
}

fn array(instances: &[Instance]) -> Value {
    let mut all: Vec<_> = instances.iter().map(Instance::decode).collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all.iter_mut().for_each(|instance| instance.endpoints.sort());
    let object = |instance: &periplus_tokio::core::ServiceInstance| {
        json!({
            "id": instance.id, "name": instance.name, "version": instance.version, "metadata": instance.metadata,
            "endpoints": instance.endpoints,
        })
    };
    all.iter().map(object).collect()
}
