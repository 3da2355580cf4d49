//! The stable codes of uncertain results. They stand on the screen, in JSON and in reports.
//!
//! Images that cannot be read bring the codes of [`imaging::quality::QualityReason`] and
//! [`imaging::decode::DecodeError::code`]. `docs/finding.schema.json` lists all of them.

use serde::{Deserialize, Serialize};

/// Code of a series of which too little could be assessed.
pub const FEW_SLICES: &str = "few-slices-assessed";

/// Why a result is uncertain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// No label is probable enough, or a finding is likely but below its operating point.
    NotConfident,
    /// The prediction set holds a finding and "no finding".
    ConformalSetAmbiguous,
    /// The image is unlike the training images.
    OutOfDistribution,
    /// The image's modality is not one that the model is for.
    OutsideIntendedUseModality,
    /// The image's body part is not one that the model is for.
    OutsideIntendedUseBodyPart,
    /// The image's view is not one that the model is for.
    OutsideIntendedUseView,
    /// The patient's age is not one that the model is for.
    OutsideIntendedUseAge,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 7] = [
        Self::NotConfident,
        Self::ConformalSetAmbiguous,
        Self::OutOfDistribution,
        Self::OutsideIntendedUseModality,
        Self::OutsideIntendedUseBodyPart,
        Self::OutsideIntendedUseView,
        Self::OutsideIntendedUseAge,
    ];

    /// The stable text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotConfident => "not-confident",
            Self::ConformalSetAmbiguous => "conformal-set-ambiguous",
            Self::OutOfDistribution => "out-of-distribution",
            Self::OutsideIntendedUseModality => "outside-intended-use-modality",
            Self::OutsideIntendedUseBodyPart => "outside-intended-use-body-part",
            Self::OutsideIntendedUseView => "outside-intended-use-view",
            Self::OutsideIntendedUseAge => "outside-intended-use-age",
        }
    }
}

/// A code with what a person reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The stable code.
    pub code: String,
    /// One sentence, short enough for a screen.
    pub message: String,
    /// What a technician wants to know of a file that was refused: where, how much, what to try.
    pub detail: Option<String>,
}

impl Reason {
    /// A reason with a code of this program.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self::with_code(code.text(), message)
    }

    /// A reason with a code of another crate.
    pub fn with_code(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            detail: None,
        }
    }

    /// The reason with what a technician wants to know.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }
}
