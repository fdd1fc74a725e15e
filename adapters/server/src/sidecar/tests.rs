use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    run: Run,
}

fn parse(arguments: &[&str]) -> Result<Run, clap::Error> {
    Line::try_parse_from([&["run", "--service=web"], arguments].concat()).map(|line| line.run)
}

#[test]
fn everything_after_two_dashes_is_the_program() {
    let run = parse(&["--endpoint=http://127.0.0.1:80", "--", "server", "--check", "x"]).unwrap();
    assert_eq!(run.command, ["server", "--check", "x"]);
    assert!(run.check.is_none());
    assert!(parse(&["--endpoint=http://127.0.0.1:80"]).is_err());
}

#[test]
fn endpoints_are_checked_unless_a_check_is_given() {
    let run = parse(&["--endpoint=http://127.0.0.1:80", "--endpoint=grpc://[::1]:81", "--", "x"]).unwrap();
    assert_eq!(
        run.checks().unwrap(),
        ["tcp://127.0.0.1:80".parse::<Check>().unwrap(), "tcp://[::1]:81".parse().unwrap()]
    );
    let run = parse(&["--endpoint=http://127.0.0.1:80", "--check=http://127.0.0.1:82/up", "--", "x"]).unwrap();
    assert_eq!(run.checks().unwrap(), ["http://127.0.0.1:82/up".parse::<Check>().unwrap()]);
    assert!(parse(&["--", "x"]).unwrap().checks().is_err());
}

#[test]
fn a_check_interval_of_zero_is_refused() {
    assert!(parse(&["--check-interval=0s", "--", "x"]).is_err());
    assert!(parse(&["--check-failures=0", "--", "x"]).is_err());
}
