//! The SHA-256 of a file that grows, kept up to date so that nobody has to wait for it at the end.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::file::DeltaFile;

/// How long a request may wait for what another thread reads: it is to be answered within a second.
const PATIENCE: Duration = Duration::from_millis(500);
/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The digest of a file, as far as it is known.
#[derive(Debug)]
pub struct Digesting {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Of so many bytes from the beginning.
    Known(Sha256, u64),
    /// A thread reads what was there before.
    Reading(Receiver<io::Result<(Sha256, u64)>>),
}

impl Digesting {
    /// Of a file with `bytes` bytes. If there are any, a thread of its own reads them.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn of(file: &DeltaFile, bytes: u64) -> io::Result<Self> {
        if bytes == 0 {
            let state = State::Known(Sha256::new(), 0);
            return Ok(Self { state });
        }
        let (tell, told) = mpsc::channel();
        let file = file.clone();
        thread::Builder::new().name("digest".to_owned()).spawn(move || {
            let mut hash = Sha256::new();
            let read = add(&mut hash, &file, 0, bytes).map(|()| (hash, bytes));
            // Nobody listens any more if another delta came.
            let _ = tell.send(read);
        })?;
        let state = State::Reading(told);
        Ok(Self { state })
    }

    /// The file grew by these bytes at that offset.
    pub fn follow(&mut self, data: &[u8], offset: u64) {
        if let State::Known(hash, known) = &mut self.state
            && *known == offset
        {
            hash.update(data);
            *known += data.len() as u64;
        }
    }

    /// The digest of the whole file; `None` if what was there before is still being read.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn finish(&mut self, file: &DeltaFile) -> io::Result<Option<[u8; 32]>> {
        if let State::Reading(told) = &self.state {
            let (hash, known) = match told.recv_timeout(PATIENCE) {
                Ok(read) => read?,
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::Other.into()),
            };
            self.state = State::Known(hash, known);
        }
        let State::Known(hash, known) = &mut self.state else {
            return Ok(None);
        };
        // What came while the thread was reading.
        add(hash, file, *known, file.length())?;
        *known = file.length();
        Ok(Some(hash.clone().finalize().into()))
    }
}

fn add(hash: &mut Sha256, file: &DeltaFile, from: u64, to: u64) -> io::Result<()> {
    let mut reader = file.reader();
    reader.seek(SeekFrom::Start(from))?;
    let mut part = reader.take(to.saturating_sub(from));
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match part.read(&mut chunk)? {
            0 => return Ok(()),
            read => hash.update(&chunk[..read]),
        }
    }
}
