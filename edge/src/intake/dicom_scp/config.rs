//! What the DICOM port takes from the config file.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::ae_title;

/// The DICOM port: who may send, and how much of the appliance one sender may take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DicomConfig {
    /// Address and port that are listened on: the one of the scanner's network, not every one.
    #[serde(deserialize_with = "address")]
    pub address: SocketAddr,
    /// The appliance's own AE title; who calls another one is rejected.
    #[serde(default = "default_ae_title")]
    pub ae_title: String,
    /// AE titles that may send.
    pub calling: Vec<String>,
    /// Addresses that may send; empty: every one.
    #[serde(default, deserialize_with = "peers")]
    pub peers: Vec<IpAddr>,
    /// Associations at the same time.
    #[serde(default = "default_associations")]
    associations: u32,
    /// The largest P-DATA-TF PDU that a sender may use, in bytes.
    #[serde(default = "default_pdu_bytes")]
    pdu_bytes: u32,
    /// The largest object, in MiB.
    #[serde(default = "default_object_mib")]
    object_mib: u32,
    /// Within so many seconds each PDU must come, whole.
    #[serde(default = "default_idle")]
    idle_seconds: u32,
    /// So many seconds an association lasts at most.
    #[serde(default = "default_association")]
    association_seconds: u32,
    /// So many seconds a sender waits while the queue is full, before it is told to try again later.
    #[serde(default = "default_busy")]
    busy_seconds: u32,
}

/// What senders may take of the appliance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Associations at the same time.
    pub associations: usize,
    /// Length of a P-DATA-TF PDU without its header, in bytes.
    pub pdu_bytes: u32,
    /// Length of a data set as it is sent, in bytes.
    pub object_bytes: u64,
    /// From waiting for a PDU to its last byte.
    pub idle: Duration,
    /// An association from its request to its end.
    pub association: Duration,
    /// Waiting for room in the queue.
    pub busy: Duration,
}

fn default_ae_title() -> String {
    "SCANSIDE".to_owned()
}

fn default_associations() -> u32 {
    8
}

/// What dcmtk's programs take at most, and so the largest size that is in wide use.
fn default_pdu_bytes() -> u32 {
    131_072
}

fn default_object_mib() -> u32 {
    512
}

fn default_idle() -> u32 {
    30
}

fn default_association() -> u32 {
    3600
}

/// Shorter than the 30 s that many senders wait for an answer.
fn default_busy() -> u32 {
    20
}

const CALLING: RangeInclusive<usize> = 1..=64;
const ASSOCIATIONS: RangeInclusive<u32> = 1..=64;
const PDU_BYTES: RangeInclusive<u32> = 4096..=1_048_576;
/// No larger file is decoded.
const OBJECT_MIB: RangeInclusive<u32> = 1..=512;
const IDLE_SECONDS: RangeInclusive<u32> = 1..=3600;
const ASSOCIATION_SECONDS: RangeInclusive<u32> = 1..=86_400;
const BUSY_SECONDS: RangeInclusive<u32> = 0..=300;

impl DicomConfig {
    /// The limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            associations: self.associations as usize,
            pdu_bytes: self.pdu_bytes,
            object_bytes: u64::from(self.object_mib) << 20,
            idle: Duration::from_secs(self.idle_seconds.into()),
            association: Duration::from_secs(self.association_seconds.into()),
            busy: Duration::from_secs(self.busy_seconds.into()),
        }
    }

    /// The first value that cannot be: key, value and what is allowed.
    ///
    /// # Errors
    /// A sentence for the person who wrote the file.
    pub fn check(&self) -> Result<(), String> {
        if self.address.port() == 0 {
            return Err(format!("address is {}; give a port, such as 11112", self.address));
        }
        ae_title::check(&self.ae_title).map_err(|reason| format!("ae_title {reason}"))?;
        in_range("calling", "AE titles", self.calling.len(), &CALLING)?;
        for title in &self.calling {
            ae_title::check(title).map_err(|reason| format!("calling {reason}"))?;
        }
        in_range("associations", "", self.associations, &ASSOCIATIONS)?;
        in_range("pdu_bytes", "", self.pdu_bytes, &PDU_BYTES)?;
        in_range("object_mib", "", self.object_mib, &OBJECT_MIB)?;
        in_range("idle_seconds", "", self.idle_seconds, &IDLE_SECONDS)?;
        in_range(
            "association_seconds",
            "",
            self.association_seconds,
            &ASSOCIATION_SECONDS,
        )?;
        in_range("busy_seconds", "", self.busy_seconds, &BUSY_SECONDS)
    }
}

fn in_range<T: PartialOrd + Display>(
    key: &str,
    unit: &str,
    value: T,
    allowed: &RangeInclusive<T>,
) -> Result<(), String> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let value = format!("{value} {unit}");
    Err(format!(
        "{key} is {}; give {} to {}",
        value.trim_end(),
        allowed.start(),
        allowed.end()
    ))
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse(deserializer, "an address and a port, such as 192.168.7.1:11112")
}

fn peers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parse = |text: &String| parsed(text, "IP addresses, such as 192.168.7.20");
    texts.iter().map(parse).collect()
}

fn parse<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D, wanted: &str) -> Result<T, D::Error> {
    parsed(&String::deserialize(deserializer)?, wanted)
}

fn parsed<T: FromStr, E: Error>(text: &str, wanted: &str) -> Result<T, E> {
    text.parse()
        .map_err(|_| E::custom(format!("\"{text}\" cannot be read; give {wanted}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "address = \"192.168.7.1:11112\"\ncalling = [\"CR_ROOM_1\"]\n";

    fn parse(text: &str) -> Result<DicomConfig, String> {
        let config: DicomConfig = toml::from_str(text).map_err(|e| e.to_string())?;
        config.check().map(|()| config)
    }

    #[test]
    fn an_address_and_a_sender_are_enough() {
        let config = parse(LEAST).unwrap();
        assert_eq!((config.ae_title.as_str(), config.address.port()), ("SCANSIDE", 11112));
        let limits = config.limits();
        assert_eq!((limits.associations, limits.object_bytes), (8, 512 << 20));
        assert_eq!(
            (limits.idle, limits.busy),
            (Duration::from_secs(30), Duration::from_secs(20))
        );
    }

    #[test]
    fn no_object_is_accepted_that_is_too_large_to_be_decoded() {
        let decoded = imaging::Limits::default().max_bytes;
        assert!(u64::from(*OBJECT_MIB.end()) << 20 <= decoded);
    }

    #[test]
    fn a_refusal_names_the_key_and_what_is_allowed() {
        let refusal = |line: &str| {
            let key = line.split(' ').next().unwrap();
            let others = LEAST.lines().filter(|other| !other.starts_with(&format!("{key} ")));
            let message = parse(&format!("{line}\n{}", others.collect::<Vec<_>>().join("\n"))).unwrap_err();
            assert!(message.contains(key), "{message}");
            message
        };
        for (line, allowed) in [
            ("address = \"everywhere\"", "192.168.7.1:11112"),
            ("address = \"0.0.0.0:0\"", "give a port"),
            ("ae_title = \"SEVENTEEN_LETTERS\"", "1 to 16 characters"),
            ("ae_title = \"   \"", "1 to 16 characters"),
            ("calling = []", "1 to 64"),
            ("calling = [\"A\\\\B\"]", "1 to 16 characters"),
            ("peers = [\"scanner.local\"]", "IP addresses"),
            ("associations = 0", "1 to 64"),
            ("pdu_bytes = 1000", "4096 to 1048576"),
            ("object_mib = 513", "1 to 512"),
            ("idle_seconds = 0", "1 to 3600"),
            ("association_seconds = 0", "1 to 86400"),
            ("busy_seconds = 301", "0 to 300"),
        ] {
            let message = refusal(line);
            assert!(message.contains(allowed), "{line}: {message}");
        }
        assert!(
            parse("address = \"192.168.7.1:11112\"")
                .unwrap_err()
                .contains("calling")
        );
    }
}
