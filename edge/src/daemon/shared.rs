//! What the threads of the service share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hardware::clock::Clock;
use hardware::slots::{Load, Slots};

use super::board::{Board, Step};
use super::delta::Received;

/// A wish from the serial line that the serving thread carries out between two images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Run the golden cases of a role's model.
    SelfTest(u32),
    /// A trial was taken back: serve this instead.
    Serve(u32, Load),
}

/// What the threads of the service share.
pub struct Shared {
    slots: Mutex<Slots>,
    board: Mutex<Board>,
    wishes: Mutex<VecDeque<Wish>>,
    rebuilds: Mutex<VecDeque<Received>>,
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
