//! Which lamp shines how in which state.

use std::time::Duration;

use super::LedState;

/// Something for each colour of lamp.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lamps<T> {
    /// Ready, busy.
    pub green: T,
    /// Flagged.
    pub amber: T,
    /// Fault.
    pub red: T,
}

impl<T> Lamps<T> {
    /// Green, amber, red.
    pub fn into_array(self) -> [T; 3] {
        [self.green, self.amber, self.red]
    }
}

/// How a lamp shines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Light {
    /// Not at all.
    #[default]
    Off,
    /// All the time.
    On,
    /// On and off in turn.
    Blink {
        /// Time on, in milliseconds.
        on: u32,
        /// Time off, in milliseconds.
        off: u32,
    },
}

/// Once in two seconds, half of the time.
const SLOW: Light = Light::Blink { on: 1000, off: 1000 };
/// A short dark moment every two seconds.
const WINK: Light = Light::Blink { on: 1750, off: 250 };
/// As fast as is allowed: 4 Hz, above what alarms use.
const QUICK: Light = Light::Blink { on: 125, off: 125 };

impl Light {
    /// Whether it is on at a time.
    #[must_use]
    pub fn is_on(self, now: Duration) -> bool {
        match self {
            Self::Off => false,
            Self::On => true,
            Self::Blink { on, off } => now.as_millis() % u128::from(on + off) < u128::from(on),
        }
    }
}

/// How each of the lamps that are there shines in a state.
#[must_use]
pub fn lights(there: Lamps<bool>, state: LedState) -> Lamps<Light> {
    let mut lights = Lamps::default();
    // From the state's own lamp to the ones that take its place. Red is nobody's stand-in.
    let (green, amber, red) = (0, 1, 2);
    let choices: &[(usize, Light)] = match state {
        LedState::Off => &[],
        LedState::Ready => &[(green, Light::On), (amber, WINK)],
        LedState::Busy => &[(green, SLOW), (amber, SLOW)],
        LedState::Flagged => &[(amber, Light::On), (green, WINK)],
        LedState::Fault => &[(red, SLOW), (amber, QUICK), (green, QUICK)],
    };
    let there = there.into_array();
    if let Some((lamp, light)) = choices.iter().find(|(lamp, _)| there[*lamp]) {
        *[&mut lights.green, &mut lights.amber, &mut lights.red][*lamp] = *light;
    }
    lights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_sets() -> impl Iterator<Item = Lamps<bool>> {
        (0..8).map(|set| Lamps {
            green: set & 1 > 0,
            amber: set & 2 > 0,
            red: set & 4 > 0,
        })
    }

    #[test]
    fn every_state_differs_with_any_lamp_that_is_not_only_red() {
        for there in all_sets().filter(|there| there.green || there.amber) {
            let shown = LedState::ALL.map(|state| lights(there, state));
            for (index, one) in shown.iter().enumerate() {
                assert!(!shown[index + 1..].contains(one), "{there:?}: {shown:?}");
            }
        }
    }

    #[test]
    fn red_is_for_faults_and_absent_lamps_stay_dark() {
        for there in all_sets() {
            for state in LedState::ALL {
                let shown = lights(there, state);
                assert!(
                    shown.red == Light::Off || state == LedState::Fault,
                    "{there:?} {state:?}"
                );
                for (is_there, light) in there.into_array().into_iter().zip(shown.into_array()) {
                    assert!(is_there || light == Light::Off, "{there:?} {state:?}");
                }
            }
        }
        let all = Lamps {
            green: true,
            amber: true,
            red: true,
        };
        assert_eq!(lights(all, LedState::Ready).green, Light::On);
        assert_eq!(lights(all, LedState::Flagged).amber, Light::On);
    }

    /// IEC 60601-1-8, table 2: 1.4 to 2.8 Hz is a high-priority alarm.
    #[test]
    fn nothing_blinks_like_an_alarm_of_high_priority() {
        for light in [SLOW, WINK, QUICK] {
            let Light::Blink { on, off } = light else {
                panic!("{light:?} blinks");
            };
            let hertz = 1e3 / f64::from(on + off);
            assert!(!(1.4..=2.8).contains(&hertz), "{light:?}: {hertz} Hz");
            assert!(light.is_on(Duration::ZERO));
            assert!(!light.is_on(Duration::from_millis(u64::from(on))));
            assert!(light.is_on(Duration::from_millis(u64::from(on + off))));
        }
    }
}
