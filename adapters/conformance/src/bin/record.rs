//! Records the log that every runtime replays: a client's life with a real registry that is killed, frozen, and comes
//! back, over a proxy that makes noise.
//!
//! `record` makes a new log; `record --keep` keeps the log and writes down anew what it gives, after a change of the
//! machine that is meant.

#[cfg(not(target_family = "wasm"))]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::time::Duration;

    use periplus_conformance::harness::Harness;
    use periplus_conformance::replay::{Header, RECORDED, Recorder, replay};
    use periplus_conformance::suite::Stage;
    use periplus_conformance::suite::stage::instance;
    use periplus_tokio::core::Status;
    use periplus_tokio::{Runtime as _, Tokio};
    use serde_json::json;

    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/replay");
    if std::env::args().any(|argument| argument == "--keep") {
        std::fs::write(directory.join("expected.txt"), replay(RECORDED)?)?;
        return Ok(());
    }
    let harness = Harness::start()?;
    let stage = Stage::new(Tokio::new(), harness.url());
    let arena = stage.arena("warm-up=1s").await;
    let now = stage.runtime.now().as_micros();
    let header = Header { seed: *b"one log for every runtime, 2026.", now, origins: vec![arena.proxy.clone()] };
    let (recorder, log) = Recorder::new(&header);
    let client =
        periplus_tokio::drive(stage.runtime.clone(), Box::new(recorder), &periplus_tokio::ConnectOptions::default());
    let mut web = client.watch("web")?;
    let prefix = client.watch_prefix("we")?;
    let mut held = Vec::new();
    for id in ["a", "b", "c"] {
        held.push(client.register(instance("web", id)).ttl(Duration::from_secs(1)).await?);
    }
    for at in 0..20 {
        arena.put("web", "busy", json!({"ttl": "60s", "version": at.to_string()})).await;
    }
    held[1].set_status(Status::Draining)?;
    held[1].acknowledged().await?;
    for fault in ["kill", "stop", "proxy?mode=noise", "proxy?mode=html", "proxy?mode=json", "proxy?mode=slow&n=5"] {
        arena.command(fault).await;
        stage.within(Duration::from_millis(1_500), async { while web.next().await.is_some() {} }).await;
        let mend = match fault {
            "kill" => "start",
            "stop" => "cont",
            _ => "proxy?mode=pass",
        };
        arena.command(mend).await;
        for held in &mut held {
            stage.registered(held).await;
        }
        stage.list("it is live", &mut web, |list| list.is_live()).await;
        arena.put("web", "busy", json!({"ttl": "60s", "version": fault})).await;
    }
    drop(prefix);
    drop(held.remove(0));
    stage.sleep(Duration::from_millis(500)).await;
    client.close().await;

    let text = log.text();
    std::fs::write(directory.join("expected.txt"), replay(&text)?)?;
    std::fs::write(directory.join("recorded.jsonl"), &text)?;
    println!("{} lines", text.lines().count());
    Ok(())
}

#[cfg(target_family = "wasm")]
fn main() {}
