//! A small file in two copies that survives power cuts, torn writes and the loss of either copy.
//!
//! Each copy is replaced by writing a new file, syncing it, renaming it over the old one and syncing the folder. A
//! change is made when its first copy is in place; the second follows at once with the same content. So one copy is
//! always whole, even where a rename is not atomic (FAT), and a copy that the medium damages later costs nothing.
//!
//! A copy is text: `scanside-kept 1 SEQUENCE CRC LENGTH` (the last three in hexadecimal; the CRC-32C covers sequence
//! and body) and a line feed, then the body.

use std::io;
use std::sync::Arc;

use crc_fast::{CrcAlgorithm, Digest};

use super::storage::{Storage, read_full};

/// Longest body in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
const MAX_HEADER_BYTES: usize = 64;
const MAGIC: &str = "scanside-kept";
const VERSION: &str = "1";

/// What was found on opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Neither copy exists.
    Nothing,
    /// At least one copy exists and none is whole.
    Damaged,
    /// The newest whole copy.
    Body(Vec<u8>),
}

/// A small file in two copies.
pub struct Kept {
    storage: Arc<dyn Storage>,
    name: String,
    sequence: u64,
    /// The copy to replace first: one that is not the only newest.
    first: usize,
    /// Both copies hold the newest body.
    agree: bool,
}

impl Kept {
    /// Reads both copies of `name`, which are the files `NAME.0` and `NAME.1`. A copy that cannot be read counts as
    /// damaged.
    #[must_use]
    pub fn open(storage: Arc<dyn Storage>, name: &str) -> (Self, Found) {
        let copies = [0, 1].map(|n| read_copy(&*storage, &copy_name(name, n)));
        let sequence = |n: usize| match &copies[n] {
            Copy::Whole(sequence, _) => Some(*sequence),
            _ => None,
        };
        let mut kept = Self {
            storage,
            name: name.to_owned(),
            sequence: sequence(0).max(sequence(1)).unwrap_or(0),
            first: usize::from(sequence(0) > sequence(1)),
            agree: sequence(0).is_some() && sequence(0) == sequence(1),
        };
        if kept.agree {
            kept.first = 0;
        }
        let newest = usize::from(sequence(1) > sequence(0));
        let absent = copies.iter().all(|copy| matches!(copy, Copy::Absent));
        let [a, b] = copies;
        let found = match if newest == 0 { a } else { b } {
            Copy::Whole(_, body) => Found::Body(body),
            _ if absent => Found::Nothing,
            _ => Found::Damaged,
        };
        (kept, found)
    }

    /// Whether both copies hold the newest body; if not, it should be written again.
    #[must_use]
    pub fn copies_agree(&self) -> bool {
        self.agree
    }

    /// Makes `body` the content. When this returns, it survives a power cut; when it fails, either the old or the new
    /// body is found on the next opening.
    ///
    /// # Errors
    /// What the storage says of the first copy; `InvalidInput` for a body over [`MAX_BODY_BYTES`].
    pub fn write(&mut self, body: &[u8]) -> io::Result<()> {
        if body.len() > MAX_BODY_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} bytes are too long to keep", body.len()),
            ));
        }
        // Never the number of a write that failed: that one may be on the medium.
        self.sequence = self.sequence.saturating_add(1);
        self.agree = false;
        let bytes = encode(self.sequence, body);
        let (first, second) = (self.first, 1 - self.first);
        self.replace(first, &bytes)?;
        self.first = second;
        if self.replace(second, &bytes).is_ok() {
            self.first = 0;
            self.agree = true;
        }
        Ok(())
    }

    fn replace(&self, copy: usize, bytes: &[u8]) -> io::Result<()> {
        let new = format!("{}.new", self.name);
        // A rename that a power cut interrupted may leave both names, and emptying the one would empty the other.
        if self.storage.length(&new)?.is_some() {
            self.storage.remove(&new)?;
        }
        self.storage.create(&new)?;
        self.storage.write_at(&new, 0, bytes)?;
        self.storage.sync(&new)?;
        self.storage.rename(&new, &copy_name(&self.name, copy))?;
        self.storage.sync_folder()
    }
}

enum Copy {
    Absent,
    Damaged,
    Whole(u64, Vec<u8>),
}

fn copy_name(name: &str, copy: usize) -> String {
    format!("{name}.{copy}")
}

fn read_copy(storage: &dyn Storage, name: &str) -> Copy {
    let length = match storage.length(name) {
        Ok(Some(length)) => length.min((MAX_HEADER_BYTES + MAX_BODY_BYTES) as u64),
        Ok(None) => return Copy::Absent,
        Err(_) => return Copy::Damaged,
    };
    let mut bytes = vec![0; length as usize];
    let whole = read_full(storage, name, 0, &mut bytes).is_ok_and(|n| n == bytes.len());
    match decode(&bytes).filter(|_| whole) {
        Some((sequence, body)) => Copy::Whole(sequence, body.to_vec()),
        None => Copy::Damaged,
    }
}

fn checksum(sequence: u64, body: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&sequence.to_le_bytes());
    digest.update(body);
    digest.finalize() as u32
}

fn encode(sequence: u64, body: &[u8]) -> Vec<u8> {
    let crc = checksum(sequence, body);
    let mut bytes = format!("{MAGIC} {VERSION} {sequence:016x} {crc:08x} {:08x}\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn decode(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(MAX_HEADER_BYTES).position(|&b| b == b'\n')?;
    let (header, body) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]);
    let mut words = header.split(' ');
    if words.next() != Some(MAGIC) || words.next() != Some(VERSION) {
        return None;
    }
    let sequence = u64::from_str_radix(words.next()?, 16).ok()?;
    let crc = u32::from_str_radix(words.next()?, 16).ok()?;
    let length = usize::from_str_radix(words.next()?, 16).ok()?;
    let whole = words.next().is_none() && body.len() == length && checksum(sequence, body) == crc;
    whole.then_some((sequence, body))
}

#[cfg(test)]
mod tests {
    use super::super::simulated::{Moment, Random, Simulated};
    use super::super::storage::Folder;
    use super::*;

    fn folder() -> (tempfile::TempDir, Arc<dyn Storage>) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path().join("kept")).unwrap();
        (place, Arc::new(folder))
    }

    fn body(storage: &Arc<dyn Storage>) -> Found {
        Kept::open(storage.clone(), "x").1
    }

    #[test]
    fn the_last_body_is_found_again() {
        let (_place, storage) = folder();
        assert_eq!(body(&storage), Found::Nothing);
        let (mut kept, _) = Kept::open(storage.clone(), "x");
        for n in 0..5_u8 {
            kept.write(&[n; 9]).unwrap();
            assert_eq!(body(&storage), Found::Body(vec![n; 9]));
        }
        assert!(Kept::open(storage.clone(), "x").0.copies_agree());
        assert!(kept.write(&vec![0; MAX_BODY_BYTES + 1]).is_err());
        assert_eq!(body(&storage), Found::Body(vec![4; 9]));
    }

    #[test]
    fn the_loss_or_damage_of_one_copy_costs_nothing() {
        let (_place, storage) = folder();
        let (mut kept, _) = Kept::open(storage.clone(), "x");
        for copy in ["x.0", "x.1"] {
            kept.write(b"old").unwrap();
            kept.write(b"new").unwrap();
            let length = storage.length(copy).unwrap().unwrap();
            for at in 0..length {
                let mut byte = [0];
                storage.read_at(copy, at, &mut byte).unwrap();
                storage.write_at(copy, at, &[byte[0] ^ 0x10]).unwrap();
                assert_eq!(body(&storage), Found::Body(b"new".to_vec()), "{copy} at {at}");
                storage.write_at(copy, at, &byte).unwrap();
            }
            storage.remove(copy).unwrap();
            let (again, found) = Kept::open(storage.clone(), "x");
            assert_eq!(found, Found::Body(b"new".to_vec()));
            assert!(!again.copies_agree());
        }
    }

    #[test]
    fn damage_of_both_copies_is_seen() {
        let (_place, storage) = folder();
        Kept::open(storage.clone(), "x").0.write(b"body").unwrap();
        for copy in ["x.0", "x.1"] {
            storage.write_at(copy, 3, b"?").unwrap();
        }
        let (mut kept, found) = Kept::open(storage.clone(), "x");
        assert_eq!(found, Found::Damaged);
        kept.write(b"again").unwrap();
        assert_eq!(body(&storage), Found::Body(b"again".to_vec()));
    }

    #[test]
    fn the_only_newest_copy_is_replaced_last() {
        let (_place, storage) = folder();
        let (mut kept, _) = Kept::open(storage.clone(), "x");
        kept.write(b"one").unwrap();
        storage.write_at("x.1", 3, b"?").unwrap();
        assert_eq!(Kept::open(storage.clone(), "x").0.first, 1);
        kept.write(b"two").unwrap();
        storage.write_at("x.0", 3, b"?").unwrap();
        assert_eq!(Kept::open(storage.clone(), "x").0.first, 0);
    }

    /// Writes until the power fails, and gives the body that was being written then; all before it were acknowledged.
    fn write_until_cut(disk: &Arc<Simulated>, known: u8) -> u8 {
        let (mut kept, _) = Kept::open(disk.clone(), "x");
        let mut next = known + 1;
        // A cut that falls into the second copy fails nobody.
        while kept.write(&[next; 700]).is_ok() {
            next += 1;
        }
        next
    }

    #[test]
    fn three_power_cuts_in_a_row_leave_the_last_body_or_the_next() {
        let mut random = Random::new(3);
        let mut cases = 0;
        for (first, seed) in (0..33).flat_map(|first| (0..600).map(move |seed| (first, seed))) {
            let disk = Arc::new(Simulated::new(seed * 1000 + first));
            Kept::open(disk.clone(), "x").0.write(&[0; 700]).unwrap();
            let mut known = 0;
            for after in [first as usize, random.below(14), random.below(14)] {
                let moment = [Moment::Before, Moment::Within][random.below(2)];
                disk.cut_at(disk.operations() + after as u64, moment);
                let torn = write_until_cut(&disk, known);
                disk.restart();
                let Found::Body(body) = body(&(disk.clone() as Arc<dyn Storage>)) else {
                    panic!("cut at {first}, seed {seed}: nothing is left of body {known}");
                };
                assert!(
                    body == [torn - 1; 700] || body == [torn; 700],
                    "cut at {first}, seed {seed}"
                );
                known = body[0];
            }
            cases += 1;
        }
        println!("kept: {cases} cases, none skipped");
    }

    #[test]
    fn any_bytes_can_be_looked_at() {
        for bytes in [
            &b""[..],
            b"\n",
            b"scanside-kept 1\n",
            b"scanside-kept 1 0 0 ffffffffffffffffffff\n",
            &[0xff; 80],
        ] {
            assert_eq!(decode(bytes), None);
        }
        assert_eq!(decode(&encode(7, b"x")), Some((7, &b"x"[..])));
    }
}
