//! What a watch tells, in words.

use periplus_core::{Change, Instance, ServiceInstance};
use periplus_tokio::Changed;

use super::{Notice, Selector};
use crate::cli::changes;

/// The lines that say what changed, or all that is there `of` something.
pub(super) fn delivery(of: Option<&Selector>, changed: &Changed) -> Vec<String> {
    let (_, revision) = super::place(changed.cursor.as_ref());
    let count = changed.changes.len();
    let word = if count == 1 { "instance" } else { "instances" };
    let whole = of.map(|selector| format!("= {selector} has {count} {word} at revision {revision}"));
    whole.into_iter().chain(changed.changes.iter().map(|change| in_words(change, changed))).collect()
}

fn in_words(change: &Change, changed: &Changed) -> String {
    let name = |instance: &ServiceInstance| format!("{}/{}", instance.name, instance.id);
    match change {
        Change::Insert(after) => {
            let after = after.decode();
            format!("+ {} {}", name(&after), changes::summary(&after))
        }
        Change::Update { before, after } => {
            let (before, after) = (before.decode(), after.decode());
            format!("~ {} {}", name(&after), changes::difference(&before, &after))
        }
        Change::Remove(before) => {
            let why = Some(super::cause(before, changed)).filter(|cause| !cause.is_empty());
            format!("- {} {}", name(&Instance::decode(before)), why.unwrap_or("is gone"))
        }
    }
}

/// The line that says a notice. What is a remark and no result has none.
pub(super) fn notice(notice: &Notice) -> Option<String> {
    match notice {
        Notice::Warming => Some("! the registry has started lately: what it does not list may still come back".into()),
        Notice::Settled => Some("! the registry has settled".into()),
        Notice::Alarm { namespace, expired, of } => {
            Some(format!("! {expired} of {of} instances of namespace {namespace} expired at once"))
        }
        Notice::AlarmEnded { namespace } => Some(format!("! the alarm of namespace {namespace} is over")),
        Notice::Skipped { .. } | Notice::Stale { .. } | Notice::Live => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use periplus_core::client::Provenance;
    use serde_json::json;

    fn instance(id: &str, version: &str) -> Instance {
        Instance::pack(&serde_json::from_value(json!({"id": id, "name": "web", "version": version})).unwrap())
    }

    fn changed(changes: Vec<Change>) -> Changed {
        let causes = [(("web".parse().unwrap(), "a".parse().unwrap()), "expired".into())].into();
        Changed { changes, causes, provenance: Provenance::Live, age: None, cursor: None }
    }

    #[test]
    fn what_is_there_is_counted_and_listed() {
        let web = Selector::Service("web".into());
        assert_eq!(delivery(Some(&web), &changed(vec![])), ["= web has 0 instances at revision 0"]);
        let lines = delivery(Some(&web), &changed(vec![Change::Insert(instance("a", "1"))]));
        assert_eq!(lines, ["= web has 1 instance at revision 0", "+ web/a v1"]);
    }

    #[test]
    fn a_change_says_what_is_different_and_a_removal_its_cause() {
        let update = Change::Update { before: instance("a", "1"), after: instance("a", "2") };
        let lines = delivery(
            None,
            &changed(vec![update, Change::Remove(instance("a", "1")), Change::Remove(instance("b", "1"))]),
        );
        assert_eq!(lines, ["~ web/a version 1 -> 2", "- web/a expired", "- web/b is gone"]);
    }
}
