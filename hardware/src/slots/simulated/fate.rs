//! What becomes of what was not synced when the power fails.

use std::collections::BTreeMap;

/// What a disk writes at once, in bytes.
const SECTOR_BYTES: usize = 512;

/// A change of a file's content.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Empty,
    Bytes { offset: usize, bytes: Vec<u8> },
}

/// A change of the names; files by number.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Name(String, usize),
    Rename { from: String, to: String, file: usize },
    Remove(String),
}

/// SplitMix64: a few lines, the same everywhere.
#[derive(Debug, Clone)]
pub(in crate::slots) struct Random(u64);

impl Random {
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
pub(super) struct Weather {
    writes: Option<Fate>,
    names: Option<Fate>,
}

impl Weather {
    pub fn draw(random: &mut Random) -> Self {
        let fate = |n| [Some(Fate::Survives), Some(Fate::Lost), Some(Fate::Torn), None, None][n];
        Self {
            writes: fate(random.below(5)),
            names: fate(random.below(5)),
        }
    }

    /// What the power cut leaves of a write.
    pub fn meet_write(self, write: &Write, content: &mut Vec<u8>, random: &mut Random) {
        write.survive(fate(self.writes, random), content, random);
    }

    /// What the power cut leaves of a change of the names.
    pub fn meet_change(self, change: &Change, names: &mut BTreeMap<String, usize>, random: &mut Random) {
        change.survive(fate(self.names, random), names, random);
    }
}

fn fate(given: Option<Fate>, random: &mut Random) -> Fate {
    given.unwrap_or_else(|| [Fate::Survives, Fate::Lost, Fate::Torn][random.below(3)])
}

impl Write {
    pub fn apply(&self, content: &mut Vec<u8>) {
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
    pub fn apply(&self, names: &mut BTreeMap<String, usize>) {
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
