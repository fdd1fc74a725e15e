//! What a screen asks the registry for: each question is asked again as long as a screen shows its answer.

use periplus_core::ordered::sorted::SortedMap;

use periplus_core::http::target::Target;
use serde_json::Value;
use smol_str::SmolStr;

use crate::Millis;
use crate::json::Read as _;

/// A question, always about the namespace that is shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// How the registry is.
    Status,
    /// What happened in each of the last minutes.
    Trends,
    /// Which namespaces there are.
    Namespaces,
    /// The services after this one, with how many watch each: as many as the registry tells at once.
    Services(SmolStr),
    /// What operators have laid over instances, and what they keep out.
    Overlays,
    /// How the leases of a service are.
    Leases(SmolStr),
    /// Who watches a service, and how far each is.
    Watches(SmolStr),
    /// All that is known of an instance.
    Instance(SmolStr, SmolStr),
    /// What happened to a service.
    Past(SmolStr),
}

impl Call {
    /// Where it is asked.
    #[must_use]
    pub fn target(&self, namespace: &str) -> Target {
        let service = |name: &str| Target::new("/v1/services").segment(name);
        let (target, dated) = match self {
            Self::Status => (Target::new("/v1/status"), false),
            Self::Trends => (Target::new("/v1/trends"), true),
            Self::Namespaces => (Target::new("/v1/namespaces"), false),
            Self::Services(after) => {
                (Target::new("/v1/services").query_if("after", Some(after).filter(|after| !after.is_empty())), true)
            }
            Self::Overlays => (Target::new("/v1/overlays"), true),
            Self::Leases(name) => (service(name).segment("leases"), true),
            Self::Watches(name) => (Target::new("/v1/watches").query("service", name), true),
            Self::Instance(name, id) => (service(name).segment("instances").segment(id), true),
            Self::Past(name) => {
                (Target::new("/v1/history").query("service", name).query("newest", true).query("limit", 500), true)
            }
        };
        if dated { target.query("ns", namespace) } else { target }
    }

    /// Whether its answer is another one when this instance is there.
    fn is_about(&self, service: &str, id: &str) -> bool {
        match self {
            Self::Instance(name, of) => name == service && of == id,
            Self::Leases(name) | Self::Watches(name) | Self::Past(name) => name == service,
            _ => false,
        }
    }

    /// How long its answer does.
    #[must_use]
    pub const fn lasts(&self) -> Millis {
        match self {
            Self::Status | Self::Leases(_) | Self::Watches(_) | Self::Instance(..) => 2_000,
            Self::Services(_) | Self::Past(_) => 5_000,
            Self::Trends | Self::Overlays => 10_000,
            Self::Namespaces => 30_000,
        }
    }
}

/// A refusal, or that there was no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The status of the answer; 0, if there was none.
    pub status: u16,
    /// The word for it.
    pub code: SmolStr,
    /// What is wrong, for people.
    pub message: SmolStr,
}

/// The latest answer to a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// What it was; nothing before the first.
    pub value: Option<Value>,
    /// When it came.
    pub at: Millis,
    /// What is wrong since.
    pub problem: Option<Problem>,
    /// When it was asked last, while that is not answered.
    asked: Option<Millis>,
    /// Since when there is no answer, however often it was asked.
    waits: Option<Millis>,
    /// Whether something came since it was asked.
    outdated: bool,
    /// When it may be asked again.
    due: Millis,
}

/// All answers.
#[derive(Debug, Default)]
pub struct Answers(SortedMap<Call, Answer>);

/// A question that was not answered for so long is asked again.
const PATIENCE: Millis = 30_000;
/// After a refusal or a failure one waits at least so long.
const PAUSE: Millis = 5_000;
/// What is not there is looked for so often, unless it is heard of.
const ABSENCE: Millis = 60_000;
/// An answer that takes longer is worth a word.
const SLOW: Millis = 5_000;

impl Answers {
    /// The latest answer to this.
    #[must_use]
    pub fn get(&self, call: &Call) -> Option<&Answer> {
        self.0.get(call)
    }

    /// What was answered to this last.
    #[must_use]
    pub fn value(&self, call: &Call) -> Option<&Value> {
        self.0.get(call)?.value.as_ref()
    }

    /// All services that were told of, page by page, each with the service after which it begins; the last is not there
    /// if the registry was not asked for it yet.
    pub fn services(&self) -> impl Iterator<Item = (SmolStr, Option<&Value>)> {
        let page = |after: SmolStr| {
            let call = Call::Services(after);
            let value = self.value(&call);
            let Call::Services(after) = call else { unreachable!("it is one") };
            (after, value)
        };
        std::iter::successors(Some(page(SmolStr::default())), move |(_, value)| {
            let next = value.as_ref()?.text("next");
            (!next.is_empty()).then(|| page(next))
        })
    }

    /// For how long the registry has not answered, if that is long.
    #[must_use]
    pub fn unanswered(&self, now: Millis) -> Option<Millis> {
        let since = self.0.get(&Call::Status)?.waits?;
        Some(now.saturating_sub(since)).filter(|age| *age >= SLOW)
    }

    /// The page has slept: nothing is waited for that was asked before.
    pub fn slept(&mut self) {
        for answer in self.0.values_mut() {
            (answer.asked, answer.waits) = (None, None);
        }
    }

    /// Those of these questions that are to be asked now. They count as asked.
    pub fn due(&mut self, calls: Vec<Call>, now: Millis) -> Vec<Call> {
        let mut due = Vec::new();
        for call in calls {
            let answer = self.0.entry(call.clone()).or_default();
            let waiting = answer.asked.is_some_and(|asked| now < asked + PATIENCE);
            if !waiting && now >= answer.due {
                answer.asked = Some(now);
                answer.waits.get_or_insert(now);
                due.push(call);
            }
        }
        due
    }

    /// Takes an answer.
    pub fn take(&mut self, call: &Call, result: Result<Value, Problem>, now: Millis) {
        let answer = self.0.entry(call.clone()).or_default();
        answer.asked = None;
        answer.waits = None;
        let outdated = std::mem::take(&mut answer.outdated);
        answer.due = now + call.lasts();
        match result {
            Ok(value) => {
                answer.value = Some(value);
                answer.at = now;
                answer.problem = None;
            }
            Err(problem) => {
                answer.due = now + PAUSE.max(call.lasts());
                // What is not there any more is not shown as if it were.
                if problem.status == 404 {
                    answer.value = None;
                    answer.due = now + if outdated { 0 } else { ABSENCE };
                }
                answer.problem = Some(problem);
            }
        }
    }

    /// Whatever is shown is asked for anew, whether there was an answer or not.
    pub fn retry(&mut self) {
        self.refresh();
        self.0.values_mut().for_each(|answer| answer.asked = None);
    }

    /// Whatever is shown is asked for anew.
    pub fn refresh(&mut self) {
        self.0.values_mut().for_each(|answer| answer.due = 0);
    }

    /// This instance came: what was not there may be. O(questions).
    pub fn look_again(&mut self, service: &str, id: &str) {
        let absent = |answer: &Answer| answer.problem.as_ref().is_some_and(|problem| problem.status == 404);
        for (_, answer) in self.0.iter_mut().filter(|(call, _)| call.is_about(service, id)) {
            answer.outdated = answer.asked.is_some();
            if absent(answer) {
                answer.due = 0;
            }
        }
    }

    /// Forgets everything: it was of another namespace.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets answers that no screen has asked for in a while.
    pub fn tidy(&mut self, now: Millis) {
        self.0.retain(|_, answer| answer.asked.is_some() || answer.due + 10 * PATIENCE > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_question_is_asked_again_when_its_answer_is_old_and_never_twice_at_once() {
        let mut answers = Answers::default();
        let ask = |answers: &mut Answers, now| answers.due(vec![Call::Status], now).len();
        assert_eq!(ask(&mut answers, 0), 1);
        assert_eq!(ask(&mut answers, 10), 0);
        answers.take(&Call::Status, Ok(json!({"revision": 1})), 20);
        assert_eq!((ask(&mut answers, 2_019), ask(&mut answers, 2_020)), (0, 1));
        // One that is lost is not waited for for ever.
        assert_eq!((ask(&mut answers, 32_019), ask(&mut answers, 32_020)), (0, 1));
    }

    #[test]
    fn a_failure_keeps_what_was_known_and_waits() {
        let mut answers = Answers::default();
        let problem = |status| Problem { status, code: "x".into(), message: "y".into() };
        answers.take(&Call::Status, Ok(json!(1)), 0);
        answers.take(&Call::Status, Err(problem(503)), 100);
        assert_eq!(answers.value(&Call::Status), Some(&json!(1)));
        assert_eq!(answers.due(vec![Call::Status], 5_099).len(), 0);
        assert_eq!(answers.due(vec![Call::Status], 5_100).len(), 1);
        answers.take(&Call::Status, Err(problem(404)), 5_200);
        assert_eq!(answers.value(&Call::Status), None);
    }

    #[test]
    fn what_is_not_there_is_looked_for_when_something_comes() {
        let mut answers = Answers::default();
        let call = Call::Instance("web".into(), "a".into());
        let problem = Problem { status: 404, code: "x".into(), message: "y".into() };
        answers.take(&call, Err(problem.clone()), 0);
        assert_eq!(answers.due(vec![call.clone()], 59_999).len(), 0);
        // Another one is no reason.
        answers.look_again("web", "b");
        assert_eq!(answers.due(vec![call.clone()], 59_999).len(), 0);
        answers.look_again("web", "a");
        assert_eq!(answers.due(vec![call.clone()], 59_999).len(), 1);
        // What is there is not asked for any earlier.
        answers.take(&call, Ok(json!({})), 60_000);
        answers.look_again("web", "a");
        assert_eq!(answers.due(vec![call.clone()], 61_999).len(), 0);
        // It came while the registry was being asked, and the answer is older.
        assert_eq!(answers.due(vec![call.clone()], 62_000).len(), 1);
        answers.look_again("web", "a");
        answers.take(&call, Err(problem), 62_100);
        assert_eq!(answers.due(vec![call], 62_100).len(), 1);
    }

    #[test]
    fn a_registry_that_does_not_answer_is_noticed_and_a_page_that_sleeps_is_not() {
        let mut answers = Answers::default();
        let ask = |answers: &mut Answers, now| drop(answers.due(vec![Call::Status], now));
        ask(&mut answers, 0);
        assert_eq!((answers.unanswered(4_999), answers.unanswered(5_000)), (None, Some(5_000)));
        // Asking again is no answer.
        ask(&mut answers, 30_000);
        assert_eq!(answers.unanswered(31_000), Some(31_000));
        answers.slept();
        ask(&mut answers, 40_000);
        assert_eq!((answers.unanswered(44_999), answers.unanswered(45_000)), (None, Some(5_000)));
        answers.take(&Call::Status, Ok(json!({})), 46_000);
        assert_eq!(answers.unanswered(99_000), None);
    }

    #[test]
    fn services_come_page_by_page() {
        let mut answers = Answers::default();
        let pages =
            |answers: &Answers| answers.services().map(|(after, page)| (after, page.cloned())).collect::<Vec<_>>();
        assert_eq!(pages(&answers), [("".into(), None)]);
        let (first, last) = (json!({"services": [{"name": "a"}], "next": "a"}), json!({"services": [{"name": "b"}]}));
        answers.take(&Call::Services("".into()), Ok(first.clone()), 0);
        assert_eq!(pages(&answers), [("".into(), Some(first.clone())), ("a".into(), None)]);
        answers.take(&Call::Services("a".into()), Ok(last.clone()), 0);
        assert_eq!(pages(&answers), [("".into(), Some(first)), ("a".into(), Some(last))]);
        assert_eq!(Call::Services("a/b".into()).target("x").to_string(), "/v1/services?after=a%2Fb&ns=x");
    }

    #[test]
    fn names_are_encoded_and_the_namespace_is_said() {
        let call = Call::Instance("a/b".into(), "c d".into());
        assert_eq!(call.target("prod").to_string(), "/v1/services/a%2Fb/instances/c%20d?ns=prod");
        assert_eq!(Call::Watches("w".into()).target("default").to_string(), "/v1/watches?service=w&ns=default");
    }
}
