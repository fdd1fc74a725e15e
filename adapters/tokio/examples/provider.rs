//! Serves greetings, registered while it does: `cargo run --example provider [REGISTRY]`. Any registry will do:
//! `periplus://127.0.0.1:7171`, `consul://127.0.0.1:8500`, `etcd://127.0.0.1:2379`.

use periplus_tokio::core::{Endpoint, InstanceId, ServiceInstance, ServiceName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    provide(&std::env::args().nth(1).unwrap_or_else(|| "periplus://127.0.0.1:7171".into())).await
}

/// Serves, until it is interrupted.
pub(crate) async fn provide(url: &str) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;

    let registry = periplus_tokio::connect(url).await?;
    let id = InstanceId::new(format!("greeter-{}", address.port()))?;
    let instance = ServiceInstance::new(ServiceName::new("greeter")?, id);
    let instance = instance.with_endpoint(Endpoint::new(format!("http://{address}"))?);
    let registration = registry.register(instance).await?;
    println!("registered with http://{address}");

    tokio::select! {
        () = greet(listener) => {}
        stop = tokio::signal::ctrl_c() => stop?,
    }
    registration.close().await;
    println!("deregistered");
    Ok(())
}

async fn greet(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello\n").await;
    }
}
