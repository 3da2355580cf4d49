//! Deltas are followed and received bundles read back from the medium here, beside everything else: it takes seconds.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bundle::{Policy, TrustedKeys};
use hardware::slots::{Outcome, SlotError, StorageReader, Verification};
use hardware::smp::OutcomeKind;

use super::board::{Part, Progress, Step};
use super::delta;
use super::gatekeeper::refusal;
use super::shared::Shared;

/// How often to look for a file that became whole.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long to wait when the medium fails.
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(2);
/// The board is told after so many bytes.
const REPORT_BYTES: u64 = 1 << 20;

/// Follows deltas and reads files back until the service ends.
pub fn run(shared: &Arc<Shared>, keys: &TrustedKeys, policy: &Policy) {
    while !shared.is_ending() {
        while let Some(received) = shared.next_rebuild() {
            delta::rebuild(shared, &received);
        }
        let pause = match verify_waiting(shared, keys, policy) {
            Ok(()) => INTERVAL,
            // It will be read back again; a full or failing medium needs no hurry.
            Err(_) => PAUSE_AFTER_FAULT,
        };
        thread::sleep(pause);
    }
}

/// Reads back every file that waits for it.
///
/// # Errors
/// [`SlotError::Storage`] if what that showed cannot be written down, which is told on the board; the file goes on
/// waiting.
pub fn verify_waiting(shared: &Shared, keys: &TrustedKeys, policy: &Policy) -> Result<(), SlotError> {
    let waiting = shared.slots().verifications();
    let mut done = Ok(());
    for verification in waiting {
        done = done.and(verify(shared, keys, policy, verification));
    }
    done
}

fn verify(shared: &Shared, keys: &TrustedKeys, policy: &Policy, verification: Verification) -> Result<(), SlotError> {
    let image = verification.image();
    let verified = verification.run(|reader| {
        let reader = Reported::new(shared, image, reader);
        let checked = bundle::container::verify(io::BufReader::new(reader), keys, policy);
        checked.map(|checked| checked.image_digest).map_err(|e| refusal(&e))
    });
    let outcome = shared.slots().finish_verification(verified);
    let now = Instant::now();
    let mut board = shared.board();
    board.end(image);
    match outcome {
        Ok(Outcome::Bootable { pending }) => {
            let next = if pending {
                "a restart begins its trial"
            } else {
                "not asked for yet"
            };
            tracing::info!(image, "a bundle was read back and is bootable; {next}");
            board.report(image, OutcomeKind::Stored, next, now);
        }
        Ok(Outcome::Refused(refusal)) => {
            tracing::warn!(
                image,
                "a bundle was stored, but what was read back is refused: {refusal}"
            );
            board.report(image, OutcomeKind::Damaged, refusal.to_string(), now);
        }
        // A newer upload took its place; that one will be read back.
        Ok(Outcome::Stale) => {}
        Err(error) => {
            tracing::error!(image, "the state of the slots cannot be written: {error}");
            board.set_fault(Part::Slots, error.to_string());
            return Err(error);
        }
    }
    Ok(())
}

/// Tells the board how far reading is.
struct Reported<'a> {
    shared: &'a Shared,
    image: u32,
    reader: StorageReader,
    progress: Progress,
    told: u64,
}

impl<'a> Reported<'a> {
    fn new(shared: &'a Shared, image: u32, reader: StorageReader) -> Self {
        let total = reader.length();
        let progress = Progress { done: 0, total };
        shared.board().begin(image, Step::Verifying(progress));
        Self {
            shared,
            image,
            reader,
            progress,
            told: 0,
        }
    }
}

impl Read for Reported<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(into)?;
        self.progress.done += read as u64;
        if self.progress.done - self.told >= REPORT_BYTES {
            self.told = self.progress.done;
            self.shared.board().begin(self.image, Step::Verifying(self.progress));
        }
        Ok(read)
    }
}

/// The thread of [`run`].
pub fn spawn(shared: Arc<Shared>, keys: TrustedKeys, policy: Policy) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new()
        .name("verifier".to_owned())
        .spawn(move || run(&shared, &keys, &policy))
}
