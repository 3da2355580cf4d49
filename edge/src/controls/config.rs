//! Buttons and lights in the config file.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hardware::buttons::{Length, Timing, Wired, key_code, terminal_key};
use hardware::leds::{GpioLamps, GpioLeds, Lamps, Leds, SYSFS, SysfsLeds};
use serde::Deserialize;

use super::{Action, Times};

/// `[appliance.controls]`: the buttons.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlsConfig {
    /// What kind of buttons.
    pub kind: ControlsKind,
    /// `evdev`: the input device, by path or by the name that the kernel gives it.
    pub device: Option<String>,
    /// `gpio`: the chip.
    pub chip: Option<PathBuf>,
    /// `gpio`: whether a pressed button connects its line to ground.
    #[serde(default = "yes")]
    pub active_low: bool,
    /// How long a contact may bounce, in milliseconds.
    #[serde(default = "default_bounce")]
    pub bounce_ms: u32,
    /// From when on a press is a long one, in milliseconds.
    #[serde(default = "default_long_press")]
    pub long_press_ms: u32,
    /// After so many seconds without a press the newest result comes back.
    #[serde(default = "default_return")]
    pub return_seconds: u32,
    /// After so many seconds the newest result gives way to the idle screen, unless it still needs to be seen.
    #[serde(default = "default_rest")]
    pub rest_seconds: u32,
    /// Where each action's button is: a key (`KEY_RIGHT`, `h`) or a line (`17`), with ` long` behind it for a long press.
    #[serde(default)]
    pub buttons: BTreeMap<Action, String>,
}

/// Kinds of buttons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ControlsKind {
    /// Keys of an input device.
    Evdev,
    /// Lines of a GPIO chip.
    Gpio,
    /// Keys of the terminal that the service was started in: a desk.
    Terminal,
}

/// `[appliance.leds]`: the lights.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedsConfig {
    /// What kind of lights.
    pub kind: LedsKind,
    /// `gpio`: the chip.
    pub chip: Option<PathBuf>,
    /// `gpio`: whether a lamp shines when its line is connected to ground.
    #[serde(default)]
    pub active_low: bool,
    /// The green lamp: its name in `/sys/class/leds`, or its line.
    pub green: Option<String>,
    /// The amber lamp.
    pub amber: Option<String>,
    /// The red lamp.
    pub red: Option<String>,
}

/// Kinds of lights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LedsKind {
    /// The kernel's LED class.
    Sysfs,
    /// Lines of a GPIO chip.
    Gpio,
}

/// One button and what its presses mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning<W> {
    /// Where it is.
    pub wire: W,
    /// What a short press means.
    pub short: Option<Action>,
    /// What a long press means.
    pub long: Option<Action>,
}

impl<W: Copy> Meaning<W> {
    /// The button as the hardware knows it.
    #[must_use]
    pub fn wired(&self) -> Wired<W> {
        Wired {
            wire: self.wire,
            has_long: self.long.is_some(),
        }
    }
}

const BOUNCE: RangeInclusive<u32> = 0..=200;
const LONG_PRESS: RangeInclusive<u32> = 300..=5_000;
const RETURN: RangeInclusive<u32> = 5..=3_600;
const REST: RangeInclusive<u32> = 5..=86_400;

fn yes() -> bool {
    true
}

fn default_bounce() -> u32 {
    20
}

fn default_long_press() -> u32 {
    800
}

fn default_return() -> u32 {
    30
}

fn default_rest() -> u32 {
    300
}

/// Keys of a keyboard on a desk, where the config names none: as the kernel calls them, and as a terminal does.
const KEYBOARD: [(Action, [&str; 2]); 8] = [
    (Action::Next, ["KEY_RIGHT", "RIGHT"]),
    (Action::Previous, ["KEY_LEFT", "LEFT"]),
    (Action::Heatmap, ["KEY_H", "h"]),
    (Action::Acknowledge, ["KEY_ENTER", "ENTER"]),
    (Action::Agree, ["KEY_Y", "y"]),
    (Action::Disagree, ["KEY_N", "n"]),
    (Action::List, ["KEY_L", "l"]),
    (Action::Night, ["KEY_D", "d"]),
];

impl ControlsConfig {
    /// The first value that cannot be: key, value and what is allowed.
    ///
    /// # Errors
    /// A sentence for the person who wrote the file; its key is below `appliance`.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("bounce_ms", self.bounce_ms, BOUNCE),
            ("long_press_ms", self.long_press_ms, LONG_PRESS),
            ("return_seconds", self.return_seconds, RETURN),
            ("rest_seconds", self.rest_seconds, REST),
        ];
        for (key, value, allowed) in numbers {
            if !allowed.contains(&value) {
                let (least, most) = (allowed.start(), allowed.end());
                return Err(format!("controls.{key} is {value}; give {least} to {most}"));
            }
        }
        match self.kind {
            ControlsKind::Evdev if self.device.is_none() => Err(
                "controls.device is missing; give the input device's path or name, such as \"gpio-keys\"".to_owned(),
            ),
            ControlsKind::Gpio if self.chip.is_none() => {
                Err("controls.chip is missing; give the GPIO chip, such as \"/dev/gpiochip0\"".to_owned())
            }
            ControlsKind::Gpio if self.buttons.is_empty() => {
                Err("controls.buttons is missing; give lines, such as next = \"17\"".to_owned())
            }
            ControlsKind::Evdev => self.keys().map(drop),
            ControlsKind::Gpio => self.lines().map(drop),
            ControlsKind::Terminal => self.terminal_keys().map(drop),
        }
    }

    /// Keys of an input device.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn keys(&self) -> Result<Vec<Meaning<u16>>, String> {
        self.meanings(key_code, "a key of the kernel such as \"KEY_RIGHT\"")
    }

    /// Lines of a GPIO chip.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn lines(&self) -> Result<Vec<Meaning<u32>>, String> {
        self.meanings(|line| line.parse().ok(), "the offset of a line such as \"17\"")
    }

    /// Keys of a terminal.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn terminal_keys(&self) -> Result<Vec<Meaning<char>>, String> {
        let allowed = "a lower-case letter, a digit, UP, DOWN, LEFT, RIGHT, ENTER, SPACE or TAB";
        self.meanings(terminal_key, allowed)
    }

    fn meanings<W: Copy + PartialEq>(
        &self,
        parse: impl Fn(&str) -> Option<W>,
        allowed: &str,
    ) -> Result<Vec<Meaning<W>>, String> {
        let mut meanings: Vec<Meaning<W>> = Vec::new();
        for (action, place) in self.places() {
            let key = format!("controls.buttons.{}", name(action));
            let (wire, length) = match place.strip_suffix(" long") {
                Some(wire) => (wire.trim_end(), Length::Long),
                None => (place.as_str(), Length::Short),
            };
            let refused = || format!("{key} is \"{place}\"; give {allowed}, with \" long\" behind it for a long press");
            let wire = parse(wire).ok_or_else(refused)?;
            let index = meanings.iter().position(|meaning| meaning.wire == wire);
            let index = index.unwrap_or_else(|| {
                meanings.push(Meaning {
                    wire,
                    short: None,
                    long: None,
                });
                meanings.len() - 1
            });
            let meaning = match length {
                Length::Short => &mut meanings[index].short,
                Length::Long => &mut meanings[index].long,
            };
            if let Some(other) = meaning.replace(action) {
                return Err(format!(
                    "{key} is \"{place}\", as {} is; give each its own",
                    name(other)
                ));
            }
        }
        Ok(meanings)
    }

    /// Where each action's button is.
    fn places(&self) -> Vec<(Action, String)> {
        if !self.buttons.is_empty() {
            return self
                .buttons
                .iter()
                .map(|(action, place)| (*action, place.clone()))
                .collect();
        }
        let of_kind = usize::from(self.kind == ControlsKind::Terminal);
        KEYBOARD
            .iter()
            .map(|(action, places)| (*action, places[of_kind].to_owned()))
            .collect()
    }

    /// What makes a press of edges.
    #[must_use]
    pub fn timing(&self) -> Timing {
        Timing {
            bounce: Duration::from_millis(self.bounce_ms.into()),
            long: Duration::from_millis(self.long_press_ms.into()),
        }
    }

    /// How long which screen stands.
    #[must_use]
    pub fn times(&self) -> Times {
        Times {
            back: Duration::from_secs(self.return_seconds.into()),
            rest: Duration::from_secs(self.rest_seconds.into()),
            ..Times::default()
        }
    }
}

/// An action as the config spells it.
fn name(action: Action) -> &'static str {
    match action {
        Action::Next => "next",
        Action::Previous => "previous",
        Action::Heatmap => "heatmap",
        Action::Acknowledge => "acknowledge",
        Action::Agree => "agree",
        Action::Disagree => "disagree",
        Action::List => "list",
        Action::Night => "night",
    }
}

impl LedsConfig {
    /// The first value that cannot be: key, value and what is allowed.
    ///
    /// # Errors
    /// A sentence for the person who wrote the file; its key is below `appliance`.
    pub fn check(&self) -> Result<(), String> {
        let lamps = [("green", &self.green), ("amber", &self.amber), ("red", &self.red)];
        if lamps.iter().all(|(_, lamp)| lamp.is_none()) {
            return Err("leds has no lamp; give green, amber or red".to_owned());
        }
        if self.kind == LedsKind::Gpio && self.chip.is_none() {
            return Err("leds.chip is missing; give the GPIO chip, such as \"/dev/gpiochip0\"".to_owned());
        }
        for (key, lamp) in lamps {
            let Some(lamp) = lamp else { continue };
            let allowed = match self.kind {
                LedsKind::Gpio if lamp.parse::<u32>().is_err() => "the offset of a line such as \"5\"",
                LedsKind::Sysfs if lamp.is_empty() || lamp.contains('/') => "a name of /sys/class/leds",
                _ => continue,
            };
            return Err(format!("leds.{key} is \"{lamp}\"; give {allowed}"));
        }
        Ok(())
    }

    /// The lights. Those that are not there are told when they are to shine, and looked for.
    #[must_use]
    pub fn leds(&self) -> Box<dyn Leds> {
        match self.kind {
            LedsKind::Sysfs => {
                let names = Lamps {
                    green: self.green.clone(),
                    amber: self.amber.clone(),
                    red: self.red.clone(),
                };
                Box::new(SysfsLeds::new(Path::new(SYSFS), &names))
            }
            LedsKind::Gpio => {
                let line = |lamp: &Option<String>| lamp.as_ref()?.parse().ok();
                let lamps = GpioLamps {
                    chip: self.chip.clone().unwrap_or_default(),
                    active_low: self.active_low,
                    lines: Lamps {
                        green: line(&self.green),
                        amber: line(&self.amber),
                        red: line(&self.red),
                    },
                };
                Box::new(GpioLeds::new(lamps))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hardware::leds::LedState;

    use super::*;

    fn controls(text: &str) -> Result<ControlsConfig, String> {
        let config: ControlsConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map(|()| config)
    }

    fn leds(text: &str) -> Result<LedsConfig, String> {
        let config: LedsConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map(|()| config)
    }

    #[test]
    fn buttons_have_a_short_and_a_long_meaning() {
        let config = controls(
            "kind = \"gpio\"\nchip = \"/dev/gpiochip0\"\n[buttons]\nnext = \"17\"\nprevious = \"27\"\nlist = \"27 long\"",
        )
        .unwrap();
        let lines = config.lines().unwrap();
        assert_eq!(lines.len(), 2);
        let previous = lines.iter().find(|line| line.wire == 27).unwrap();
        assert_eq!(
            (previous.short, previous.long),
            (Some(Action::Previous), Some(Action::List))
        );
        assert!(previous.wired().has_long);
        assert_eq!(config.times().back, Duration::from_secs(30));
    }

    #[test]
    fn a_keyboard_needs_no_list_of_keys() {
        let evdev = controls("kind = \"evdev\"\ndevice = \"AT keyboard\"").unwrap();
        assert_eq!(evdev.keys().unwrap().len(), Action::ALL.len());
        let terminal = controls("kind = \"terminal\"").unwrap();
        let keys = terminal.terminal_keys().unwrap();
        assert_eq!(keys.iter().filter(|key| key.short.is_some()).count(), Action::ALL.len());
        assert_eq!(KEYBOARD.len(), Action::ALL.len());
    }

    #[test]
    fn actions_are_spelled_as_the_config_spells_them() {
        for action in Action::ALL {
            let config = format!("kind = \"terminal\"\n[buttons]\n{} = \"q\"", name(action));
            assert_eq!(controls(&config).unwrap().buttons.keys().next(), Some(&action));
        }
    }

    #[test]
    fn a_refusal_names_the_key_and_what_is_allowed() {
        let cases = [
            ("kind = \"mouse\"", "`evdev`, `gpio`"),
            ("kind = \"evdev\"", "controls.device is missing"),
            (
                "kind = \"gpio\"\nchip = \"/dev/gpiochip0\"",
                "controls.buttons is missing",
            ),
            ("kind = \"gpio\"\n[buttons]\nnext = \"1\"", "controls.chip is missing"),
            (
                "kind = \"terminal\"\nbounce_ms = 900",
                "controls.bounce_ms is 900; give 0 to 200",
            ),
            ("kind = \"terminal\"\nlong_press_ms = 1", "give 300 to 5000"),
            ("kind = \"terminal\"\nreturn_seconds = 0", "give 5 to 3600"),
            ("kind = \"terminal\"\nrest_seconds = 0", "give 5 to 86400"),
            (
                "kind = \"terminal\"\n[buttons]\nnext = \"F1\"",
                "controls.buttons.next is \"F1\"; give a lower-case",
            ),
            ("kind = \"terminal\"\n[buttons]\nleft = \"l\"", "`previous`"),
            (
                "kind = \"terminal\"\n[buttons]\nnext = \"n\"\nagree = \"n\"",
                "give each its own",
            ),
            ("kind = \"terminal\"\nno_such_key = 1", "`bounce_ms`"),
        ];
        for (text, expected) in cases {
            let refusal = controls(text).unwrap_err();
            assert!(refusal.contains(expected), "{text}: {refusal}");
        }
        let evdev = controls("kind = \"evdev\"\ndevice = \"x\"\n[buttons]\nnext = \"RIGHT long\"").unwrap_err();
        assert!(evdev.contains("KEY_RIGHT") && evdev.contains("long press"), "{evdev}");
    }

    #[test]
    fn lights_are_checked_too() {
        assert!(leds("kind = \"sysfs\"\ngreen = \"scanside:green\"").is_ok());
        assert!(leds("kind = \"gpio\"\nchip = \"/dev/gpiochip0\"\nred = \"5\"").is_ok());
        let cases = [
            ("kind = \"sysfs\"", "green, amber or red"),
            ("kind = \"sysfs\"\nred = \"../red\"", "leds.red is \"../red\""),
            ("kind = \"gpio\"\nred = \"5\"", "leds.chip is missing"),
            (
                "kind = \"gpio\"\nchip = \"/dev/gpiochip0\"\nred = \"five\"",
                "offset of a line",
            ),
        ];
        for (text, expected) in cases {
            let refusal = leds(text).unwrap_err();
            assert!(refusal.contains(expected), "{text}: {refusal}");
        }
    }

    #[test]
    fn lights_that_are_not_there_are_told() {
        let told = |text: &str| {
            let shown = leds(text).unwrap().leds().show(LedState::Ready, Duration::ZERO);
            shown.unwrap_err().to_string()
        };
        assert!(told("kind = \"sysfs\"\ngreen = \"no-such-lamp\"").contains("no-such-lamp"));
        assert!(told("kind = \"gpio\"\nchip = \"/dev/no-chip\"\ngreen = \"5\"").contains("/dev/no-chip"));
    }
}
