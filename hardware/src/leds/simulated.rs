//! Lights that a test looks at.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{LedState, Leds, LedsError};

/// Lights without hardware; clones look at the same ones.
#[derive(Debug, Clone, Default)]
pub struct SimulatedLeds {
    states: Arc<Mutex<Vec<LedState>>>,
}

impl SimulatedLeds {
    /// The states that were shown, each once for as long as it stayed.
    #[must_use]
    pub fn states(&self) -> Vec<LedState> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Leds for SimulatedLeds {
    fn describe(&self) -> String {
        "simulated LEDs".to_owned()
    }

    fn show(&mut self, state: LedState, _: Duration) -> Result<(), LedsError> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if states.last() != Some(&state) {
            states.push(state);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_kept_as_they_change() {
        let leds = SimulatedLeds::default();
        let mut shining = leds.clone();
        for state in [LedState::Ready, LedState::Ready, LedState::Fault, LedState::Ready] {
            shining.show(state, Duration::ZERO).expect("shown");
        }
        assert_eq!(leds.states(), [LedState::Ready, LedState::Fault, LedState::Ready]);
    }
}
