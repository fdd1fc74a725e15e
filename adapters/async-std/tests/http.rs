//! What every native runtime is tested for, on async-std and on smol.

#![cfg(any(feature = "async-std", feature = "smol"))]

use std::future::Future;
use std::path::Path;

use periplus_async_std::TlsConfig;

#[path = "../../hyper/testing/mod.rs"]
mod testing;

macro_rules! subject {
    ($module:ident, $runtime:ident, $run:path) => {
        mod $module {
            use periplus_async_std::$runtime;

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

                fn with_tls(tls: &TlsConfig) -> $runtime {
                    $runtime::new().with_tls(tls)
                }

                fn with_storage(directory: &Path) -> $runtime {
                    $runtime::new().with_storage(directory).unwrap()
                }
            }

            suite!(Subject);
        }
    };
}

#[cfg(feature = "async-std")]
subject!(async_std, AsyncStd, ::async_std::task::block_on);

#[cfg(feature = "smol")]
subject!(smol, Smol, ::smol::block_on);
