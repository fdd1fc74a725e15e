//! Lists who greets, and then what changes: `cargo run --example consumer_async_std [REGISTRY]`.

use periplus_async_std::core::{Change, Instance};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    async_std::task::block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "periplus://127.0.0.1:7171".into());
    let registry = periplus_async_std::connect(&url).await?;
    let mut watcher = registry.watch("greeter")?;

    if let Some(listing) = watcher.next().await {
        println!("{} instances, {:?}", listing.len(), listing.provenance);
        listing.iter().for_each(|instance| show(" ", instance));
    }
    while let Some(changed) = watcher.next_changes().await {
        println!("{} changes, {:?}", changed.changes.len(), changed.provenance);
        for change in &changed.changes {
            match change {
                Change::Insert(instance) => show("+", instance),
                Change::Update { after, .. } => show("~", after),
                Change::Remove(instance) => show("-", instance),
            }
        }
    }
    Ok(())
}

fn show(sign: &str, instance: &Instance) {
    let endpoints: Vec<_> = instance.decode().endpoints.iter().map(|endpoint| endpoint.as_str().to_owned()).collect();
    println!("{sign} {} {}", instance.id(), endpoints.join(" "));
}
