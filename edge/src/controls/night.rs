//! When the screens are dimmed: in the hours that the config names, and whenever somebody presses the button.

use serde::Deserialize;

/// Minutes of a day.
const DAY: u32 = 24 * 60;

/// The hours of the night, which may pass midnight: `{ from = "21:00", until = "06:30" }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NightHours {
    /// When it begins.
    pub from: TimeOfDay,
    /// When it ends.
    pub until: TimeOfDay,
}

/// A time of day in minutes since midnight; "21:00" in the config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct TimeOfDay(u32);

impl TimeOfDay {
    /// A time of day; hours and minutes beyond a day go on in the next one.
    #[must_use]
    pub const fn new(hour: u32, minute: u32) -> Self {
        Self((hour * 60 + minute) % DAY)
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let refused = || format!("\"{text}\" is no time of day; give 00:00 to 23:59");
        let (hour, minute) = text.split_once(':').ok_or_else(refused)?;
        let number = |part: &str, below: u32| {
            let plain = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            let value: u32 = plain.then(|| part.parse().ok())??;
            (value < below).then_some(value)
        };
        match (number(hour, 24), number(minute, 60)) {
            (Some(hour), Some(minute)) => Ok(Self::new(hour, minute)),
            _ => Err(refused()),
        }
    }
}

impl std::fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl NightHours {
    /// Hours that begin when they end would never come.
    ///
    /// # Errors
    /// A sentence for the person who wrote the file, without its key.
    pub fn check(&self) -> Result<(), String> {
        if self.from != self.until {
            return Ok(());
        }
        Err(format!(
            "is from {} until {}, which is no time at all; give two different times of 00:00 to 23:59, or leave it out",
            self.from, self.until
        ))
    }

    fn contain(&self, now: TimeOfDay) -> bool {
        if self.from <= self.until {
            (self.from..self.until).contains(&now)
        } else {
            now >= self.from || now < self.until
        }
    }
}

/// Whether it is night for the screens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Night {
    hours: Option<NightHours>,
    /// What was pressed for, and what the hours said then.
    pressed: Option<[bool; 2]>,
}

impl Night {
    /// By these hours, or only by the button.
    #[must_use]
    pub fn new(hours: Option<NightHours>) -> Self {
        Self { hours, pressed: None }
    }

    /// Whether the screens are dimmed at this time of day.
    #[must_use]
    pub fn is_on(&self, now: TimeOfDay) -> bool {
        let by_hours = self.by_hours(now);
        match self.pressed {
            Some([wanted, then]) if then == by_hours => wanted,
            _ => by_hours,
        }
    }

    /// The button: the other way, until the hours themselves change.
    pub fn press(&mut self, now: TimeOfDay) {
        self.pressed = Some([!self.is_on(now), self.by_hours(now)]);
    }

    fn by_hours(&self, now: TimeOfDay) -> bool {
        self.hours.is_some_and(|hours| hours.contain(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(text: &str) -> Result<NightHours, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_night_may_pass_midnight() {
        let night = Night::new(Some(hours("from = \"21:00\"\nuntil = \"06:30\"").unwrap()));
        let on = |hour, minute| night.is_on(TimeOfDay::new(hour, minute));
        assert!(!on(20, 59) && on(21, 0) && on(23, 59) && on(0, 0) && on(6, 29) && !on(6, 30));
        let nap = Night::new(Some(hours("from = \"13:00\"\nuntil = \"14:00\"").unwrap()));
        assert!(nap.is_on(TimeOfDay::new(13, 0)) && !nap.is_on(TimeOfDay::new(14, 0)));
        assert!(!Night::default().is_on(TimeOfDay::new(0, 0)));
    }

    #[test]
    fn a_press_holds_until_the_hours_change() {
        let mut night = Night::new(Some(hours("from = \"21:00\"\nuntil = \"06:30\"").unwrap()));
        night.press(TimeOfDay::new(22, 0));
        assert!(!night.is_on(TimeOfDay::new(22, 1)) && !night.is_on(TimeOfDay::new(3, 0)));
        assert!(!night.is_on(TimeOfDay::new(12, 0)));
        let mut night = Night::new(Some(hours("from = \"21:00\"\nuntil = \"06:30\"").unwrap()));
        night.press(TimeOfDay::new(12, 0));
        assert!(night.is_on(TimeOfDay::new(12, 1)));
        night.press(TimeOfDay::new(12, 2));
        assert!(!night.is_on(TimeOfDay::new(12, 3)));
        let mut by_button = Night::default();
        by_button.press(TimeOfDay::new(12, 0));
        assert!(by_button.is_on(TimeOfDay::new(23, 0)));
    }

    #[test]
    fn a_time_that_is_none_is_refused_with_what_is_allowed() {
        for wrong in ["24:00", "12:60", "9:00", "12", "+1:00", "ab:cd", ""] {
            let refusal = hours(&format!("from = \"{wrong}\"\nuntil = \"06:00\"")).unwrap_err();
            assert!(refusal.contains("00:00 to 23:59"), "{wrong}: {refusal}");
        }
    }
}
