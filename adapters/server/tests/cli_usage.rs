//! What the commands say without a registry.
#![cfg(unix)]

mod common;

use common::{free_port, run, run_with};

#[test]
fn a_registry_that_is_not_there_gives_3() {
    let url = format!("periplus://127.0.0.1:{}", free_port());
    for command in [
        vec!["list"],
        vec!["get", "web"],
        vec!["watch", "web"],
        vec!["events"],
        vec!["history"],
        vec!["demo"],
        vec!["register", "--service=web", "--id=a", "--detach"],
        vec!["evict", "web", "a", "--reason=x"],
        vec!["find", "zone:a"],
        vec!["resume", "--filter=zone:a"],
    ] {
        let done = run(&[&command[..], &["--registry", &url]].concat());
        assert_eq!(done.code, 3, "{command:?}: {done:?}");
        assert!(done.stderr.contains("cannot reach the registry") && done.stderr.contains("refused"), "{done:?}");
        assert_eq!(done.stdout, "", "{command:?}");
    }
}

#[test]
fn arguments_that_make_no_sense_give_2() {
    for command in [
        vec![],
        vec!["nonsense"],
        vec!["get"],
        vec!["watch"],
        vec!["deregister", "web", "a"],
        vec!["set", "web", "a", "--reason=x"],
        vec!["find"],
        vec!["find", ""],
        vec!["find", "colour:red"],
        vec!["list", "--filter=zone:"],
        vec!["get", "web", "a", "--filter=zone:a"],
        vec!["drain", "--reason=x"],
        vec!["drain", "web", "--reason=x"],
        vec!["drain", "web", "a", "--filter=zone:a", "--reason=x"],
        vec!["drain", "web", "a", "--dry-run", "--reason=x"],
        vec!["resume", "web", "a", "--yes"],
        vec!["evict", "--filter= ", "--yes", "--reason=x"],
        vec!["register", "--service=web", "--endpoint=http://127.0.0.1:80", "--registry=periplus://registry.example"],
        vec!["run", "--service=web", "--", "true"],
        vec!["serve", "--listen=0.0.0.0:0"],
        vec!["serve", "--config=/does/not/exist"],
        vec!["serve", "--log=a=b=c"],
    ] {
        let done = run(&command);
        assert_eq!(done.code, 2, "{command:?}: {done:?}");
        assert!(!done.stderr.is_empty() && done.stdout.is_empty(), "{done:?}");
    }
}

#[test]
fn who_has_no_lease_is_told_how_an_operator_does_it() {
    let done = run(&["deregister", "web", "a"]);
    assert!(done.stderr.contains("periplus evict web a"), "{done:?}");
}

#[test]
fn shells_get_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]).ok();
        assert!(script.contains("periplus") && script.contains("deregister"), "{shell}");
    }
}

/// A configuration file that goes with the test.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("periplus-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_effective_configuration_can_be_printed_and_read_back() {
    let first = run(&["serve", "--print-config", "--ttl-min=4s", "--limits-memory=1GiB"]).ok();
    let file = File::new("printed", &first);
    let second = run(&["serve", "--print-config", "--config", file.path()]).ok();
    assert_eq!(first, second);
    assert!(second.contains("min = \"4s\"") && second.contains("memory = \"1GiB\""));
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let file = File::new("layers", "warm_up = \"1s\"\nkeep_alive = \"1s\"\nstall_threshold = \"1500ms\"\n");
    let variables = [
        ("PERIPLUS_CONFIG", file.path()),
        ("PERIPLUS_WARM_UP", "2s"),
        ("PERIPLUS_KEEP_ALIVE", "2s"),
        ("PERIPLUS_INSECURE", "true"),
        ("PERIPLUS_ALLOWED_HOSTS", "a.example,b.example"),
        ("PERIPLUS_LIMITS_BODY_BYTES", "1MiB"),
    ];
    let config = run_with(&variables, &["serve", "--print-config", "--warm-up=3s"]).ok();
    for line in [
        "warm_up = \"3s\"",
        "keep_alive = \"2s\"",
        "stall_threshold = \"1500ms\"",
        "insecure = true",
        "allowed_hosts = [\"a.example\", \"b.example\"]",
        "body_bytes = \"1MiB\"",
        "shutdown_grace = \"5s\"",
    ] {
        assert!(config.lines().any(|printed| printed == line), "{line} is not in {config}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let file = File::new("unknown", "[ttl]\nmin = \"3s\"\nmiddle = \"4s\"\n");
    let wrong = run(&["serve", "--config", file.path()]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("line 3") && wrong.stderr.contains("middle"), "{wrong:?}");
}

#[test]
fn help_says_what_the_exit_codes_mean() {
    assert!(run(&["--help"]).ok().contains("Exit codes:"));
    assert!(run(&["run", "--help"]).ok().contains("Exit codes:"));
}
