//! How the dashboard bears ten thousand instances that change all the time: measured and reported, not judged.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::page::{self, Page};
use super::{expect, fleet, folder};
use crate::browser_test::Options;
use crate::browser_test::browser::Browser;
use crate::browser_test::http::Http;
use crate::failure::{Failure, Result};
use crate::registry::Registry;

const SERVICES: u64 = 200;
const INSTANCES: u64 = 10_000;

/// So many register at once.
const HANDS: u64 = 4;

/// Changes a second.
const RATE: u64 = 200;

/// Among them, so many a second are of the instance that is watched for.
const MARKS: u64 = 4;

/// The instance that is watched for is the first of all.
const MARKED: (&str, &str) = ("a-marked", "a-marked-1");

/// What the page measures of itself from its beginning.
const METER: &str = "
    window.__long = [];
    new PerformanceObserver((list) => list.getEntries().forEach((it) => window.__long.push([it.startTime, it.duration])))
        .observe({ type: 'longtask', buffered: true });
    const load = WebAssembly.instantiateStreaming;
    WebAssembly.instantiateStreaming = async (...all) => {
        const made = await load(...all);
        window.__memory = made.instance.exports.memory;
        return made;
    };
    window.__frames = [];
    let last = 0;
    const each = (now) => {
        if (last) window.__frames.push(now - last);
        last = now;
        window.__listed ??= document.querySelectorAll('#list tbody tr:not(.spacer)').length > 5 ? performance.now() : undefined;
        window.__step?.(now);
        requestAnimationFrame(each);
    };
    requestAnimationFrame(each);
";

/// Watches for the marked instance in each frame. A mark is the time at which it was sent.
const WATCH: &str = "
    window.__late = [];
    let mark = '';
    const watch = () => {
        const cell = rows().find((it) => it.innerText.includes('a-marked'));
        const now = cell?.innerText.match(/m-(\\d+)/)?.[1] ?? mark;
        if (now !== mark && mark !== '') window.__late.push(performance.timeOrigin + performance.now() - Number(now));
        mark = now;
    };
";

/// What was measured of one screen.
struct Screen {
    name: &'static str,
    paint: f64,
    listed: f64,
    listed_again: f64,
    /// While the marked row is in sight.
    late: Spread,
    frames: Spread,
    /// While one scrolls from one end to the other.
    scrolled: Spread,
    long: Spread,
    long_total: f64,
    heap: (f64, f64),
    memory: (f64, f64),
}

/// How measured values lie.
struct Spread {
    count: usize,
    p50: f64,
    p95: f64,
    p99: f64,
    most: f64,
}

pub(super) fn run(options: &Options) -> Result {
    let seconds = if options.long { 60 } else { 15 };
    let registry = Registry::start(&["--log", "error", "--warm-up", "0s"])?;
    let begun = Instant::now();
    register(registry.address())?;
    println!("{INSTANCES} instances of {SERVICES} services registered in {:.1} s", begun.elapsed().as_secs_f64());
    let changes = Changes::start(registry.address());
    let browser = page::browser(&["--enable-precise-memory-info"])?;
    let half = Duration::from_secs(seconds) / 2;
    let screens = [("services", "#/services?sort=name"), ("instances", "#/instances?sort=name")]
        .into_iter()
        .map(|(name, hash)| measure(&browser, registry.address(), name, hash, half))
        .collect::<Result<Vec<_>>>()?;
    let rate = changes.stop()?;
    println!("{rate:.0} changes a second");
    print(&screens);
    let path = folder()?.join("load.json");
    let all: Vec<Value> = screens.iter().map(Screen::to_json).collect();
    let text =
        json!({ "instances": INSTANCES, "services": SERVICES, "changes_per_s": rate, "screens": all }).to_string();
    fs::write(&path, text).map_err(|error| Failure::new(format!("could not write {}: {error}", path.display())))
}

/// Registers the fleet over several connections.
fn register(address: &str) -> Result {
    let hands: Vec<JoinHandle<Result>> = (0..HANDS)
        .map(|hand| {
            let mut http = Http::new(address);
            thread::spawn(move || {
                (hand..INSTANCES).step_by(HANDS as usize).try_for_each(|n| {
                    let (service, id) = place(n);
                    fleet::put(&mut http, &service, &id, &instance(&id, "1.0.0"))
                })
            })
        })
        .collect();
    hands.into_iter().try_for_each(|hand| hand.join().expect("it does not panic"))?;
    let mut http = Http::new(address);
    fleet::put(&mut http, MARKED.0, MARKED.1, &instance(MARKED.1, "m-0"))
}

fn place(n: u64) -> (String, String) {
    (format!("service-{:03}", n % SERVICES), format!("instance-{n:05}"))
}

fn instance(id: &str, version: &str) -> Value {
    fleet::instance(id, version, "up", &json!({ "zone": "a", "owner": "load" }))
}

/// Changes the fleet all the time, evenly.
struct Changes {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    begun: Instant,
    hand: JoinHandle<Result>,
}

impl Changes {
    fn start(address: &str) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (begun, mut http) = (Instant::now(), Http::new(address));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&made));
        let hand = thread::spawn(move || {
            // Each is due at its time, whether or not the one before was late.
            for n in 0_u64.. {
                let due = begun + Duration::from_micros(1_000_000 / RATE * n);
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                if n % (RATE / MARKS) == 0 {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
                    fleet::put(&mut http, MARKED.0, MARKED.1, &instance(MARKED.1, &format!("m-{now}")))?;
                } else {
                    // Anywhere, and always the same.
                    let (service, id) = place(n.wrapping_mul(7_919) % INSTANCES);
                    fleet::put(&mut http, &service, &id, &instance(&id, &format!("1.{n}")))?;
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Self { stop, made, begun, hand }
    }

    /// Stops, and says how many there were a second.
    #[expect(clippy::cast_precision_loss, reason = "there are not so many")]
    fn stop(self) -> Result<f64> {
        let rate = self.made.load(Ordering::Relaxed) as f64 / self.begun.elapsed().as_secs_f64();
        self.stop.store(true, Ordering::Relaxed);
        self.hand.join().expect("it does not panic")?;
        Ok(rate)
    }
}

/// Opens a screen, and looks at it for a time with the marked row in sight, and for a time while scrolling.
fn measure(browser: &Browser, address: &str, name: &'static str, hash: &str, time: Duration) -> Result<Screen> {
    let page = Page::open_after(browser, address, hash, METER)?;
    page.until("the list is there", "window.__listed")?;
    let listed = number(&page, "window.__listed")?;
    page.load(hash)?;
    page.until("the list is there", "window.__listed")?;
    let (listed_again, paint) = (
        number(&page, "window.__listed")?,
        number(&page, "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1")?,
    );
    page.until("the marked one is in sight", "rows().some((it) => it.innerText.includes('a-marked'))")?;
    page.check("only what can be seen is made", "rows().length < 100")?;
    let before = memory(&page)?;
    let for_a_time = |step: &str| -> Result {
        page.run(
            &format!(
                "
            {WATCH}
            window.__frames.length = 0;
            const list = $('#list'), begun = performance.now(), time = {};
            await_end = new Promise((end) => {{
                window.__step = (now) => {{
                    {step}
                    if (performance.now() - begun > time) {{ window.__step = undefined; end(); }}
                }};
            }});
            return await_end;
        ",
                time.as_millis()
            )
            .replace("await_end", "window.__end"),
        )
        .map(drop)
    };
    // A little on and back, so that the row stays.
    for_a_time("watch(); list.scrollTop = Math.abs((now / 4) % 400 - 200);")?;
    let late = Spread::of(&page.value("window.__late")?);
    let frames = Spread::of(&page.value("window.__frames")?);
    for_a_time("list.scrollTop = list.scrollHeight * Math.min(1, (performance.now() - begun) / time);")?;
    let scrolled = Spread::of(&page.value("window.__frames")?);
    let after = memory(&page)?;
    let long = page.value("window.__long.map(([, took]) => took)")?;
    let long_total = long.as_array().into_iter().flatten().filter_map(Value::as_f64).sum();
    expect(late.count > 0, "marks come to the screen", late.count)?;
    page.expect_calm()?;
    page.close()?;
    let long = Spread::of(&long);
    let (heap, memory) = ((before.0, after.0), (before.1, after.1));
    Ok(Screen { name, paint, listed, listed_again, late, frames, scrolled, long, long_total, heap, memory })
}

/// What JavaScript and wasm hold, in MiB, after what can be thrown away was.
fn memory(page: &Page<'_>) -> Result<(f64, f64)> {
    page.devtools("HeapProfiler.collectGarbage", &json!({}))?;
    let mib = |expression: &str| number(page, &format!("{expression} / 1024 / 1024"));
    Ok((mib("performance.memory.usedJSHeapSize")?, mib("window.__memory.buffer.byteLength")?))
}

fn number(page: &Page<'_>, expression: &str) -> Result<f64> {
    let value = page.value(&format!("Number({expression})"))?;
    value.as_f64().ok_or_else(|| Failure::new(format!("{expression} is no number but {value}")))
}

impl Spread {
    fn of(values: &Value) -> Self {
        let mut values: Vec<f64> = values.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| values.get((values.len() * percent / 100).min(values.len().saturating_sub(1)));
        let at = |percent| at(percent).copied().unwrap_or_default();
        Self { count: values.len(), p50: at(50), p95: at(95), p99: at(99), most: at(100) }
    }

    fn to_json(&self) -> Value {
        json!({ "count": self.count, "p50": self.p50, "p95": self.p95, "p99": self.p99, "max": self.most })
    }
}

impl Screen {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "first_contentful_paint_ms": self.paint,
            "listed_ms": self.listed,
            "listed_again_ms": self.listed_again,
            "change_to_screen_ms": self.late.to_json(),
            "frame_ms": self.frames.to_json(),
            "frame_while_scrolling_ms": self.scrolled.to_json(),
            "long_task_ms": self.long.to_json(),
            "long_tasks_total_ms": self.long_total,
            "js_heap_mib": [self.heap.0, self.heap.1],
            "wasm_memory_mib": [self.memory.0, self.memory.1],
        })
    }
}

fn print(screens: &[Screen]) {
    println!("{:<26}{:>22}{:>22}", "", screens[0].name, screens[1].name);
    let line = |what: &str, show: &dyn Fn(&Screen) -> String| {
        let [a, b] = [0, 1].map(|at| show(&screens[at]));
        println!("{what:<26}{a:>22}{b:>22}");
    };
    let spread = |it: &Spread| format!("{:.0} / {:.0} / {:.0}", it.p50, it.p95, it.p99);
    line("first paint, ms", &|it| format!("{:.0}", it.paint));
    line("list there, ms", &|it| format!("{:.0}", it.listed));
    line("list there again, ms", &|it| format!("{:.0}", it.listed_again));
    line("change to screen, ms", &|it| spread(&it.late));
    line("frame, ms", &|it| spread(&it.frames));
    line("frame while scrolling, ms", &|it| spread(&it.scrolled));
    line("long tasks", &|it| format!("{}: {:.0} ms", it.long.count, it.long_total));
    line("longest task, ms", &|it| format!("{:.0}", it.long.most));
    line("JS heap, MiB", &|it| format!("{:.1} → {:.1}", it.heap.0, it.heap.1));
    line("wasm memory, MiB", &|it| format!("{:.1} → {:.1}", it.memory.0, it.memory.1));
    println!("where there are three numbers, they are p50 / p95 / p99");
}
