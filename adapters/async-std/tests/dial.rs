//! Dialling over HTTP, on async-std and on smol.

#![cfg(any(feature = "async-std", feature = "smol"))]

use std::future::Future;

use periplus_async_std::HttpServer;

#[path = "../../hyper/testing/dial.rs"]
mod testing;

macro_rules! subject {
    ($module:ident, $runtime:ident, $run:path, $server:ident) => {
        mod $module {
            use periplus_async_std::{$runtime, $server};

            use super::*;

            struct Subject;

            impl testing::Subject for Subject {
                type Runtime = $runtime;

                fn run(test: impl Future<Output = ()>) {
                    $run(test);
                }

                fn runtime() -> $runtime {
                    $runtime::new()
                }

                fn server(address: &str, router: axum::Router) -> HttpServer {
                    $server(address, router)
                }
            }

            suite!(Subject);
        }
    };
}

#[cfg(feature = "async-std")]
subject!(async_std, AsyncStd, ::async_std::task::block_on, http_server);

#[cfg(feature = "smol")]
subject!(smol, Smol, ::smol::block_on, http_server_smol);
