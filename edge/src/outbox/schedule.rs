//! When something that failed is tried again.

use std::time::Duration;

/// Exponential back-off with a cap. It never gives up: an archive may be away for days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// After any number of them.
    pub longest: Duration,
}

impl Default for Backoff {
    /// 15 seconds to 30 minutes.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(15),
            longest: Duration::from_secs(30 * 60),
        }
    }
}

/// Longest back-off that may be configured.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(24 * 3600);

impl Backoff {
    /// How long to wait after so many failures in a row; nothing after none.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// Whether something is due. What lies further ahead than any back-off was written down while the clock was wrong.
#[must_use]
pub fn is_due(due: Duration, now: Duration) -> bool {
    due <= now || due > now.saturating_add(LONGEST_BACKOFF)
}

/// How a destination did lately: while it does not work, nothing is tried but what shows whether it works again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contact {
    failures: u32,
    not_before: Duration,
}

impl Contact {
    /// Whether it may be tried.
    #[must_use]
    pub fn may_try(&self, now: Duration) -> bool {
        is_due(self.not_before, now)
    }

    /// It worked.
    pub fn worked(&mut self) {
        *self = Self::default();
    }

    /// It did not work; gives when to try again.
    pub fn failed(&mut self, now: Duration, backoff: &Backoff) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.saturating_add(backoff.after(self.failures));
        self.not_before
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_doubles_up_to_the_cap_and_never_ends() {
        let backoff = Backoff::default();
        let waits: Vec<u64> = (0..10).map(|n| backoff.after(n).as_secs()).collect();
        assert_eq!(waits, [0, 15, 30, 60, 120, 240, 480, 960, 1800, 1800]);
        assert_eq!(backoff.after(u32::MAX).as_secs(), 1800);
        let odd = Backoff {
            first: Duration::MAX,
            longest: Duration::MAX,
        };
        assert_eq!(odd.after(40), Duration::MAX);
    }

    #[test]
    fn a_time_from_a_wrong_clock_holds_nothing_up() {
        let now = Duration::from_secs(1_000_000);
        let at = |seconds: i64| Duration::from_secs(now.as_secs().saturating_add_signed(seconds));
        assert!(is_due(at(0), now) && is_due(at(-5), now) && !is_due(at(1), now));
        assert!(!is_due(at(24 * 3600), now) && is_due(at(24 * 3600 + 1), now));
        assert!(is_due(Duration::MAX, now) && is_due(Duration::ZERO, now));
    }

    #[test]
    fn a_destination_that_fails_is_left_alone_for_longer_and_longer() {
        let (backoff, mut contact) = (Backoff::default(), Contact::default());
        let mut now = Duration::from_secs(50);
        for wait in [15, 30, 60] {
            assert!(contact.may_try(now));
            let due = contact.failed(now, &backoff);
            assert_eq!(due, now + Duration::from_secs(wait));
            assert!(!contact.may_try(due - Duration::from_millis(1)));
            now = due;
        }
        contact.worked();
        assert_eq!((contact.failures(), contact.may_try(now)), (0, true));
    }
}
