//! The filing thread: everything that a result needs beside the database and nobody waits for. Results as JSON, small
//! pictures, the outbox's objects, files that are no longer needed, series that are whole, retention, the audit head.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use hardware::whole_file;
use imaging::decode::{self, Limits};

use super::board::Part;
use super::pulse::Doing;
use super::shared::Shared;
use super::tasks::{ObjectMaker, OwedImage, Owing};
use crate::examination::Examination;
use crate::presentation::small_picture;
use crate::store::audit::AuditHead;
use crate::store::config::Keep;
use crate::store::filing::ToFile;
use crate::store::images::ResultRecord;
use crate::store::outbox::{Entry, Made};
use crate::store::retention::Shortage;
use crate::store::{Store, StoreError};

/// How often to look for what nobody announced.
const REST: Duration = Duration::from_millis(500);
/// The longest time that filing a result waits for its drawing.
const DISPLAY: Duration = Duration::from_millis(50);
/// How often to look for what is too old and for space.
const TIDY: Duration = Duration::from_secs(60);
/// How often while space is short.
const TIDY_AGAIN: Duration = Duration::from_secs(2);
/// How often to write down where the audit trail ends.
const HEAD: Duration = Duration::from_secs(10);
/// How long to leave objects alone that could not be made.
const PAUSE_AFTER_FAULT: TimeDelta = TimeDelta::seconds(60);
/// Decoded images that may wait for their pictures; of the others the file is read again.
const MOST_IMAGES: usize = 2;
/// Cases or entries of one pass.
const BATCH: u32 = 32;
/// Slices of a series that its objects show.
const REPORTED: u32 = 4;

/// What is told when the disk is nearly full and nothing more may go.
const SHORT: &str = "the disk is nearly full, and what is left waits for its result or for the archive; no image is \
                     taken in until something was sent or space was made";
/// What is told when the quota is used up and nothing more may go.
const OVER: &str = "the cases take more than store.max_megabytes, and what is left waits for its result or for the archive; \
                    images are taken in all the same until the disk has less than its reserve";

/// Where the serving thread puts what is to be filed.
#[derive(Clone)]
pub struct Tray {
    sender: Sender<Option<(i64, Arc<Examination>)>>,
    images: Arc<AtomicUsize>,
}

impl Tray {
    /// An image has its result. With the decoded image its picture costs no second decoding.
    pub fn put(&self, image: i64, examination: Option<Arc<Examination>>) {
        let room = |_: &Arc<Examination>| self.images.load(Ordering::SeqCst) < MOST_IMAGES;
        let item = examination.filter(room).map(|examination| (image, examination));
        if item.is_some() {
            self.images.fetch_add(1, Ordering::SeqCst);
        }
        // The filing thread ends last.
        let _ = self.sender.send(item);
    }

    /// Something changed.
    pub fn look(&self) {
        let _ = self.sender.send(None);
    }
}

/// The filing thread's own things.
pub struct Filing {
    shared: Arc<Shared>,
    store: Arc<Store>,
    receiver: Receiver<Option<(i64, Arc<Examination>)>>,
    images: Arc<AtomicUsize>,
    head: Arc<Mutex<AuditHead>>,
    maker: Option<Box<dyn ObjectMaker>>,
    tidied: Option<Instant>,
    /// Whether the last try failed.
    is_untidy: bool,
    headed: Instant,
    /// What is short, if nothing more may go.
    short: Option<Shortage>,
    /// What went wrong the last time, if anything did.
    told: Option<String>,
}

impl Filing {
    /// For a store; the tray is the serving thread's.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        store: Arc<Store>,
        head: Arc<Mutex<AuditHead>>,
        maker: Option<Box<dyn ObjectMaker>>,
    ) -> (Self, Tray) {
        let (sender, receiver) = channel();
        let images = Arc::new(AtomicUsize::new(0));
        let tray = Tray {
            sender,
            images: images.clone(),
        };
        let filing = Self {
            shared,
            store,
            receiver,
            images,
            head,
            maker,
            tidied: None,
            is_untidy: false,
            headed: Instant::now(),
            short: None,
            told: None,
        };
        (filing, tray)
    }

    /// Files until the service ends; what is left then is filed by the next start.
    pub fn run(mut self) {
        while !self.shared.is_ending() {
            self.shared.filing_pulse().at(Doing::Step);
            let item = match self.receiver.recv_timeout(REST) {
                Ok(item) => item,
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if item.is_some() {
                self.shared.wait_for_display(DISPLAY);
            }
            let passed = self.pass(item);
            self.tell(&passed);
            if passed.is_err() {
                // It will be the same at once.
                std::thread::sleep(REST);
            }
        }
    }

    fn tell(&mut self, passed: &Result<(), StoreError>) {
        let problem = passed.as_ref().err().map(ToString::to_string);
        let is_full = passed.as_ref().is_err_and(StoreError::is_full);
        let mut board = self.shared.board();
        let (disk, files) = match &problem {
            None if self.short == Some(Shortage::Disk) => (Some(SHORT), None),
            Some(problem) if is_full => (Some(problem.as_str()), None),
            other => (None, other.as_deref()),
        };
        let quota = (self.short == Some(Shortage::Quota)).then_some(OVER);
        for (part, fault) in [(Part::Disk, disk), (Part::Files, files), (Part::Quota, quota)] {
            match fault {
                Some(fault) => board.set_fault(part, fault),
                None => board.clear_fault(part),
            }
        }
        drop(board);
        // What stays as it is is told once.
        if let Some(problem) = problem.as_ref().filter(|_| problem != self.told) {
            tracing::error!("{problem}");
        }
        self.told = problem;
    }

    fn pass(&mut self, item: Option<(i64, Arc<Examination>)>) -> Result<(), StoreError> {
        if let Some((image, examination)) = item {
            self.images.fetch_sub(1, Ordering::SeqCst);
            self.keep_picture(image, &examination)?;
        }
        // Results were shown without waiting for the medium; from here on something is built on them.
        self.store.make_durable()?;
        let now = self.shared.now();
        self.store.settle(now)?;
        for case in self.store.to_file(BATCH)? {
            self.file(&case)?;
        }
        self.make_objects()?;
        self.store.release_files()?;
        // What failed is tried again with the next pass, and is a fault until then.
        if self.headed.elapsed() >= HEAD {
            keep_head(&self.store, &self.head)?;
            self.headed = Instant::now();
        }
        let interval = match self.short {
            Some(Shortage::Disk) => TIDY_AGAIN,
            Some(Shortage::Quota) | None => TIDY,
        };
        if self.is_untidy || self.tidied.is_none_or(|tidied| tidied.elapsed() >= interval) {
            self.is_untidy = true;
            self.tidy()?;
            self.is_untidy = false;
        }
        Ok(())
    }

    fn tidy(&mut self) -> Result<(), StoreError> {
        let elapsed = self.tidied.map(|tidied| tidied.elapsed());
        self.tidied = Some(Instant::now());
        self.shared.filing_pulse().at(Doing::Tidying);
        let tidied = self.store.tidy(self.shared.now(), elapsed)?;
        if tidied.too_old + tidied.for_space > 0 {
            tracing::info!(
                too_old = tidied.too_old,
                for_space = tidied.for_space,
                "cases were deleted"
            );
        }
        match tidied.short {
            short if short == self.short => {}
            Some(Shortage::Disk) => tracing::warn!("{SHORT}"),
            Some(Shortage::Quota) => tracing::warn!("{OVER}"),
            None => {}
        }
        self.short = tidied.short;
        Ok(())
    }

    /// Writes the JSON of a case's results, and pictures where they are kept and missing.
    fn file(&self, case: &ToFile) -> Result<(), StoreError> {
        for result in &case.results {
            self.shared.filing_pulse().at(Doing::Step);
            let path = self.store.folders().result(&case.number, result.member);
            let text = serde_json::to_vec_pretty(&result.finding).map_err(|e| StoreError::Senseless {
                what: "finding",
                found: e.to_string(),
            })?;
            whole_file::write(&path, &text).map_err(|source| StoreError::File {
                path,
                action: "write the result",
                source,
            })?;
        }
        if self.store.config().keep == Keep::Pictures {
            for result in &case.without_picture {
                self.shared.filing_pulse().at(Doing::Step);
                // Taken up from the tray in the meantime, or a file that cannot be decoded: its result says so.
                if let Some(examination) = self.examination(result)? {
                    self.keep_picture(result.image, &examination.examination)?;
                }
            }
        }
        self.store.filed(case)
    }

    fn keep_picture(&self, image: i64, examination: &Examination) -> Result<(), StoreError> {
        if self.store.config().keep != Keep::Pictures {
            return Ok(());
        }
        match small_picture(examination) {
            Some(png) => self.store.keep_picture(image, &png),
            None => Ok(()),
        }
    }

    /// A result with its image, decoded once more; `None` if its file is gone or no image.
    fn examination(&self, result: &ResultRecord) -> Result<Option<OwedImage>, StoreError> {
        let record = self.store.image(result.image)?;
        let Some(path) = record.and_then(|image| image.file) else {
            return Ok(None);
        };
        let decoded = decode::decode_path(&path, &Limits::default()).and_then(|file| file.frame(result.frame as usize));
        let examination = Examination {
            finding: result.finding.clone(),
            image: decoded.ok().map(Arc::new),
            small: None,
            refused: None,
        };
        Ok(Some(OwedImage {
            examination,
            path,
            member: result.member,
        }))
    }

    /// Makes what is owed, an image or a series at a time.
    fn make_objects(&mut self) -> Result<(), StoreError> {
        let Some(mut maker) = self.maker.take() else {
            return Ok(());
        };
        let made = self.make_all(&mut *maker);
        self.maker = Some(maker);
        made
    }

    fn make_all(&self, maker: &mut dyn ObjectMaker) -> Result<(), StoreError> {
        let owed = self.store.owed(self.shared.now(), BATCH)?;
        for owed in owed.chunk_by(|a, b| (a.case, a.image) == (b.case, b.image)) {
            if self.shared.is_ending() {
                break;
            }
            self.shared.filing_pulse().at(Doing::Step);
            self.make(maker, owed)?;
        }
        Ok(())
    }

    fn make(&self, maker: &mut dyn ObjectMaker, owed: &[Entry]) -> Result<(), StoreError> {
        let Some(first) = owed.first() else { return Ok(()) };
        let now = self.shared.now();
        let results = self.store.reported(first.case, first.image, REPORTED)?;
        let mut images = Vec::new();
        for result in &results {
            images.extend(self.examination(result)?);
        }
        let manifest = match images.first() {
            Some(image) => self.store.model(&image.examination.finding.model.digest)?,
            None => None,
        };
        let Some(manifest) = manifest else {
            let reason = "the image or what its model says of itself is gone";
            let left_out: Vec<_> = owed.iter().map(|entry| (entry.kind, reason.to_owned())).collect();
            return self.store.objects_made(owed, &[], &left_out, now);
        };
        let kinds: Vec<_> = owed.iter().map(|entry| entry.kind).collect();
        let owing = Owing {
            case_number: &first.case_number,
            kinds: &kinds,
            images: &images,
            manifest: &manifest,
        };
        let objects = match maker.make(&owing) {
            Ok(objects) => objects,
            Err(error) => {
                tracing::error!(
                    case = first.case_number,
                    "an object for the outbox cannot be made now: {error}"
                );
                return self
                    .store
                    .making_failed(owed, &error.to_string(), now + PAUSE_AFTER_FAULT);
            }
        };
        let mut made = Vec::new();
        for object in objects.objects {
            made.push(Made {
                kind: object.kind,
                file: self.store.write_object(&object.object, &object.bytes)?,
                object: object.object,
            });
        }
        self.store.objects_made(owed, &made, &objects.left_out, now)
    }
}

/// Writes down where the trail ends if nothing says so yet: from a service's first row on `audit verify` misses a head that
/// is gone.
///
/// # Errors
/// [`StoreError`].
pub fn begin_head(store: &Store, head: &Mutex<AuditHead>) -> Result<(), StoreError> {
    let is_there = head.lock().unwrap_or_else(PoisonError::into_inner).head().is_ok();
    if is_there { Ok(()) } else { keep_head(store, head) }
}

/// Writes down where the audit trail ends, apart from the database.
///
/// # Errors
/// [`StoreError`].
pub fn keep_head(store: &Store, head: &Mutex<AuditHead>) -> Result<(), StoreError> {
    let end = store.audit_head()?;
    let mut head = head.lock().unwrap_or_else(PoisonError::into_inner);
    head.write(end).map_err(|source| StoreError::File {
        path: PathBuf::from("monotonic/audit"),
        action: "write down where the audit trail ends",
        source,
    })
}
