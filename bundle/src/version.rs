//! The version of a bundle, in MCUboot's four fields.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `major.minor.revision+build`, ordered in that order; the build number may be left out when it is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version {
    /// Changes that need a new appliance program.
    pub major: u8,
    /// Changes of what the model can say.
    pub minor: u8,
    /// A retrained or recalibrated model with the same labels.
    pub revision: u16,
    /// A counter of builds, or 0.
    pub build: u32,
}

impl Version {
    /// A version without a build number.
    #[must_use]
    pub const fn new(major: u8, minor: u8, revision: u16) -> Self {
        Self {
            major,
            minor,
            revision,
            build: 0,
        }
    }

    /// The eight bytes of MCUboot's `struct image_version`, little endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[0] = self.major;
        bytes[1] = self.minor;
        bytes[2..4].copy_from_slice(&self.revision.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.build.to_le_bytes());
        bytes
    }

    /// Reads the eight bytes that [`Version::to_bytes`] gives.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        let [major, minor, r0, r1, b0, b1, b2, b3] = bytes;
        Self {
            major,
            minor,
            revision: u16::from_le_bytes([r0, r1]),
            build: u32::from_le_bytes([b0, b1, b2, b3]),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.revision)?;
        if self.build != 0 {
            write!(f, "+{}", self.build)?;
        }
        Ok(())
    }
}

/// A text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not a version; write MAJOR.MINOR.REVISION or MAJOR.MINOR.REVISION+BUILD, with at most 255.255.65535+4294967295"
)]
pub struct VersionError {
    text: String,
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        parse(text).ok_or_else(|| VersionError {
            text: text.chars().take(64).collect(),
        })
    }
}

fn parse(text: &str) -> Option<Version> {
    let (numbers, build) = match text.split_once('+') {
        Some((numbers, build)) => (numbers, number(build)?),
        None => (text, 0),
    };
    let mut parts = numbers.split('.');
    let version = Version {
        major: number(parts.next()?)?,
        minor: number(parts.next()?)?,
        revision: number(parts.next()?)?,
        build,
    };
    parts.next().is_none().then_some(version)
}

/// Digits only: `u8::from_str` would take a sign as well.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_come_back() {
        for text in ["0.0.0", "1.2.3", "255.255.65535+4294967295", "1.0.0+7"] {
            let version: Version = text.parse().unwrap();
            assert_eq!(version.to_string(), text);
            assert_eq!(Version::from_bytes(version.to_bytes()), version);
        }
        assert_eq!("1.2.3+0".parse(), Ok(Version::new(1, 2, 3)));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.3+",
            "+1.2.3",
            "1.+2.3",
            "256.0.0",
            "1.2.x",
            "1.2.3-rc1",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_build_number_orders_last() {
        let early: Version = "1.2.3".parse().unwrap();
        let late: Version = "1.2.3+1".parse().unwrap();
        assert!(early < late && late < Version::new(1, 2, 4) && Version::new(1, 2, 4) < Version::new(2, 0, 0));
    }
}
