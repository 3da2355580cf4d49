//! Scanside's own commands (SMP group 64), as commands of mcumgr-toolkit; `docs/serial-protocol.md` lists them.

use std::collections::BTreeMap;

use hardware::smp::PreflightChunk;
use hardware::smp::message::group;
use hardware::smp::scanside::command;
use mcumgr_toolkit::commands::McuMgrCommand;
use mcumgr_toolkit::commands::image::ImageUploadResponse;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;

/// A command of group 64 and the type of its answer.
#[derive(Debug, Clone)]
pub struct Command<Q, A> {
    write: bool,
    number: u8,
    question: Q,
    answer: PhantomData<fn() -> A>,
}

impl<Q: Serialize, A: DeserializeOwned> McuMgrCommand for Command<Q, A> {
    type Payload = Q;
    type Response = A;

    fn is_write_operation(&self) -> bool {
        self.write
    }

    fn group_id(&self) -> u16 {
        group::SCANSIDE
    }

    fn command_id(&self) -> u8 {
        self.number
    }

    fn data(&self) -> &Q {
        &self.question
    }
}

fn read<Q, A>(number: u8, question: Q) -> Command<Q, A> {
    let (write, answer) = (false, PhantomData);
    Command {
        write,
        number,
        question,
        answer,
    }
}

fn write<Q, A>(number: u8, question: Q) -> Command<Q, A> {
    let (write, answer) = (true, PhantomData);
    Command {
        write,
        number,
        question,
        answer,
    }
}

/// Nothing to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

/// Which pair of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OfImage {
    image: u32,
}

/// Who the device is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Version of these commands.
    pub protocol: u64,
    /// "Scanside edge".
    pub product: String,
    /// Serial number or name.
    pub serial: String,
    /// Version of its software.
    pub software: String,
    /// Another number with each start of its service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// The role of each image, in the order of their numbers.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Further facts.
    #[serde(default)]
    pub details: BTreeMap<String, String>,
}

/// Who are you?
#[must_use]
pub fn identity() -> Command<Nothing, Identity> {
    read(command::IDENTITY, Nothing {})
}

/// Something that is going on; which numbers there are depends on the state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// "receiving", "rebuilding", "verifying", "self-test", "trial", "restarting", or what a later version knows.
    pub state: String,
    /// Number of the image; absent where it concerns all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<u32>,
    /// Bytes done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Golden cases done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// Bytes or cases in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Good results until a trial is confirmed by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
}

/// How the last update of an image ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Number of the image.
    pub image: u32,
    /// "refused", "damaged", "stored", "passed", "failed", "confirmed", "reverted".
    pub outcome: String,
    /// Why, in words.
    #[serde(default)]
    pub reason: String,
}

/// Something that is wrong with the device itself, though it may go on working.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Number of the image; absent where it concerns all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<u32>,
    /// What is wrong, in words.
    pub problem: String,
}

/// What is going on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Nothing: the device is idle.
    #[serde(default)]
    pub activities: Vec<Activity>,
    /// At most one for each image.
    #[serde(default)]
    pub outcomes: Vec<Outcome>,
    /// Nothing: the device is sound.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

impl Status {
    /// What happens to an image in a state.
    #[must_use]
    pub fn activity(&self, image: u32, state: &str) -> Option<&Activity> {
        let fits = |activity: &&Activity| activity.state == state && activity.image.is_none_or(|n| n == image);
        self.activities.iter().find(fits)
    }

    /// How the last update of an image ended.
    #[must_use]
    pub fn outcome(&self, image: u32) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.image == image)
    }
}

/// What is going on?
#[must_use]
pub fn status() -> Command<Nothing, Status> {
    read(command::STATUS, Nothing {})
}

/// A piece of the beginning of a bundle.
#[derive(Debug, Clone, Serialize)]
pub struct PreflightPiece<'a> {
    image: u32,
    off: u64,
    len: u64,
    #[serde(with = "serde_bytes")]
    data: &'a [u8],
    crc: u32,
}

/// What the device thinks of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Verdict {
    /// "more", "accepted" or "refused".
    pub verdict: String,
    /// With "more": from where on it must see more.
    #[serde(default)]
    pub off: Option<u64>,
    /// With "refused": a stable name.
    #[serde(default)]
    pub code: String,
    /// With "refused": why.
    #[serde(default)]
    pub reason: String,
}

/// Would you take this bundle of `len` bytes, of which these are the bytes from `off` on?
#[must_use]
pub fn preflight(image: u32, off: u64, len: u64, data: &[u8]) -> Command<PreflightPiece<'_>, Verdict> {
    let chunk = PreflightChunk {
        image,
        offset: off,
        data,
        total: len,
    };
    let crc = chunk.checksum();
    write(
        command::PREFLIGHT,
        PreflightPiece {
            image,
            off,
            len,
            data,
            crc,
        },
    )
}

/// A bundle in a slot of the device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct KnownBundle {
    /// Number of the image.
    pub image: u32,
    /// 0 for the one that serves, 1 for the other.
    pub slot: u32,
    /// Its hash.
    #[serde(with = "serde_bytes")]
    pub hash: Vec<u8>,
}

/// The bundles in the slots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct KnownBundles {
    /// In the order of images and slots.
    pub bundles: Vec<KnownBundle>,
}

/// Which bundles do you have?
#[must_use]
pub fn bundles() -> Command<Nothing, KnownBundles> {
    read(command::BUNDLES, Nothing {})
}

/// A piece of a difference; what stands behind `crc` goes with the first one only.
#[derive(Debug, Clone, Serialize)]
pub struct DeltaPiece<'a> {
    /// Where it belongs.
    pub off: u64,
    /// Its bytes.
    #[serde(with = "serde_bytes")]
    pub data: &'a [u8],
    /// CRC-32C of the piece.
    pub crc: u32,
    /// Number of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<u32>,
    /// Length of the difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub len: Option<u64>,
    /// SHA-256 of the difference.
    #[serde(skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub sha: Option<&'a [u8; 32]>,
    /// Hash of the bundle that it starts from.
    #[serde(skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub base: Option<&'a [u8; 32]>,
    /// Hash of the bundle that it leads to.
    #[serde(skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub hash: Option<&'a [u8; 32]>,
    /// Length of that bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// A piece of a difference.
#[must_use]
pub fn delta(piece: DeltaPiece<'_>) -> Command<DeltaPiece<'_>, ImageUploadResponse> {
    write(command::DELTA, piece)
}

/// Run the golden cases of the running image.
#[must_use]
pub fn self_test(image: u32) -> Command<OfImage, Nothing> {
    write(command::SELF_TEST, OfImage { image })
}

/// Return to the confirmed image.
#[must_use]
pub fn revert(image: u32) -> Command<OfImage, Nothing> {
    write(command::REVERT, OfImage { image })
}

/// A file that may leave the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name, with `/` between folders.
    pub name: String,
    /// Its length in bytes.
    #[serde(rename(deserialize = "len"))]
    pub bytes: u64,
}

/// A part of the list of files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Files {
    /// The files.
    pub files: Vec<FileEntry>,
    /// Behind which name the list goes on; absent at its end.
    #[serde(default)]
    pub next: Option<String>,
}

/// A part of all files.
#[derive(Debug, Clone, Serialize)]
pub struct Part<'a> {
    below: &'a str,
    after: &'a str,
}

/// Which files, whose names begin with `below`, may leave the device? In the order of their names, those behind `after`.
#[must_use]
pub fn files<'a>(below: &'a str, after: &'a str) -> Command<Part<'a>, Files> {
    read(command::FILES, Part { below, after })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded<Q: Serialize, A: DeserializeOwned>(command: &Command<Q, A>) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(command.data(), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn questions_have_the_documented_keys() {
        assert_eq!(encoded(&status()), b"\xa0");
        assert_eq!(encoded(&revert(3)), b"\xa1\x65image\x03");
        assert_eq!(
            encoded(&preflight(0, 5, 9, b"ab")),
            b"\xa5\x65image\x00\x63off\x05\x63len\x09\x64data\x42ab\x63crc\x1a\xc6\x16\x26\x44"
        );
        let command = revert(0);
        assert!(command.is_write_operation() && !status().is_write_operation());
        assert_eq!((command.group_id(), command.command_id()), (64, 7));
    }

    #[test]
    fn states_of_later_versions_are_no_error() {
        let body = b"\xa1\x6aactivities\x81\xa2\x65state\x67dancing\x64what\x01";
        let status: Status = ciborium::from_reader(body.as_slice()).unwrap();
        assert_eq!(status.activities[0].state, "dancing");
        assert_eq!(status.activity(5, "dancing").unwrap().image, None);
        assert_eq!(status.outcome(0), None);
    }
}
