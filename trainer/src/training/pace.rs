//! How long a training will take, judged from its first steps.

use std::time::{Duration, Instant};

/// The first steps are slower than all others: worker threads start, libtorch chooses its kernels.
const WARM_UP_STEPS: u32 = 5;
/// Steps that are measured.
const MEASURED_STEPS: u32 = 20;
/// A batch that is only judged costs about this share of one that is learned from, which also goes backward.
const EVALUATION_SHARE: f64 = 0.35;

/// What is still to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Batches to learn from.
    pub training_batches: u64,
    /// Batches to judge.
    pub validation_batches: u64,
}

/// Measures the first steps of a process, and estimates once.
#[derive(Debug, Default)]
pub struct Pace {
    steps: u32,
    begun: Option<Instant>,
}

impl Pace {
    /// Counts a step that was done at `now`. After the measured steps: the time that the rest will take, unless early
    /// stopping ends it sooner.
    pub fn step(&mut self, now: Instant, remaining: Remaining) -> Option<Duration> {
        self.steps = self.steps.saturating_add(1);
        if self.steps == WARM_UP_STEPS {
            self.begun = Some(now);
        }
        if self.steps != WARM_UP_STEPS + MEASURED_STEPS {
            return None;
        }
        let a_step = now.duration_since(self.begun?) / MEASURED_STEPS;
        let steps = remaining.training_batches as f64 + EVALUATION_SHARE * remaining.validation_batches as f64;
        Duration::try_from_secs_f64(a_step.as_secs_f64() * steps).ok()
    }
}

/// What the line of an epoch that took `took` says of the epochs that are left: ", 6 min left at most". Nothing after
/// the last one, nor where no whole epoch was measured.
pub fn left(took: Option<Duration>, epochs_left: u64) -> String {
    let time = took.map(|took| took.saturating_mul(u32::try_from(epochs_left).unwrap_or(u32::MAX)));
    time.filter(|_| epochs_left > 0)
        .map_or(String::new(), |time| format!(", {} left at most", in_words(time)))
}

/// A time in words as coarse as an estimate is: "40 s", "6 min", "2 h 30 min".
pub fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..90 => format!("{} s", (seconds.div_ceil(10) * 10).max(10)),
        90..5400 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 600 * 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_judged_once_from_steps_that_are_warm() {
        let remaining = Remaining {
            training_batches: 1000,
            validation_batches: 200,
        };
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut told = Vec::new();
        for step in 1..=100 {
            now += Duration::from_millis(if step <= 5 { 5000 } else { 100 });
            told.extend(pace.step(now, remaining).map(|time| (step, time.as_secs_f64().round())));
        }
        assert_eq!(told, [(25, 107.0)], "0.1 s times 1000 and 0.35 times 200");
    }

    #[test]
    fn the_line_of_an_epoch_says_what_is_left() {
        let took = Some(Duration::from_secs(20));
        assert_eq!(left(took, 15), ", 5 min left at most");
        assert_eq!([left(took, 0), left(None, 15)], ["", ""]);
    }

    #[test]
    fn a_time_is_as_coarse_as_an_estimate() {
        let words = [0, 31, 89, 90, 600, 5399, 5400, 9100].map(|s| in_words(Duration::from_secs(s)));
        let wanted = [
            "10 s",
            "40 s",
            "90 s",
            "2 min",
            "10 min",
            "90 min",
            "1 h 30 min",
            "2 h 30 min",
        ];
        assert_eq!(words, wanted);
    }
}
