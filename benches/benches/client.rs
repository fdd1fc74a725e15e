//! What one event of a watch costs a client: the bare machine, and the façade around it on tokio.

use std::collections::VecDeque;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_core::Stream;
use periplus::core::backend::Native;
use periplus::core::client::{Backend, ClientConfig, ClientEvent};
use periplus::core::http::{Head, Input, Request, RequestId, Transmit};
use periplus::core::{Instant, Namespace, Selector, ServiceKey, ServiceName};
use periplus::driver::Driver;
use periplus::{ConnectOptions, Runtime, drive};

/// How many instances the followed service has.
const INSTANCES: usize = 100;

fn machine() -> Native {
    let config = ClientConfig { origins: vec!["http://registry:7171".into()], ..ClientConfig::default() };
    Native::new(config, [7; 32], Instant::from_micros(0))
}

fn head() -> Head {
    Head { headers: vec![("content-type".into(), "text/event-stream".into())], ..Head::new(200) }
}

/// The first delivery: all instances.
fn snapshot() -> Vec<u8> {
    let mut text = format!("event: snapshot\ndata: {{\"service\":\"web\",\"count\":{INSTANCES}}}\n\n");
    for n in 0..INSTANCES {
        let end = if n + 1 == INSTANCES { "id: e.1\n\n" } else { "\n" };
        text += &format!("event: put\n{}\n{end}", data(n, 0));
    }
    text.into_bytes()
}

fn data(instance: usize, revision: u64) -> String {
    format!(
        "data: {{\"id\":\"web-{instance}\",\"name\":\"web\",\"version\":\"1.{revision}\",\"metadata\":{{\"weight\":\"100\",\
         \"zone\":\"a\"}},\"endpoints\":[\"http://10.0.0.{instance}:8000\",\"grpc://10.0.0.{instance}:9000\"],\"ttl\":\"15s\"}}"
    )
}

/// The delivery of one change.
fn change(revision: u64) -> Vec<u8> {
    let instance = revision as usize % INSTANCES;
    format!("event: put\n{}\nid: e.{revision}\n\n", data(instance, revision)).into_bytes()
}

/// A network that says what it is told to.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Line>>);

#[derive(Default)]
struct Line {
    inputs: VecDeque<Input>,
    waker: Option<Waker>,
}

impl Script {
    fn say(&self, input: Input) {
        let mut line = self.0.lock().unwrap();
        line.inputs.push_back(input);
        let waker = line.waker.take();
        drop(line);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Stream for Script {
    type Item = Input;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Input>> {
        let mut line = self.0.lock().unwrap();
        match line.inputs.pop_front() {
            Some(input) => Poll::Ready(Some(input)),
            None => {
                line.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Runtime for Script {
    type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;
    type Exchange = Self;

    fn now(&self) -> Instant {
        Instant::from_micros(1)
    }

    fn sleep_until(&self, _: Instant) -> Self::Sleep {
        Box::pin(std::future::pending())
    }

    fn request(&self, _: Request) -> Self {
        self.clone()
    }

    fn spawn(&self, driver: Driver<Self>) {
        tokio::spawn(driver);
    }

    fn entropy(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn bare(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("client/event");
    group.throughput(Throughput::Elements(1));
    group.bench_function("bare machine", |bencher| {
        let (mut machine, now) = (machine(), Instant::from_micros(1));
        let web = ServiceKey::new(Namespace::default(), ServiceName::new("web").unwrap());
        let watch = machine.watch(&Selector::Service(web), now).unwrap();
        let Some(Transmit::Send(id, _)) = machine.poll_transmit() else { panic!("it asks for the stream") };
        machine.handle_response(id, &head(), now);
        machine.handle_chunk(id, &snapshot(), now);
        machine.poll_update(watch).unwrap();
        let mut revision = 1;
        let mut step = |id: RequestId| {
            revision += 1;
            machine.handle_chunk(id, &change(revision), now);
            let mut told = None;
            while let Some(event) = machine.poll_event() {
                if let ClientEvent::Update(watch) = event {
                    told = machine.poll_update(watch);
                }
            }
            black_box(machine.poll_timeout());
            assert_eq!(told.map(|update| update.changes.len()), Some(1));
        };
        bencher.iter(|| step(id));
    });

    group.bench_function("façade on tokio", |bencher| {
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let script = Script::default();
        let (client, mut watcher) = {
            let _inside = tokio.enter();
            let client = drive(script.clone(), Box::new(machine()), &ConnectOptions::default());
            let watcher = client.watch("web").unwrap();
            (client, watcher)
        };
        script.say(Input::Response(head()));
        script.say(Input::Chunk(snapshot()));
        tokio.block_on(watcher.next_changes()).unwrap();
        let mut revision = 1;
        bencher.iter(|| {
            revision += 1;
            script.say(Input::Chunk(change(revision)));
            let told = tokio.block_on(watcher.next_changes()).unwrap();
            assert_eq!(told.changes.len(), 1);
        });
        drop((watcher, client));
    });
    group.finish();
}

criterion_group!(benches, bare);
criterion_main!(benches);
