//! Problems on their way into the log: whoever makes many of them must not fill the disk with it.

use std::time::{Duration, Instant};

/// Lines that one window takes.
const LINES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// How much the log took lately.
#[derive(Debug, Default)]
pub(super) struct Journal {
    begin: Option<Instant>,
    lines: u32,
    unsaid: u64,
}

impl Journal {
    /// Logs a problem, unless this window is full.
    pub(super) fn write(&mut self, what: &str) {
        match self.admit(Instant::now()) {
            Some(0) => tracing::warn!("dicom: {what}"),
            Some(unsaid) => tracing::warn!("dicom: {what} (and {unsaid} problems before that were not logged)"),
            None => {}
        }
    }

    /// Whether there is room for a line, and how many had none since the last one.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.begin.is_none_or(|begin| now.duration_since(begin) >= WINDOW) {
            (self.begin, self.lines) = (Some(now), 0);
        }
        if self.lines == LINES {
            self.unsaid += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_not_written() {
        let mut journal = Journal::default();
        let begin = Instant::now();
        let lines = (0..1000).filter(|_| journal.admit(begin).is_some()).count();
        assert_eq!(lines as u32, LINES);
        assert_eq!(journal.admit(begin + WINDOW), Some(980));
        assert_eq!(journal.admit(begin + WINDOW), Some(0));
    }
}
