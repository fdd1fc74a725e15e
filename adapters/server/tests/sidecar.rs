//! `periplus run` against a real registry.
#![cfg(unix)]

mod common;

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use common::{Registry, Running, eventually, free_port, run, start};
use nix::sys::signal::Signal;

/// A program for whose port the test itself listens.
struct Port {
    port: u16,
    listener: Option<TcpListener>,
}

impl Port {
    fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self { port: listener.local_addr().unwrap().port(), listener: Some(listener) }
    }

    fn close(&mut self) {
        self.listener = None;
    }

    fn reopen(&mut self) {
        self.listener = Some(TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).unwrap());
    }

    fn endpoint(&self) -> String {
        format!("--endpoint=http://127.0.0.1:{}", self.port)
    }
}

/// Runs a shell script as the program.
fn sidecar(registry: &Registry, port: &Port, arguments: &[&str], script: &str) -> Running {
    let fixed = ["run", "--service=web", "--id=a", "--ttl=3s", "--check-interval=100ms"];
    let endpoint = port.endpoint();
    registry.start_client(&[&fixed, arguments, &[&endpoint, "--", "sh", "-c", script]].concat())
}

/// Until the sidecar is gone, however that came about.
const FOREVER: &str = "while kill -0 $PPID 2>/dev/null; do sleep 0.05; done";

#[test]
fn a_program_is_registered_once_it_listens() {
    let registry = Registry::start();
    let mut port = Port::open();
    port.close();
    let mut sidecar = sidecar(&registry, &port, &[], &format!("echo started; {FOREVER}"));
    assert_eq!(sidecar.line(), "started");
    assert!(registry.ids("web").is_empty());
    port.reopen();
    sidecar.remark("registered web/a");
    assert_eq!(registry.ids("web"), ["a"]);
}

#[test]
fn it_goes_out_while_its_check_fails_and_comes_back_after() {
    let registry = Registry::start();
    let mut port = Port::open();
    let mut sidecar = sidecar(&registry, &port, &[], FOREVER);
    sidecar.remark("registered web/a");
    port.close();
    sidecar.remark("the check fails");
    sidecar.remark("deregistered web/a");
    assert!(registry.ids("web").is_empty());
    port.reopen();
    sidecar.remark("registered web/a again");
    assert_eq!(registry.ids("web"), ["a"]);
}

#[test]
fn the_programs_exit_code_is_passed_through_and_nothing_stays_registered() {
    let registry = Registry::start();
    let port = Port::open();
    let mut ended = sidecar(&registry, &port, &[], "sleep 0.5; exit 7");
    ended.remark("registered web/a");
    assert_eq!(ended.end(), 7);
    assert!(registry.ids("web").is_empty());
    let mut killed = sidecar(&registry, &port, &[], "kill -KILL $$");
    assert_eq!(killed.end(), 128 + 9);
}

#[test]
fn at_a_signal_it_deregisters_first_and_then_stops_the_program() {
    let registry = Registry::start();
    let port = Port::open();
    let script = format!("trap 'echo told to stop; exit 3' TERM; echo ready; {FOREVER}");
    let mut sidecar = sidecar(&registry, &port, &["--drain=500ms"], &script);
    assert_eq!(sidecar.line(), "ready");
    sidecar.remark("registered web/a");
    let begin = Instant::now();
    sidecar.signal(Signal::SIGTERM);
    sidecar.remark("deregistered web/a");
    assert!(registry.ids("web").is_empty());
    assert_eq!(sidecar.line(), "told to stop");
    assert!(begin.elapsed() >= Duration::from_millis(500), "it was to drain first");
    assert_eq!(sidecar.end(), 3);
}

#[test]
fn a_second_signal_cuts_the_drain_short() {
    let registry = Registry::start();
    let port = Port::open();
    let script = format!("trap 'exit 0' INT; echo ready; {FOREVER}");
    let mut sidecar = sidecar(&registry, &port, &["--drain=1h"], &script);
    assert_eq!(sidecar.line(), "ready");
    sidecar.remark("registered web/a");
    sidecar.signal(Signal::SIGINT);
    sidecar.remark("deregistered web/a");
    sidecar.signal(Signal::SIGINT);
    assert_eq!(sidecar.end(), 0);
}

#[test]
fn a_program_that_does_not_stop_is_killed() {
    let registry = Registry::start();
    let port = Port::open();
    let mut sidecar =
        sidecar(&registry, &port, &["--stop-timeout=200ms"], &format!("trap '' TERM; echo ready; {FOREVER}"));
    assert_eq!(sidecar.line(), "ready");
    sidecar.signal(Signal::SIGTERM);
    sidecar.remark("killing it");
    assert_eq!(sidecar.end(), 128 + 9);
}

#[test]
fn other_signals_are_the_programs_own_affair() {
    let registry = Registry::start();
    let port = Port::open();
    let mut sidecar = sidecar(&registry, &port, &[], &format!("trap 'echo reloads' HUP; echo ready; {FOREVER}"));
    assert_eq!(sidecar.line(), "ready");
    sidecar.signal(Signal::SIGHUP);
    assert_eq!(sidecar.line(), "reloads");
    assert!(sidecar.is_running());
}

#[test]
fn a_registry_that_is_down_does_not_keep_the_program_from_running() {
    let port = Port::open();
    let url = format!("--registry=periplus://127.0.0.1:{}", free_port());
    let endpoint = port.endpoint();
    let script = format!("trap 'exit 4' TERM; echo runs; {FOREVER}");
    let mut sidecar = start(&["run", "--service=web", &endpoint, &url, "--drain=0s", "--", "sh", "-c", &script]);
    assert_eq!(sidecar.line(), "runs");
    sidecar.remark("trying again in");
    assert!(sidecar.is_running());
    sidecar.signal(Signal::SIGTERM);
    assert_eq!(sidecar.end(), 4);
}

#[test]
fn it_registers_again_after_a_restart_of_the_registry() {
    let mut registry = Registry::start();
    let port = Port::open();
    let mut sidecar = sidecar(&registry, &port, &[], FOREVER);
    sidecar.remark("registered web/a");
    registry.kill();
    sidecar.remark("trying again in");
    registry.restart();
    sidecar.remark("registered web/a again");
    assert!(sidecar.is_running());
}

#[test]
fn where_one_host_of_the_registry_is_down_another_one_is_asked() {
    let registry = Registry::start();
    let (port, url) = (Port::open(), format!("--registry=127.0.0.1:{},127.0.0.1:{}", free_port(), registry.port()));
    let mut sidecar =
        start(&["run", "--service=web", "--id=a", &port.endpoint(), &url, "--drain=0s", "--", "sh", "-c", FOREVER]);
    sidecar.remark("registered web/a");
    sidecar.interrupt();
    assert!(registry.ids("web").is_empty());
}

#[test]
fn whose_id_is_taken_runs_on_unregistered() {
    let registry = Registry::start();
    let port = Port::open();
    let mut sidecar = sidecar(&registry, &port, &[], FOREVER);
    sidecar.remark("registered web/a");
    let mut other = registry.start_client(&["register", "--service=web", "--id=a", "--ttl=3s"]);
    other.remark("in place of another holder");
    sidecar.remark("stays unregistered");
    assert!(sidecar.is_running() && other.is_running());
}

#[test]
fn an_http_check_wants_a_status_of_success() {
    let registry = Registry::start();
    let port = free_port().to_string();
    let (listen, endpoint) = (format!("127.0.0.1:{port}"), format!("--endpoint=http://127.0.0.1:{port}"));
    let program = [env!("CARGO_BIN_EXE_periplus"), "serve", "--listen", &listen];
    let wrong = format!("--check=http://127.0.0.1:{port}/there/is/nothing/here");
    let right = format!("--check=http://127.0.0.1:{port}/healthz");
    let fixed = ["run", "--service=web", "--id=a", "--check-interval=50ms", "--drain=0s", &endpoint];
    {
        let mut sidecar = registry.start_client(&[&fixed[..], &[&wrong, "--"], &program].concat());
        sidecar.line_with(&listen);
        eventually("the program answers", || {
            (run(&["list", "--registry", &format!("periplus://{listen}")]).code == 0).then_some(())
        });
        assert!(registry.ids("web").is_empty());
        sidecar.interrupt();
    }
    let mut sidecar = registry.start_client(&[&fixed[..], &[&right, "--"], &program].concat());
    registry.wait_for_ids("web", &["a"]);
    assert_eq!(sidecar.interrupt(), 0);
    assert!(registry.ids("web").is_empty());
}

#[test]
fn a_program_that_is_not_there_gives_127() {
    let done = run(&["run", "--service=web", "--endpoint=http://127.0.0.1:1", "--", "/does/not/exist"]);
    assert_eq!(done.code, 127, "{done:?}");
    let done = run(&["run", "--service=web", "--endpoint=http://127.0.0.1:1", "--", "/"]);
    assert_eq!(done.code, 126, "{done:?}");
}
