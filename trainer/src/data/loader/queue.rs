//! Worker threads that make batches ahead of the consumer, within bounds, and an iterator that gives them in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::{Batch, DataError, Pass, Work};

/// Batches that may lie ready or be in work beyond one for each worker.
const AHEAD: usize = 2;

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    /// A batch is ready, or a worker has ended.
    ready: Condvar,
    /// The consumer took a batch, or wants no more.
    room: Condvar,
}

#[derive(Debug)]
struct State {
    /// The next batch to begin.
    next: usize,
    /// The next batch to give.
    wanted: usize,
    end: usize,
    ready: BTreeMap<usize, Batch>,
    workers: usize,
    stopped: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next batch to make, once there is room for it; `None` ends the worker.
    fn begin(&self, most: usize) -> Option<usize> {
        let mut state = self.lock();
        while !state.stopped && state.next < state.end && state.next >= state.wanted + most {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopped || state.next >= state.end {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    fn finish(&self, batch: Batch) {
        self.lock().ready.insert(batch.index, batch);
        self.ready.notify_all();
    }

    /// Waits for batch `wanted`; `None` if no worker is left to make it.
    fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            let wanted = state.wanted;
            if let Some(batch) = state.ready.remove(&wanted) {
                state.wanted += 1;
                self.room.notify_all();
                return Some(batch);
            }
            if state.workers == 0 {
                return None;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.room.notify_all();
    }
}

/// Counts a worker out, even when it panics, so that the consumer never waits for nobody.
struct Working(Arc<Queue>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.lock().workers -= 1;
        self.0.ready.notify_all();
    }
}

/// The batches of a pass, in order.
#[derive(Debug)]
pub struct Batches {
    queue: Arc<Queue>,
    work: Arc<Work>,
    threads: Vec<JoinHandle<()>>,
    over: bool,
}

impl Batches {
    pub(super) fn start(work: Arc<Work>, pass: Pass, order: Vec<usize>, range: Range<usize>) -> Self {
        let workers = work.workers().min(range.len());
        let state = State {
            next: range.start,
            wanted: range.start,
            end: range.end,
            ready: BTreeMap::new(),
            workers,
            stopped: false,
        };
        let queue = Arc::new(Queue {
            state: Mutex::new(state),
            ready: Condvar::new(),
            room: Condvar::new(),
        });
        let order = Arc::new(order);
        let threads = (0..workers)
            .map(|_| {
                let (queue, work, order) = (Arc::clone(&queue), Arc::clone(&work), Arc::clone(&order));
                std::thread::spawn(move || {
                    let working = Working(queue);
                    while let Some(index) = working.0.begin(workers + AHEAD) {
                        working.0.finish(work.batch(pass, &order, index));
                    }
                })
            })
            .collect();
        Self {
            queue,
            work,
            threads,
            over: range.is_empty(),
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over {
            let (wanted, end) = {
                let state = self.queue.lock();
                (state.wanted, state.end)
            };
            if wanted >= end {
                break;
            }
            let taken = self.queue.take();
            if let Err(error) = self.work.check_failures() {
                self.over = true;
                return Some(Err(error));
            }
            match taken {
                // All of its images failed: nothing to learn from.
                Some(batch) if batch.rows.is_empty() => {}
                Some(batch) => return Some(Ok(batch)),
                None => {
                    self.over = true;
                    return Some(Err(DataError::WorkerLost { batch: wanted }));
                }
            }
        }
        None
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.queue.stop();
        for thread in self.threads.drain(..) {
            // A panic of a worker was reported as a lost batch.
            let _ = thread.join();
        }
    }
}
