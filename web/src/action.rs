//! What an operator does to instances: asked for, tried dry, done one after another, and undone where that can be.

use periplus_core::ordered::sorted::{SortedMap, SortedSet};

use periplus_core::http::target::Target;
use periplus_core::protocol::Span;
use periplus_core::{ServiceInstance, Status};
use serde_json::{Map, Value};
use smol_str::SmolStr;

use crate::calls::Problem;
use crate::fleet::{Fleet, Place};
use crate::json::{Read as _, plain};
use crate::words::{Words, fill};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It gets no new calls.
    Drain,
    /// It gets calls again.
    Resume,
    /// Its share of the calls.
    Weight,
    /// What else it seems to say of itself.
    Metadata,
    /// It is taken out.
    Evict,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Drain, Self::Resume, Self::Weight, Self::Metadata, Self::Evict];

    /// Its name, and what it means.
    #[must_use]
    pub const fn words(self, words: &Words) -> (&'static str, &'static str) {
        match self {
            Self::Drain => (words.drain, words.drain_says),
            Self::Resume => (words.resume, words.resume_says),
            Self::Weight => (words.set_weight, words.set_weight_says),
            Self::Metadata => (words.edit_metadata, words.edit_metadata_says),
            Self::Evict => (words.evict, words.evict_says),
        }
    }
}

/// A request that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it changes.
    pub place: Place,
    /// The method.
    pub method: &'static str,
    /// What comes after the instance's path.
    pub rest: &'static str,
    /// The body.
    pub body: String,
}

impl Job {
    /// Where it goes.
    #[must_use]
    pub fn target(&self, namespace: &str) -> Target {
        let (service, id) = &self.place;
        let instance = Target::new("/v1/services").segment(service).segment("instances").segment(id);
        instance.segment(self.rest).query("ns", namespace)
    }
}

/// What an operator is asked before anything is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// What is to be done.
    pub kind: Kind,
    /// To whom.
    pub places: Vec<Place>,
    /// Why.
    pub reason: SmolStr,
    /// The weight.
    pub weight: SmolStr,
    /// The metadata, a line a key.
    pub metadata: SmolStr,
    /// For how long the id is kept out.
    pub block_for: SmolStr,
    /// Whether one has tried to send it: only then it says what is missing.
    pub tried: bool,
}

/// What would come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DryRun {
    /// Who would look different, and how: what, before, after.
    pub changes: Vec<(Place, SmolStr, SmolStr, SmolStr)>,
    /// Who would look the same.
    pub same: Vec<Place>,
    /// Services of which nobody would take calls any more.
    pub dead: Vec<SmolStr>,
}

impl Form {
    /// An empty one. What is known of one instance is filled in.
    #[must_use]
    pub fn new(kind: Kind, places: Vec<Place>, fleet: &Fleet) -> Self {
        let one = match &*places {
            [(service, id)] => fleet.get(service, id),
            _ => None,
        };
        let weight =
            one.and_then(|row| row.instance().weight()).map_or_else(SmolStr::default, |weight| number(weight.into()));
        let (metadata, block_for) = (SmolStr::default(), SmolStr::default());
        Self { kind, places, reason: SmolStr::default(), weight, metadata, block_for, tried: false }
    }

    /// What is wrong with it, if anything.
    #[must_use]
    pub fn problem(&self, words: &Words) -> Option<SmolStr> {
        let wrong = match self.kind {
            Kind::Weight if self.weight.trim().parse::<u32>().is_err() => Some(words.bad_weight.into()),
            Kind::Metadata => match self.pairs() {
                Err(line) => Some(fill(words.bad_metadata, &[&number(line as u64)])),
                Ok(pairs) if pairs.is_empty() => Some(fill(words.bad_metadata, &["1"])),
                Ok(_) => None,
            },
            Kind::Evict if !self.block_for.trim().is_empty() && self.block_for.trim().parse::<Span>().is_err() => {
                Some(words.bad_span.into())
            }
            _ => None,
        };
        wrong.or_else(|| self.reason.trim().is_empty().then(|| words.needs_reason.into()))
    }

    /// The metadata that is asked for; a key without a value is hidden. `Err`: the line that makes no sense.
    fn pairs(&self) -> Result<SortedMap<SmolStr, Option<SmolStr>>, usize> {
        let lines = self.metadata.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let pairs = lines.map(|(at, line)| {
            let (key, value) = line.split_once('=').ok_or(at + 1)?;
            let (key, value) = (key.trim(), value.trim());
            if key.is_empty() {
                return Err(at + 1);
            }
            Ok((key.into(), (!value.is_empty()).then(|| value.into())))
        });
        pairs.collect()
    }

    /// What would come of it, by what is known now. `overlays` is what operators have laid over instances before.
    #[must_use]
    pub fn dry_run(&self, fleet: &Fleet, overlays: Option<&Value>, words: &Words) -> DryRun {
        let mut run = DryRun::default();
        let mut stop = SortedSet::new();
        for place in &self.places {
            let Some(row) = fleet.get(&place.0, &place.1) else { continue };
            let instance = row.instance();
            let mut changes = Vec::new();
            match self.kind {
                Kind::Drain if row.status() != Status::Draining => {
                    changes.push((words.status.into(), row.status().as_str().into(), Status::Draining.as_str().into()));
                }
                Kind::Resume => {
                    // What the instance says of itself is not known from here, only that it was hidden.
                    if laid(overlays, place).is_some_and(|laid| laid.get("status").is_some()) {
                        changes.push((words.status.into(), row.status().as_str().into(), words.own_words.into()));
                    }
                }
                Kind::Weight => {
                    let before = instance.weight().map_or_else(|| words.none.into(), |weight| number(weight.into()));
                    let after = SmolStr::from(self.weight.trim());
                    if before != after {
                        changes.push((words.weight.into(), before, after));
                    }
                }
                Kind::Metadata => {
                    for (key, after) in self.pairs().unwrap_or_default() {
                        let before = instance.metadata.get(&*key).map(|value| SmolStr::from(value.as_str()));
                        if before != after {
                            let show = |value: Option<SmolStr>| value.unwrap_or_else(|| words.absent.into());
                            changes.push((key, show(before), show(after)));
                        }
                    }
                }
                Kind::Evict => {
                    changes.push((words.status.into(), row.status().as_str().into(), words.did_evicted.into()))
                }
                Kind::Drain => {}
            }
            let stops = match self.kind {
                Kind::Drain | Kind::Evict => true,
                Kind::Weight => self.weight.trim() == "0",
                _ => false,
            };
            if stops {
                stop.insert(place);
            }
            if changes.is_empty() {
                run.same.push(place.clone());
            }
            run.changes.extend(changes.into_iter().map(|(what, before, after)| (place.clone(), what, before, after)));
        }
        let services: SortedSet<&SmolStr> = stop.iter().map(|(service, _)| service).collect();
        for name in services {
            let takes = |instance: &ServiceInstance, status| status == Status::Up && instance.weight() != Some(0);
            let service = fleet.service(name);
            let mut rows = service.into_iter().flat_map(|service| service.instances());
            let stays = rows
                .any(|(id, row)| takes(row.instance(), row.status()) && !stop.contains(&(name.clone(), id.clone())));
            if !stays {
                run.dead.push(name.clone());
            }
        }
        run
    }

    /// How many instances it would change.
    #[must_use]
    pub fn touches(&self, run: &DryRun) -> usize {
        self.places.len().saturating_sub(run.same.len())
    }

    /// The requests that do it.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        let reason = self.reason.trim();
        let (method, rest, body) = match self.kind {
            Kind::Drain => ("PATCH", "overlay", body(Some(("status", "draining".into())), reason)),
            Kind::Resume => ("DELETE", "overlay", body(Some(("keys", vec!["status"].into())), reason)),
            Kind::Weight => {
                let weight = self.weight.trim().parse::<u32>().unwrap_or_default();
                ("PATCH", "overlay", body(Some(("weight", weight.into())), reason))
            }
            Kind::Metadata => {
                let pairs = self.pairs().unwrap_or_default().into_iter();
                let mut metadata = Map::new();
                for (key, value) in pairs {
                    metadata.insert(key.into(), value.map_or(Value::Null, |value| value.as_str().into()));
                }
                ("PATCH", "overlay", body(Some(("metadata", metadata.into())), reason))
            }
            Kind::Evict => {
                let span = self.block_for.trim();
                let block_for = (!span.is_empty()).then(|| ("block_for", span.into()));
                ("POST", "evict", body(block_for, reason))
            }
        };
        self.places.iter().map(|place| Job { place: place.clone(), method, rest, body: body.clone() }).collect()
    }

    /// The metadata keys that it lays something over.
    fn keys(&self) -> Vec<SmolStr> {
        match self.kind {
            Kind::Drain | Kind::Resume => vec!["status".into()],
            Kind::Weight => vec!["weight".into()],
            Kind::Metadata => self.pairs().unwrap_or_default().into_keys().collect(),
            Kind::Evict => Vec::new(),
        }
    }

    /// What undoes one of its requests: what lay there before is laid there again, and the rest is cleared. An eviction
    /// cannot be undone.
    #[must_use]
    pub fn undo(&self, place: &Place, overlays: Option<&Value>, reason: &str) -> Vec<Job> {
        let laid = laid(overlays, place);
        let (mut back, mut clear) = (Map::new(), Vec::new());
        for key in self.keys() {
            match laid.and_then(|laid| laid.get(&*key)) {
                Some(value) => drop(back.insert(key.into(), value.clone())),
                None => clear.push(key.to_string()),
            }
        }
        let job = |method, said| Job { place: place.clone(), method, rest: "overlay", body: body(Some(said), reason) };
        let mut jobs = Vec::new();
        if !clear.is_empty() {
            jobs.push(job("DELETE", ("keys", clear.into())));
        }
        if !back.is_empty() {
            jobs.push(job("PATCH", ("metadata", back.into())));
        }
        jobs
    }
}

/// What lies over an instance, by metadata key.
fn laid<'a>(overlays: Option<&'a Value>, (service, id): &Place) -> Option<&'a Value> {
    let mut all = overlays?.list("overlays").iter();
    let one = all.find(|one| one.part("service") == service.as_str() && one.part("id") == id.as_str())?;
    Some(one.part("overlay").part("metadata"))
}

fn number(n: u64) -> SmolStr {
    crate::view::number(n)
}

/// So many requests are under way at once.
const AT_ONCE: usize = 4;

/// What is being done.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// What it is called.
    pub name: SmolStr,
    jobs: Vec<Job>,
    begun: usize,
    /// How many are done, well or not.
    pub done: usize,
    /// Which failed, and why.
    pub failed: Vec<(Place, SmolStr)>,
    /// What undoes those that went well.
    undo: Vec<Vec<Job>>,
    /// What undoes all that was done.
    pub undoing: Vec<Job>,
    /// Whether it undoes something itself.
    pub is_undo: bool,
}

impl Run {
    /// Does these jobs. `undo` has for each what undoes it.
    #[must_use]
    pub fn new(name: impl Into<SmolStr>, jobs: Vec<Job>, undo: Vec<Vec<Job>>) -> Self {
        Self { name: name.into(), jobs, undo, ..Self::default() }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether all are done.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.done >= self.jobs.len()
    }

    /// The jobs that are to begin now, with their numbers.
    pub fn start_more(&mut self) -> Vec<(usize, Job)> {
        let until = (self.done + AT_ONCE).min(self.jobs.len());
        let from = self.begun;
        self.begun = from.max(until);
        (from..self.begun).map(|at| (at, self.jobs[at].clone())).collect()
    }

    /// One is done.
    pub fn finish(&mut self, at: usize, result: Result<Value, Problem>) {
        let Some(job) = self.jobs.get(at) else { return };
        self.done += 1;
        match result {
            Ok(_) => self.undoing.extend(self.undo.get(at).cloned().unwrap_or_default()),
            Err(problem) => self.failed.push((job.place.clone(), problem.message)),
        }
    }
}

/// What a request says, and why.
fn body(said: Option<(&str, Value)>, reason: &str) -> String {
    let mut body = Map::new();
    if let Some((key, value)) = said {
        body.insert(key.into(), value);
    }
    body.insert("reason".into(), reason.into());
    plain(&body.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{fleet, with};
    use crate::words::Language;
    use serde_json::json;

    fn place(id: &str) -> Place {
        ("web".into(), id.into())
    }

    fn form(kind: Kind, ids: &[&str]) -> (Form, Fleet) {
        let mut fleet = fleet(&[("web", "a", "up"), ("web", "b", "draining"), ("web", "c", "up")]);
        with(&mut fleet, "web", "a", &[("weight", "10"), ("owner", "pay")]);
        let mut form = Form::new(kind, ids.iter().map(|id| place(id)).collect(), &fleet);
        form.reason = "test".into();
        (form, fleet)
    }

    const WORDS: fn() -> &'static Words = || Language::English.words();

    #[test]
    fn a_dry_run_says_who_changes_who_does_not_and_whom_it_leaves_without_calls() {
        let (form, fleet) = form(Kind::Drain, &["a", "b", "c"]);
        let run = form.dry_run(&fleet, None, WORDS());
        assert_eq!(
            (form.touches(&run), run.same.as_slice(), run.dead.as_slice()),
            (2, &[place("b")][..], &["web".into()][..])
        );
        let (form, fleet) = self::form(Kind::Drain, &["a"]);
        assert!(form.dry_run(&fleet, None, WORDS()).dead.is_empty());
    }

    #[test]
    fn a_form_says_what_is_missing() {
        let (mut form, _) = form(Kind::Weight, &["a"]);
        // The weight that it has is filled in.
        assert_eq!((&*form.weight, form.problem(WORDS())), ("10", None));
        for wrong in ["", "-1", "1.5", "4294967296"] {
            form.weight = wrong.into();
            assert_eq!(form.problem(WORDS()).as_deref(), Some(WORDS().bad_weight));
        }
        let (mut form, _) = self::form(Kind::Metadata, &["a"]);
        form.metadata = "a=1\n\nnonsense".into();
        assert_eq!(form.problem(WORDS()).as_deref(), Some("Line 3 is not key=value."));
        form.metadata = "a=1\nowner=".into();
        form.reason = "  ".into();
        assert_eq!(form.problem(WORDS()).as_deref(), Some(WORDS().needs_reason));
        let (mut form, _) = self::form(Kind::Evict, &["a"]);
        form.block_for = "five".into();
        assert_eq!(form.problem(WORDS()).as_deref(), Some(WORDS().bad_span));
    }

    #[test]
    fn what_lay_there_before_is_laid_there_again() {
        let overlays = json!({"overlays": [{"service": "web", "id": "a", "overlay": {"metadata": {"owner": "ops"}}}]});
        let (mut form, fleet) = form(Kind::Metadata, &["a"]);
        form.metadata = "owner=me\nnew=1".into();
        let run = form.dry_run(&fleet, Some(&overlays), WORDS());
        let changes: Vec<String> =
            run.changes.iter().map(|(_, key, before, after)| format!("{key} {before} {after}")).collect();
        assert_eq!(changes, ["new – 1", "owner pay me"]);
        let jobs = form.undo(&place("a"), Some(&overlays), "undo");
        let told: Vec<String> = jobs.iter().map(|job| format!("{} {}", job.method, job.body)).collect();
        let expected =
            [r#"DELETE {"keys":["new"],"reason":"undo"}"#, r#"PATCH {"metadata":{"owner":"ops"},"reason":"undo"}"#];
        assert_eq!(told, expected);
        assert_eq!(self::form(Kind::Evict, &["a"]).0.undo(&place("a"), None, ""), []);
    }

    #[test]
    fn a_run_does_a_few_at_once_and_undoes_what_went_well() {
        let (form, _) = form(Kind::Drain, &["1", "2", "3", "4", "5", "6"]);
        let undo = form.places.iter().map(|place| form.undo(place, None, "undo")).collect();
        let mut run = Run::new("drain", form.jobs(), undo);
        assert_eq!(run.start_more().len(), 4);
        assert_eq!(run.start_more().len(), 0);
        let problem = Problem { status: 404, code: "not_found".into(), message: "gone".into() };
        run.finish(0, Err(problem));
        assert_eq!(run.start_more().iter().map(|(at, _)| *at).collect::<Vec<_>>(), [4]);
        (1..6).for_each(|at| run.finish(at, Ok(Value::Null)));
        assert!(run.is_over());
        assert_eq!((run.failed.len(), run.undoing.len()), (1, 5));
    }
}
