//! Making a connection.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::net::{Io, Net};

/// How long it may take to make a connection: to resolve the name, to connect, to agree on TLS.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one address has for itself before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// What a future gives within a span of time.
pub(crate) async fn within<T>(net: &dyn Net, span: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut sleep = net.sleep(span);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Connects to a host, by whichever of its addresses answers first.
///
/// # Errors
/// The last one, if no address answers.
pub(crate) async fn dial(net: &dyn Net, host: &str, port: u16) -> io::Result<Box<dyn Io>> {
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => net.resolve(host, port).await?,
    };
    race(net, alternate(addresses)).await
}

/// Tries addresses, each a little after the one before, or as soon as none is being tried.
async fn race(net: &dyn Net, mut addresses: VecDeque<SocketAddr>) -> io::Result<Box<dyn Io>> {
    let mut attempts = Vec::new();
    let mut sleep = None;
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    poll_fn(|cx| {
        loop {
            let mut index = 0;
            while index < attempts.len() {
                let attempt: &mut crate::Task<io::Result<Box<dyn Io>>> = &mut attempts[index];
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(io)) => return Poll::Ready(Ok(io)),
                    Poll::Ready(Err(failed)) => {
                        error = failed;
                        drop(attempts.swap_remove(index));
                        sleep = None;
                    }
                    Poll::Pending => index += 1,
                }
            }
            if let Some(timer) = &mut sleep {
                let timer: &mut crate::Task<()> = timer;
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            match addresses.pop_front() {
                Some(address) => {
                    attempts.push(net.dial(address));
                    sleep = Some(net.sleep(HEAD_START));
                }
                None if attempts.is_empty() => {
                    let nothing = io::Error::from(io::ErrorKind::NotFound);
                    return Poll::Ready(Err(std::mem::replace(&mut error, nothing)));
                }
                None => {
                    sleep = None;
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

/// The addresses in their order, but of both families by turns: if one of them leads nowhere, it costs one head start.
fn alternate(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut ours, mut theirs): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let mut all = VecDeque::with_capacity(ours.len() + theirs.len());
    while !ours.is_empty() || !theirs.is_empty() {
        all.extend(ours.pop_front());
        all.extend(theirs.pop_front());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_take_turns() {
        let parse = |list: &[&str]| list.iter().map(|it| it.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let given = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let want = parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(Vec::from(alternate(given)), want);
        assert!(alternate(Vec::new()).is_empty());
    }
}
