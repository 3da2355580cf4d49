//! What an image that arrived says about itself: enough to give it its place, its patient and its turn, without a look
//! at the pixels.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use imaging::decode::{self, DecodeError, Limits};
use sha2::{Digest, Sha256};

use super::arrival::Arrival;
use crate::store::config::UrgentTag;

/// Bytes that are hashed at once.
const PIECE: usize = 256 * 1024;

const SOP_CLASS_UID: Tag = (0x0008, 0x0016);
const SOP_INSTANCE_UID: Tag = (0x0008, 0x0018);
const IMAGE_TYPE: Tag = (0x0008, 0x0008);
const ACCESSION_NUMBER: Tag = (0x0008, 0x0050);
const MODALITY: Tag = (0x0008, 0x0060);
const PATIENT_NAME: Tag = (0x0010, 0x0010);
const PATIENT_ID: Tag = (0x0010, 0x0020);
const PATIENT_SEX: Tag = (0x0010, 0x0040);
const BODY_PART: Tag = (0x0018, 0x0015);
const VIEW_POSITION: Tag = (0x0018, 0x5101);
const STUDY_UID: Tag = (0x0020, 0x000d);
const SERIES_UID: Tag = (0x0020, 0x000e);
const INSTANCE_NUMBER: Tag = (0x0020, 0x0013);

type Tag = (u16, u16);

/// What an image says about itself; everything may be missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Whether it is DICOM, and its header could be read.
    pub is_dicom: bool,
    /// SOP Instance UID (0008,0018)
    pub sop_instance_uid: Option<String>,
    /// SOP Class UID (0008,0016)
    pub sop_class_uid: Option<String>,
    /// Transfer Syntax UID (0002,0010)
    pub transfer_syntax_uid: Option<String>,
    /// Study Instance UID (0020,000D)
    pub study_uid: Option<String>,
    /// Series Instance UID (0020,000E)
    pub series_uid: Option<String>,
    /// Instance Number (0020,0013)
    pub instance_number: Option<i32>,
    /// Modality (0008,0060), upper case.
    pub modality: Option<String>,
    /// Body Part Examined (0018,0015), upper case.
    pub body_part: Option<String>,
    /// View Position (0018,5101), upper case.
    pub view: Option<String>,
    /// Image Type (0008,0008), upper case, its values apart by `\`.
    pub image_type: Option<String>,
    /// Patient's Name (0010,0010)
    pub patient_name: Option<String>,
    /// Patient ID (0010,0020)
    pub patient_id: Option<String>,
    /// Patient's Sex (0010,0040)
    pub sex: Option<String>,
    /// Accession Number (0008,0050)
    pub accession: Option<String>,
    /// Whether one of the configured tags says so.
    pub urgent: bool,
    /// Where the data set begins in the file, in bytes.
    dataset_offset: u64,
}

impl Facts {
    /// Reads the header of an image that arrived. A file that is no DICOM says nothing.
    ///
    /// # Errors
    /// [`DecodeError`] if the file cannot be read, or its header is damaged.
    pub fn read(arrival: &Arrival, urgent: &[UrgentTag]) -> Result<Self, DecodeError> {
        let mut wanted = vec![
            SOP_CLASS_UID,
            SOP_INSTANCE_UID,
            IMAGE_TYPE,
            ACCESSION_NUMBER,
            MODALITY,
            PATIENT_NAME,
            PATIENT_ID,
            PATIENT_SEX,
            BODY_PART,
            VIEW_POSITION,
            STUDY_UID,
            SERIES_UID,
            INSTANCE_NUMBER,
        ];
        wanted.extend(urgent.iter().filter_map(UrgentTag::numbers));
        let Some(header) = decode::header_texts(&arrival.path, &wanted, &Limits::default())? else {
            return Ok(Self::unread(arrival));
        };
        let text = |(group, element): Tag| header.text(group, element).map(str::to_owned);
        let upper = |tag: Tag| text(tag).map(|text| text.to_uppercase());
        let is_urgent = |tag: &UrgentTag| {
            let found = tag.numbers().and_then(|(group, element)| header.text(group, element));
            found.is_some_and(|found| tag.matches(found))
        };
        Ok(Self {
            is_dicom: true,
            sop_instance_uid: text(SOP_INSTANCE_UID),
            sop_class_uid: text(SOP_CLASS_UID),
            transfer_syntax_uid: Some(header.transfer_syntax_uid.clone()),
            study_uid: text(STUDY_UID),
            series_uid: text(SERIES_UID),
            instance_number: text(INSTANCE_NUMBER).and_then(|text| text.parse().ok()),
            modality: upper(MODALITY),
            body_part: upper(BODY_PART),
            view: upper(VIEW_POSITION),
            image_type: upper(IMAGE_TYPE),
            patient_name: text(PATIENT_NAME),
            patient_id: text(PATIENT_ID),
            sex: upper(PATIENT_SEX),
            accession: text(ACCESSION_NUMBER),
            urgent: urgent.iter().any(is_urgent),
            dataset_offset: header.dataset_offset,
        })
    }

    /// What the intake knows of a file whose header says nothing.
    #[must_use]
    pub fn unread(arrival: &Arrival) -> Self {
        let known = &arrival.known;
        Self {
            sop_instance_uid: known.sop_instance_uid.clone(),
            sop_class_uid: known.sop_class_uid.clone(),
            transfer_syntax_uid: known.transfer_syntax_uid.clone(),
            ..Self::default()
        }
    }

    /// SHA-256 of the data set, or of the whole file where there is none: what it says of its sender is left out, so a
    /// second push of the same object has the same digest.
    ///
    /// # Errors
    /// What the file system says.
    pub fn digest(&self, arrival: &Arrival) -> io::Result<[u8; 32]> {
        match arrival.known.dataset_digest {
            Some(digest) => Ok(digest),
            None => digest_from(&arrival.path, self.dataset_offset),
        }
    }
}

/// [`Facts::digest`] of a file that nothing else is known of.
///
/// # Errors
/// What the file system says, or why its header cannot be read.
pub fn digest_of_file(path: &Path) -> io::Result<[u8; 32]> {
    let header = decode::header_texts(path, &[], &Limits::default()).map_err(io::Error::other)?;
    digest_from(path, header.map_or(0, |header| header.dataset_offset))
}

fn digest_from(path: &Path, offset: u64) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&piece[..read]),
        }
    }
}
