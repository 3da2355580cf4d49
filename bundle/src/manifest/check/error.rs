//! Why a manifest was refused.

use imaging::preprocess::PreprocessError;

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The JSON does not parse or a field is missing or has the wrong type.
    #[error("manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// A field has a value that it may not have.
    #[error("manifest: {field} is {found}; {wanted}")]
    Field {
        /// Path of the field, such as `labels[2].id`.
        field: String,
        /// Its value, shortened.
        found: String,
        /// What it may be.
        wanted: String,
    },
    /// A field names a label, file or output that does not exist.
    #[error("manifest: {field} names {found}, which is not among {list}")]
    Unknown {
        /// Path of the field.
        field: String,
        /// What it names.
        found: String,
        /// Where it should be listed.
        list: &'static str,
    },
    /// Something that must be there is not.
    #[error("manifest: {0}")]
    Missing(String),
    /// Something stands there twice.
    #[error("manifest: {field} has {found} twice")]
    Twice {
        /// The list.
        field: &'static str,
        /// The entry.
        found: String,
    },
    /// The preprocessing cannot be done.
    #[error("manifest: preprocess: {0}")]
    Preprocess(#[from] PreprocessError),
}

/// Of a check: nothing, or why the manifest was refused.
pub(super) type Result<T = ()> = std::result::Result<T, ManifestError>;

pub(super) fn field(at: impl Into<String>, found: impl ToString, wanted: impl Into<String>) -> ManifestError {
    ManifestError::Field {
        field: at.into(),
        found: found.to_string(),
        wanted: wanted.into(),
    }
}

/// A text of the manifest for a message: shortened, control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("{short:?}")
}
