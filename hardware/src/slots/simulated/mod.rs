//! A folder in memory whose power can fail before or in the middle of any operation.
//!
//! What was synced survives. Of everything else each write and each change of a name survives, is lost or is torn on
//! its own, so in any order, as the seed has it: the worst that a disk, its cache and a file system without ordering
//! may do, including a rename that was half carried out.

pub mod cuts;
mod fate;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) use fate::Random;
use fate::{Change, Weather, Write};

use super::storage::Storage;

/// When the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the operation has any effect.
    Before,
    /// While it is carried out: some of it may have happened.
    Within,
}

/// A folder in memory, with a switch for its power.
///
/// A clone is a second medium with the same content and the same future.
#[derive(Debug)]
pub struct Simulated {
    disk: Mutex<Disk>,
}

#[derive(Debug, Clone)]
struct Disk {
    files: Vec<File>,
    /// Names as programs see them.
    names: BTreeMap<String, usize>,
    /// Names as the medium has them.
    durable: BTreeMap<String, usize>,
    /// How the one becomes the other.
    changes: Vec<Change>,
    random: Random,
    operations: u64,
    cut: Option<(u64, Moment)>,
    power: bool,
    capacity: u64,
}

#[derive(Debug, Clone, Default)]
struct File {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    writes: Vec<Write>,
}

impl Simulated {
    /// An empty folder of 1 GiB; the seed decides what each power cut does.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_capacity(seed, 1 << 30)
    }

    /// As [`new`](Self::new), of another size in bytes.
    #[must_use]
    pub fn with_capacity(seed: u64, capacity: u64) -> Self {
        let disk = Disk {
            files: Vec::new(),
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            changes: Vec::new(),
            random: Random::new(seed),
            operations: 0,
            cut: None,
            power: true,
            capacity,
        };
        Self { disk: Mutex::new(disk) }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the future: what power cuts do from now on.
    pub fn reseed(&self, seed: u64) {
        self.disk().random = Random::new(seed);
    }

    /// Operations so far that change something or make it durable.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// Lets the power fail at the operation with this number, counted as [`operations`](Self::operations) does.
    pub fn cut_at(&self, operation: u64, moment: Moment) {
        self.disk().cut = Some((operation, moment));
    }

    /// Lets the power fail now.
    pub fn cut_now(&self) {
        self.disk().power = false;
    }

    /// Whether the power is on. While it is off, every operation fails.
    #[must_use]
    pub fn has_power(&self) -> bool {
        self.disk().power
    }

    /// Switches the power off, if it is on, and on again. What was not synced meets its fate.
    pub fn restart(&self) {
        self.disk().restart();
    }
}

impl Clone for Simulated {
    fn clone(&self) -> Self {
        Self {
            disk: Mutex::new(self.disk().clone()),
        }
    }
}

impl Disk {
    /// Begins an operation: fails if the power does. Gives true if it fails after part of the operation.
    fn begin(&mut self) -> io::Result<bool> {
        if !self.power {
            return Err(no_power());
        }
        let operation = self.operations;
        self.operations += 1;
        match self.cut {
            Some((at, moment)) if at == operation => {
                self.power = false;
                match moment {
                    Moment::Before => Err(no_power()),
                    Moment::Within => Ok(true),
                }
            }
            _ => Ok(false),
        }
    }

    fn file(&self, name: &str) -> io::Result<usize> {
        if !self.power {
            return Err(no_power());
        }
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .map(|&file| self.files[file].bytes.len() as u64)
            .sum()
    }

    fn write(&mut self, file: usize, write: Write) {
        write.apply(&mut self.files[file].bytes);
        self.files[file].writes.push(write);
    }

    fn rename(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn restart(&mut self) {
        let weather = Weather::draw(&mut self.random);
        for file in &mut self.files {
            for write in std::mem::take(&mut file.writes) {
                weather.meet_write(&write, &mut file.durable, &mut self.random);
            }
            file.bytes.clone_from(&file.durable);
        }
        for change in std::mem::take(&mut self.changes) {
            weather.meet_change(&change, &mut self.durable, &mut self.random);
        }
        self.names.clone_from(&self.durable);
        (self.power, self.cut) = (true, None);
        self.forget_nameless();
    }

    /// Files without a name cannot come back, and a long life has many.
    fn forget_nameless(&mut self) {
        for (number, file) in self.files.iter_mut().enumerate() {
            if !self.names.values().any(|&named| named == number) {
                *file = File::default();
            }
        }
    }
}

fn no_power() -> io::Error {
    io::Error::other("the power is off")
}

fn done(within: bool) -> io::Result<()> {
    if within { Err(no_power()) } else { Ok(()) }
}

impl Storage for Simulated {
    fn create(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        let within = disk.begin()?;
        match disk.names.get(name).copied() {
            Some(file) => disk.write(file, Write::Empty),
            None => {
                disk.files.push(File::default());
                let file = disk.files.len() - 1;
                disk.rename(Change::Name(name.to_owned(), file));
            }
        }
        done(within)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        let within = disk.begin()?;
        let file = disk.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let more = (offset + bytes.len()).saturating_sub(disk.files[file].bytes.len());
        if disk.used() + more as u64 > disk.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // Of a write that the cut interrupts, the end never arrives.
        let kept = if within {
            disk.random.below(bytes.len())
        } else {
            bytes.len()
        };
        let bytes = bytes[..kept].to_vec();
        disk.write(file, Write::Bytes { offset, bytes });
        done(within)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let disk = self.disk();
        let bytes = &disk.files[disk.file(name)?].bytes;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let n = buffer.len().min(bytes.len() - start);
        buffer[..n].copy_from_slice(&bytes[start..start + n]);
        Ok(n)
    }

    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        let disk = self.disk();
        match disk.file(name) {
            Ok(file) => Ok(Some(disk.files[file].bytes.len() as u64)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        let within = disk.begin()?;
        let file = disk.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        // An interrupted sync has made some writes durable, in no order.
        for write in std::mem::take(&mut disk.files[file].writes) {
            if within && disk.random.below(2) == 0 {
                disk.files[file].writes.push(write);
            } else {
                write.apply(&mut disk.files[file].durable);
            }
        }
        done(within)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        let within = disk.begin()?;
        let file = disk.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        let (from, to) = (from.to_owned(), to.to_owned());
        disk.rename(Change::Rename { from, to, file });
        done(within)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        let within = disk.begin()?;
        if disk.names.contains_key(name) {
            disk.rename(Change::Remove(name.to_owned()));
        }
        done(within)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let disk = self.disk();
        if disk.power {
            Ok(disk.names.keys().cloned().collect())
        } else {
            Err(no_power())
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut disk = self.disk();
        let within = disk.begin()?;
        for change in std::mem::take(&mut disk.changes) {
            if within && disk.random.below(2) == 0 {
                disk.changes.push(change);
            } else {
                let durable = &mut disk.durable;
                change.apply(durable);
            }
        }
        done(within)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let disk = self.disk();
        if disk.power {
            Ok(disk.capacity.saturating_sub(disk.used()))
        } else {
            Err(no_power())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(disk: &Simulated, name: &str) -> Option<Vec<u8>> {
        let mut bytes = vec![0; disk.length(name).unwrap()? as usize];
        disk.read_at(name, 0, &mut bytes).unwrap();
        Some(bytes)
    }

    #[test]
    fn what_was_synced_survives() {
        for seed in 0..200 {
            let disk = Simulated::new(seed);
            disk.create("a.new").unwrap();
            disk.write_at("a.new", 0, b"synced").unwrap();
            disk.sync("a.new").unwrap();
            disk.rename("a.new", "a").unwrap();
            disk.sync_folder().unwrap();
            disk.create("b").unwrap();
            disk.write_at("b", 0, b"not synced").unwrap();
            disk.restart();
            assert_eq!(content(&disk, "a").unwrap(), b"synced", "seed {seed}");
            assert_eq!(content(&disk, "a.new"), None);
        }
    }

    #[test]
    fn what_was_not_synced_meets_every_fate() {
        let mut seen = BTreeMap::new();
        for seed in 0..2000 {
            let disk = Simulated::new(seed);
            disk.create("a").unwrap();
            disk.write_at("a", 0, &[1; 600]).unwrap();
            disk.sync("a").unwrap();
            disk.sync_folder().unwrap();
            disk.write_at("a", 0, &[2; 600]).unwrap();
            disk.write_at("a", 600, &[3; 600]).unwrap();
            disk.rename("a", "b").unwrap();
            disk.restart();
            let names = (content(&disk, "a").is_some(), content(&disk, "b").is_some());
            let bytes = content(&disk, "a").or(content(&disk, "b")).unwrap_or_default();
            let (old, new) = (bytes.contains(&1), bytes.contains(&2));
            *seen
                .entry((names, old, new, bytes.contains(&3), bytes.len() > 600))
                .or_insert(0) += 1;
        }
        let named = |name: (bool, bool)| seen.keys().any(|key| key.0 == name);
        assert!(named((true, false)) && named((false, true)) && named((true, true)) && named((false, false)));
        // The second write without the first, both lost, both there, and one torn.
        let wanted = [
            (true, false, true),
            (true, false, false),
            (false, true, true),
            (true, true, true),
        ];
        for (old, new, more) in wanted {
            assert!(
                seen.keys().any(|key| (key.1, key.2, key.3) == (old, new, more)),
                "{seen:?}"
            );
        }
    }

    #[test]
    fn the_power_fails_where_it_is_told_to() {
        let disk = Simulated::new(1);
        disk.cut_at(1, Moment::Before);
        disk.create("a").unwrap();
        assert!(disk.write_at("a", 0, b"x").is_err());
        assert!(!disk.has_power() && disk.list().is_err() && disk.create("b").is_err());
        disk.restart();
        assert!(disk.has_power() && disk.list().is_ok());
        disk.cut_at(disk.operations(), Moment::Within);
        assert!(disk.create("c").is_err() && !disk.has_power());
    }

    #[test]
    fn a_clone_has_the_same_future() {
        let disk = Simulated::new(5);
        for n in 0..20 {
            disk.create(&n.to_string()).unwrap();
            disk.write_at(&n.to_string(), 0, &[n; 2000]).unwrap();
        }
        let twin = disk.clone();
        disk.restart();
        twin.restart();
        assert_eq!(disk.list().unwrap(), twin.list().unwrap());
        for name in disk.list().unwrap() {
            assert_eq!(content(&disk, &name), content(&twin, &name));
        }
    }

    #[test]
    fn a_full_folder_takes_no_more() {
        let disk = Simulated::with_capacity(1, 10);
        disk.create("a").unwrap();
        disk.write_at("a", 0, &[0; 10]).unwrap();
        assert_eq!(disk.free_bytes().unwrap(), 0);
        assert_eq!(
            disk.write_at("a", 5, &[0; 6]).unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
        disk.write_at("a", 5, &[0; 5]).unwrap();
        assert_eq!(disk.write_at("b", 0, b"x").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
