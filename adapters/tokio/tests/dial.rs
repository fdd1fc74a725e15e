//! Dialling over HTTP, on both of tokio's schedulers.

use std::future::Future;

use periplus_tokio::{HttpServer, Tokio, http_server};

#[path = "../../hyper/testing/dial.rs"]
mod testing;

struct ManyThreads;
struct OneThread;

macro_rules! subject {
    ($name:ident, $builder:ident) => {
        impl testing::Subject for $name {
            type Runtime = Tokio;

            fn run(test: impl Future<Output = ()>) {
                tokio::runtime::Builder::$builder().enable_all().build().unwrap().block_on(test);
            }

            fn runtime() -> Tokio {
                Tokio::new()
            }

            fn server(address: &str, router: axum::Router) -> HttpServer {
                http_server(address, router)
            }
        }
    };
}

subject!(ManyThreads, new_multi_thread);
subject!(OneThread, new_current_thread);

mod many_threads {
    use super::*;

    suite!(ManyThreads);
}

mod one_thread {
    use super::*;

    suite!(OneThread);
}
