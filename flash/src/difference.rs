//! Whether a bundle goes whole or as its difference to the one on the device: whatever takes fewer bytes from here on.

use std::path::PathBuf;

use bundle::Version;
use bundle::container::hexadecimal;
use bundle::delta;
use hardware::smp::{DeltaBegin, DeltaChunk};
use indicatif::HumanBytes;
use mcumgr_toolkit::client::MCUmgrClientError;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::artifact::Artifact;
use crate::bases::Places;
use crate::exit::Failure;
use crate::follow::Subject;
use crate::parcel::difference_piece;
use crate::refusal;
use crate::scanside;
use crate::session::Session;

/// Slot of the image that serves. The other one is where a new bundle goes, so no difference can start from it.
const SERVING: u32 = 0;

/// The bundle that a difference starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Its hash.
    pub hash: [u8; 32],
    /// Its version.
    pub version: Version,
    /// Its file on this computer.
    pub path: PathBuf,
}

impl Base {
    /// "1.2.3 (0123456789ab)".
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} ({})", self.version, hexadecimal(&self.hash[..6]))
    }
}

/// A difference that leads from one bundle to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The difference, in the format of [`bundle::delta`].
    pub bytes: Vec<u8>,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Where it starts.
    pub base: Base,
    /// Hash of the bundle that it leads to.
    pub target: [u8; 32],
    /// Length of that bundle.
    pub target_bytes: u64,
}

impl Difference {
    fn new(base: &mut Artifact, target: &mut Artifact) -> Result<Self, Failure> {
        let made = delta::make(&base.whole()?, &target.whole()?);
        let bytes = made.map_err(|error| Failure::new(crate::exit::Exit::Failed, error.to_string(), ""))?;
        Ok(Self {
            sha256: Sha256::digest(&bytes).into(),
            bytes,
            base: Base {
                hash: base.hash,
                version: base.version(),
                path: base.path().to_owned(),
            },
            target: target.hash,
            target_bytes: target.bytes,
        })
    }

    /// What the device is told of it.
    #[must_use]
    pub fn begin(&self, image: u32) -> DeltaBegin<'_> {
        DeltaBegin {
            image,
            length: self.bytes.len() as u64,
            sha: &self.sha256,
            base: &self.base.hash,
            target: &self.target,
            target_bytes: self.target_bytes,
        }
    }
}

/// Why a bundle goes whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whole {
    /// The engineer wants it so.
    Asked,
    /// The device does not know differences.
    Unknown,
    /// No model serves there.
    NoModel,
    /// The bundle of this hash serves there, and is not on this computer.
    BaseAbsent([u8; 32]),
    /// No difference can be made of the two files.
    NotMade(String),
    /// The difference has this many bytes left to send, the bundle that many.
    NotSmaller(u64, u64),
    /// The device refuses the difference.
    Refused(String),
    /// A difference was sent, and the device could not make the bundle of it.
    Failed(String),
}

impl Whole {
    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Unknown => "unknown-command",
            Self::NoModel => "no-model",
            Self::BaseAbsent(_) => "base-absent",
            Self::NotMade(_) => "not-made",
            Self::NotSmaller(..) => "not-smaller",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }

    /// The reason in words.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Asked => "sending the whole bundle, as asked for".to_owned(),
            Self::Unknown => "sending the whole bundle: the device does not know differences".to_owned(),
            Self::NoModel => "sending the whole bundle: no model serves on the device yet".to_owned(),
            Self::BaseAbsent(hash) => format!(
                "sending the whole bundle: the one that serves on the device, {}, is not on this computer \
                 (--base FILE or --bases FOLDER would name it)",
                hexadecimal(&hash[..6])
            ),
            Self::NotMade(why) => format!("sending the whole bundle: no difference can be made: {why}"),
            Self::NotSmaller(difference, whole) => format!(
                "sending the whole bundle: the difference to the one on the device has {} left to send, the bundle {}",
                HumanBytes(*difference),
                HumanBytes(*whole)
            ),
            Self::Refused(why) => format!("sending the whole bundle: the device does not take the difference: {why}"),
            Self::Failed(why) => format!("the difference did not do: {why}; sending the whole bundle"),
        }
    }
}

/// What is sent, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The whole bundle.
    Whole(Whole),
    /// A difference.
    Difference {
        /// It.
        difference: Difference,
        /// Bytes of it that the device lacks.
        left: u64,
        /// Bytes of the whole bundle that the device lacks.
        whole_left: u64,
    },
}

impl Choice {
    /// In words.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Whole(why) => why.text(),
            Self::Difference {
                difference,
                left,
                whole_left,
            } => format!(
                "sending the difference to {}, which the device has: {} instead of {}",
                difference.base.name(),
                HumanBytes(*left),
                HumanBytes(*whole_left)
            ),
        }
    }

    /// For programs; `docs`: `flash/README.md`.
    #[must_use]
    pub fn fields(&self) -> Value {
        match self {
            Self::Whole(why) => {
                let mut value = json!({ "send": "whole", "why": why.code(), "text": why.text() });
                if let Whole::NotSmaller(left, whole_left) = why {
                    value["delta_left"] = (*left).into();
                    value["whole_left"] = (*whole_left).into();
                }
                value
            }
            Self::Difference {
                difference,
                left,
                whole_left,
            } => json!({
                "send": "delta",
                "why": "smaller",
                "text": self.text(),
                "delta_bytes": difference.bytes.len(),
                "whole_bytes": difference.target_bytes,
                "delta_left": left,
                "whole_left": whole_left,
                "base": hexadecimal(&difference.base.hash),
                "base_version": difference.base.version,
                "base_file": difference.base.path,
            }),
        }
    }
}

/// Finds out what takes fewer bytes. Asking leaves what the device has of either as it is; of other differences it gives
/// up what it has.
///
/// # Errors
/// The line fails, or the bundle cannot be read any more. Whatever speaks against a difference is no error.
pub fn choose(
    session: &Session,
    artifact: &mut Artifact,
    subject: Subject,
    places: &Places,
) -> Result<Choice, Failure> {
    let serving = match serving(session, subject.image)? {
        Ok(hash) => hash,
        Err(why) => return Ok(Choice::Whole(why)),
    };
    let Some(mut base) = places.find(&serving) else {
        return Ok(Choice::Whole(Whole::BaseAbsent(serving)));
    };
    let name = format!("with {} {}, which the device has", base.manifest.name, base.version());
    session.reporter.stage("comparing", &name);
    let difference = match Difference::new(&mut base, artifact) {
        Ok(difference) => difference,
        Err(failure) => return Ok(Choice::Whole(Whole::NotMade(failure.message))),
    };
    let total = difference.bytes.len() as u64;
    if total >= artifact.bytes {
        return Ok(Choice::Whole(Whole::NotSmaller(total, artifact.bytes)));
    }
    let whole_left = artifact.bytes - received(session, artifact, subject.image)?;
    let left = match difference_left(session, &difference, subject.image)? {
        Ok(left) => left,
        Err(why) => return Ok(Choice::Whole(why)),
    };
    if left >= whole_left {
        return Ok(Choice::Whole(Whole::NotSmaller(left, whole_left)));
    }
    Ok(Choice::Difference {
        difference,
        left,
        whole_left,
    })
}

/// The hash of the bundle that serves, or why there is none to start from.
fn serving(session: &Session, image: u32) -> Result<Result<[u8; 32], Whole>, Failure> {
    if session.identity.is_none() {
        return Ok(Err(Whole::Unknown));
    }
    let known = match session.hear(|client| client.raw_command(&scanside::bundles())) {
        Ok(known) => known,
        Err(error) if refusal::not_supported(&error) => return Ok(Err(Whole::Unknown)),
        Err(error) => return Err(refusal::failure("cannot ask which bundles the device has", &error)),
    };
    let mut of_image = known.bundles.iter().filter(|bundle| bundle.image == image);
    let serving = of_image.find(|bundle| bundle.slot == SERVING);
    let hash = serving.and_then(|bundle| bundle.hash.as_slice().try_into().ok());
    Ok(hash.ok_or(Whole::NoModel))
}

/// How much of the whole bundle the device has. It is not asked by the beginning of an upload, which would make it give
/// up another one; an upload of the same length that waits there is taken for this one.
fn received(session: &Session, artifact: &Artifact, image: u32) -> Result<u64, Failure> {
    let status = session.status()?.unwrap_or_default();
    let mut received = status
        .activities
        .iter()
        .filter(|activity| activity.state == "receiving");
    let same = received.find(|activity| activity.image == Some(image) && activity.total == Some(artifact.bytes));
    Ok(same
        .and_then(|activity| activity.bytes)
        .unwrap_or(0)
        .min(artifact.bytes))
}

/// How much of the difference the device lacks, or that it does not take it.
fn difference_left(session: &Session, difference: &Difference, image: u32) -> Result<Result<u64, Whole>, Failure> {
    let piece = difference_piece(&DeltaChunk {
        offset: 0,
        data: &[],
        begin: Some(difference.begin(image)),
    });
    let total = difference.bytes.len() as u64;
    match session.persist(|client| client.raw_command(&scanside::delta(piece.clone()))) {
        Ok(answer) => Ok(Ok(total.saturating_sub(answer.off))),
        Err(error) if refusal::not_supported(&error) => Ok(Err(Whole::Unknown)),
        Err(error) if refusal::refuses(&error) => Ok(Err(Whole::Refused(refused(&error)))),
        Err(error) => Err(refusal::failure(
            "cannot ask what the device has of the difference",
            &error,
        )),
    }
}

fn refused(error: &MCUmgrClientError) -> String {
    let message = refusal::failure("", error).message;
    let words = message
        .trim_start_matches(": ")
        .trim_start_matches("the device refuses: ");
    words.to_owned()
}
