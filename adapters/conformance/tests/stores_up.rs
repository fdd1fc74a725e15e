//! The servers of others that tests start do start, and do what the tests will ask of them.
#![cfg(unix)]

use periplus_conformance::stores::{Consul, Etcd, Server, Store};

#[test]
fn an_etcd_keeps_what_it_has_over_a_kill_and_nothing_over_a_wipe() {
    for server in [Server::Etcd, Server::EtcdCurrent] {
        let Some(mut etcd) = Etcd::new(server) else { continue };
        println!("etcd {}", etcd.version());
        etcd.put_as_kratos("hello", "a");
        assert_eq!(etcd.ids("hello"), ["a"]);
        etcd.kill();
        etcd.start();
        assert_eq!(etcd.ids("hello"), ["a"]);
        etcd.compact();
        etcd.forget("hello", "a");
        assert!(etcd.ids("hello").is_empty());
        etcd.put_garbage("hello");
        etcd.wipe();
        etcd.start();
        assert!(etcd.ids("hello").is_empty());
        etcd.turn_auth_on("secret");
        assert_eq!(etcd.leases(), 0);
        etcd.put("/microservices/x", "1");
    }
}

#[test]
fn a_consul_keeps_what_it_has_over_a_kill_and_nothing_over_a_wipe() {
    let Some(mut consul) = Consul::new() else { return };
    println!("Consul {}", consul.version());
    consul.put_as_kratos("hello", "a");
    while consul.ids("hello") != ["a"] {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    consul.turn_acls_on();
    assert_eq!(consul.held("a")["Service"], "hello");
    println!("a token {}", consul.token_for("hello"));
    consul.forget("hello", "a");
    assert!(consul.ids("hello").is_empty());
    consul.wipe();
    consul.start();
}
