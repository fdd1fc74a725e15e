//! What every native runtime is tested for, on both of tokio's schedulers.

use std::future::Future;
use std::path::Path;

use periplus_tokio::{TlsConfig, Tokio};

#[path = "../../hyper/testing/mod.rs"]
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

            fn with_tls(tls: &TlsConfig) -> Tokio {
                Tokio::new().with_tls(tls)
            }

            fn with_storage(directory: &Path) -> Tokio {
                Tokio::new().with_storage(directory).unwrap()
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
