//! The course of the learning rate.

use std::f64::consts::PI;

/// Linear warm-up from zero, then half a cosine (arXiv 1608.03983, without restarts) or a constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateSchedule {
    /// The largest rate.
    pub peak: f64,
    /// Steps of the warm-up.
    pub warmup_steps: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
    /// Where the cosine ends, as a share of `peak`; none holds `peak`.
    pub cosine_end: Option<f64>,
}

impl RateSchedule {
    /// The rate of a step, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            // The first step is not wasted at a rate of zero.
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let Some(end) = self.cosine_end else { return self.peak };
        let length = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let done = ((step - self.warmup_steps) as f64 / length as f64).min(1.0);
        self.peak * (end + (1.0 - end) * 0.5 * (1.0 + (PI * done).cos()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_then_falls_to_the_end() {
        let schedule = RateSchedule {
            peak: 0.1,
            warmup_steps: 10,
            total_steps: 110,
            cosine_end: Some(0.01),
        };
        assert!((schedule.rate(0) - 0.01).abs() < 1e-12);
        assert!((schedule.rate(9) - 0.1).abs() < 1e-12);
        assert!((schedule.rate(10) - 0.1).abs() < 1e-12);
        // Half way, the cosine stands at the mean of both ends.
        assert!((schedule.rate(60) - 0.0505).abs() < 1e-12);
        assert!((schedule.rate(110) - 0.001).abs() < 1e-12);
        assert!((schedule.rate(1000) - 0.001).abs() < 1e-12);
    }

    #[test]
    fn constant_stays() {
        let schedule = RateSchedule {
            peak: 0.1,
            warmup_steps: 0,
            total_steps: 10,
            cosine_end: None,
        };
        assert_eq!(schedule.rate(0), 0.1);
        assert_eq!(schedule.rate(9), 0.1);
    }
}
