//! What is remembered of a pair of slots, and how it is written down.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// Longest message that is kept, in characters.
const MAX_MESSAGE_CHARS: usize = 500;

/// A SHA-256.
pub type Digest = [u8; 32];

/// One of the two places of a pair. Which of them is active changes; where they lie does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The first place.
    A,
    /// The second place.
    B,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other place.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

/// What the gatekeeper learned of an image from its signed front.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageFacts {
    /// Name of the model.
    pub name: String,
    /// Its version, as people write it.
    pub version: String,
    /// Its security counter.
    pub security_counter: u32,
}

/// An upload whose front was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Incoming {
    /// Length of the whole file in bytes.
    pub total: u64,
    /// Length of the front in bytes.
    pub front_bytes: u64,
    /// SHA-256 of the front: two files with the same signed front and length are the same upload.
    #[serde(with = "hexadecimal")]
    pub front: Digest,
    /// SHA-256 of the whole file, as the client says.
    #[serde(with = "hexadecimal_option")]
    pub sha: Option<Digest>,
    pub facts: ImageFacts,
}

/// A file that is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Image {
    pub total: u64,
    pub front_bytes: u64,
    #[serde(with = "hexadecimal")]
    pub front: Digest,
    /// SHA-256 of the whole file.
    #[serde(with = "hexadecimal")]
    pub file: Digest,
    /// The image's hash: SHA-256 of its hashed beginning.
    #[serde(with = "hexadecimal")]
    pub hash: Digest,
    pub facts: ImageFacts,
}

/// What one place holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(super) enum Slot {
    /// Nothing that counts; there may be a file.
    #[default]
    Empty,
    /// Part of an upload. How much of it is there is not written down but looked up.
    Receiving(Incoming),
    /// A whole file that was not read back yet.
    Received {
        image: Image,
        /// Starts of the service that found it like this: a file that ends the service by being looked at must not
        /// do so for ever.
        starts: u32,
    },
    /// Read back, checked, bootable.
    Valid {
        image: Image,
        /// It did not load later: a new upload of the same file is welcome.
        damaged: bool,
        /// It was tried and taken back for what it is; nobody has asked for it since.
        #[serde(default)]
        rejected: bool,
    },
}

impl Slot {
    pub fn image(&self) -> Option<&Image> {
        match self {
            Self::Received { image, .. } | Self::Valid { image, .. } => Some(image),
            Self::Empty | Self::Receiving(_) => None,
        }
    }

    pub fn valid(&self) -> Option<&Image> {
        match self {
            Self::Valid {
                image, damaged: false, ..
            } => Some(image),
            _ => None,
        }
    }
}

/// An image that is to be tried on the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub side: Side,
    /// Confirm it as soon as its self-test passes.
    pub permanent: bool,
}

/// How far a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Being loaded or in its self-test. A start that finds this reverts.
    Loading,
    /// Self-test passed, serving. A start that finds this reverts: the service did not stop in order.
    Serving,
    /// The service was stopped in order while it was serving. A start that finds this goes on with the trial.
    Stopped,
}

/// An image on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trial {
    pub side: Side,
    pub permanent: bool,
    pub phase: Phase,
    /// Good results so far.
    pub good_results: u32,
    /// The confirmed image was asked for: the next start reverts.
    pub taken_back: bool,
    /// Nobody asked for it: it serves because the confirmed image does not load, until somebody decides or the next
    /// start tries that one again. It is never confirmed by itself.
    #[serde(default)]
    pub rescue: bool,
}

impl Trial {
    /// One that begins.
    pub fn new(side: Side) -> Self {
        Self {
            side,
            permanent: false,
            phase: Phase::Loading,
            good_results: 0,
            taken_back: false,
            rescue: false,
        }
    }
}

/// Why an image is not in use although somebody wanted it to be.
///
/// It is kept until an image is confirmed or the next request is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setback {
    /// The class.
    pub cause: Cause,
    /// Version of the image, empty if unknown.
    pub version: String,
    /// For people: what happened.
    pub message: String,
}

impl Setback {
    pub(super) fn new(cause: Cause, version: &str, message: &str) -> Self {
        Self {
            cause,
            version: version.to_owned(),
            message: message.chars().take(MAX_MESSAGE_CHARS).collect(),
        }
    }
}

impl Cause {
    /// Whether it speaks against the image itself, so that nobody but a person tries it again. A power cut does not, nor
    /// does a library that was missing.
    pub(super) fn rejects(self) -> bool {
        matches!(self, Self::SelfTest | Self::Results | Self::Engineer)
    }
}

/// Classes of setbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// It could not be loaded: damaged, missing library, no memory.
    Load,
    /// The self-test failed.
    SelfTest,
    /// The service ended during the trial without being stopped in order: crash, watchdog, power cut.
    Interrupted,
    /// An engineer took it back.
    Engineer,
    /// It fails in use.
    Results,
    /// What was read back is not what was signed.
    Verification,
    /// The security counter rose above it in the meantime.
    Rollback,
    /// The record of the slots was lost.
    RecordLost,
}

/// All that is remembered of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub slots: [Slot; 2],
    /// What is served unless a trial runs. Changes by [`Record::confirm`] only.
    pub confirmed: Option<Side>,
    pub request: Option<Request>,
    pub trial: Option<Trial>,
    pub setback: Option<Setback>,
    /// The highest security counter that was confirmed: a second witness beside the counter itself.
    pub highest_counter: u32,
    /// After the loss of the record: which sides were tried as what to serve.
    pub salvage: Option<[bool; 2]>,
}

impl Record {
    pub fn slot(&self, side: Side) -> &Slot {
        &self.slots[side.index()]
    }

    pub fn slot_mut(&mut self, side: Side) -> &mut Slot {
        &mut self.slots[side.index()]
    }

    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(io::Error::other)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut record: Self = serde_json::from_slice(bytes).ok()?;
        record.drop_contradictions();
        Some(record)
    }

    /// Whatever a file says, what is relied on elsewhere holds: what is confirmed or on trial is a valid image, they are
    /// not the same one, and nothing is requested that is in use already.
    fn drop_contradictions(&mut self) {
        let valid = |side: Side| matches!(self.slots[side.index()], Slot::Valid { .. });
        let confirmed = self.confirmed.filter(|&side| valid(side));
        let trial = self.trial.filter(|t| valid(t.side) && Some(t.side) != confirmed);
        let present = |side: Side| self.slots[side.index()].image().is_some();
        let request = self
            .request
            .filter(|r| trial.is_none() && present(r.side) && Some(r.side) != confirmed);
        (self.confirmed, self.trial, self.request) = (confirmed, trial, request);
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, n) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[n..n + 2], 16).ok()?;
    }
    Some(digest)
}

mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(digest: &super::Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::hex(digest))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<super::Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::unhex(&text).ok_or_else(|| D::Error::custom("not a SHA-256 in hexadecimal"))
    }
}

mod hexadecimal_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub fn serialize<S: Serializer>(digest: &Option<super::Digest>, serializer: S) -> Result<S::Ok, S::Error> {
        digest.as_ref().map(|d| super::hex(d)).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<super::Digest>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let read = |text: String| super::unhex(&text).ok_or_else(|| D::Error::custom("not a SHA-256 in hexadecimal"));
        text.map(read).transpose()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn image(n: u8) -> Image {
        Image {
            total: 1000,
            front_bytes: 100,
            front: [n; 32],
            file: [n + 100; 32],
            hash: [n + 200; 32],
            facts: ImageFacts {
                name: "phantom".to_owned(),
                version: format!("{n}.0.0"),
                security_counter: u32::from(n),
            },
        }
    }

    pub fn valid(n: u8) -> Slot {
        Slot::Valid {
            image: image(n),
            damaged: false,
            rejected: false,
        }
    }

    fn full() -> Record {
        let incoming = Incoming {
            total: u64::MAX,
            front_bytes: 7,
            front: [1; 32],
            sha: Some([0xab; 32]),
            facts: image(4).facts,
        };
        Record {
            slots: [valid(3), Slot::Receiving(incoming)],
            confirmed: Some(Side::A),
            request: None,
            trial: None,
            setback: Some(Setback {
                cause: Cause::SelfTest,
                version: "2.0.0".to_owned(),
                message: "golden case 3: \"differs\"\n".to_owned(),
            }),
            highest_counter: 3,
            salvage: Some([true, false]),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for record in [full(), Record::default()] {
            assert_eq!(Record::from_bytes(&record.to_bytes().unwrap()), Some(record));
        }
        let most = full().to_bytes().unwrap().len();
        assert!(most * 4 < super::super::kept::MAX_BODY_BYTES, "{most} bytes");
    }

    #[test]
    fn a_record_of_a_version_that_knew_neither_rescue_nor_rejection_is_read() {
        let mut record = full();
        record.slots[1] = valid(4);
        record.trial = Some(Trial::new(Side::B));
        let text = String::from_utf8(record.to_bytes().unwrap()).unwrap();
        let mut old: serde_json::Value = serde_json::from_str(&text).unwrap();
        old["trial"].as_object_mut().unwrap().remove("rescue").unwrap();
        for slot in old["slots"].as_array_mut().unwrap() {
            slot.as_object_mut().unwrap().remove("rejected").unwrap();
        }
        assert_eq!(Record::from_bytes(old.to_string().as_bytes()), Some(record));
    }

    #[test]
    fn other_bytes_are_no_record() {
        let good = full().to_bytes().unwrap();
        assert_eq!(Record::from_bytes(b""), None);
        assert_eq!(Record::from_bytes(&good[..good.len() - 1]), None);
        let text = String::from_utf8(good).unwrap();
        assert_eq!(Record::from_bytes(text.replace("abab", "abxb").as_bytes()), None);
        assert_eq!(Record::from_bytes(text.replace("abab", "ab\u{e4}").as_bytes()), None);
        assert_eq!(Record::from_bytes(text.replace("receiving", "flying").as_bytes()), None);
    }

    #[test]
    fn contradictions_do_not_survive_reading() {
        let trial = |side| Trial {
            phase: Phase::Serving,
            ..Trial::new(side)
        };
        let mut record = full();
        record.confirmed = Some(Side::B);
        record.trial = Some(trial(Side::B));
        record.request = Some(Request {
            side: Side::B,
            permanent: true,
        });
        let read = Record::from_bytes(&record.to_bytes().unwrap()).unwrap();
        assert_eq!((read.confirmed, read.trial, read.request), (None, None, None));
        let mut record = full();
        record.trial = Some(trial(Side::A));
        let read = Record::from_bytes(&record.to_bytes().unwrap()).unwrap();
        assert_eq!((read.confirmed, read.trial), (Some(Side::A), None));
    }
}
