//! The security counter: what an appliance once confirmed, nothing older may replace.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::kept::{Found, Kept};
use super::storage::Storage;

/// A number for each role that only rises. A hardware counter (TPM, secure element, fuses) plugs in here.
pub trait SecurityCounter: Send + Sync {
    /// The lowest security counter that is acceptable for a role; 0 if none was set.
    ///
    /// # Errors
    /// What the counter's device says. Uploads are then refused; what is confirmed goes on serving.
    fn read(&self, role: &str) -> io::Result<u32>;

    /// Raises the counter of a role to `to`; a value that is not higher changes nothing. When it returns, the new
    /// value survives a power cut; when it fails, the old or the new value stands.
    ///
    /// # Errors
    /// What the counter's device says.
    fn advance(&self, role: &str, to: u32) -> io::Result<()>;
}

/// The default: a file of two copies for each role, in a folder apart from the slots.
///
/// It protects against mistakes and against everyone who can reach the serial line but not the file system. Whoever
/// can write to that folder can lower it; a counter in hardware closes that gap.
pub struct FileCounter {
    storage: Arc<dyn Storage>,
    /// One writer at a time.
    lock: Mutex<()>,
}

impl FileCounter {
    /// Counters in a folder: the files `ROLE.counter.0` and `ROLE.counter.1`.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        let lock = Mutex::new(());
        Self { storage, lock }
    }

    /// Damage of both copies reads as 0: the record of the slots holds the highest confirmed counter as well, and
    /// [`Slots`](super::Slots) repairs this one from it.
    fn open(&self, role: &str) -> (Kept, u32) {
        let (kept, found) = Kept::open(self.storage.clone(), &format!("{role}.counter"));
        let value = match found {
            Found::Body(body) => std::str::from_utf8(&body)
                .ok()
                .and_then(|text| text.trim().parse().ok()),
            Found::Nothing | Found::Damaged => None,
        };
        (kept, value.unwrap_or(0))
    }
}

impl SecurityCounter for FileCounter {
    fn read(&self, role: &str) -> io::Result<u32> {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.open(role).1)
    }

    fn advance(&self, role: &str, to: u32) -> io::Result<()> {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut kept, now) = self.open(role);
        if to > now || (to == now && to > 0 && !kept.copies_agree()) {
            kept.write(format!("{to}\n").as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::storage::Folder;
    use super::*;

    #[test]
    fn a_counter_only_rises() {
        let place = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> = Arc::new(Folder::open(place.path().join("counters")).unwrap());
        let counter = FileCounter::new(storage.clone());
        assert_eq!(counter.read("chest").unwrap(), 0);
        for (to, now) in [(3, 3), (2, 3), (3, 3), (9, 9), (0, 9)] {
            counter.advance("chest", to).unwrap();
            assert_eq!(counter.read("chest").unwrap(), now);
        }
        counter.advance("skull", 4).unwrap();
        assert_eq!(counter.read("chest").unwrap(), 9);
        // One damaged copy, whichever it is, does not lower it.
        for copy in ["chest.counter.0", "chest.counter.1"] {
            storage.write_at(copy, 5, b"#").unwrap();
            assert_eq!(counter.read("chest").unwrap(), 9);
            counter.advance("chest", 9).unwrap();
        }
        assert_eq!(FileCounter::new(storage).read("chest").unwrap(), 9);
    }
}
