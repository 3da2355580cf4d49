//! An object on its way into the spool: a DICOM file (PS3.10 section 7.1) that is written as its fragments come, so that
//! no object is in memory as a whole.
//!
//! Until it is whole the file has the ending [`UNFINISHED`]; whatever goes wrong before, it is removed. Syncing it is the
//! acceptor's work.

use std::fs;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use dicom_object::FileMetaTableBuilder;
use imaging::decode::{DecodeError, identify};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::status::Status;
use crate::implementation;
use crate::intake::arrival::{AcceptError, UNFINISHED};

/// Beginning of the names of files in the spool.
const PREFIX: &str = "dicom-";
const PREAMBLE: [u8; 128] = [0; 128];
/// What is kept of the data set to see which object it is: SOP Instance UID stands within the first few hundred bytes.
const BEGINNING_BYTES: usize = 16 << 10;
/// Senders with small PDUs must not cost a write to the file system each.
const BUFFER_BYTES: usize = 64 << 10;

/// Why an object was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space, or no quota.
    #[error("the disk is full")]
    DiskFull,
    /// The spool cannot be written.
    #[error("cannot {action}: {source}")]
    Write {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The queue stayed full.
    #[error("the queue is full; send again later")]
    Busy,
    /// Larger than the limit.
    #[error("the object is larger than {limit_mib} MiB")]
    TooLarge {
        /// The limit.
        limit_mib: u64,
    },
    /// The beginning of the data set cannot be read.
    #[error("the data set cannot be read ({})", .0.code())]
    Unreadable(DecodeError),
    /// There is no data set, or it does not say which object it is.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Another class than announced.
    #[error("SOP class of command and data set differ")]
    OtherClass,
    /// Another object than announced.
    #[error("SOP instance of command and data set differ")]
    OtherInstance,
    /// The command's SOP class is not the presentation context's.
    #[error("the SOP class is not the presentation context's")]
    ClassOfContext,
    /// The command names no object.
    #[error("the command has no well-formed SOP Instance UID")]
    NoInstance,
    /// The store did not take it.
    #[error(transparent)]
    NotAccepted(#[from] AcceptError),
}

impl StoreError {
    /// What the sender is told.
    pub(super) fn status(&self) -> Status {
        match self {
            Self::DiskFull | Self::Busy => Status::OutOfResources,
            Self::NotAccepted(AcceptError::DiskFull(_) | AcceptError::Busy { .. }) => Status::OutOfResources,
            Self::TooLarge { .. } => Status::ObjectTooLarge,
            Self::Unreadable(_) | Self::Missing(_) | Self::NotAccepted(AcceptError::Broken(_)) => {
                Status::CannotUnderstand
            }
            Self::OtherClass => Status::ClassMismatch,
            Self::OtherInstance => Status::InstanceMismatch,
            Self::ClassOfContext => Status::SopClassNotSupported,
            Self::NoInstance => Status::InvalidSopInstance,
            Self::Write { .. } | Self::NotAccepted(_) => Status::ProcessingFailure,
        }
    }

    /// The sender's copy of the reason: of a fault in here it needs no details.
    pub(super) fn comment(&self) -> String {
        match self.status() {
            Status::ProcessingFailure => "the appliance failed; see its log".to_owned(),
            _ => self.to_string(),
        }
    }

    fn writing(action: &'static str, source: io::Error) -> Self {
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Self::DiskFull,
            _ => Self::Write { action, source },
        }
    }
}

/// What is announced about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) sop_class_uid: String,
    pub(super) sop_instance_uid: String,
    pub(super) transfer_syntax: &'static str,
    pub(super) calling: String,
}

/// A file that is whole and synced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) path: PathBuf,
    /// Of the file.
    pub(super) bytes: u64,
    pub(super) dataset_bytes: u64,
    pub(super) dataset_digest: [u8; 32],
}

/// An object that is being received.
pub(super) struct Reception {
    announced: Announced,
    limit: u64,
    /// The first fault; nothing is written any more, but the sender goes on sending.
    written: Result<BufWriter<NamedTempFile>, StoreError>,
    meta_bytes: u64,
    bytes: u64,
    beginning: Vec<u8>,
    digest: Sha256,
}

impl Reception {
    /// Begins a file in `spool` for a data set of at most `limit` bytes.
    pub(super) fn begin(spool: &Path, announced: Announced, limit: u64) -> Self {
        let meta = meta_information(&announced);
        Self {
            written: begin_file(spool, &meta),
            meta_bytes: meta.len() as u64,
            announced,
            limit,
            bytes: 0,
            beginning: Vec::new(),
            digest: Sha256::new(),
        }
    }

    /// The announced object.
    pub(super) fn announced(&self) -> &Announced {
        &self.announced
    }

    /// Takes a fragment of the data set. What goes wrong is told by [`finish`](Self::finish).
    pub(super) fn take(&mut self, fragment: &[u8]) {
        self.bytes += fragment.len() as u64;
        let Ok(file) = &mut self.written else { return };
        if self.bytes > self.limit {
            let limit_mib = self.limit >> 20;
            self.written = Err(StoreError::TooLarge { limit_mib });
            return;
        }
        if let Err(source) = file.write_all(fragment) {
            self.written = Err(StoreError::writing("write the object into the spool", source));
            return;
        }
        let missing = BEGINNING_BYTES - self.beginning.len();
        self.beginning.extend(&fragment[..missing.min(fragment.len())]);
        self.digest.update(fragment);
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The first fault; no file is left.
    pub(super) fn finish(self) -> Result<Whole, StoreError> {
        let file = self.written?;
        check_identity(&self.beginning, &self.announced)?;
        let file = file
            .into_inner()
            .map_err(|error| StoreError::writing("write the object into the spool", error.into_error()))?;
        let path = name(file)?;
        Ok(Whole {
            path,
            bytes: self.meta_bytes + self.bytes,
            dataset_bytes: self.bytes,
            dataset_digest: self.digest.finalize().into(),
        })
    }
}

fn begin_file(spool: &Path, meta: &[u8]) -> Result<BufWriter<NamedTempFile>, StoreError> {
    let file = tempfile::Builder::new()
        .prefix(PREFIX)
        .suffix(&format!(".{UNFINISHED}"))
        .rand_bytes(16)
        .tempfile_in(spool)
        .map_err(|source| StoreError::writing("make a file in the spool", source))?;
    let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
    file.write_all(meta)
        .map_err(|source| StoreError::writing("write the object into the spool", source))?;
    Ok(file)
}

/// Preamble, prefix and file meta information.
fn meta_information(announced: &Announced) -> Vec<u8> {
    let mut bytes = [&PREAMBLE[..], b"DICM"].concat();
    FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(&announced.sop_class_uid)
        .media_storage_sop_instance_uid(&announced.sop_instance_uid)
        .transfer_syntax(announced.transfer_syntax)
        .implementation_class_uid(implementation::CLASS_UID)
        .implementation_version_name(implementation::VERSION_NAME)
        .source_application_entity_title(&announced.calling)
        .build()
        .and_then(|table| table.write(&mut bytes))
        .expect("a table with transfer syntax goes into memory");
    bytes
}

fn check_identity(beginning: &[u8], announced: &Announced) -> Result<(), StoreError> {
    let identity = identify(beginning, announced.transfer_syntax).map_err(StoreError::Unreadable)?;
    let class = identity
        .sop_class_uid
        .ok_or(StoreError::Missing("SOP Class UID of the data set"))?;
    if class != announced.sop_class_uid {
        return Err(StoreError::OtherClass);
    }
    let instance = identity
        .sop_instance_uid
        .ok_or(StoreError::Missing("SOP Instance UID of the data set"))?;
    if instance != announced.sop_instance_uid {
        return Err(StoreError::OtherInstance);
    }
    Ok(())
}

/// Gives a whole file its name.
fn name(file: NamedTempFile) -> Result<PathBuf, StoreError> {
    let path = file.path().with_extension("dcm");
    file.persist_noclobber(&path)
        .map_err(|error| StoreError::writing("rename the object", error.error))?;
    Ok(path)
}

/// Removes a whole file that nobody took.
pub(super) fn discard(path: &Path) {
    // What cannot be removed is found by the next start.
    let _ = fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;

    use super::*;

    fn announced() -> Announced {
        Announced {
            sop_class_uid: uids::CT_IMAGE_STORAGE.to_owned(),
            sop_instance_uid: "1.2.3".to_owned(),
            transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN,
            calling: "CT1".to_owned(),
        }
    }

    fn data_set(class: &str, instance: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (element, uid) in [(0x16, class), (0x18, instance)] {
            let length = uid.len().next_multiple_of(2);
            bytes.extend([8, 0, element, 0, b'U', b'I', length as u8, 0]);
            bytes.extend(uid.bytes().chain([0]).take(length));
        }
        bytes
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }

    fn received(data: &[u8], limit: u64) -> (tempfile::TempDir, Result<Whole, StoreError>) {
        let spool = tempfile::tempdir().unwrap();
        let mut reception = Reception::begin(spool.path(), announced(), limit);
        assert!(names(spool.path())[0].ends_with(".part"));
        for fragment in data.chunks(7) {
            reception.take(fragment);
        }
        let result = reception.finish();
        (spool, result)
    }

    #[test]
    fn a_whole_object_is_a_file_with_its_meta_information() {
        let data = data_set(uids::CT_IMAGE_STORAGE, "1.2.3");
        let (spool, whole) = received(&data, 1000);
        let whole = whole.unwrap();
        assert_eq!(names(spool.path()), [whole.path.file_name().unwrap().to_str().unwrap()]);
        let file = fs::read(&whole.path).unwrap();
        assert_eq!(
            (file.len() as u64, whole.dataset_bytes),
            (whole.bytes, data.len() as u64)
        );
        assert!(file.ends_with(&data));
        assert_eq!(whole.dataset_digest, <[u8; 32]>::from(Sha256::digest(&data)));
        let read = dicom_object::open_file(&whole.path).unwrap();
        let meta = read.meta();
        assert_eq!(meta.media_storage_sop_instance_uid().trim_end_matches('\0'), "1.2.3");
        assert_eq!(
            meta.media_storage_sop_class_uid().trim_end_matches('\0'),
            uids::CT_IMAGE_STORAGE
        );
        assert_eq!(meta.transfer_syntax(), uids::EXPLICIT_VR_LITTLE_ENDIAN);
        assert_eq!(
            meta.implementation_class_uid().trim_end_matches('\0'),
            implementation::CLASS_UID
        );
        assert_eq!(meta.source_application_entity_title().map(str::trim), Some("CT1"));
    }

    #[test]
    fn what_is_refused_leaves_no_file() {
        let good = data_set(uids::CT_IMAGE_STORAGE, "1.2.3");
        for (data, limit, status) in [
            (good.clone(), good.len() as u64 - 1, Status::ObjectTooLarge),
            (
                data_set(uids::CT_IMAGE_STORAGE, "1.2.4"),
                1000,
                Status::InstanceMismatch,
            ),
            (data_set(uids::MR_IMAGE_STORAGE, "1.2.3"), 1000, Status::ClassMismatch),
            (good[..40].to_vec(), 1000, Status::CannotUnderstand),
            (Vec::new(), 1000, Status::CannotUnderstand),
            (
                b"no data set at all, but a text".to_vec(),
                1000,
                Status::CannotUnderstand,
            ),
        ] {
            let (spool, result) = received(&data, limit);
            assert_eq!(result.unwrap_err().status(), status);
            assert!(names(spool.path()).is_empty());
        }
    }

    #[test]
    fn an_object_that_ends_early_leaves_no_file() {
        let spool = tempfile::tempdir().unwrap();
        let mut reception = Reception::begin(spool.path(), announced(), 1000);
        reception.take(b"\x08\0");
        drop(reception);
        assert!(names(spool.path()).is_empty());
    }

    #[test]
    fn a_spool_that_is_gone_is_a_failure_not_a_full_disk() {
        let spool = tempfile::tempdir().unwrap();
        let folder = spool.path().join("gone");
        let error = Reception::begin(&folder, announced(), 1000).finish().unwrap_err();
        assert_eq!(error.status(), Status::ProcessingFailure);
        let full = StoreError::writing("write", ErrorKind::StorageFull.into());
        assert_eq!(full.status(), Status::OutOfResources);
    }
}
