//! What goes out, as bytes: instances, dates, and the frames of event streams.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use periplus_core::json::write_string;
use periplus_core::protocol::Span;
use periplus_core::{Delivered, Epoch, Instance, Namespace, Notice, Revision, Selector, ServiceKey};

use super::hub::{Date, WatchName};

/// Appends `"key":"text"`.
pub(super) fn pair(out: &mut Vec<u8>, key: &str, text: &str) {
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    write_string(out, text);
}

/// Appends a number.
pub(super) fn number(out: &mut Vec<u8>, n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = n;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a time to live as text, quoted.
pub(super) fn ttl(out: &mut Vec<u8>, millis: u32) {
    out.push(b'"');
    if millis.is_multiple_of(1_000) && !millis.is_multiple_of(60_000) {
        number(out, u64::from(millis / 1_000));
        out.push(b's');
    } else {
        let span = Span(Duration::from_millis(millis.into()));
        write!(out, "{span}").expect("a vector takes everything");
    }
    out.push(b'"');
}

/// Appends an instance as everyone gets it: Kratos's five fields, the time to live, and the namespace unless it is the
/// default one.
pub(super) fn instance(out: &mut Vec<u8>, namespace: &Namespace, instance: &Instance, ttl_ms: u32) {
    let json = instance.json();
    out.extend_from_slice(&json[..json.len() - 1]);
    out.extend_from_slice(b",\"ttl\":");
    ttl(out, ttl_ms);
    if &**namespace != "default" {
        out.push(b',');
        pair(out, "namespace", namespace);
    }
    out.push(b'}');
}

/// About how much an instance takes as JSON.
pub(super) fn size_of(instance: &Instance) -> usize {
    instance.json().len() + 24
}

/// Appends a list of instances of one namespace.
pub(super) fn list<'a>(out: &mut Vec<u8>, namespace: &Namespace, instances: impl Iterator<Item = (&'a Instance, u32)>) {
    out.push(b'[');
    for (at, (it, ttl_ms)) in instances.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        instance(out, namespace, it, ttl_ms);
    }
    out.push(b']');
}

/// Appends `"epoch":…,"revision":…,"warming":…`.
pub(super) fn date(out: &mut Vec<u8>, epoch: &Epoch, date: Date) {
    out.extend_from_slice(b"\"epoch\":\"");
    out.extend_from_slice(epoch.0.as_bytes());
    out.extend_from_slice(b"\",\"revision\":");
    number(out, date.revision.0);
    out.extend_from_slice(if date.warming { b",\"warming\":true" } else { b",\"warming\":false" });
}

// Frames. A block is an event without the empty line at its end, so that an id can follow.

/// Appends the block of a change.
pub(super) fn change(out: &mut Vec<u8>, change: &Delivered) {
    match change.ttl_ms {
        Some(ttl_ms) => {
            out.extend_from_slice(b"event: put\ndata: ");
            instance(out, &change.service.namespace, &change.instance, ttl_ms);
        }
        None => {
            out.extend_from_slice(b"event: remove\ndata: {");
            pair(out, "name", change.instance.service());
            out.push(b',');
            pair(out, "id", change.instance.id());
            out.push(b',');
            pair(out, "cause", change.cause.map_or("", |cause| cause.as_str()));
            if &*change.service.namespace != "default" {
                out.push(b',');
                pair(out, "namespace", &change.service.namespace);
            }
            out.push(b'}');
        }
    }
    out.push(b'\n');
}

/// Appends `id: CURSOR` and the end of the event.
pub(super) fn id(out: &mut Vec<u8>, epoch: &Epoch, revision: Revision) {
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(epoch.0.as_bytes());
    out.push(b'.');
    number(out, revision.0);
    out.extend_from_slice(b"\n\n");
}

/// The blocks of a snapshot.
pub(super) fn snapshot(selector: &Selector, instances: &[Delivered]) -> Bytes {
    let size: usize = instances.iter().map(|it| size_of(&it.instance) + 32).sum();
    let mut out = Vec::with_capacity(size + 96);
    out.extend_from_slice(b"event: snapshot\ndata: {");
    match selector {
        Selector::Service(ServiceKey { service, .. }) => pair(&mut out, "service", service),
        Selector::Prefix { prefix, .. } => pair(&mut out, "prefix", prefix),
    }
    out.extend_from_slice(b",\"count\":");
    number(&mut out, instances.len() as u64);
    if &**selector.namespace() != "default" {
        out.push(b',');
        pair(&mut out, "namespace", selector.namespace());
    }
    out.extend_from_slice(b"}\n");
    for it in instances {
        out.push(b'\n');
        change(&mut out, it);
    }
    out.into()
}

/// The event that says what a watch is called.
pub(super) fn opened(name: WatchName) -> Bytes {
    format!("event: watch\ndata: {{\"watch\":\"{name}\"}}\n\n").into()
}

/// Appends the event of a notice.
pub(super) fn notice(out: &mut Vec<u8>, notice: &Notice, window: Duration) {
    match notice {
        Notice::Warming => out.extend_from_slice(b"event: warming\ndata: {}"),
        Notice::Settled => out.extend_from_slice(b"event: settled\ndata: {}"),
        Notice::Alarm(alarm) => {
            out.extend_from_slice(b"event: alarm\ndata: {");
            pair(out, "namespace", &alarm.namespace);
            write!(out, ",\"expired\":{},\"of\":{},\"window\":\"{}\"}}", alarm.expired, alarm.of, Span(window))
                .expect("a vector takes everything");
        }
        Notice::AlarmEnded(namespace) => {
            out.extend_from_slice(b"event: alarm_ended\ndata: {");
            pair(out, "namespace", namespace);
            out.push(b'}');
        }
        Notice::Behind { revision } => {
            out.extend_from_slice(b"event: behind\ndata: {\"revision\":");
            number(out, revision.0);
            out.push(b'}');
        }
        // A notice of a later core is none of this protocol.
        _ => return,
    }
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_and_times_are_written_in_full() {
        for n in [0, 9, 10, 12_345, u64::MAX] {
            assert_eq!(text(|out| number(out, n)), n.to_string());
        }
        for (millis, expected) in
            [(15_000, "\"15s\""), (90_000, "\"90s\""), (120_000, "\"2m\""), (1_500, "\"1500ms\""), (1, "\"1ms\"")]
        {
            assert_eq!(text(|out| ttl(out, millis)), expected);
        }
    }

    #[test]
    fn an_instance_has_its_five_fields_its_ttl_and_a_foreign_namespace() {
        let packed = periplus_core::ServiceInstance::from_json(br#"{"id":"a","name":"web"}"#);
        let packed = Instance::pack(&packed.unwrap());
        assert_eq!(
            text(|out| instance(out, &Namespace::default(), &packed, 15_000)),
            r#"{"id":"a","name":"web","version":"","metadata":null,"endpoints":null,"ttl":"15s"}"#
        );
        let prod = Namespace::new("prod").unwrap();
        assert!(text(|out| instance(out, &prod, &packed, 1)).ends_with(r#""ttl":"1ms","namespace":"prod"}"#));
    }
}
