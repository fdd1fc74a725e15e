//! Serves greetings, registered while it does: `cargo run --example provider_async_std [REGISTRY]`.

use async_std::channel;
use async_std::net::TcpListener;
use async_std::prelude::*;
use periplus_async_std::core::{Endpoint, InstanceId, ServiceInstance, ServiceName};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    async_std::task::block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "periplus://127.0.0.1:7171".into());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;

    let registry = periplus_async_std::connect(&url).await?;
    let id = InstanceId::new(format!("greeter-{}", address.port()))?;
    let instance = ServiceInstance::new(ServiceName::new("greeter")?, id);
    let instance = instance.with_endpoint(Endpoint::new(format!("http://{address}"))?);
    let registration = registry.register(instance).await?;
    println!("registered with http://{address}");

    let (stop, stopped) = channel::bounded(1);
    ctrlc::set_handler(move || stop.try_send(()).unwrap_or(()))?;
    async_std::task::spawn(greet(listener));
    stopped.recv().await?;
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
