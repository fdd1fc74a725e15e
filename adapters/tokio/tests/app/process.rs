//! A process that gets real signals: this program, started once more.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

const CHILD: &str = "PERIPLUS_APP_CHILD";

/// What the child does. It says what it sees in the registry.
#[test]
#[ignore = "runs in a process of its own"]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let stopped = runtime.block_on(async {
        let registry = connect("memory:").await.unwrap();
        let mut watcher = registry.watch("web").unwrap();
        let (heard, hear) = gate();
        // The default signals, and the hook holds the application until the watcher has heard.
        let app = App::builder()
            .name("web")
            .server(http_server("127.0.0.1:0", axum::Router::new()))
            .registrar(registry.clone())
            .drain(Duration::ZERO)
            .before_stop(async |_| hear.await)
            .after_stop(async |_| {
                println!("said: stopped");
                Ok::<_, BoxError>(())
            });
        let (_, run) = run(app);
        registered(&mut watcher).await;
        println!("said: registered");
        deregistered(&mut watcher).await;
        println!("said: deregistered");
        heard.send(()).unwrap();
        run.await.unwrap().unwrap()
    });
    assert_eq!(stopped.reason, StopReason::Signal);
}

#[test]
fn a_process_that_is_terminated_deregisters_drains_and_exits_well() {
    for signal in ["-TERM", "-INT", "-QUIT"] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::child", "--ignored", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said = Vec::new();
        for line in lines {
            let Some((_, line)) = line.split_once("said: ") else { continue };
            said.push(line.to_owned());
            if line == "registered" {
                let pid = child.id().to_string();
                assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
            }
        }
        assert!(child.wait().unwrap().success(), "{signal}");
        assert_eq!(said, ["registered", "deregistered", "stopped"], "{signal}");
    }
}
