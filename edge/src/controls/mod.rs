//! What people press, and what comes of it.
//!
//! - [`navigation`]: which screen stands after a press, a new result, or a while: a pure state machine
//! - [`night`]: when the screens are dimmed
//! - [`config`]: buttons and lights in the config file
//! - [`panel`]: the configured buttons, which give [`Action`]s

pub mod config;
pub mod navigation;
pub mod night;
pub mod panel;

use hardware::leds::LedState;
use serde::{Deserialize, Serialize};

pub use config::{ControlsConfig, LedsConfig};
pub use navigation::{CaseId, Cases, Effect, Navigation, Place, Times};
pub use night::{Night, NightHours};
pub use panel::Panel;

/// What a button means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A newer case.
    Next,
    /// An older case.
    Previous,
    /// The next look at the case: without the overlay, the other pages; in the list it shows the chosen case.
    Heatmap,
    /// I have seen it.
    Acknowledge,
    /// I find the same.
    Agree,
    /// I find something else.
    Disagree,
    /// The list of cases, and back.
    List,
    /// Dim, or not.
    Night,
}

impl Action {
    /// Every action, in the order in which the screens name them.
    pub const ALL: [Self; 8] = [
        Self::Previous,
        Self::Next,
        Self::Heatmap,
        Self::Acknowledge,
        Self::Agree,
        Self::Disagree,
        Self::List,
        Self::Night,
    ];
}

/// What a clinician found, against what the model found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The same.
    Agree,
    /// Something else.
    Disagree,
}

/// What the lights say: a fault before what somebody has to look at, and that before work.
#[must_use]
pub const fn led_state(is_faulty: bool, needs_eyes: bool, is_busy: bool) -> LedState {
    match (is_faulty, needs_eyes, is_busy) {
        (true, _, _) => LedState::Fault,
        (_, true, _) => LedState::Flagged,
        (_, _, true) => LedState::Busy,
        _ => LedState::Ready,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lights_say_the_most_important_thing() {
        assert_eq!(led_state(true, true, true), LedState::Fault);
        assert_eq!(led_state(false, true, true), LedState::Flagged);
        assert_eq!(led_state(false, false, true), LedState::Busy);
        assert_eq!(led_state(false, false, false), LedState::Ready);
    }
}
