//! A folder in memory whose power can fail before or in the middle of any operation.
//!
//! What was synced survives. Of everything else each write and each change of a name survives, is lost or is torn on
//! its own, so in any order, as the seed has it: the worst that a disk, its cache and a file system without ordering
//! may do, including a rename that was half carried out.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::storage::Storage;

/// What a disk writes at once, in bytes.
const SECTOR_BYTES: usize = 512;

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

#[derive(Debug, Clone)]
enum Write {
    Empty,
    Bytes { offset: usize, bytes: Vec<u8> },
}

#[derive(Debug, Clone)]
enum Change {
    Name(String, usize),
    Rename { from: String, to: String, file: usize },
    Remove(String),
}

/// SplitMix64: a few lines, the same everywhere.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    #[cfg(test)]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// What becomes of something that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Survives,
    Lost,
    Torn,
}

/// Of a power cut: what becomes of writes and of names. Extremes are as likely as mixtures.
#[derive(Debug, Clone, Copy)]
struct Weather {
    writes: Option<Fate>,
    names: Option<Fate>,
}

impl Weather {
    fn draw(random: &mut Random) -> Self {
        let fate = |n| [Some(Fate::Survives), Some(Fate::Lost), Some(Fate::Torn), None, None][n];
        Self {
            writes: fate(random.below(5)),
            names: fate(random.below(5)),
        }
    }
}

fn fate(given: Option<Fate>, random: &mut Random) -> Fate {
    given.unwrap_or_else(|| [Fate::Survives, Fate::Lost, Fate::Torn][random.below(3)])
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
            random: Random(seed),
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
        self.disk().random = Random(seed);
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
                let fate = fate(weather.writes, &mut self.random);
                write.survive(fate, &mut file.durable, &mut self.random);
            }
            file.bytes.clone_from(&file.durable);
        }
        for change in std::mem::take(&mut self.changes) {
            let fate = fate(weather.names, &mut self.random);
            change.survive(fate, &mut self.durable, &mut self.random);
        }
        self.names.clone_from(&self.durable);
        (self.power, self.cut) = (true, None);
    }
}

impl Write {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Empty => content.clear(),
            Self::Bytes { offset, bytes } => {
                let end = offset + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(bytes);
            }
        }
    }

    fn survive(&self, fate: Fate, content: &mut Vec<u8>, random: &mut Random) {
        match (fate, self) {
            (Fate::Lost, _) => {}
            (Fate::Survives, _) | (_, Self::Empty) => self.apply(content),
            (Fate::Torn, Self::Bytes { offset, bytes }) => tear(*offset, bytes, random, content),
        }
    }
}

/// Part of a write: its beginning, some of its sectors, its length with zeros, or with a sector of rubbish.
fn tear(offset: usize, bytes: &[u8], random: &mut Random, content: &mut Vec<u8>) {
    let way = random.below(4);
    if way == 0 {
        let bytes = bytes[..random.below(bytes.len())].to_vec();
        return Write::Bytes { offset, bytes }.apply(content);
    }
    let end = offset + bytes.len();
    content.resize(content.len().max(end), 0);
    // Sectors of the medium, so the first and the last of the write may be shorter.
    let mut at = offset;
    while at < end {
        let next = (at - at % SECTOR_BYTES + SECTOR_BYTES).min(end);
        let (sector, new) = (&mut content[at..next], &bytes[at - offset..next - offset]);
        match (way, random.below(3)) {
            (1, 0) | (2, 0) => {}
            (2, 1) => sector.fill(0),
            (3, 0) => sector.fill_with(|| random.next() as u8),
            _ => sector.copy_from_slice(new),
        }
        at = next;
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Name(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Rename { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }

    fn survive(&self, fate: Fate, names: &mut BTreeMap<String, usize>, random: &mut Random) {
        match (fate, self) {
            (Fate::Lost, _) => {}
            (Fate::Torn, Self::Rename { from, to, file }) => tear_rename(from, to, *file, random, names),
            _ => self.apply(names),
        }
    }
}

/// A rename that is not atomic: both names, or neither, or only the old one with what was replaced gone.
fn tear_rename(from: &str, to: &str, file: usize, random: &mut Random, names: &mut BTreeMap<String, usize>) {
    let way = random.below(3);
    names.remove(to);
    if way == 0 {
        names.insert(to.to_owned(), file);
    }
    if way == 1 {
        names.remove(from);
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
