//! What a start finds: the record, or what can be had without it, and uploads that were not finished.

use sha2::{Digest as _, Sha256};

use super::body::Body;
use super::error::SlotError;
use super::gate::{Asked, MAX_FRONT_BYTES, Plan, examine};
use super::kept::{Found, Kept};
use super::record::{Cause, Image, Incoming, Record, Setback, Side, Slot};
use super::role::{Means, Role, file_name};
use super::storage::read_full;
use super::upload::Upload;

/// Starts that may find the same file received and not read back. Looking at it might be what ends the service.
const MAX_STARTS: u32 = 3;
const LOST: &str = "the record of the slots was lost or damaged; the images that are here are checked and tried again";
const INCOMPLETE: &str =
    "the end of the upload did not survive the power cut; send the file again, it goes on where it was";
const TOO_OFTEN: &str = "reading the uploaded file back was interrupted again and again; it is discarded";

impl Role {
    /// Never fails: what cannot be read counts as lost, what cannot be written is tried again with the next change.
    pub fn open(means: &Means, image: u32, name: &str) -> Self {
        let (kept, found) = Kept::open(means.storage.clone(), &format!("{name}.state"));
        let record = match &found {
            Found::Body(body) => Record::from_bytes(body),
            Found::Nothing | Found::Damaged => None,
        };
        let known = record.is_some();
        let mut role = Self {
            image,
            name: name.to_owned(),
            kept,
            record: record.unwrap_or_default(),
            unwritten: !known,
            problem: None,
            generation: 0,
            upload: Upload::default(),
        };
        let before = role.record.clone();
        role.repair_counter(means);
        if known {
            Side::BOTH.into_iter().for_each(|side| role.look_up(means, side));
        } else {
            role.salvage(means, found == Found::Damaged);
        }
        let new = std::mem::replace(&mut role.record, before);
        role.commit_or_hold(new);
        role
    }

    /// The counter and the record are witnesses of each other: the higher one is right.
    fn repair_counter(&mut self, means: &Means) {
        let confirmed = self.record.confirmed.and_then(|side| self.record.slot(side).image());
        let confirmed = confirmed.map_or(0, |image| image.facts.security_counter);
        let known = self.record.highest_counter.max(confirmed);
        self.record.highest_counter = known.max(means.counter.read(&self.name).unwrap_or(0));
        self.advance_counter(means);
    }

    /// Takes up an unfinished upload. Only what is in the slot counts, block by block.
    fn look_up(&mut self, means: &Means, side: Side) {
        let (incoming, starts) = match self.record.slot(side) {
            Slot::Empty | Slot::Valid { .. } => return,
            Slot::Receiving(incoming) => (incoming.clone(), 0),
            Slot::Received { image, starts } => (announced(image), *starts),
        };
        let version = incoming.facts.version.clone();
        let body = self.body(means, side, Some(&incoming));
        let whole = self.settle(means, side, body, starts + 1);
        if !whole && starts + 1 > MAX_STARTS {
            self.record.setback = Some(Setback::new(Cause::Verification, &version, TOO_OFTEN));
        } else if !whole && self.record.request.is_some_and(|request| request.side == side) {
            self.record.setback = Some(Setback::new(Cause::Interrupted, &version, INCOMPLETE));
        }
        if !whole {
            self.record.request = self.record.request.filter(|request| request.side != side);
        }
    }

    /// Decides what a slot holds; true if it is a whole file.
    fn settle(&mut self, means: &Means, side: Side, body: Option<Body>, starts: u32) -> bool {
        let slot = self.record.slot_mut(side);
        *slot = Slot::Empty;
        let Some(mut body) = body else { return false };
        match body.look_up(&*means.storage, &file_name(&self.name, side)) {
            Some(_) if starts > MAX_STARTS => false,
            Some(image) => {
                *slot = Slot::Received { image, starts };
                true
            }
            None => {
                *slot = Slot::Receiving(body.incoming.clone());
                self.upload.body = Some(body);
                false
            }
        }
    }

    /// The record is lost. Files that are whole and acceptable are read back as after an upload, then tried, because
    /// nobody knows which was confirmed; the self-test stands between them and a patient's image.
    fn salvage(&mut self, means: &Means, damaged: bool) {
        let mut found = damaged;
        for side in Side::BOTH {
            let Some(body) = self.body(means, side, None) else {
                continue;
            };
            // Part of an upload is not worth more than sending it again.
            if self.settle(means, side, Some(body), 1) {
                found = true;
            } else {
                *self.record.slot_mut(side) = Slot::Empty;
                self.upload.forget();
            }
        }
        if found {
            self.record.salvage = Some([false; 2]);
            self.record.setback = Some(Setback::new(Cause::RecordLost, "", LOST));
        }
    }

    /// Asks the gatekeeper about the front that a slot holds. `None` if there is none, or not the expected one.
    fn body(&self, means: &Means, side: Side, expected: Option<&Incoming>) -> Option<Body> {
        let name = self.file(side);
        let length = means.storage.length(&name).ok()??;
        let total = expected.map_or(length, |incoming| incoming.total);
        let context = self.context(total, false, self.lowest_known(means));
        let mut beginning = Vec::new();
        let read = |bytes: &mut Vec<u8>, wanted: usize| -> Result<bool, SlotError> {
            bytes.resize(wanted.min(MAX_FRONT_BYTES), 0);
            Ok(matches!(read_full(&*means.storage, &name, 0, bytes), Ok(n) if n == wanted))
        };
        let Ok(Asked::Accepted(plan)) = examine(&*means.gatekeeper, &context, &mut beginning, 1, read) else {
            return None;
        };
        let front = beginning.get(..plan.front_bytes as usize)?;
        let incoming = incoming(&plan, front, expected.and_then(|incoming| incoming.sha));
        let same = expected.is_none_or(|e| e.front == incoming.front);
        same.then(|| Body::new(side, incoming, plan, front))
    }
}

pub(super) fn incoming(plan: &Plan, front: &[u8], sha: Option<super::record::Digest>) -> Incoming {
    Incoming {
        total: plan.total,
        front_bytes: plan.front_bytes,
        front: Sha256::digest(front).into(),
        sha,
        facts: plan.facts.clone(),
    }
}

/// What an upload must have announced to become this image.
fn announced(image: &Image) -> Incoming {
    Incoming {
        total: image.total,
        front_bytes: image.front_bytes,
        front: image.front,
        sha: Some(image.file),
        facts: image.facts.clone(),
    }
}
