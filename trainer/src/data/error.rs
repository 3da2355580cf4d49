//! What can be wrong with a data set.

use std::path::PathBuf;

use imaging::preprocess::PreprocessError;

/// Why a data set, a split or an epoch cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused a file or folder.
    #[error("{}: {source}; check that it exists and that this user may use it", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A line of a CSV file that cannot be used.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        /// The CSV file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A CSV file lacks a column.
    #[error("{}: the column `{column}` is missing; found: {found}", path.display())]
    NoColumn {
        /// The CSV file.
        path: PathBuf,
        /// Name of the column.
        column: &'static str,
        /// The columns that are there.
        found: String,
    },
    /// A folder without class folders.
    #[error(
        "{}: no images in class folders; put the images of each class into a folder of its name, or give a manifest CSV",
        path.display()
    )]
    NoClassFolders {
        /// The folder.
        path: PathBuf,
    },
    /// The recipe's choice of labels and sources leaves nothing, or a label has no row.
    #[error("{}: {reason}; the data has: {found}", path.display())]
    NoRows {
        /// Manifest or folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
        /// Labels and counts that are there.
        found: String,
    },
    /// A class is too small to stand on every side.
    #[error(
        "label `{label}` has {units} independent patients or groups, too few for {parts}; add images or set unwanted \
         data.split.fractions to 0"
    )]
    TooFew {
        /// The label.
        label: String,
        /// Patients or groups with it.
        units: usize,
        /// The sides that have none of it.
        parts: String,
    },
    /// Rows of one patient or group stand on two sides of a split file.
    #[error("{}: {unit} stands in {first} and in {second}; one patient must stay on one side", path.display())]
    Leak {
        /// The split file.
        path: PathBuf,
        /// Patient or group.
        unit: String,
        /// One side.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A generated or augmented row in validation or test, or real and phantom rows in one evaluation.
    #[error("{row}: {reason}")]
    Provenance {
        /// Path of the image.
        row: String,
        /// What is wrong.
        reason: String,
    },
    /// A folder to make holds something already, which must not be lost.
    #[error("{}: is not empty; give the name of a new folder, or remove what is there", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// More images failed than the recipe allows.
    #[error(
        "{failed} of {total} images cannot be used, more than data.max_failed = {limit}; the first: {first}; \
         run `data check` for the whole list"
    )]
    TooManyFailed {
        /// Images that failed so far.
        failed: usize,
        /// Images of this part of the data.
        total: usize,
        /// The recipe's share.
        limit: f64,
        /// Path and reason of the first.
        first: String,
    },
    /// The preprocessing cannot be used.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// A picture or file cannot be written or encoded.
    #[error("{}: cannot be written: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A worker thread ended without a result, which is a fault of this program.
    #[error("a loading thread ended unexpectedly while it prepared batch {batch}")]
    WorkerLost {
        /// Number of the batch in the epoch.
        batch: usize,
    },
}

impl DataError {
    /// For `map_err` on file operations.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
