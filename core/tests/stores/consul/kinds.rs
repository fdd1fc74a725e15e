//! Two kinds of Consul: one agent with several addresses, and several agents.

use std::time::Duration;

use periplus_core::backend::consul::{Consul, ConsulOptions, Token};
use periplus_core::http::Method;

use super::super::kind::{Kind, Laws, Setup, is_western};
use super::ConsulStore;

fn client(setup: Setup, options: ConsulOptions) -> Box<Consul> {
    let mut consul = Consul::new(setup.config(), options, setup.seed, setup.now);
    if let Some(cache) = &setup.cache {
        consul.restore(cache, setup.now).expect("what it kept itself");
    }
    Box::new(consul)
}

/// One agent with several addresses.
pub const CONSUL: Kind = Kind {
    name: "consul",
    endpoints: 3,
    wide: false,
    client: |setup| client(setup, ConsulOptions::default()),
    store: |_, _| Box::new(ConsulStore::new(false)),
    is_read: |request| request.method == Method::Get,
    normal: |instance| instance.endpoints.sort(),
    laws: Laws {
        fences: false,
        prefixes: true,
        foreign: true,
        silence: Duration::from_secs(70),
        warm_up: Duration::from_secs(90),
        polls: 8,
        renewals: 1,
        lists: true,
        blank_is_yes: true,
        // A renewal that is as late as the registration that was given up.
        zombie: Duration::from_secs(62),
    },
};

/// Several agents, each with an address of its own, and what others put is in another datacenter. Tokens have rights.
pub const WIDE: Kind = Kind {
    name: "consul-wide",
    endpoints: 2,
    wide: true,
    client: |setup| {
        let options = ConsulOptions {
            datacenters: vec!["east".into(), "west".into()],
            token: Token::new("secret"),
            ..ConsulOptions::default()
        };
        client(setup, options)
    },
    store: |_, _| Box::new(ConsulStore::new(true)),
    normal: |instance| {
        instance.endpoints.sort();
        // Where several datacenters are read, instances say theirs.
        let dc = instance.metadata.remove("dc");
        assert!(dc.is_none_or(|dc| (dc == "west") == is_western(&instance.id)), "{instance:?} is elsewhere");
    },
    laws: Laws { polls: 16, ..CONSUL.laws },
    ..CONSUL
};
