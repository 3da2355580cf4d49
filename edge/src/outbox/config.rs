//! The section `appliance.outbox` of the config: what leaves the appliance, and where it goes.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::schedule::{Backoff, LONGEST_BACKOFF};
use super::sender::Archive;
use super::{Device, Wanted};

/// What leaves the appliance. Without the section nothing does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxConfig {
    /// Whether a picture of each result goes to the archive.
    #[serde(default = "yes")]
    pub secondary_capture: bool,
    /// Whether a structured report of each result goes to the archive.
    #[serde(default = "yes")]
    pub structured_report: bool,
    /// Folder that gets each result as JSON; absent: none.
    pub json: Option<PathBuf>,
    /// The appliance's AE title when it sends; its Station Name too.
    #[serde(default = "default_ae_title")]
    pub ae_title: String,
    /// Device Serial Number in the objects; absent: the AE title.
    pub serial_number: Option<String>,
    /// Where DICOM objects go.
    pub archive: Option<ArchiveConfig>,
    /// Seconds before the second attempt; each further one waits twice as long.
    #[serde(default = "default_retry_first")]
    retry_first_seconds: u32,
    /// Longest wait between two attempts, in seconds.
    #[serde(default = "default_retry_longest")]
    retry_longest_seconds: u32,
}

/// The archive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveConfig {
    /// Host and port: `10.0.0.5:11112`, `pacs.local:104`, `[fd00::5]:104`.
    pub address: String,
    /// Its AE title.
    pub ae_title: String,
    /// How long to wait for a connection.
    #[serde(default = "default_connect")]
    connect_seconds: u32,
    /// How long to wait for an answer, and for it to take what is sent.
    #[serde(default = "default_answer")]
    answer_seconds: u32,
    /// Largest PDU that is received, and sent where the archive would take larger ones.
    #[serde(default = "default_pdu")]
    max_pdu_bytes: u32,
}

fn yes() -> bool {
    true
}

fn default_ae_title() -> String {
    "SCANSIDE".to_owned()
}

fn default_retry_first() -> u32 {
    15
}

fn default_retry_longest() -> u32 {
    30 * 60
}

fn default_connect() -> u32 {
    10
}

fn default_answer() -> u32 {
    60
}

fn default_pdu() -> u32 {
    65_536
}

const CONNECT_SECONDS: RangeInclusive<u32> = 1..=300;
const ANSWER_SECONDS: RangeInclusive<u32> = 1..=3600;
const PDU_BYTES: RangeInclusive<u32> = 4096..=1_048_576;
const RETRY_SECONDS: RangeInclusive<u32> = 1..=LONGEST_BACKOFF.as_secs() as u32;
/// Characters of an AE title (PS3.5 table 6.2-1).
const AE_TITLE: RangeInclusive<usize> = 1..=16;
/// Characters of a Device Serial Number.
const SERIAL_NUMBER: RangeInclusive<usize> = 1..=64;

impl OutboxConfig {
    /// Which objects are wanted.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted {
            secondary_capture: self.secondary_capture && self.archive.is_some(),
            structured_report: self.structured_report && self.archive.is_some(),
            json: self.json.is_some(),
        }
    }

    /// Who makes them.
    #[must_use]
    pub fn device(&self) -> Device {
        Device {
            ae_title: self.ae_title.clone(),
            serial_number: self.serial_number.clone().unwrap_or_else(|| self.ae_title.clone()),
        }
    }

    /// The archive, if there is one.
    #[must_use]
    pub fn archive(&self) -> Option<Archive> {
        let archive = self.archive.as_ref()?;
        Some(Archive {
            address: archive.address.clone(),
            called_ae: archive.ae_title.clone(),
            calling_ae: self.ae_title.clone(),
            connect: Duration::from_secs(archive.connect_seconds.into()),
            answer: Duration::from_secs(archive.answer_seconds.into()),
            max_pdu_bytes: archive.max_pdu_bytes,
        })
    }

    /// When a failed attempt is repeated.
    #[must_use]
    pub fn backoff(&self) -> Backoff {
        Backoff {
            first: Duration::from_secs(self.retry_first_seconds.into()),
            longest: Duration::from_secs(self.retry_longest_seconds.into()),
        }
    }

    /// The first value that cannot be: key, value and what is allowed.
    ///
    /// # Errors
    /// A sentence for the person who wrote the file.
    pub fn check(&self) -> Result<(), String> {
        check_ae_title("ae_title", &self.ae_title)?;
        if let Some(number) = &self.serial_number
            && !(SERIAL_NUMBER.contains(&number.len()) && is_plain(number))
        {
            return Err(format!(
                "serial_number is \"{number}\"; give 1 to 64 ASCII characters without a backslash"
            ));
        }
        if let Some(folder) = self.json.as_ref().filter(|folder| !folder.is_absolute()) {
            return Err(format!(
                "json is {}; give an absolute path such as /var/lib/scanside/outgoing",
                folder.display()
            ));
        }
        check_range("retry_first_seconds", self.retry_first_seconds, &RETRY_SECONDS)?;
        let longest = self.retry_first_seconds..=*RETRY_SECONDS.end();
        check_range("retry_longest_seconds", self.retry_longest_seconds, &longest)?;
        match &self.archive {
            Some(archive) => archive.check().map_err(|reason| format!("archive.{reason}")),
            None if self.json.is_none() => Err(
                "archive is missing, and so is json, so nothing would leave; give one of them, or leave the section out"
                    .to_owned(),
            ),
            None => Ok(()),
        }
    }
}

impl ArchiveConfig {
    fn check(&self) -> Result<(), String> {
        check_ae_title("ae_title", &self.ae_title)?;
        let port = self.address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        let port = port.and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            return Err(format!(
                "address is \"{}\"; give host and port (1 to 65535), such as 10.0.0.5:11112",
                self.address
            ));
        }
        check_range("connect_seconds", self.connect_seconds, &CONNECT_SECONDS)?;
        check_range("answer_seconds", self.answer_seconds, &ANSWER_SECONDS)?;
        check_range("max_pdu_bytes", self.max_pdu_bytes, &PDU_BYTES)
    }
}

fn check_range(key: &str, value: u32, allowed: &RangeInclusive<u32>) -> Result<(), String> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(format!(
        "{key} is {value}; give {} to {}",
        allowed.start(),
        allowed.end()
    ))
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\')
}

fn check_ae_title(key: &str, title: &str) -> Result<(), String> {
    let is_good = AE_TITLE.contains(&title.len()) && is_plain(title) && title.trim() == title;
    if is_good {
        return Ok(());
    }
    Err(format!(
        "{key} is \"{title}\"; give 1 to 16 ASCII characters without a backslash, and no space at either end"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<OutboxConfig, String> {
        let config: OutboxConfig = toml::from_str(text).map_err(|e| e.to_string())?;
        config.check().map(|()| config)
    }

    const ARCHIVE: &str = "[archive]\naddress = \"10.0.0.5:11112\"\nae_title = \"PACS\"\n";

    #[test]
    fn an_archive_is_enough() {
        let config = parse(ARCHIVE).unwrap();
        let wanted = config.wanted();
        assert_eq!(
            (wanted.secondary_capture, wanted.structured_report, wanted.json),
            (true, true, false)
        );
        let archive = config.archive().unwrap();
        assert_eq!(
            (archive.calling_ae.as_str(), archive.called_ae.as_str()),
            ("SCANSIDE", "PACS")
        );
        assert_eq!(archive.answer, Duration::from_secs(60));
        assert_eq!(config.backoff(), Backoff::default());
        assert_eq!(config.device().serial_number, "SCANSIDE");
    }

    #[test]
    fn a_folder_is_enough_and_sends_nothing_to_an_archive() {
        let config = parse("json = \"/out\"").unwrap();
        let wanted = config.wanted();
        assert_eq!(
            (wanted.secondary_capture, wanted.structured_report, wanted.json),
            (false, false, true)
        );
        assert_eq!(config.archive(), None);
    }

    #[test]
    fn a_refusal_names_the_key_and_what_is_allowed() {
        let with = |line: &str| parse(&format!("{line}\n{ARCHIVE}")).unwrap_err();
        assert!(parse("").unwrap_err().starts_with("archive is missing, and so is json"));
        assert!(with("json = \"out\"").contains("json is out; give an absolute path"));
        assert!(with("ae_title = \"SEVENTEEN LETTERS\"").contains("ae_title"));
        assert!(with("ae_title = \"A\\\\B\"").contains("backslash"));
        assert!(with("retry_first_seconds = 0").contains("give 1 to 86400"));
        let shorter = with("retry_first_seconds = 60\nretry_longest_seconds = 59");
        assert!(shorter.contains("give 60 to 86400"), "{shorter}");
        let inside = |line: &str| parse(&format!("{ARCHIVE}{line}")).unwrap_err();
        assert!(inside("max_pdu_bytes = 1").contains("archive.max_pdu_bytes is 1; give 4096 to"));
        assert!(inside("answer_seconds = 0").contains("archive.answer_seconds"));
        assert!(inside("port = 1").contains("unknown field"));
        for address in ["10.0.0.5", ":104", "pacs:0", "pacs:70000", "pacs:dicom"] {
            let text = ARCHIVE.replace("10.0.0.5:11112", address);
            assert!(parse(&text).unwrap_err().contains("host and port"), "{address}");
        }
        for address in ["pacs.local:104", "[fd00::5]:104"] {
            parse(&ARCHIVE.replace("10.0.0.5:11112", address)).unwrap();
        }
    }
}
