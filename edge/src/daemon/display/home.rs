//! What stands where no case does: waiting, at work, an update, a fault.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Local, NaiveTime, Utc};
use hardware::slots::{Activity, Phase};

use super::surface::{Picture, Shown};
use crate::daemon::board::{Part, Progress, Step};
use crate::daemon::shared::{Served, Shared, Work};
use crate::presentation::cases::case_row;
use crate::presentation::faults::{FaultKind, fault_view};
use crate::presentation::{case_details, notices, status};
use crate::screens::{CaseRow, Edges, IdleView, ModelRow, NoticeView, WorkingView};
use crate::store::Store;
use crate::store::browse::Queue;
use crate::text::words::Words;

/// How long the end of an update stays on the display.
const NEWS: Duration = Duration::from_secs(20);
/// An upload that has not moved for so long was left alone.
const STILL: Duration = Duration::from_secs(30);
/// Work that is over sooner needs no screen.
const SOON: Duration = Duration::from_millis(200);
/// Results that the idle screen has room for at most.
const LAST: u32 = 8;
/// How often the day's counts are read while the store changes.
const EVERY: Duration = Duration::from_secs(1);

/// What the idle screen reads of the store.
#[derive(Debug, Default)]
pub struct Day {
    read: Option<(Instant, i64, String)>,
    today: [usize; 2],
    last: Vec<CaseRow>,
}

impl Day {
    /// Reads what changed: another version of the store, or another day.
    pub fn refresh(
        &mut self,
        archive: &super::archive::Archive,
        version: i64,
        served: &[Served],
        sends: bool,
        now: DateTime<Utc>,
        words: &Words,
    ) {
        let day = date(now);
        if let Some((at, known, known_day)) = &self.read
            && *known_day == day
            && (*known == version || at.elapsed() < EVERY)
        {
            return;
        }
        self.read = Some((Instant::now(), version, day));
        let midnight = midnight(now);
        let read = |store: &Store| Ok((store.finished_since(midnight)?, store.latest_cases(LAST)?));
        let Some((today, last)) = archive.read(read) else {
            return;
        };
        self.today = today;
        let row = |case| case_row(case, manifest_of(case, served), words, sends, now);
        self.last = last.iter().map(row).collect();
    }

    /// The screen between results.
    #[must_use]
    pub fn view(
        &self,
        shared: &Shared,
        served: &[Served],
        flagged: usize,
        now: DateTime<Utc>,
        edges: Edges,
    ) -> IdleView {
        IdleView {
            date: date(now),
            models: served.iter().map(|served| model_row(served, shared)).collect(),
            today: self.today,
            unacknowledged: flagged,
            last: self.last.clone(),
            edges,
        }
    }
}

/// The model that made a case's result, if it serves.
pub fn manifest_of<'a>(case: &crate::store::cases::CaseRecord, served: &'a [Served]) -> Option<&'a bundle::Manifest> {
    let model = &case.summary.as_ref()?.model;
    let manifests = served.iter().map(|served| &*served.manifest);
    manifests.into_iter().find(|manifest| name(manifest) == *model)
}

fn model_row(served: &Served, shared: &Shared) -> ModelRow {
    ModelRow {
        name: name(&served.manifest),
        on_trial: matches!(shared.slots().activity(served.image), Ok(Activity::Trial { .. })),
        site_thresholds: served.site_thresholds.as_deref().map(day_of),
    }
}

/// The day of an RFC 3339 time.
fn day_of(time: &str) -> String {
    time.split('T').next().unwrap_or(time).to_owned()
}

/// Name and version of a model.
#[must_use]
pub fn name(manifest: &bundle::Manifest) -> String {
    format!("{} {}", manifest.name, manifest.version)
}

/// The screen of work that is not over soon.
#[must_use]
pub fn working(work: Work, queue: Queue, edges: &Edges, words: &'static Words) -> Option<Shown> {
    if work.since.elapsed() < SOON {
        return None;
    }
    let view = WorkingView {
        case_details: case_details(&work.source, words),
        case_id: work.case_number,
        image: None,
        step: work.step,
        slices: work.frames,
        behind: queue.images.saturating_sub(1),
        urgent: queue.urgent,
        edges: Edges {
            // What stands there is read once a second, and this screen comes sooner.
            status: status(words.status.working, queue.images.max(1), words),
            ..edges.clone()
        },
    };
    Some(Shown::Working(view, work.image.map(Picture)))
}

/// What arrives, and whether it still does: what was left alone waits to be gone on with, and is no news.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Bytes by role, and when they became more.
    seen: BTreeMap<u32, (u64, Option<Instant>)>,
}

impl Arrivals {
    fn moves(&mut self, image: u32, bytes: u64, now: Instant) -> bool {
        let (known, grew) = self.seen.entry(image).or_insert((bytes, None));
        if *known != bytes {
            (*known, *grew) = (bytes, Some(now));
        }
        grew.is_some_and(|grew| now.saturating_duration_since(grew) < STILL)
    }
}

/// An update on its way, or its end.
#[must_use]
pub fn update(shared: &Shared, roles: u32, arrivals: &mut Arrivals, words: &Words) -> Option<NoticeView> {
    let now = Instant::now();
    for image in 0..roles {
        let step = shared.board().step(image);
        let activity = shared.slots().activity(image);
        let under_way = match (step, activity) {
            (Some(Step::Rebuilding(bytes)), _) => Some(notices::rebuilding(bytes.done, bytes.total, words)),
            (Some(Step::Verifying(bytes)), _) => Some(notices::verifying(bytes.done, bytes.total, words)),
            (Some(Step::SelfTest(cases)), _) => Some(notices::self_test(cases.done, cases.total, words)),
            (Some(Step::Receiving(Progress { done: bytes, total })), _)
            | (None, Ok(Activity::Receiving { bytes, total })) => arrivals
                .moves(image, bytes, now)
                .then(|| notices::receiving(bytes, total, serving(shared, image).is_some(), words)),
            (None, Ok(Activity::Verifying { total })) => Some(notices::verifying(0, total, words)),
            (
                None,
                Ok(Activity::Trial {
                    phase: Phase::Loading, ..
                }),
            ) => Some(notices::self_test(0, 0, words)),
            _ => None,
        };
        if under_way.is_some() {
            return under_way;
        }
    }
    let outcome = shared.board().news(now, NEWS).cloned()?;
    let serving = serving(shared, outcome.image);
    Some(notices::outcome(&outcome, serving.as_deref(), words))
}

/// Name and version of the model that the slots say is to serve a role: it may still be loading.
fn serving(shared: &Shared, image: u32) -> Option<String> {
    let states = shared.slots().states();
    let active = states.iter().find(|state| state.image == image && state.active)?;
    Some(format!("{} {}", active.facts.name, active.facts.version))
}

/// Whether a model is on its way from its slot into service.
#[must_use]
pub fn is_loading(shared: &Shared) -> bool {
    let states = shared.slots().states();
    states.iter().any(|state| state.active && !state.damaged)
}

/// A notice with its edges.
#[must_use]
pub fn notice(view: NoticeView, edges: &Edges) -> Shown {
    Shown::Notice(NoticeView {
        model: edges.model.clone(),
        time: edges.time.clone(),
        ..view
    })
}

/// The fault of a part that keeps the appliance from its work.
#[must_use]
pub fn fault(shared: &Shared) -> Option<(Part, String)> {
    let board = shared.board();
    let (part, problem) = board.fault()?;
    part.stops_work().then(|| (part, problem.to_owned()))
}

/// The screen of a fault, with the time at which it was seen first.
#[must_use]
pub fn fault_screen(part: Part, problem: &str, since: DateTime<Utc>, edges: &Edges, words: &Words) -> Shown {
    let kind = match part {
        Part::Store | Part::Slots | Part::Files => FaultKind::StorageFails,
        Part::Disk => FaultKind::StorageFull,
        Part::Library => FaultKind::NoRuntime,
        Part::Models => FaultKind::ModelFails,
        Part::Heat => FaultKind::TooHot,
        Part::Dicom | Part::Folder | Part::Media => FaultKind::IntakeFails,
        Part::Outbox | Part::Quota => FaultKind::Other,
    };
    Shown::Fault(fault_view(kind, &clock(since), problem, words, edges.clone()))
}

/// The time of day at this place.
#[must_use]
pub fn clock(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local).format("%H:%M").to_string()
}

fn date(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local).format("%Y-%m-%d").to_string()
}

/// The midnight before; where a change of the clock leaves a day none, a day ago.
fn midnight(now: DateTime<Utc>) -> DateTime<Utc> {
    let day = now.with_timezone(&Local).date_naive().and_time(NaiveTime::MIN);
    let midnight = day.and_local_timezone(Local).earliest();
    midnight.map_or(now - chrono::TimeDelta::days(1), |time| time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_alone_does_not_move() {
        let begin = Instant::now();
        let mut arrivals = Arrivals::default();
        assert!(!arrivals.moves(0, 5, begin), "it was there before");
        assert!(arrivals.moves(0, 6, begin));
        assert!(arrivals.moves(0, 6, begin + STILL / 2));
        assert!(!arrivals.moves(0, 6, begin + STILL));
        assert!(!arrivals.moves(1, 6, begin + STILL), "another role");
        assert!(arrivals.moves(0, 2, begin + STILL), "another upload");
    }
}
