//! Those who come to the shop: so many requests a second, whether those before have been answered or not. Only so many
//! fit in at once: on a machine that is too slow for the rate the others wait outside, and the rate that is printed is
//! less.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use periplus_tokio::{Client, HttpDialer, Tokio};
use periplus_tonic::Channel;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use crate::BoxError;
use crate::helloworld::{GreeterClient, HelloRequest};
use crate::ledger::Ledger;

/// How often those come who are due.
const TICK: Duration = Duration::from_millis(5);

/// How many requests are under way at most.
const INSIDE: usize = 256;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Customers that keep coming.
pub(crate) struct Customers {
    over: watch::Sender<bool>,
    coming: JoinHandle<Visits>,
    registry: Client,
}

/// What became of their requests.
#[derive(Default)]
pub(crate) struct Visits {
    pub(crate) requests: u64,
    /// Who has answered how often.
    pub(crate) by: BTreeMap<String, u64>,
    /// How long the slowest took.
    pub(crate) slowest: Duration,
    /// What went wrong how often.
    pub(crate) failures: BTreeMap<String, u64>,
}

/// How customers reach the shop.
#[derive(Clone)]
struct Shop {
    http: HttpDialer,
    checkout: Channel,
}

impl Customers {
    pub(crate) async fn come(registry: &str, rate: u64, ledger: &Arc<Ledger>) -> Result<Self, BoxError> {
        let registry = periplus_tokio::connect(registry).await?;
        let shop = Shop {
            http: HttpDialer::new(Tokio::new(), registry.clone(), |channel| channel),
            checkout: Channel::connect(&registry, "discovery:///checkout")?,
        };
        let (over, end) = watch::channel(false);
        let coming = tokio::spawn(come(shop, rate, Arc::clone(ledger), end));
        Ok(Self { over, coming, registry })
    }

    /// Lets nobody in any more, and waits for those who are inside.
    pub(crate) async fn go(self) -> Visits {
        self.over.send_replace(true);
        let visits = self.coming.await.expect("customers do not panic");
        self.registry.close().await;
        visits
    }
}

impl Visits {
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    fn note(&mut self, (result, took): (Result<String, String>, Duration)) {
        self.requests += 1;
        self.slowest = self.slowest.max(took);
        let (book, entry) = match result {
            Ok(answerer) => (&mut self.by, answerer),
            Err(failure) => (&mut self.failures, failure),
        };
        *book.entry(entry).or_default() += 1;
    }
}

async fn come(shop: Shop, rate: u64, ledger: Arc<Ledger>, mut end: watch::Receiver<bool>) -> Visits {
    let (mut visits, mut inside) = (Visits::default(), JoinSet::new());
    let (began, mut sent) = (Instant::now(), 0);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = end.wait_for(|over| *over) => break,
            _ = ticks.tick() => {
                let due = began.elapsed().as_micros() * u128::from(rate) / 1_000_000;
                while sent < due && inside.len() < INSIDE {
                    sent += 1;
                    let (shop, number) = (shop.clone(), ledger.number());
                    inside.spawn(async move {
                        let began = Instant::now();
                        let visit = tokio::time::timeout(PATIENCE, shop.visit(number)).await;
                        let result = visit.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
                        (result, began.elapsed())
                    });
                }
            }
            Some(result) = inside.join_next() => visits.note(result.expect("customers do not panic")),
        }
    }
    while let Some(result) = inside.join_next().await {
        visits.note(result.expect("customers do not panic"));
    }
    visits
}

impl Shop {
    /// Most look around, some look into their cart, a few buy.
    async fn visit(&self, number: u64) -> Result<String, String> {
        match number % 10 {
            0 => {
                let request = HelloRequest { name: number.to_string() };
                let reply = GreeterClient::new(self.checkout.clone()).say_hello(request).await;
                reply.map(|reply| reply.into_inner().message).map_err(|status| status.message().to_owned())
            }
            1..=3 => self.get(&format!("discovery:///cart/carts/{number}")).await,
            _ => self.get(&format!("discovery:///catalog/items/{number}")).await,
        }
    }

    async fn get(&self, url: &str) -> Result<String, String> {
        let response = self.http.get(url).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response.into_body().bytes().await.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if status.is_success() { Ok(text) } else { Err(format!("{status}: {text}")) }
    }
}
