//! Measures what many clients do that lose their registry at once, and what a registration costs in memory.
//!
//! `herd [CLIENTS] [REGISTRATIONS] [EACH]`: 10 000 registrations in one client; then 1 000 clients on tokio, each with a
//! registration and a watch, whose registry is killed and started again. `EACH` of them, 25, are of one service and watch
//! it: everyone hears of each of them, and where all are of one service, these 1 000 · 1 000 changes, all read in this
//! process, keep it busy for longer than any client waits. Needs eight open files a client.

#[cfg(not(target_family = "wasm"))]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut counts = std::env::args().skip(1).map(|count| count.parse::<usize>());
    let clients = counts.next().transpose()?.unwrap_or(1_000);
    let registrations = counts.next().transpose()?.unwrap_or(10_000);
    let each = counts.next().transpose()?.unwrap_or(25).max(1);
    measure::memory(registrations).await?;
    measure::herd(clients, each).await
}

#[cfg(target_family = "wasm")]
fn main() {}

#[cfg(not(target_family = "wasm"))]
mod measure {
    use std::error::Error;
    use std::time::{Duration, Instant};

    use periplus_conformance::harness::Harness;
    use periplus_conformance::suite::Stage;
    use periplus_conformance::suite::stage::instance;
    use periplus_tokio::core::client::{ClientConfig, RegistrationState};
    use periplus_tokio::{Client, Registration, Tokio, Watcher};

    /// What clients ask for where they do not say.
    const TTL: Duration = Duration::from_secs(15);

    const GLANCE: Duration = Duration::from_millis(10);

    /// How often those are shown that are still waited for.
    const SHOWN: Duration = Duration::from_secs(30);

    fn registered(held: &[Registration]) -> usize {
        held.iter().filter(|held| held.state() == RegistrationState::Registered).count()
    }

    async fn all(held: &[Registration]) {
        while registered(held) < held.len() {
            tokio::time::sleep(GLANCE).await;
        }
    }

    pub(super) async fn herd(clients: usize, each: usize) -> Result<(), Box<dyn Error>> {
        let harness = Harness::start()?;
        let commander = Stage::new(Tokio::new(), harness.url());
        let arena = commander.arena("warm-up=30s&keep-alive=15s").await;
        let service = |at: usize| format!("herd{}", at / each);
        let mut watchers = Vec::new();
        let mut held = Vec::new();
        for at in 0..clients {
            // A runtime each: nothing is shared, as between processes.
            let stage = Stage::new(Tokio::new(), harness.url());
            let client: Client = stage.client_with(&[&arena.proxy], ClientConfig::default());
            watchers.push(client.watch(&service(at))?);
            held.push(client.register(instance(&service(at), &format!("i{at}"))).ttl(TTL).in_background()?);
            // They come over the time between two renewals, so that there are renewals at any time.
            tokio::time::sleep(TTL / 3 / u32::try_from(clients)?).await;
        }
        all(&held).await;
        let before = arena.command("connects").await.as_array().map_or(0, Vec::len);
        let (killed, used) = (Instant::now(), processor()?);
        arena.command("kill").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        arena.command("start").await;
        let started = killed.elapsed();
        // A registration whose loss is not known yet counts as lost.
        let mut waiting: Vec<&Registration> = held.iter().collect();
        let mut back = Vec::with_capacity(clients);
        let mut told = killed;
        while !waiting.is_empty() {
            waiting.retain(|held| held.view().is_none_or(|view| view.registered < 2));
            back.resize(clients - waiting.len(), killed.elapsed());
            if told.elapsed() > SHOWN {
                told = Instant::now();
                eprintln!("herd: {} are not back after {:.0?}, such as:", waiting.len(), killed.elapsed());
                for held in waiting.iter().take(3) {
                    eprintln!("  {:?}", held.view());
                }
            }
            tokio::time::sleep(GLANCE).await;
        }
        all(&held).await;
        let all_back = killed.elapsed();
        let used = processor()?.saturating_sub(used).as_secs_f64() / all_back.as_secs_f64();
        let whole = |at: usize| (clients - at / each * each).min(each);
        let seen = |(at, it): (usize, &Watcher)| {
            it.current().is_some_and(|list| list.age.is_none() && list.len() == whole(at))
        };
        while !watchers.iter().enumerate().all(seen) {
            tokio::time::sleep(GLANCE).await;
        }
        let seen = killed.elapsed();
        let connects = arena.command("connects").await;
        let connects: Vec<u64> =
            connects.as_array().into_iter().flatten().skip(before).filter_map(serde_json::Value::as_u64).collect();
        let mut windows = std::collections::BTreeMap::<u64, usize>::new();
        for at in &connects {
            *windows.entry(at / 100).or_default() += 1;
        }
        let peak = windows.values().max().copied().unwrap_or_default();
        let share = |percent: usize| back[(clients * percent).div_ceil(100).max(1) - 1];
        println!(
            "herd: {clients} clients, {each} to a service, ttl {TTL:?}; killed, started after {started:.1?}; registered \
             again: 50 % after {:.1?}, 90 % {:.1?}, 99 % {:.1?}, all {all_back:.1?}; all watches whole after {seen:.1?}; \
             {} connections, at most {peak} in 100 ms; the clients kept {used:.1} cores busy",
            share(50),
            share(90),
            share(99),
            connects.len()
        );
        arena.close().await;
        Ok(())
    }

    pub(super) async fn memory(registrations: usize) -> Result<(), Box<dyn Error>> {
        let harness = Harness::start()?;
        let stage = Stage::new(Tokio::new(), harness.url());
        let arena = stage.arena("limits-instances-per-service=1000000&limits-instances=1000000").await;
        let client = stage.client_with(&[&arena.server], ClientConfig::default());
        let warm = client.register(instance("warm", "up")).ttl(TTL).await?;
        let before = resident()?;
        let began = Instant::now();
        let mut held = Vec::with_capacity(registrations);
        for at in 0..registrations {
            held.push(client.register(instance("many", &format!("i{at}"))).ttl(TTL).in_background()?);
        }
        all(&held).await;
        let took = began.elapsed();
        let renewals = client.counters().renewals;
        while client.counters().renewals < renewals + registrations as u64 * 2 {
            tokio::time::sleep(GLANCE).await;
        }
        let cost = resident()?.saturating_sub(before);
        println!(
            "memory: {registrations} registrations in one client, made in {took:.1?}: {} bytes each; {} requests, \
             {} losses",
            cost / registrations as u64,
            client.counters().requests,
            client.counters().losses
        );
        drop((held, warm));
        client.close().await;
        arena.close().await;
        Ok(())
    }

    /// The processor time of this process.
    fn processor() -> Result<Duration, Box<dyn Error>> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let ticks: u64 = stat.split_whitespace().skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// The memory of this process, in bytes.
    fn resident() -> Result<u64, Box<dyn Error>> {
        let statm = std::fs::read_to_string("/proc/self/statm")?;
        let pages: u64 = statm.split_whitespace().nth(1).ok_or("no such field")?.parse()?;
        Ok(pages * 4096)
    }
}
