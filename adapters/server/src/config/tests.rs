use clap::{Command, FromArgMatches as _};

use super::*;

/// The configuration that a file and a command line give. No test sets a variable: they are the whole process's.
fn load(file: &str, arguments: &[&str]) -> anyhow::Result<Config> {
    let command = <Overrides as Args>::augment_args(Command::new("serve"));
    let matches = command.try_get_matches_from([&["serve"], arguments].concat())?;
    let mut config = file::parse(file)?;
    Overrides::from_arg_matches(&matches)?.apply(&mut config)?;
    config.check()?;
    Ok(config)
}

fn error(file: &str, arguments: &[&str]) -> String {
    format!("{:#}", load(file, arguments).expect_err("should be refused"))
}

#[test]
fn nothing_said_gives_the_defaults() {
    let config = load("", &[]).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.listen.to_string(), "127.0.0.1:7171");
    assert_eq!((config.ttl.min.as_secs(), config.ttl.default.as_secs(), config.ttl.max.as_secs()), (3, 30, 86_400));
    assert_eq!(config.limits.body_bytes, 256 * 1024);
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let file = "keep_alive = \"20s\"\n[ttl]\nmin = \"5s\"\nmax = \"1h\"\n";
    let config = load(file, &["--ttl-min", "4s"]).unwrap();
    assert_eq!(config.ttl.min.as_secs(), 4);
    assert_eq!(config.ttl.max.as_secs(), 3600);
    assert_eq!(config.keep_alive.as_secs(), 20);
    assert_eq!(config.ttl.default, Ttl::default().default);
}

#[test]
fn a_flag_that_is_not_given_leaves_a_switch_of_the_file_alone() {
    assert!(load("insecure = true", &[]).unwrap().insecure);
    assert!(!load("insecure = true", &["--insecure=false"]).unwrap().insecure);
    assert!(load("", &["--insecure"]).unwrap().insecure);
}

#[test]
fn a_list_is_given_by_commas_or_by_repetition_and_replaces_that_of_the_file() {
    let file = "allowed_hosts = [\"old.example\"]";
    assert_eq!(load(file, &[]).unwrap().allowed_hosts, ["old.example"]);
    let config = load(file, &["--allowed-hosts", "a.example,b.example", "--allowed-hosts=c.example"]).unwrap();
    assert_eq!(config.allowed_hosts, ["a.example", "b.example", "c.example"]);
}

#[test]
fn every_key_has_a_flag_and_a_variable_named_by_the_rule() {
    let settings = overrides::settings();
    let keys: Vec<String> = file::leaves(&Config::default()).into_iter().map(|(key, _)| key).collect();
    let mut flags: Vec<&str> = settings.get_arguments().map(|arg| arg.get_id().as_str()).collect();
    let mut sorted: Vec<&str> = keys.iter().map(String::as_str).collect();
    flags.sort_unstable();
    sorted.sort_unstable();
    assert_eq!(flags, sorted);
    for arg in settings.get_arguments() {
        let rule = arg.get_id().as_str().replace(['.', '_'], "-");
        assert_eq!(arg.get_long(), Some(rule.as_str()));
        let variable = format!("PERIPLUS_{}", rule.to_uppercase().replace('-', "_"));
        assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
        assert!(arg.get_help().is_some_and(|help| !help.to_string().is_empty()), "{rule} has no help");
        assert!(arg.get_help_heading().is_some(), "{rule} has no heading");
    }
}

#[test]
fn what_is_printed_is_read_back_the_same() {
    let arguments = [
        "--listen=0.0.0.0:0",
        "--insecure",
        "--cors-origin=https://a.example",
        "--limits-memory=1GiB",
        "--alarm-hold=1500ms",
        "--collision=refuse",
        "--log=info,periplus_server=\"debug\"",
    ];
    let config = load("", &arguments).unwrap();
    let text = config.to_toml();
    assert_eq!(load(&text, &[]).unwrap(), config, "{text}");
    assert_eq!(load(&text, &[]).unwrap().to_toml(), text);
}

#[test]
fn an_unknown_key_is_an_error_that_names_key_and_line() {
    let error = error("keep_alive = \"20s\"\n[ttl]\nminimum = \"5s\"\n", &[]);
    assert!(error.contains("line 3") && error.contains("minimum") && error.contains("`min`"), "{error}");
}

#[test]
fn a_number_without_a_unit_is_no_duration() {
    let error = error("warm_up = 90\n", &[]);
    assert!(error.contains("line 1") && error.contains("warm_up"), "{error}");
}

#[test]
fn an_address_that_others_can_reach_needs_a_word() {
    let error = error("listen = \"0.0.0.0:7171\"", &[]);
    assert!(error.contains("--insecure"), "{error}");
    assert!(load("", &["--listen=0.0.0.0:1", "--insecure"]).is_ok());
    assert!(load("", &["--listen=[::1]:0"]).is_ok());
}

#[test]
fn what_fields_cannot_know_alone_is_checked_together() {
    assert!(error("", &["--ttl-min=1m"]).contains("must rise in this order"));
    assert!(error("", &["--limits-instances=0"]).contains("limits.instances"));
    assert!(error("", &["--cors-origin=*"]).contains("cors_origin"));
    assert!(error("[alarm]\nshare = 101", &[]).contains("alarm.share"));
}

#[test]
fn the_registry_gets_what_concerns_it() {
    assert_eq!(Config::default().registry(), periplus_core::Config::default());
    let config = load("", &["--limits-instances=7", "--ttl-max=2h", "--collision=refuse"]).unwrap().registry();
    assert_eq!((config.limits.instances, config.ttl.max.as_secs()), (7, 7200));
    assert_eq!(config.collision, periplus_core::config::Collision::Refuse);
}

#[test]
fn an_upstream_is_a_store_and_its_address_holds_no_secret() {
    for address in ["etcd://a:2379,b?password_env=P&user=u", "consul://a?token_file=/t"] {
        assert_eq!(load("", &["--upstream", address]).unwrap().upstream, address);
    }
    for address in ["periplus://a:7171", "a:2379", "etcd://a?user=u&password=secret", "consul://a?token=secret"] {
        let error = error("", &["--upstream", address]);
        assert!(error.starts_with("upstream: ") && !error.contains("=secret"), "{error}");
    }
}
