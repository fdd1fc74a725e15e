//! What the tests of the binary share: a real registry, and commands that run beside it.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long anything may take before a test gives up. Only a failing test ever waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test.
fn periplus() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_periplus"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PERIPLUS_")) {
        command.env_remove(name);
    }
    command
}

/// A port that nobody listens on at the moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

/// Asks again and again until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain waited for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a command has printed and how it ended.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// The results, after a success.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// The results as JSON, after a success.
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// Runs a command to its end, without any registry.
pub fn run(arguments: &[&str]) -> Done {
    run_with(&[], arguments)
}

/// The same with variables in its environment.
pub fn run_with(variables: &[(&str, &str)], arguments: &[&str]) -> Done {
    let mut command = periplus();
    command.envs(variables.iter().copied()).args(arguments).stdin(Stdio::null());
    let output = command.output().expect("the binary runs");
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("results are text"),
        stderr: String::from_utf8(output.stderr).expect("remarks are text"),
    }
}

/// A command that runs beside the test. It is killed with the test.
pub struct Running {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// Starts a command, without any registry.
pub fn start(arguments: &[&str]) -> Running {
    let mut command = periplus();
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let stdout = Lines::of(child.stdout.take().expect("stdout is a pipe"));
    let stderr = Lines::of(child.stderr.take().expect("stderr is a pipe"));
    Running { child, stdout, stderr }
}

impl Running {
    /// The next line of results.
    pub fn line(&mut self) -> String {
        self.stdout.find("a line of results", |_| true)
    }

    /// The next line of results as JSON.
    pub fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The next line of results, as JSON, that is so; those before it are skipped.
    pub fn json_that(&mut self, what: &str, test: impl Fn(&Value) -> bool) -> Value {
        let line = self.stdout.find(what, |line| serde_json::from_str(line).is_ok_and(|value| test(&value)));
        serde_json::from_str(&line).expect("it was JSON")
    }

    /// The next line of results that contains a text; those before it are skipped.
    pub fn line_with(&mut self, text: &str) -> String {
        self.stdout.find(text, |line| line.contains(text))
    }

    /// The next lines of results, up to one that contains a text.
    pub fn lines_to(&mut self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| !line.contains(text)) {
            lines.push(self.line());
        }
        lines
    }

    /// The next remark that contains a text; those before it are skipped.
    pub fn remark(&mut self, text: &str) -> String {
        self.stderr.find(text, |line| line.contains(text))
    }

    /// Everything said so far.
    pub fn said(&self) -> String {
        self.stderr.all()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id is small");
        kill(Pid::from_raw(pid), signal).expect("the process is there");
    }

    /// Waits for the end, and until all it said has been read, and gives the exit code.
    pub fn end(&mut self) -> i32 {
        let status = eventually("the end of the command", || self.child.try_wait().expect("it can be waited for"));
        eventually("the end of its output", || (self.stdout.ended() && self.stderr.ended()).then_some(()));
        status.code().unwrap_or(-1)
    }

    /// Ends it as a person would, and gives the exit code.
    pub fn interrupt(&mut self) -> i32 {
        self.signal(Signal::SIGINT);
        self.end()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- stdout\n{}--- stderr\n{}", self.stdout.all(), self.stderr.all());
        }
    }
}

/// Lines as they come.
struct Lines {
    shared: Arc<(Mutex<Received>, Condvar)>,
    next: usize,
}

#[derive(Default)]
struct Received {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let shared = Arc::<(Mutex<Received>, Condvar)>::default();
        let writer = Arc::clone(&shared);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut received = writer.0.lock().expect("nobody panics with it");
                received.lines.push(line);
                writer.1.notify_all();
            }
            writer.0.lock().expect("nobody panics with it").ended = true;
            writer.1.notify_all();
        });
        Self { shared, next: 0 }
    }

    fn find(&mut self, what: &str, test: impl Fn(&str) -> bool) -> String {
        self.find_or_end(what, test).unwrap_or_else(|| panic!("it ended; in vain waited for: {what}"))
    }

    /// `None` if the command ended first.
    fn find_or_end(&mut self, what: &str, test: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let (lock, wake) = &*self.shared;
        let mut received = lock.lock().expect("nobody panics with it");
        loop {
            while let Some(line) = received.lines.get(self.next) {
                self.next += 1;
                if test(line) {
                    return Some(line.clone());
                }
            }
            if received.ended {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "in vain waited for: {what}");
            received = wake.wait_timeout(received, left).expect("nobody panics with it").0;
        }
    }

    fn ended(&self) -> bool {
        self.shared.0.lock().expect("nobody panics with it").ended
    }

    fn all(&self) -> String {
        let received = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        received.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// A real registry on a port of its own.
pub struct Registry {
    server: Option<Running>,
    port: u16,
    arguments: Vec<String>,
}

impl Registry {
    /// Starts a registry and waits until it listens.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more flags.
    pub fn start_with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut registry = Self { server: None, port: 0, arguments };
        registry.restart();
        registry
    }

    /// Starts it again on the same port, with its memory gone.
    pub fn restart(&mut self) {
        self.kill();
        let listen = format!("127.0.0.1:{}", self.port);
        let mut arguments = vec!["serve", "--listen", &listen];
        arguments.extend(self.arguments.iter().map(String::as_str));
        // Another test may be calling from the port at the moment.
        let (server, line) = eventually("the registry can listen", || {
            let mut server = start(&arguments);
            let line = server.stdout.find_or_end("where it listens", |line| line.starts_with("listening on"))?;
            Some((server, line))
        });
        let (_, port) = line.rsplit_once(':').expect("an address has a port");
        self.port = port.parse().unwrap_or_else(|_| panic!("no port in {line:?}"));
        self.server = Some(server);
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.server = None;
    }

    pub fn url(&self) -> String {
        format!("periplus://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a client command to its end.
    pub fn run(&self, arguments: &[&str]) -> Done {
        let url = self.url();
        let (options, program) = split(arguments);
        run(&[options, &["--registry", &url], program].concat())
    }

    /// Starts a client command.
    pub fn start_client(&self, arguments: &[&str]) -> Running {
        let url = self.url();
        let (options, program) = split(arguments);
        start(&[options, &["--registry", &url], program].concat())
    }

    /// The ids of a service's instances.
    pub fn ids(&self, service: &str) -> Vec<String> {
        let instances = self.run(&["get", service, "--json"]).json();
        let instances = instances.as_array().expect("a list").iter();
        instances.map(|instance| instance["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// Waits until a service has just these instances.
    pub fn wait_for_ids(&self, service: &str, ids: &[&str]) {
        eventually(&format!("{service} has {ids:?}"), || (self.ids(service) == ids).then_some(()));
    }
}

/// The arguments of the command, and those of the program that it runs.
fn split<'a, 'b>(arguments: &'a [&'b str]) -> (&'a [&'b str], &'a [&'b str]) {
    arguments.split_at(arguments.iter().position(|argument| *argument == "--").unwrap_or(arguments.len()))
}

/// A relay before a registry, whose connections can be cut.
pub struct Relay {
    port: u16,
    state: Arc<Mutex<RelayState>>,
}

#[derive(Default)]
struct RelayState {
    is_cut: bool,
    open: Vec<TcpStream>,
}

impl Relay {
    /// Relays to this port.
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let state = Arc::<Mutex<RelayState>>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut state = shared.lock().expect("nobody panics with it");
                if state.is_cut {
                    continue;
                }
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                state.open.extend([client, server]);
            }
        });
        Self { port, state }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections, and every new one.
    pub fn cut(&mut self) {
        let mut state = self.state.lock().expect("nobody panics with it");
        state.is_cut = true;
        for socket in state.open.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Lets new connections through again.
    pub fn mend(&mut self) {
        self.state.lock().expect("nobody panics with it").is_cut = false;
    }
}
