//! How much of the processors this process used between two moments.

use std::io;
use std::time::{Duration, Instant};

/// A moment.
pub struct Moment {
    at: Instant,
    used: Duration,
}

impl Moment {
    pub fn now() -> io::Result<Self> {
        // SAFETY: a plain structure of integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: writes to the variable above.
        if unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
        Ok(Self {
            at: Instant::now(),
            used: time(usage.ru_utime) + time(usage.ru_stime),
        })
    }

    /// The share of all processors, 0 to 1, from here to a later moment.
    pub fn used_until(&self, later: &Self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let wall = later.at.duration_since(self.at).as_secs_f64() * cores;
        (later.used - self.used).as_secs_f64() / wall
    }
}
