//! Provider and consumer in one process, which may share a registry of its own: `cargo run --example together [REGISTRY]`.

#[allow(dead_code, reason = "its main is another program's")]
mod consumer;
#[allow(dead_code, reason = "its main is another program's")]
mod provider;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:greetings".into());
    let consuming = consumer::consume(&url);
    tokio::pin!(consuming);
    tokio::select! {
        result = &mut consuming => return result,
        result = provider::provide(&url) => result?,
    }
    // It has gone, and that is yet to be seen.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), consuming).await;
    Ok(())
}
