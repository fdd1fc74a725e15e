use super::*;

fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from([&["periplus"], arguments].concat())
}

fn refused(arguments: &[&str]) -> String {
    let error = parse(arguments).expect_err("should be refused");
    assert_eq!(error.exit_code(), i32::from(exit::USAGE));
    error.to_string()
}

#[test]
fn the_commands_are_consistent_in_themselves() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_and_argument_has_a_word_of_help() {
    let mut root = Cli::command();
    root.build();
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
        }
    }
}

#[test]
fn names_are_checked_before_anything_is_sent() {
    assert!(refused(&["get", ""]).contains("service is empty"));
    assert!(refused(&["get", "web", "a\nb"]).contains("control character"));
    assert!(refused(&["list", "--ns="]).contains("namespace is empty"));
    assert!(refused(&["list", "--registry=https://x"]).contains("TLS"));
}

#[test]
fn a_watch_is_of_something() {
    assert!(parse(&["watch", "a", "b", "--prefix", "c"]).is_ok());
    assert!(parse(&["watch", "--all"]).is_ok());
    refused(&["watch"]);
    refused(&["watch", "a", "--all"]);
}

#[test]
fn an_operator_gives_a_reason() {
    assert!(refused(&["drain", "web", "a"]).contains("--reason"));
    assert!(refused(&["evict", "web", "a"]).contains("--reason"));
    assert!(refused(&["set", "web", "a", "--weight=1"]).contains("--reason"));
    assert!(parse(&["resume", "web", "a"]).is_ok());
}

#[test]
fn endpoints_and_pairs_are_checked_as_they_are_given() {
    assert!(refused(&["register", "--service=web", "--endpoint=127.0.0.1:80"]).contains("scheme://host:port"));
    assert!(refused(&["register", "--service=web", "--metadata=x"]).contains("key=value"));
    assert!(refused(&["register", "--service=web", "--ttl=3"]).contains("unit"));
    assert!(refused(&["register", "--service=web", "--status=upp"]).contains("draining"));
}
