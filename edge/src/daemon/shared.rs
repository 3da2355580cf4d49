//! What the threads of the service share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bundle::Manifest;
use chrono::{DateTime, Utc};
use hardware::clock::Clock;
use hardware::slots::{Load, Slots};

use super::board::{Board, Step};
use super::delta::Received;
use crate::examination::Examination;

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
    /// An image that no model is for.
    NoModel {
        /// The number of its case.
        case_number: String,
        /// What it is: "CT HEAD".
        kind: String,
    },
    /// An image that was given up.
    GivenUp {
        /// The number of its case.
        case_number: String,
        /// Why.
        problem: String,
    },
}

/// What the threads of the service share.
pub struct Shared {
    slots: Mutex<Slots>,
    board: Mutex<Board>,
    wishes: Mutex<VecDeque<Wish>>,
    rebuilds: Mutex<VecDeque<Received>>,
    /// What the models that serve say about themselves, by role.
    serving: Mutex<BTreeMap<u32, Arc<Manifest>>>,
    news: Mutex<Option<News>>,
    has_news: Condvar,
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
            news: Mutex::default(),
            has_news: Condvar::new(),
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
        lock(&self.serving).clone()
    }

    /// A role is served by another model, or by none.
    pub fn set_serving(&self, image: u32, manifest: Option<Arc<Manifest>>) {
        let mut serving = lock(&self.serving);
        match manifest {
            Some(manifest) => serving.insert(image, manifest),
            None => serving.remove(&image),
        };
    }

    /// Something for the display; what it was too slow for is replaced.
    pub fn show(&self, news: News) {
        *lock(&self.news) = Some(news);
        self.has_news.notify_all();
    }

    /// The latest news for the display, waiting for some for at most `patience`.
    pub fn wait_for_news(&self, patience: Duration) -> Option<News> {
        let news = lock(&self.news);
        let waited = self.has_news.wait_timeout_while(news, patience, |news| news.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
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
