//! All that the dashboard knows.

use periplus_core::ordered::sorted::SortedSet;

use smol_str::SmolStr;

use crate::Millis;
use crate::action::{Form, Run};
use crate::calls::{Answers, Problem};
use crate::film::Film;
use crate::fleet::{Fleet, Place};
use crate::list::List;
use crate::log::Log;
use crate::route::{Page, Route};
use crate::words::{Language, Words};

/// All that the dashboard knows.
#[derive(Debug)]
pub struct Model {
    /// The time by the page's clock.
    pub now: Millis,
    /// When the clock ticked last.
    pub ticked: Millis,
    /// The time by the wall, in milliseconds since the Unix epoch.
    pub wall: u64,
    /// Where one is.
    pub route: Route,
    /// The fleet.
    pub fleet: Fleet,
    /// How it stands with the registry.
    pub link: Link,
    /// Since when nothing new is shown, if one has paused.
    pub paused: Option<Millis>,
    /// Whether anybody can see the page.
    pub sight: Sight,
    /// What was asked besides.
    pub answers: Answers,
    /// What happened.
    pub log: Log,
    /// The long list, if the screen has one.
    pub list: List,
    /// Which row of it is the present one.
    pub cursor: usize,
    /// How far the list is scrolled, and how much of it can be seen, in pixels.
    pub scroll: (u32, u32),
    /// Which instances are selected.
    pub selected: SortedSet<Place>,
    /// What is about to be done.
    pub form: Option<Form>,
    /// What is being done, or was done last.
    pub run: Option<Run>,
    /// The past.
    pub film: Option<Film>,
    /// Something said for a moment, and when.
    pub note: Option<(SmolStr, Millis)>,
    /// Whether the keys are shown.
    pub help: bool,
    /// The key before this one, if it was the first of two.
    pub first_key: bool,
    /// Light, dark, or as the system has it.
    pub theme: Theme,
    /// The language.
    pub language: Language,
    /// Where the registry is, for what one could type in a shell.
    pub origin: SmolStr,
}

/// How long a page that was woken may take to hear the registry.
const WAKING: Millis = 2_000;

/// Light, dark, or as the system has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the system has it.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// As it is kept.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::System => "",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// As it was kept.
    #[must_use]
    pub fn of(word: &str) -> Self {
        [Self::Light, Self::Dark].into_iter().find(|theme| theme.word() == word).unwrap_or_default()
    }

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::System => Self::Light,
            Self::Light => Self::Dark,
            Self::Dark => Self::System,
        }
    }
}

/// Whether anybody can see the page. All tabs of a browser share six connections to a registry: one that nobody sees lets
/// go of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// Somebody may.
    #[default]
    Seen,
    /// Nobody can: nothing is asked or heard.
    Hidden,
    /// Somebody may again, since then, and the registry has not been heard since.
    Waking(Millis),
}

/// How far what is shown can be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Belief {
    /// Nothing was heard yet.
    #[default]
    Unheard,
    /// It is so.
    Live,
    /// The registry began anew: it may be so.
    Unconfirmed,
    /// It was so when the registry was last heard.
    Stale,
}

/// How it stands with the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// How far what is shown can be believed.
    pub belief: Belief,
    /// When the registry was last heard, if it cannot be heard.
    pub lost: Option<Millis>,
    /// When something changed last.
    pub word: Option<Millis>,
    /// Why it cannot be heard.
    pub reason: SmolStr,
    /// Why it does not answer this page.
    pub refused: Option<Problem>,
    /// The revision that is shown.
    pub revision: u64,
    /// Whether it was tried to hear it anew, because it does not answer.
    pub probed: bool,
    /// Mass expiry: in which namespace, how many, of how many.
    pub alarm: Option<(SmolStr, u64, u64)>,
}

/// What a screen of the fleet has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// Nothing yet: the registry is being asked.
    Loading,
    /// Nothing: it does not answer.
    Disconnected,
    /// Nothing: it does not let this page in.
    Forbidden,
    /// Nothing is registered.
    Empty,
    /// Something, and none of it matches.
    Filtered,
    /// Something.
    Full,
}

impl Model {
    /// One that knows nothing.
    #[must_use]
    pub fn new(route: Route, theme: Theme, language: Language, origin: SmolStr) -> Self {
        Self {
            now: 0,
            ticked: 0,
            wall: 0,
            route,
            fleet: Fleet::default(),
            link: Link::default(),
            paused: None,
            sight: Sight::default(),
            answers: Answers::default(),
            log: Log::default(),
            list: List::default(),
            cursor: 0,
            scroll: (0, 0),
            selected: SortedSet::new(),
            form: None,
            run: None,
            film: None,
            note: None,
            help: false,
            first_key: false,
            theme,
            language,
            origin,
        }
    }

    /// What it says things with.
    #[must_use]
    pub const fn words(&self) -> &'static Words {
        self.language.words()
    }

    /// What a screen of the fleet has to show.
    #[must_use]
    pub fn face(&self) -> Face {
        if self.link.refused.is_some() {
            return Face::Forbidden;
        }
        if self.link.belief == Belief::Unheard {
            return if self.link.reason.is_empty() { Face::Loading } else { Face::Disconnected };
        }
        let listed = matches!(self.route.page, Page::Services | Page::Instances);
        if self.fleet.services().len() == 0 {
            Face::Empty
        } else if listed && self.list.is_empty() {
            Face::Filtered
        } else {
            Face::Full
        }
    }

    /// For how long the registry has answered nothing, if that is long and nothing else says so.
    #[must_use]
    pub fn unanswered(&self) -> Option<Millis> {
        let believed = matches!(self.link.belief, Belief::Live | Belief::Unconfirmed);
        let asks = self.paused.is_none() && self.sight != Sight::Hidden;
        self.answers.unanswered(self.now).filter(|_| believed && asks)
    }

    /// Whether the registry cannot be heard, and not only for a moment because the page has just been woken.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let wakes = matches!(self.sight, Sight::Waking(at) if self.now < at + WAKING);
        self.link.belief == Belief::Stale && !wakes
    }

    /// Whether there is something to show of the fleet.
    #[must_use]
    pub fn face_is_full(&self) -> bool {
        self.face() == Face::Full
    }

    /// Whom an action is for: the selected ones, or else the one that the screen is about.
    #[must_use]
    pub fn subjects(&self) -> Vec<Place> {
        if let Page::Instance(service, id) = &self.route.page {
            return vec![(service.clone(), id.clone())];
        }
        self.selected.iter().cloned().collect()
    }

    /// Whether this server mirrors a store, so that operators can do nothing.
    #[must_use]
    pub fn mirrors(&self) -> bool {
        self.answers.value(&crate::calls::Call::Status).is_some_and(|status| !status["upstream"].is_null())
    }
}
