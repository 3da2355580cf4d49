//! What is shown of a role: its images and what goes on.

use super::record::{Digest, Image, ImageFacts, Phase, Record, Side, Slot};
use super::role::{Means, Role};

/// An image in a slot, as the SMP image group shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageState {
    /// Number of the role.
    pub image: u32,
    /// 0 for the active slot, 1 for the other.
    pub slot: u32,
    /// Where it lies.
    pub side: Side,
    /// What is known of it.
    pub facts: ImageFacts,
    /// Length of the file in bytes.
    pub length: u64,
    /// The image's hash.
    pub hash: Digest,
    /// SHA-256 of the whole file.
    pub file: Digest,
    /// Read back and checked, and not below the security counter.
    pub bootable: bool,
    /// Checked once, and found not to load since: the same file may be sent again.
    pub damaged: bool,
    /// Asked for on the next start.
    pub pending: bool,
    /// What is served unless a trial runs.
    pub confirmed: bool,
    /// Served now.
    pub active: bool,
    /// To be confirmed as soon as its self-test passes: the one to come if `pending`, or the one that runs if `active`.
    pub permanent: bool,
}

/// What goes on in a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// Nothing.
    Idle,
    /// An upload is in progress, or waits to be gone on with.
    Receiving {
        /// Bytes that arrived.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A file is whole and is to be read back.
    Verifying {
        /// Its length in bytes.
        total: u64,
    },
    /// An image is on trial.
    Trial {
        /// How far it is.
        phase: Phase,
        /// Good results so far; `None` if they do not count, because nobody asked for this image.
        good_results: Option<u32>,
    },
}

impl Role {
    pub fn activity(&self) -> Activity {
        if let Some(trial) = self.record.trial {
            return Activity::Trial {
                phase: trial.phase,
                good_results: (!trial.rescue).then_some(trial.good_results),
            };
        }
        if let Some((bytes, total)) = self.upload.progress() {
            return Activity::Receiving { bytes, total };
        }
        let received = self.record.slots.iter().find_map(|slot| match slot {
            Slot::Received { image, .. } => Some(image.total),
            _ => None,
        });
        received.map_or(Activity::Idle, |total| Activity::Verifying { total })
    }

    pub fn states(&self, means: &Means) -> Vec<ImageState> {
        let lowest = self.lowest_known(means);
        let state = |side: Side| Some(self.state(side, self.record.slot(side).image()?, lowest));
        Side::BOTH.into_iter().filter_map(state).collect()
    }

    fn state(&self, side: Side, image: &Image, lowest: u32) -> ImageState {
        let record: &Record = &self.record;
        let request = record.request.filter(|request| request.side == side);
        let confirmed = record.confirmed == Some(side);
        let taken_back = confirmed && record.trial.is_some_and(|trial| trial.taken_back);
        let promised = record.trial.is_some_and(|trial| trial.side == side && trial.permanent);
        ImageState {
            image: self.image,
            slot: record.logical(side),
            side,
            facts: image.facts.clone(),
            length: image.total,
            hash: image.hash,
            file: image.file,
            bootable: record.slot(side).valid().is_some() && image.facts.security_counter >= lowest,
            damaged: matches!(record.slot(side), Slot::Valid { damaged: true, .. }),
            pending: request.is_some() || taken_back,
            confirmed,
            active: record.active() == Some(side),
            permanent: promised || request.is_some_and(|request| request.permanent),
        }
    }
}
