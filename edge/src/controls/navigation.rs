//! Which screen stands: a state machine of presses, new results and time.
//!
//! Nobody at the buttons: every new result is shown, then the screen rests. Somebody at the buttons: nothing moves but
//! by a press; a new result is announced. Time is any steady clock that the caller reads; nothing here draws or stores.

use std::time::Duration;

use super::{Action, Verdict};

/// A case in the store; a later case has a higher number.
pub type CaseId = i64;

/// What the store knows of the order of cases.
pub trait Cases {
    /// The newest case that has a result.
    fn newest(&self) -> Option<CaseId>;

    /// The next older case that has a result; also of one that is not there any more.
    fn before(&self, case: CaseId) -> Option<CaseId>;

    /// The next newer case that has a result; also of one that is not there any more.
    fn after(&self, case: CaseId) -> Option<CaseId>;

    /// Whether the case is there.
    fn contains(&self, case: CaseId) -> bool;

    /// Whether somebody still has to look at it: flagged or uncertain, and not acknowledged.
    fn needs_eyes(&self, case: CaseId) -> bool;
}

/// How long what stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// After so long without a press the newest result comes back.
    pub back: Duration,
    /// After so long the newest result gives way to the idle screen, unless somebody still has to look at it.
    pub rest: Duration,
    /// A result that somebody has to look at stands at least so long before the next one takes its place.
    pub hold: Duration,
    /// A press so soon after the screen moved by itself, or the case on it came to another result, was meant for what stood
    /// before: it says nothing about the new one.
    pub guard: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            back: Duration::from_secs(30),
            rest: Duration::from_secs(300),
            hold: Duration::from_secs(10),
            guard: Duration::from_millis(700),
        }
    }
}

/// What stands on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// No case: idle, at work, an update or a fault, as the appliance is.
    Home,
    /// The result of a case.
    Case(CaseId),
    /// The list of cases, with this one chosen.
    List(CaseId),
}

/// What is to be done for a press, beside the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Somebody has seen the case.
    Acknowledge(CaseId),
    /// A clinician's finding; that is an acknowledgement too. A later one takes the place of an earlier one.
    Verdict(CaseId, Verdict),
    /// The screen is to be dimmed, or not any more.
    Night,
}

/// Somebody is at the buttons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attention {
    since: Duration,
    /// Whether they leaf through cases; else they look at the one that stood there.
    browsing: bool,
}

/// The state machine.
#[derive(Debug, Clone)]
pub struct Navigation {
    times: Times,
    place: Place,
    look: usize,
    attention: Option<Attention>,
    /// When the screen last moved by itself.
    moved: Duration,
    /// When the case on the screen last came to another result, whoever is at the buttons.
    changed: Option<Duration>,
    /// Until when the shown result keeps its place.
    held: Duration,
    news: Option<CaseId>,
}

impl Navigation {
    /// At home, with nobody at the buttons.
    #[must_use]
    pub fn new(times: Times) -> Self {
        Self {
            times,
            place: Place::Home,
            look: 0,
            attention: None,
            moved: Duration::ZERO,
            changed: None,
            held: Duration::ZERO,
            news: None,
        }
    }

    /// What stands on the screen.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Which look at the case: counts up from 0, the screen takes it modulo its looks (`ResultScreen::looks`).
    #[must_use]
    pub fn look(&self) -> usize {
        self.look
    }

    /// The newest result that came while another one stood there and that nobody has seen yet.
    #[must_use]
    pub fn news(&self) -> Option<CaseId> {
        self.news
    }

    /// Whether somebody leafs through cases, so that a case's position among them is worth room.
    #[must_use]
    pub fn is_browsing(&self) -> bool {
        self.attention.is_some_and(|attention| attention.browsing)
    }

    /// Whether somebody is at the buttons: then nothing but a fault may take the screen.
    #[must_use]
    pub fn is_attended(&self) -> bool {
        self.attention.is_some()
    }

    /// A case has its result.
    pub fn arrived(&mut self, case: CaseId, cases: &impl Cases, now: Duration) {
        if self.attention.is_some() || now < self.held {
            self.news = Some(case);
        } else {
            self.move_to(Place::Case(case), cases, now);
        }
    }

    /// The case on the screen stays there and says something else from now on.
    pub fn changed(&mut self, now: Duration) {
        self.changed = Some(now);
    }

    /// A button was pressed.
    pub fn press(&mut self, action: Action, cases: &impl Cases, now: Duration) -> Option<Effect> {
        if let Some(attention) = &mut self.attention {
            attention.since = now;
        }
        match action {
            Action::Night => return Some(Effect::Night),
            Action::Acknowledge => return self.judge(now, Effect::Acknowledge),
            Action::Agree => return self.judge(now, |case| Effect::Verdict(case, Verdict::Agree)),
            Action::Disagree => return self.judge(now, |case| Effect::Verdict(case, Verdict::Disagree)),
            Action::Next => self.leaf(cases, now, |case| cases.after(case)),
            Action::Previous => self.leaf(cases, now, |case| cases.before(case)),
            Action::Heatmap => self.look_on(now),
            Action::List => self.list(cases, now),
        }
        self.forget_seen_news();
        None
    }

    /// Time goes by; call this several times a second.
    pub fn tick(&mut self, cases: &impl Cases, now: Duration) {
        let over = |attention: Attention| now >= attention.since + self.times.back;
        if self.attention.is_some_and(over) {
            self.attention = None;
            if self.place != Place::Home {
                let newest = cases.newest().map_or(Place::Home, Place::Case);
                self.move_to(newest, cases, now);
            }
        }
        self.leave_what_is_gone(cases, now);
        if self.attention.is_some() || now < self.held {
            return;
        }
        let rested = now >= self.moved + self.times.rest;
        match (self.news, self.place) {
            (Some(_), _) => {
                let newest = cases.newest().map_or(Place::Home, Place::Case);
                self.move_to(newest, cases, now);
            }
            (None, Place::Case(case)) if rested && !cases.needs_eyes(case) => self.move_to(Place::Home, cases, now),
            _ => {}
        }
    }

    /// The screen moves by itself.
    fn move_to(&mut self, place: Place, cases: &impl Cases, now: Duration) {
        if self.place != place {
            (self.place, self.look) = (place, 0);
            self.moved = now;
        }
        let keeps = matches!(place, Place::Case(case) if cases.needs_eyes(case));
        self.held = if keeps { now + self.times.hold } else { now };
        self.news = None;
    }

    /// Retention may remove a case while it stands on the screen.
    fn leave_what_is_gone(&mut self, cases: &impl Cases, now: Duration) {
        let (Place::Case(case) | Place::List(case)) = self.place else {
            return;
        };
        if cases.contains(case) {
            return;
        }
        // Old cases go first: the nearest is the oldest that is left.
        let nearest = cases.after(case).or_else(|| cases.before(case));
        let place = match (nearest, self.place) {
            (Some(case), Place::List(_)) => Place::List(case),
            (Some(case), _) => Place::Case(case),
            (None, _) => Place::Home,
        };
        let news = self.news.filter(|case| cases.contains(*case));
        self.move_to(place, cases, now);
        self.news = news;
        self.forget_seen_news();
    }

    fn judge(&mut self, now: Duration, effect: impl FnOnce(CaseId) -> Effect) -> Option<Effect> {
        let Place::Case(case) = self.place else {
            return None;
        };
        let moved_just_now = self.attention.is_none() && now < self.moved + self.times.guard;
        let changed_just_now = self.changed.is_some_and(|changed| now < changed + self.times.guard);
        if moved_just_now || changed_just_now {
            return None;
        }
        if !self.is_browsing() {
            // Done with it: the next one may come.
            (self.attention, self.held) = (None, now);
        }
        Some(effect(case))
    }

    fn leaf(&mut self, cases: &impl Cases, now: Duration, neighbour: impl Fn(CaseId) -> Option<CaseId>) {
        self.place = match self.place {
            Place::Home => match cases.newest() {
                Some(case) => Place::Case(case),
                None => return,
            },
            Place::Case(case) => Place::Case(neighbour(case).unwrap_or(case)),
            Place::List(case) => Place::List(neighbour(case).unwrap_or(case)),
        };
        self.look = 0;
        self.attend(now, true);
    }

    fn look_on(&mut self, now: Duration) {
        match self.place {
            Place::Home => {}
            Place::Case(_) => {
                self.look = self.look.wrapping_add(1);
                self.attend(now, self.is_browsing());
            }
            Place::List(case) => {
                (self.place, self.look) = (Place::Case(case), 0);
                self.attend(now, true);
            }
        }
    }

    fn list(&mut self, cases: &impl Cases, now: Duration) {
        self.place = match (self.place, cases.newest()) {
            (Place::Home, Some(newest)) => Place::List(newest),
            (Place::Home, None) => return,
            (Place::Case(case), _) => Place::List(case),
            (Place::List(case), _) => Place::Case(case),
        };
        self.look = 0;
        self.attend(now, true);
    }

    fn attend(&mut self, now: Duration, browsing: bool) {
        self.attention = Some(Attention { since: now, browsing });
    }

    fn forget_seen_news(&mut self) {
        if let (Place::Case(case), Some(news)) = (self.place, self.news)
            && case >= news
        {
            self.news = None;
        }
    }
}

#[cfg(test)]
#[path = "navigation_tests.rs"]
mod tests;
