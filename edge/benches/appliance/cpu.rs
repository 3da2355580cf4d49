//! How much of the processors was used between two moments.

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

/// A moment.
pub struct Moment {
    at: Instant,
    own: Duration,
    idle: u64,
    all: u64,
}

/// Shares between two moments, 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// What this process used of all processors.
    pub own: f64,
    /// What everything on the machine used of them.
    pub machine: f64,
}

impl Moment {
    pub fn now() -> Result<Self, Box<dyn Error>> {
        // SAFETY: a plain structure of integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: writes to the variable above.
        if unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) } != 0 {
            return Err("getrusage failed".into());
        }
        let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
        // proc(5): user, nice, system, idle, iowait, irq, softirq, steal in ticks.
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().ok_or("an empty /proc/stat")?;
        let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
        Ok(Self {
            at: Instant::now(),
            own: time(usage.ru_utime) + time(usage.ru_stime),
            idle: ticks[3] + ticks[4],
            all: ticks.iter().sum(),
        })
    }

    /// What was used from here to a later moment.
    pub fn to(&self, later: &Self) -> Used {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let wall = later.at.duration_since(self.at).as_secs_f64() * cores;
        let all = (later.all - self.all).max(1) as f64;
        Used {
            own: (later.own - self.own).as_secs_f64() / wall,
            machine: 1.0 - (later.idle - self.idle) as f64 / all,
        }
    }
}
