//! What the display shows while the service runs, and what comes of pressed buttons.
//!
//! - [`surface`]: the display, and what stands on it
//! - [`archive`]: the cases as the display reads them
//! - [`case`]: a case as it is looked at
//! - [`home`]: what stands where no case does
//! - [`gauges`]: what the edges tell of the appliance
//! - [`heat`]: when it is warm, and when too warm to work

pub mod archive;
pub mod case;
pub mod gauges;
pub mod heat;
pub mod home;
pub mod surface;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Local, Timelike, Utc};

use super::DaemonError;
use super::board::Part;
use super::shared::{Input, News, Served, Shared};
use crate::controls::night::TimeOfDay;
use crate::controls::{Action, CaseId, Effect, Navigation, Night, NightHours, Place, Times, Verdict, led_state};
use crate::presentation::cases::{case_marks, case_row, case_time, news};
use crate::presentation::faults::{FaultKind, fault_view};
use crate::presentation::{notices, status};
use crate::screens::{ApplianceMarks, CasesView, Edges, View, case_rows};
use crate::store::Store;
use crate::store::cases::CaseRecord;
use crate::store::verdicts::Opinion;
use crate::text::words::Words;
use archive::Archive;
use case::OpenCase;
use gauges::Gauges;
use hardware::leds::{LedState, Leds};
use home::{Arrivals, Day};
use surface::{CaseShown, Shown, Surface};

/// How long a result stays before a fault or the next step of an update may take its place.
const RESULT: Duration = Duration::from_secs(10);
/// A case that changes all the time, such as a series that arrives, is loaded anew this often.
const RELOAD: Duration = Duration::from_secs(1);
/// What an action means for a hidden case, nobody knows.
const OPINIONS: [Action; 3] = [Action::Acknowledge, Action::Agree, Action::Disagree];

/// Whoever looks: the display, the buttons, the lights.
pub struct Viewer<'a> {
    surface: &'a mut Surface,
    shared: Arc<Shared>,
    archive: Archive,
    navigation: Navigation,
    night: Night,
    keys: Vec<Action>,
    leds: Option<Box<dyn Leds>>,
    gauges: Gauges,
    day: Day,
    arrivals: Arrivals,
    roles: u32,
    started: Instant,
    version: i64,
    open: Option<OpenCase>,
    /// The last case that was open, as it was then.
    stood: Option<Arc<CaseRecord>>,
    loadings: u64,
    /// When a result was last put on the display.
    result_since: Option<Duration>,
    /// The fault that is there, and when it was seen first.
    fault: Option<(Part, String, DateTime<Utc>)>,
    /// The fault that somebody has seen, and went on nevertheless.
    dismissed: Option<String>,
    led_problem: bool,
}

/// The parts of a [`Viewer`] that the surface is not among.
pub struct Fittings {
    /// How long what stands.
    pub times: Times,
    /// When the screens are dimmed.
    pub night: Option<NightHours>,
    /// Which buttons there are.
    pub keys: Vec<Action>,
    /// What shines.
    pub leds: Option<Box<dyn Leds>>,
    /// Where the kernel shows temperatures.
    pub thermal: PathBuf,
    /// Whether results leave the appliance.
    pub sends: bool,
    /// Number of roles.
    pub roles: u32,
}

impl<'a> Viewer<'a> {
    /// On a surface.
    #[must_use]
    pub fn new(surface: &'a mut Surface, shared: Arc<Shared>, store: Arc<Store>, fittings: Fittings) -> Self {
        Self {
            surface,
            shared,
            archive: Archive::new(store),
            navigation: Navigation::new(fittings.times),
            night: Night::new(fittings.night),
            keys: fittings.keys,
            leds: fittings.leds,
            gauges: Gauges::new(fittings.thermal, fittings.sends),
            day: Day::default(),
            arrivals: Arrivals::default(),
            roles: fittings.roles,
            started: Instant::now(),
            version: 0,
            open: None,
            stood: None,
            loadings: 0,
            result_since: None,
            fault: None,
            dismissed: None,
            led_problem: false,
        }
    }

    /// Takes what is new, lets the time go by, and draws what changed.
    pub fn turn(&mut self, input: Input) {
        let now = self.started.elapsed();
        self.surface.look();
        self.version = self.archive.refresh();
        self.look_for_fault();
        for action in input.presses {
            self.press(action, now);
        }
        let measured = input.news.and_then(|news| self.take(&news, now));
        self.navigation.tick(&self.archive, now);
        if measured.is_none() {
            self.gauges.refresh(&self.archive, self.version, &self.shared);
        }
        self.draw(now);
        if let Some((image, arrived, case)) = measured {
            self.measure(image, arrived, case);
        }
        self.surface.beat(now);
        self.shine(now);
    }

    /// What goes on, in a few words for an engineer.
    #[must_use]
    pub fn status(&self) -> String {
        let serving: Vec<String> = self
            .shared
            .served()
            .iter()
            .map(|served| home::name(&served.manifest))
            .collect();
        let state = match &self.fault {
            Some((_, problem, _)) => format!("fault: {problem}"),
            None if !serving.is_empty() => format!("serving {}", serving.join(", ")),
            None if self.shared.has_started() => "no model".to_owned(),
            None => "starting".to_owned(),
        };
        format!("{state}; queue {}", self.gauges.queue.images)
    }

    /// The service ends: nothing shines that nobody looks after.
    pub fn end(&mut self) {
        let now = self.started.elapsed();
        if let Some(Err(error)) = self.leds.as_mut().map(|leds| leds.show(LedState::Off, now)) {
            tracing::warn!("{error}");
        }
    }

    fn look_for_fault(&mut self) {
        let Some((part, problem)) = home::fault(&self.shared) else {
            (self.fault, self.dismissed) = (None, None);
            return;
        };
        if self.fault.as_ref().is_none_or(|(_, known, _)| *known != problem) {
            self.fault = Some((part, problem, self.shared.now()));
        }
    }

    fn press(&mut self, action: Action, now: Duration) {
        let hidden = self.surface.is_wanted() && !self.surface.shows_case();
        if OPINIONS.contains(&action) && (hidden || self.is_outdated()) {
            return;
        }
        self.dismissed = self.fault.as_ref().map(|(_, problem, _)| problem.clone());
        let Some(effect) = self.navigation.press(action, &self.archive, now) else {
            return;
        };
        let (case, opinion) = match effect {
            Effect::Night => return self.night.press(time_of_day(self.shared.now())),
            Effect::Acknowledge(case) => (case, None),
            Effect::Verdict(case, Verdict::Agree) => (case, Some(Opinion::Agree)),
            Effect::Verdict(case, Verdict::Disagree) => (case, Some(Opinion::Disagree)),
        };
        self.judge(case, opinion);
    }

    /// Whether the case on the screen has come to another result that is not drawn yet.
    fn is_outdated(&self) -> bool {
        let Some(open) = &self.open else { return false };
        let is_there = self.navigation.place() == Place::Case(open.record.id);
        let now = is_there.then(|| self.archive.record(open.record.id)).flatten();
        now.is_some_and(|now| now.says() != open.record.says())
    }

    /// What somebody says to a case is kept, with an entry of the audit trail.
    fn judge(&mut self, case: CaseId, opinion: Option<Opinion>) {
        let Some(record) = self.archive.record(case) else {
            return;
        };
        let (store, time) = (self.archive.store(), self.shared.now());
        let kept = match opinion {
            // There is nothing to agree with.
            Some(_) if record.summary.is_none() => return,
            Some(opinion) => store.give_opinion(&record.number, opinion, time),
            None => store.acknowledge(&record.number, time),
        };
        if let Err(error) = kept {
            tracing::error!(case = record.number, "what was pressed cannot be kept: {error}");
            self.shared.board().set_fault(Part::Store, error.to_string());
        }
        self.version = self.archive.refresh();
    }

    /// A result has come; gives what is to be measured if it is drawn now.
    fn take(&mut self, news: &News, now: Duration) -> Option<(i64, Instant, CaseId)> {
        let (News::Result { image, .. } | News::Without { image }) = news;
        let record = self.archive.read(|store| store.case_of_image(*image)).flatten()?;
        let record = Arc::new(record);
        self.navigation.arrived(record.id, &self.archive, now);
        if self.navigation.place() != Place::Case(record.id) {
            return None;
        }
        self.result_since = Some(now);
        let News::Result {
            examination,
            manifest,
            image,
            arrived,
        } = news
        else {
            return None;
        };
        self.loadings += 1;
        let fresh = OpenCase::fresh(&record, *image, examination, manifest, self.loadings);
        self.open(fresh, now);
        arrived.map(|arrived| (*image, arrived, record.id))
    }

    /// Measured here, because here somebody can see it.
    fn measure(&self, image: i64, arrived: Instant, case: CaseId) {
        if self.surface.is_wanted() && (!self.surface.shows_case() || self.navigation.place() != Place::Case(case)) {
            return;
        }
        let milliseconds = arrived.elapsed().as_secs_f64() * 1000.0;
        if let Err(error) = self.archive.store().set_latency(image, milliseconds) {
            tracing::error!("{error}");
        }
    }

    fn draw(&mut self, now: Duration) {
        if !self.surface.is_there() {
            return;
        }
        let time = self.shared.now();
        let dimmed = self.night.is_on(time_of_day(time));
        let (served, words) = (self.shared.served(), self.surface.words());
        let edges = self.edges(&served, time, words);
        if let Some(shown) = self.interruption(&edges, now, words) {
            return self.surface.show(shown, dimmed);
        }
        let shown = match self.navigation.place() {
            Place::Case(case) if self.show_case(case, &edges, now, dimmed) => return,
            Place::List(case) => self.list(case, &served, edges, time, words),
            Place::Case(_) | Place::Home => self.home(&served, edges, time, words),
        };
        self.surface.show(shown, dimmed);
    }

    /// What takes the place of a case: a fault that nobody has seen, or an update while nobody is at the buttons.
    fn interruption(&mut self, edges: &Edges, now: Duration, words: &'static Words) -> Option<Shown> {
        if self.result_since.is_some_and(|since| now < since + RESULT) && self.navigation.place() != Place::Home {
            return None;
        }
        let attended = self.navigation.is_attended();
        if let Some((part, problem, since)) = &self.fault
            && !(attended && self.dismissed.as_ref() == Some(problem))
        {
            return Some(home::fault_screen(*part, problem, *since, edges, words));
        }
        if attended {
            return None;
        }
        let update = home::update(&self.shared, self.roles, &mut self.arrivals, words)?;
        Some(home::notice(update, edges))
    }

    fn home(&mut self, served: &[Served], edges: Edges, time: DateTime<Utc>, words: &'static Words) -> Shown {
        if served.is_empty() {
            let notice = match self.shared.has_started() && !home::is_loading(&self.shared) {
                true => notices::no_model(words),
                false => notices::starting(words),
            };
            return home::notice(notice, &edges);
        }
        let work = self.shared.work();
        if let Some(shown) = work.and_then(|work| home::working(work, self.gauges.queue, &edges, words)) {
            return shown;
        }
        let sends = self.gauges.sends();
        self.day
            .refresh(&self.archive, self.version, served, sends, time, words);
        let flagged = self.gauges.unseen.flagged;
        Shown::Idle(self.day.view(&self.shared, served, flagged, time, edges))
    }

    fn list(&self, case: CaseId, served: &[Served], edges: Edges, time: DateTime<Utc>, words: &Words) -> Shown {
        let rows = u32::try_from(case_rows(self.surface.size())).unwrap_or(u32::MAX);
        let cases = self.archive.around(case, rows);
        let row = |record: &CaseRecord| {
            let manifest = home::manifest_of(record, served);
            case_row(record, manifest, words, self.gauges.sends(), time)
        };
        Shown::Cases(CasesView {
            rows: cases.iter().map(row).collect(),
            chosen: cases.iter().position(|record| record.id == case).unwrap_or(0),
            position: self.archive.position(case).unwrap_or([1, cases.len().max(1)]),
            edges,
        })
    }

    /// Draws a case if it is there and anything of it changed; gives whether it stands.
    fn show_case(&mut self, case: CaseId, edges: &Edges, now: Duration, dimmed: bool) -> bool {
        let time = self.shared.now();
        let Some(record) = self.archive.record(case) else {
            return false;
        };
        if !self.load(&record, now) {
            return false;
        }
        let browsing = self.navigation.is_browsing();
        let position = browsing.then(|| self.archive.position(case)).flatten();
        let Some(open) = &mut self.open else { return false };
        let (words, size) = (self.surface.words(), self.surface.size());
        if open.looks.is_empty() || open.size != size {
            let looks = self.surface.screens().result().looks(&open.view(words), size);
            (open.looks, open.size) = (looks, size);
        }
        let mut shown = CaseShown {
            loaded: open.loaded,
            page: open.looks[self.navigation.look() % open.looks.len()],
            edges: edges.clone(),
            position,
            marks: case_marks(&record, self.gauges.sends()),
            time: if browsing {
                case_time(open.time(), time)
            } else {
                String::new()
            },
        };
        let mut view = open.view(words);
        // The model that found it, which need not be the one that serves.
        if !view.edges.model.is_empty() {
            shown.edges.model.clone_from(&view.edges.model);
            shown.edges.engine.clone_from(&view.edges.engine);
            shown.edges.marks.site_thresholds = view.edges.marks.site_thresholds;
        }
        let key = Shown::Case(Box::new(shown));
        if self.surface.shows(&key, dimmed) {
            return true;
        }
        let Shown::Case(shown) = key else { return false };
        view.edges = shown.edges.clone();
        (view.position, view.marks) = (shown.position, shown.marks);
        view.case_time.clone_from(&shown.time);
        let page = shown.page;
        self.surface.show_case(*shown, View::Result(&view, page), dimmed);
        true
    }

    /// Loads a case unless it is open as it is.
    fn load(&mut self, record: &Arc<CaseRecord>, now: Duration) -> bool {
        if let Some(open) = &self.open
            && open.record.id == record.id
            && (!open.differs(record) || open.at.elapsed() < RELOAD)
        {
            return true;
        }
        self.loadings += 1;
        let loaded = self.loadings;
        let opened = self.archive.read(|store| OpenCase::load(store, record, loaded));
        let opened = opened.or_else(|| self.open.take().filter(|open| open.record.id == record.id));
        self.open(opened, now);
        self.open.is_some()
    }

    /// From now on a case stands there as it was just loaded. Whoever is about to press a button meant what stood there.
    fn open(&mut self, opened: Option<OpenCase>, now: Duration) {
        if let Some(OpenCase { record, .. }) = &opened {
            let before = self.stood.replace(record.clone());
            if before.is_some_and(|before| before.id == record.id && before.says() != record.says()) {
                self.navigation.changed(now);
            }
        }
        self.open = opened;
    }

    fn edges(&self, served: &[Served], time: DateTime<Utc>, words: &'static Words) -> Edges {
        let names: Vec<String> = served.iter().map(|served| home::name(&served.manifest)).collect();
        let (status_words, queue) = (&words.status, self.gauges.queue.images);
        let state = match () {
            () if self.fault.is_some() => status_words.fault,
            () if served.is_empty() && !self.shared.has_started() => status_words.starting,
            () if served.is_empty() => status_words.no_model,
            () if self.gauges.at_work => status_words.working,
            () => status_words.ready,
        };
        let announced = self.navigation.news().and_then(|case| self.archive.record(case));
        let announced = announced.map(|record| {
            let manifest = home::manifest_of(&record, served);
            news(&case_row(&record, manifest, words, self.gauges.sends(), time), words)
        });
        Edges {
            model: names.first().cloned().unwrap_or_default(),
            engine: String::new(),
            status: status(state, queue, words),
            faulty: self.fault.is_some(),
            time: home::clock(time),
            marks: ApplianceMarks {
                site_thresholds: served.iter().any(|served| served.site_thresholds.is_some()),
                outbox: self.gauges.outbox,
                heat: self.gauges.heat.mark(),
            },
            news: announced,
            keys: self.keys.clone(),
        }
    }

    fn shine(&mut self, now: Duration) {
        let Some(leds) = &mut self.leds else { return };
        let needs_eyes = if self.keys.contains(&Action::Acknowledge) {
            self.gauges.unseen.flagged + self.gauges.unseen.uncertain > 0
        } else {
            use crate::controls::Cases;
            // Nobody can say that they have seen it: it is told as long as it stands there.
            matches!(self.navigation.place(), Place::Case(case) if self.archive.needs_eyes(case))
        };
        let state = led_state(self.fault.is_some(), needs_eyes, self.gauges.at_work);
        let shown = leds.show(state, now);
        if let Err(error) = &shown
            && !self.led_problem
        {
            tracing::warn!("{error}");
        }
        self.led_problem = shown.is_err();
    }
}

/// Shows why the service cannot begin or go on, with all causes in `problem`; nobody looks after it then.
pub fn show_failure(surface: &mut Surface, error: &(dyn std::error::Error + 'static), problem: &str) {
    surface.look();
    let words = surface.words();
    let since = home::clock(Utc::now());
    let kind = match error.downcast_ref() {
        Some(DaemonError::Stuck { .. }) => FaultKind::Hangs,
        _ => FaultKind::of(error),
    };
    let fault = fault_view(kind, &since, problem, words, Edges::default());
    surface.show(Shown::Fault(fault), false);
}

fn time_of_day(time: DateTime<Utc>) -> TimeOfDay {
    let local = time.with_timezone(&Local);
    TimeOfDay::new(local.hour(), local.minute())
}
