//! The one loop that drives a client's machine, on any runtime.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::runtime::Runtime;

/// The driver of one client: a future that ends when the client is closed.
#[derive(Debug)]
pub struct Driver<R: Runtime>(PhantomData<R>);

impl<R: Runtime> Future for Driver<R> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
