//! What the threads of the service share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bundle::Manifest;
use chrono::{DateTime, Utc};
use hardware::clock::Clock;
use hardware::slots::{Load, Slots};
use imaging::GreyImage;

use super::board::{Board, Step};
use super::delta::Received;
use super::pulse::Pulse;
use crate::controls::Action;
use crate::examination::Examination;
use crate::finding::ImageSource;
use crate::screens::WorkStep;

/// A wish from the serial line that the serving thread carries out between two images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Run the golden cases of a role's model.
    SelfTest(u32),
    /// A trial was taken back: serve this instead.
    Serve(u32, Load),
}

/// Something for the display.
#[derive(Debug, Clone)]
pub enum News {
    /// A result.
    Result {
        /// What was found, with the image.
        examination: Arc<Examination>,
        /// What the model says about itself.
        manifest: Arc<Manifest>,
        /// Number of the image in the store.
        image: i64,
        /// When its last byte was there, if that was since the start.
        arrived: Option<Instant>,
    },
    /// An image that has no result and will have none: no model is for it, or it was given up.
    Without {
        /// Number of the image in the store.
        image: i64,
    },
}

/// The image that is examined.
#[derive(Debug, Clone)]
pub struct Work {
    /// The number of its case.
    pub case_number: String,
    /// What is known of it before it is decoded.
    pub source: ImageSource,
    /// The image, once it is decoded.
    pub image: Option<Arc<GreyImage>>,
    /// What is done with it.
    pub step: WorkStep,
    /// The frame at work, from 1, and how many there are, if there are several.
    pub frames: Option<[usize; 2]>,
    /// Since when.
    pub since: Instant,
}

/// What the main thread has not looked at yet.
#[derive(Debug, Default)]
pub struct Input {
    /// The latest news; what the display was too slow for was replaced.
    pub news: Option<News>,
    /// What was pressed, the oldest first.
    pub presses: Vec<Action>,
}

impl Input {
    fn is_empty(&self) -> bool {
        self.news.is_none() && self.presses.is_empty()
    }
}

/// A model that serves.
#[derive(Debug, Clone)]
pub struct Served {
    /// Number of its role.
    pub image: u32,
    /// What it says about itself.
    pub manifest: Arc<Manifest>,
    /// When its operating points were chosen at this site, RFC 3339, if they were.
    pub site_thresholds: Option<String>,
}

/// What the threads of the service share.
pub struct Shared {
    slots: Mutex<Slots>,
    board: Mutex<Board>,
    wishes: Mutex<VecDeque<Wish>>,
    rebuilds: Mutex<VecDeque<Received>>,
    /// What the models that serve say about themselves, by role.
    serving: Mutex<BTreeMap<u32, Served>>,
    input: Mutex<Input>,
    has_input: Condvar,
    /// Whether a result waits for the display, or is being drawn.
    is_drawing: Mutex<bool>,
    has_drawn: Condvar,
    work: Mutex<Option<Work>>,
    serving_pulse: Pulse,
    filing_pulse: Pulse,
    started: AtomicBool,
    clock: Clock,
    restart: AtomicBool,
    ended: AtomicBool,
}

impl Shared {
    /// Of the slots and the clock, with nothing going on.
    #[must_use]
    pub fn new(slots: Slots, clock: Clock) -> Self {
        Self {
            slots: Mutex::new(slots),
            board: Mutex::default(),
            wishes: Mutex::default(),
            rebuilds: Mutex::default(),
            serving: Mutex::default(),
            input: Mutex::default(),
            has_input: Condvar::new(),
            is_drawing: Mutex::new(false),
            has_drawn: Condvar::new(),
            work: Mutex::default(),
            serving_pulse: Pulse::default(),
            filing_pulse: Pulse::default(),
            started: AtomicBool::new(false),
            clock,
            restart: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    /// The slots; held for one short operation, and never together with the board.
    pub fn slots(&self) -> MutexGuard<'_, Slots> {
        lock(&self.slots)
    }

    /// The board; held for one short operation.
    pub fn board(&self) -> MutexGuard<'_, Board> {
        lock(&self.board)
    }

    /// What the serving thread says of itself.
    #[must_use]
    pub fn serving_pulse(&self) -> &Pulse {
        &self.serving_pulse
    }

    /// What the filing thread says of itself.
    #[must_use]
    pub fn filing_pulse(&self) -> &Pulse {
        &self.filing_pulse
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The time that results bear: the clock that engineers set.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let time = self.clock.now();
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        DateTime::from_timestamp(seconds, time.subsec_nanos()).unwrap_or_else(Utc::now)
    }

    /// What the models that serve say about themselves, by role.
    #[must_use]
    pub fn serving(&self) -> BTreeMap<u32, Arc<Manifest>> {
        let serving = lock(&self.serving);
        let manifest = |(image, served): (&u32, &Served)| (*image, served.manifest.clone());
        serving.iter().map(manifest).collect()
    }

    /// The models that serve, in the order of the roles.
    #[must_use]
    pub fn served(&self) -> Vec<Served> {
        lock(&self.serving).values().cloned().collect()
    }

    /// A role is served by another model, or by none.
    pub fn set_serving(&self, image: u32, served: Option<Served>) {
        let mut serving = lock(&self.serving);
        match served {
            Some(served) => serving.insert(image, served),
            None => serving.remove(&image),
        };
    }

    /// Every role was looked after: which models serve is known.
    pub fn set_started(&self) {
        self.started.store(true, Ordering::SeqCst);
    }

    /// Whether every role was looked after since the start.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.started.load(Ordering::SeqCst)
    }

    /// Something for the display; what it was too slow for is replaced.
    pub fn show(&self, news: News) {
        *lock(&self.is_drawing) = true;
        lock(&self.input).news = Some(news);
        self.has_input.notify_all();
    }

    /// Buttons were pressed.
    pub fn press(&self, actions: impl IntoIterator<Item = Action>) {
        lock(&self.input).presses.extend(actions);
        self.has_input.notify_all();
    }

    /// What is new for the main thread, waiting for something for at most `patience`.
    pub fn wait_for_input(&self, patience: Duration) -> Input {
        let input = lock(&self.input);
        let waited = self
            .has_input
            .wait_timeout_while(input, patience, |input| input.is_empty());
        std::mem::take(&mut *waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// The news were drawn.
    pub fn drawn(&self) {
        *lock(&self.is_drawing) = false;
        self.has_drawn.notify_all();
    }

    /// Waits until no news wait for the display, for at most `patience`: what nobody waits for leaves the processors to it.
    pub fn wait_for_display(&self, patience: Duration) {
        let is_drawing = lock(&self.is_drawing);
        let _ = self
            .has_drawn
            .wait_timeout_while(is_drawing, patience, |is_drawing| *is_drawing);
    }

    /// The image that is examined.
    #[must_use]
    pub fn work(&self) -> Option<Work> {
        lock(&self.work).clone()
    }

    /// Another image is examined, or none.
    pub fn set_work(&self, work: Option<Work>) {
        *lock(&self.work) = work;
    }

    /// Something of the image that is examined is known now, or it is one step further.
    pub fn advance_work(&self, advance: impl FnOnce(&mut Work)) {
        if let Some(work) = &mut *lock(&self.work) {
            advance(work);
        }
    }

    /// Leaves a wish, unless the same one waits already.
    pub fn wish(&self, wish: Wish) {
        let mut wishes = lock(&self.wishes);
        if !wishes.contains(&wish) {
            wishes.push_back(wish);
        }
    }

    /// The oldest wish.
    pub fn next_wish(&self) -> Option<Wish> {
        lock(&self.wishes).pop_front()
    }

    /// Leaves a delta to be followed.
    pub fn rebuild(&self, received: Received) {
        // From here on it is told what goes on, though it may take a moment until it does.
        self.board()
            .begin(received.image(), Step::Rebuilding(received.progress(0)));
        lock(&self.rebuilds).push_back(received);
    }

    /// The oldest delta that waits.
    pub fn next_rebuild(&self) -> Option<Received> {
        lock(&self.rebuilds).pop_front()
    }

    /// Asks for an orderly restart of the service.
    pub fn restart(&self) {
        self.restart.store(true, Ordering::SeqCst);
    }

    /// Whether a restart was asked for.
    #[must_use]
    pub fn is_restarting(&self) -> bool {
        self.restart.load(Ordering::SeqCst)
    }

    /// Lets the other threads end.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Whether the threads should end.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ended.load(Ordering::SeqCst) || self.is_restarting()
    }
}

/// A thread that panicked while it held the lock leaves what it had written; the slots write before they believe.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
