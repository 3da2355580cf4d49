//! What is kept, how long, and how much of a patient: the section `[appliance.store]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use super::privacy::Privacy;

const QUEUE: RangeInclusive<u32> = 1..=100_000;
const DAYS: RangeInclusive<u32> = 1..=36_500;
const MEGABYTES: RangeInclusive<u32> = 64..=100_000_000;
const RESERVE: RangeInclusive<u32> = 1..=1_000_000;
const QUIET: RangeInclusive<u32> = 1..=3_600;
const SLICES: RangeInclusive<u32> = 1..=100;
const MEGABYTE: u64 = 1_000_000;

/// What is kept, and how much.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// What of a patient's name and identifiers is kept.
    pub privacy: Privacy,
    /// What of an image is kept after its result.
    pub keep: Keep,
    /// Cases go this many days after their last change.
    pub keep_days: u32,
    /// What all cases may take, database and files, in megabytes; the oldest go first.
    pub max_megabytes: u32,
    /// What stays free on the disk, in megabytes: below it old cases go, and if none may, nothing more is taken in.
    pub reserve_megabytes: u32,
    /// Images that may wait; then senders wait.
    pub queue: u32,
    /// Which images go first.
    pub urgent: Vec<UrgentTag>,
    /// A series is whole when nothing came for so long.
    pub series_quiet_seconds: u32,
    /// A series is judged by its worst so many slices.
    pub series_slices: u32,
}

/// What of an image is kept after its result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The file as it came, with whatever it says about the patient.
    Files,
    /// A small picture for the screen.
    #[default]
    Pictures,
    /// Nothing but the result.
    Nothing,
}

/// A DICOM element by which an image is urgent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UrgentTag {
    /// Group and element in hexadecimal: `0040,1003`.
    pub tag: String,
    /// Values that make an image urgent, in any case of letters.
    pub values: Vec<String>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            privacy: Privacy::default(),
            keep: Keep::default(),
            keep_days: 90,
            max_megabytes: 8_000,
            reserve_megabytes: 500,
            queue: 500,
            urgent: vec![UrgentTag {
                tag: "0040,1003".to_owned(),
                values: vec!["STAT".to_owned(), "HIGH".to_owned()],
            }],
            series_quiet_seconds: 10,
            series_slices: 3,
        }
    }
}

impl UrgentTag {
    /// Group and element.
    #[must_use]
    pub fn numbers(&self) -> Option<(u16, u16)> {
        let (group, element) = self.tag.split_once(',')?;
        let is_number = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = |text: &str| u16::from_str_radix(text, 16).ok().filter(|_| is_number(text));
        // What lies behind is not read before the pixels are.
        Some((number(group)?, number(element)?)).filter(|(group, _)| *group <= 0x0040)
    }

    /// Whether an element's text has one of the values.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let found = |found: &str| {
            self.values
                .iter()
                .any(|value| value.trim().eq_ignore_ascii_case(found.trim()))
        };
        text.split('\\').any(found)
    }
}

impl StoreConfig {
    /// How long nothing may come for a series before it is whole.
    #[must_use]
    pub fn series_quiet(&self) -> Duration {
        Duration::from_secs(self.series_quiet_seconds.into())
    }

    /// What all cases may take, in bytes.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        u64::from(self.max_megabytes) * MEGABYTE
    }

    /// What stays free on the disk, in bytes.
    #[must_use]
    pub fn reserve_bytes(&self) -> u64 {
        u64::from(self.reserve_megabytes) * MEGABYTE
    }

    /// The first value that cannot be: key, value and what is allowed.
    ///
    /// # Errors
    /// A sentence for the person who wrote the file.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("keep_days", self.keep_days, DAYS),
            ("max_megabytes", self.max_megabytes, MEGABYTES),
            ("reserve_megabytes", self.reserve_megabytes, RESERVE),
            ("queue", self.queue, QUEUE),
            ("series_quiet_seconds", self.series_quiet_seconds, QUIET),
            ("series_slices", self.series_slices, SLICES),
        ];
        for (key, value, allowed) in numbers {
            if !allowed.contains(&value) {
                let (least, most) = (allowed.start(), allowed.end());
                return Err(format!("store.{key} is {value}; give {least} to {most}"));
            }
        }
        for urgent in &self.urgent {
            if urgent.numbers().is_none() {
                return Err(format!(
                    "store.urgent has the tag '{}'; give group and element in hexadecimal, up to group 0040, such as 0040,1003",
                    urgent.tag
                ));
            }
            if urgent.values.is_empty() {
                return Err(format!(
                    "store.urgent has no values for {}; give at least one",
                    urgent.tag
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StoreConfig, String> {
        let config: StoreConfig = toml::from_str(text).map_err(|e| e.to_string())?;
        config.check().map(|()| config)
    }

    #[test]
    fn everything_has_a_default_and_can_be_said() {
        assert_eq!(parse("").unwrap(), StoreConfig::default());
        let config = parse(
            "privacy = \"none\"\nkeep = \"files\"\nkeep_days = 7\nmax_megabytes = 100\n\
             urgent = [{ tag = \"0032,000c\", values = [\"HIGH\"] }]",
        )
        .unwrap();
        assert_eq!((config.keep, config.privacy), (Keep::Files, Privacy::None));
        assert_eq!(config.urgent[0].numbers(), Some((0x0032, 0x000c)));
        assert!(config.urgent[0].matches("LOW\\ high "));
        assert!(!config.urgent[0].matches("HIGHER"));
    }

    #[test]
    fn a_refusal_names_the_key_and_what_is_allowed() {
        let refusal = |text: &str| parse(text).unwrap_err();
        assert!(refusal("keep_days = 0").contains("store.keep_days is 0; give 1 to 36500"));
        assert!(refusal("queue = 0").contains("1 to 100000"));
        assert!(refusal("keep = \"all\"").contains("pictures"));
        assert!(refusal("privacy = \"some\"").contains("initials"));
        for tag in ["0040-1003", "40,1003", "7FE0,0010", "0040,10033", ",", "+040,1003"] {
            let text = format!("urgent = [{{ tag = \"{tag}\", values = [\"x\"] }}]");
            assert!(refusal(&text).contains("hexadecimal"), "{tag}");
        }
        assert!(refusal("urgent = [{ tag = \"0040,1003\", values = [] }]").contains("no values"));
    }
}
